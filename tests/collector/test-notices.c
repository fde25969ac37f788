// SPDX-License-Identifier: GPL-2.0-or-later
#include <glib.h>
#include <string.h>

#include "collector/notices.h"

#define SECOND NOTICES_INTERVAL_NS

static void append(const char *sentence, void *userdata)
{
    g_string_append_printf(userdata, "%s\n", sentence);
}

static void assert_said(GString *said, const char *expected)
{
    g_assert_cmpstr(said->str, ==, expected);
    g_string_truncate(said, 0);
}

static void test_joined(void)
{
    g_autoptr(GString) said = g_string_new(NULL);
    Notices *notices = notices_new(append, said);
    const char *pods[] = {"a", "b", "c", "d", "e", "f"};
    for (size_t i = 0; i < G_N_ELEMENTS(pods); i++)
        notices_add(notices, 10 + i, pods[i], "no NSS");
    notices_add(notices, 20, "a", "no Java");
    notices_flush(notices, 9 + SECOND, false);
    assert_said(said, "");
    notices_flush(notices, 10 + SECOND, false);
    assert_said(said, "a, b, c, d and 2 more: no NSS\n");
    notices_flush(notices, 20 + SECOND, false);
    assert_said(said, "a: no Java\n");
    notices_free(notices);
}

/* A node that comes back tells all of them again. */
static void test_once(void)
{
    g_autoptr(GString) said = g_string_new(NULL);
    Notices *notices = notices_new(append, said);
    notices_add(notices, 1, "a", "no NSS");
    notices_add(notices, 1, "a", "no NSS");
    notices_flush(notices, 1, true);
    assert_said(said, "a: no NSS\n");
    notices_add(notices, 1000 * SECOND, "a", "no NSS");
    notices_add(notices, 1000 * SECOND, "b", "no NSS");
    notices_flush(notices, 1001 * SECOND, false);
    assert_said(said, "b: no NSS\n");
    notices_free(notices);
}

static void test_hostile(void)
{
    g_autoptr(GString) said = g_string_new(NULL);
    Notices *notices = notices_new(append, said);
    g_autofree char *text = g_strnfill(100000, 'x');
    memcpy(text, "\x1b[2J\xff", 5);
    notices_add(notices, 1, text, text);
    notices_flush(notices, 1, true);
    g_assert_cmpuint(said->len, >, NOTICES_TEXT_MAX);
    g_assert_cmpuint(said->len, <, 3 * NOTICES_TEXT_MAX);
    g_assert_null(strchr(said->str, '\x1b'));
    g_assert_true(g_utf8_validate(said->str, -1, NULL));
    g_string_truncate(said, 0);
    for (unsigned i = 0; i < 2 * NOTICES_CAUSES; i++) {
        g_autofree char *message = g_strdup_printf("%u", i);
        notices_add(notices, 1, "a", message);
    }
    notices_flush(notices, 1, true);
    g_auto(GStrv) lines = g_strsplit(said->str, "\n", -1);
    g_assert_cmpuint(g_strv_length(lines), ==, NOTICES_CAUSES + 1);
    notices_free(notices);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/notices/joined", test_joined);
    g_test_add_func("/notices/once", test_once);
    g_test_add_func("/notices/hostile", test_hostile);
    return g_test_run();
}

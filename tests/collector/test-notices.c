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
        notices_add(notices, NULL, 10 + i, pods[i], "no NSS");
    notices_add(notices, NULL, 20, "a", "no Java");
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
    notices_add(notices, NULL, 1, "a", "no NSS");
    notices_add(notices, NULL, 1, "a", "no NSS");
    notices_flush(notices, 1, true);
    assert_said(said, "a: no NSS\n");
    notices_add(notices, NULL, 1000 * SECOND, "a", "no NSS");
    notices_add(notices, NULL, 1000 * SECOND, "b", "no NSS");
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
    notices_add(notices, NULL, 1, text, text);
    notices_flush(notices, 1, true);
    g_assert_cmpuint(said->len, >, NOTICES_TEXT_MAX);
    g_assert_cmpuint(said->len, <, 3 * NOTICES_TEXT_MAX);
    g_assert_null(strchr(said->str, '\x1b'));
    g_assert_true(g_utf8_validate(said->str, -1, NULL));
    g_string_truncate(said, 0);
    for (unsigned i = 0; i < 2 * NOTICES_CAUSES; i++) {
        g_autofree char *message = g_strdup_printf("%u", i);
        notices_add(notices, NULL, 1, "a", message);
    }
    notices_flush(notices, 1, true);
    g_auto(GStrv) lines = g_strsplit(said->str, "\n", -1);
    g_assert_cmpuint(g_strv_length(lines), ==, NOTICES_CAUSES + 1);
    notices_free(notices);
}

/* One node's flood is a few sentences, and takes nothing from another node. */
static void test_flood(void)
{
    g_autoptr(GString) said = g_string_new(NULL);
    Notices *notices = notices_new(append, said);
    NodeQuota *bad = node_quota_new(0, 0, 0), *good = node_quota_new(0, 0, 0);
    unsigned taken = 0;
    for (unsigned i = 0; i < 100 * NODE_QUOTA_SENTENCES; i++) {
        g_autofree char *message = g_strdup_printf("%u", i);
        taken += notices_add(notices, bad, SECOND, "a", message);
    }
    g_assert_cmpuint(taken, ==, NODE_QUOTA_SENTENCES);
    g_assert_true(notices_add(notices, good, SECOND, "b", "no NSS"));
    /* The same cause of many subjects is one sentence, and what was said costs nothing. */
    taken = 0;
    for (unsigned i = 0; i < 2 * NODE_QUOTA_NOTICES; i++) {
        g_autofree char *subject = g_strdup_printf("%u", i);
        taken += notices_add(notices, bad, SECOND, subject, "no NSS");
    }
    g_assert_cmpuint(taken, ==, NODE_QUOTA_NOTICES - NODE_QUOTA_SENTENCES);
    g_assert_true(notices_add(notices, bad, SECOND, "0", "no NSS"));
    notices_flush(notices, SECOND, true);
    g_auto(GStrv) lines = g_strsplit(said->str, "\n", -1);
    g_assert_cmpuint(g_strv_length(lines), ==, NODE_QUOTA_SENTENCES + 1 + 1);
    /* Later there is room again, for some. */
    uint64_t later_ns = SECOND + 2 * NODE_QUOTA_SENTENCE_EVERY_NS;
    taken = 0;
    for (unsigned i = 0; i < 100; i++) {
        g_autofree char *message = g_strdup_printf("later %u", i);
        taken += notices_add(notices, bad, later_ns, "a", message);
    }
    g_assert_cmpuint(taken, ==, 2);
    node_quota_free(bad);
    node_quota_free(good);
    notices_free(notices);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/notices/joined", test_joined);
    g_test_add_func("/notices/once", test_once);
    g_test_add_func("/notices/hostile", test_hostile);
    g_test_add_func("/notices/flood", test_flood);
    return g_test_run();
}

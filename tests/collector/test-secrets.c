// SPDX-License-Identifier: GPL-2.0-or-later
#include <glib.h>
#include <string.h>

#include "collector/secrets.h"

static void check_taken(Secrets *secrets, const char *lines, const char *expected)
{
    const GByteArray *fresh = secrets_take(secrets, (const uint8_t *)lines, strlen(lines));
    g_assert_cmpmem(fresh->data, fresh->len, expected, strlen(expected));
}

static void check_released(Secrets *secrets, const char *expected)
{
    const GByteArray *fresh = secrets_release(secrets);
    g_assert_cmpmem(fresh->data, fresh->len, expected, strlen(expected));
}

/* Both ends of a connection are told of, by two nodes, and by one that has come back. */
static void test_once(void)
{
    Secrets *secrets = secrets_new();
    check_released(secrets, "");
    check_taken(secrets, "A 01 aa\nB 01 bb\n", "A 01 aa\nB 01 bb\n");
    check_taken(secrets, "B 01 bb\nA 02 cc\nA 01 aa\n", "A 02 cc\n");
    check_taken(secrets, "A 02 cc\n", "");
    secrets_free(secrets);
}

/* Whatever a node says. */
static void test_odd_lines(void)
{
    Secrets *secrets = secrets_new();
    check_released(secrets, "");
    check_taken(secrets, "\n\nA 01 aa", "A 01 aa\n");
    check_taken(secrets, "A 01 aa\n", "");
    check_taken(secrets, "# a comment\nword\nA 01\n", "# a comment\nword\nA 01\n");
    check_taken(secrets, "word\nA 01", "");
    check_taken(secrets, "", "");
    secrets_free(secrets);
}

static void test_before_the_first_interface(void)
{
    Secrets *secrets = secrets_new();
    check_taken(secrets, "A 01 aa\n", "");
    check_taken(secrets, "A 01 aa\nA 02 bb\n", "");
    check_released(secrets, "A 01 aa\nA 02 bb\n");
    check_released(secrets, "");
    check_taken(secrets, "A 02 bb\nA 03 cc\n", "A 03 cc\n");
    secrets_free(secrets);
}

/* A node that describes no interface takes no memory for that. */
static void test_too_many_before(void)
{
    enum { LINES = 3 * SECRETS_EARLY_MAX / 100 };
    Secrets *secrets = secrets_new();
    g_autofree char *tail = g_strnfill(80, 'f');
    char line[128];
    for (int i = 0; i < LINES; i++) {
        g_snprintf(line, sizeof(line), "A %08d %s\n", i, tail);
        check_taken(secrets, line, "");
    }
    const GByteArray *fresh = secrets_release(secrets);
    g_assert_cmpuint(fresh->len, <=, SECRETS_EARLY_MAX);
    g_assert_cmpuint(fresh->len, >, SECRETS_EARLY_MAX - sizeof(line));
    size_t length = strlen(line);
    g_assert_cmpmem(fresh->data + fresh->len - length, length, line, length);
    g_assert_cmpmem(fresh->data, 2, "A ", 2);
    secrets_free(secrets);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/secrets/once", test_once);
    g_test_add_func("/secrets/odd-lines", test_odd_lines);
    g_test_add_func("/secrets/before-the-first-interface", test_before_the_first_interface);
    g_test_add_func("/secrets/too-many-before", test_too_many_before);
    return g_test_run();
}

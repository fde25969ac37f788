// SPDX-License-Identifier: GPL-2.0-or-later
#include <glib.h>

#include "common/recent-set.h"

static void test_once(void)
{
    RecentSet *set = recent_set_new(3);
    g_assert_true(recent_set_add(set, "a", 1));
    g_assert_false(recent_set_add(set, "a", 1));
    g_assert_true(recent_set_add(set, "ab", 2));
    g_assert_true(recent_set_add(set, "", 0));
    g_assert_false(recent_set_add(set, "", 0));
    recent_set_free(set);
}

/* The oldest goes, and that it was asked for again makes it no younger. */
static void test_forgets(void)
{
    enum { SIZE = 100 };
    RecentSet *set = recent_set_new(SIZE);
    for (int i = 0; i < SIZE; i++) {
        g_assert_true(recent_set_add(set, &i, sizeof(i)));
    }
    for (int i = 0; i < SIZE; i++) {
        g_assert_false(recent_set_add(set, &i, sizeof(i)));
    }
    for (int i = SIZE; i < 3 * SIZE; i++) {
        int oldest = i - SIZE, next = oldest + 1;
        g_assert_true(recent_set_add(set, &i, sizeof(i)));
        g_assert_false(recent_set_add(set, &next, sizeof(next)));
        g_assert_false(recent_set_add(set, &i, sizeof(i)));
    }
    int gone = 0;
    g_assert_true(recent_set_add(set, &gone, sizeof(gone)));
    recent_set_free(set);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/recent-set/once", test_once);
    g_test_add_func("/recent-set/forgets", test_forgets);
    return g_test_run();
}

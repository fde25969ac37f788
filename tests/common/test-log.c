// SPDX-License-Identifier: GPL-2.0-or-later
#include <glib.h>
#include <stdio.h>

#include "common/log.h"

static void log_some(void)
{
    log_set_program("test");
    log_error("number %d", 1);
    log_warning("two\nlines \033[31m");
    log_info("shown");
    log_debug("hidden");
    log_set_level(LOG_LEVEL_DEBUG);
    log_debug("now shown");
    log_set_level(LOG_LEVEL_ERROR);
    log_warning("hidden");
}

static void test_lines(void)
{
    if (g_test_subprocess()) {
        log_some();
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_passed();
    /* Standard error is a pipe here, so every line has its time. */
    g_test_trap_assert_stderr("2*T*:*:*.*Z test: error: number 1\n"
                              "2*T*:*:*.*Z test: warning: two lines  [31m\n"
                              "2*T*:*:*.*Z test: info: shown\n"
                              "2*T*:*:*.*Z test: debug: now shown\n");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/log/lines", test_lines);
    return g_test_run();
}

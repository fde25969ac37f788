// SPDX-License-Identifier: GPL-2.0-or-later
#include "common/log.h"

#include <glib.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

static const char *program = "remora";
static int maximum_level = LOG_LEVEL_INFO; /* atomic: any thread may log while another sets it */

void log_set_program(const char *name)
{
    program = name;
}

void log_set_level(LogLevel level)
{
    g_atomic_int_set(&maximum_level, (int)level);
}

/* Texts come from the network too: none of them may forge a line or move the terminal's cursor. */
static void keep_on_one_line(char *text)
{
    for (; *text; text++) {
        if (g_ascii_iscntrl(*text))
            *text = ' ';
    }
}

void log_message(LogLevel level, const char *format, ...)
{
    static const char *const names[] = {"error", "warning", "info", "debug"};
    if ((int)level > g_atomic_int_get(&maximum_level))
        return;

    va_list arguments;
    va_start(arguments, format);
    g_autofree char *text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    keep_on_one_line(text);

    g_autofree char *time = NULL;
    if (!isatty(STDERR_FILENO)) {
        g_autoptr(GDateTime) now = g_date_time_new_now_utc();
        time = g_date_time_format(now, "%Y-%m-%dT%H:%M:%S.%fZ ");
    }
    /* One call, so that lines of several threads do not mix: stdio locks the stream meanwhile. */
    fprintf(stderr, "%s%s: %s: %s\n", time ? time : "", program, names[level], text);
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include "extcap/tls-table.h"

#include <stdio.h>
#include <string.h>

static const char *const heads[] = {"POD",       "TLS IN", "LIBRARY",   "STATE",
                                    "KEY LINES", "LAST",   "PROCESSES", "REASON"};

void tls_table_init(Table *table)
{
    table_init(table, "llllrlll");
    for (size_t i = 0; i < G_N_ELEMENTS(heads); i++)
        table_add(table, heads[i]);
}

static const char *state_name(Remora__V1__TlsProgramState state)
{
    switch (state) {
    case REMORA__V1__TLS_PROGRAM_STATE__TLS_PROGRAM_STATE_HOOKED:
        return "hooked";
    case REMORA__V1__TLS_PROGRAM_STATE__TLS_PROGRAM_STATE_NOT_HOOKED:
        return "not hooked";
    case REMORA__V1__TLS_PROGRAM_STATE__TLS_PROGRAM_STATE_FAILED:
        return "failed";
    case REMORA__V1__TLS_PROGRAM_STATE__TLS_PROGRAM_STATE_WITHDRAWN:
        return "withdrawn";
    case REMORA__V1__TLS_PROGRAM_STATE__TLS_PROGRAM_STATE_CALIBRATING:
        return "calibrating";
    default:
        return "unknown";
    }
}

static void append_process(GString *text, const Remora__V1__TlsProcess *process)
{
    g_string_append_printf(text, "%s%s %u", text->len ? ", " : "",
                           *process->name ? process->name : "?", process->pid);
    if (*process->container)
        g_string_append_printf(text, " (%s)", process->container);
}

static void add_processes(Table *table, const Remora__V1__TlsProgram *program)
{
    g_autoptr(GString) text = g_string_new(NULL);
    for (size_t i = 0; i < program->n_some; i++)
        append_process(text, program->some[i]);
    if (program->processes > program->n_some)
        g_string_append_printf(text, " and %zu more", program->processes - program->n_some);
    table_add(table, text->len ? text->str : "ended");
}

static void add_time(Table *table, uint64_t unix_ns)
{
    g_autoptr(GDateTime) time =
        unix_ns ? g_date_time_new_from_unix_local((gint64)(unix_ns / 1000000000u)) : NULL;
    g_autofree char *text = time ? g_date_time_format(time, "%H:%M:%S") : NULL;
    table_add(table, text);
}

/* Below the pod's programs: cells that are empty but for the first two. */
static void add_remark(Table *table, const char *pod, const char *text)
{
    table_add(table, pod);
    table_add(table, text);
    for (size_t i = 2; i < G_N_ELEMENTS(heads); i++)
        table_add(table, NULL);
}

static void add_connections(Table *table, const Remora__V1__Target *target, const char *pod)
{
    g_autofree char *text = g_strdup_printf(
        "%" G_GUINT64_FORMAT " connections seen, of %" G_GUINT64_FORMAT " there are secrets",
        target->tls_connections, target->tls_connections_with_secrets);
    add_remark(table, pod, text);
}

static void add_left_out(Table *table, const Remora__V1__Target *target, const char *pod)
{
    g_autofree char *text = g_strdup_printf("%u more files, for which the answer has no room",
                                            target->tls_programs_left_out);
    add_remark(table, pod, text);
}

void tls_table_add(Table *table, const Remora__V1__Target *target, const char *pod)
{
    for (size_t i = 0; i < target->n_tls_programs; i++) {
        const Remora__V1__TlsProgram *program = target->tls_programs[i];
        table_add(table, pod);
        table_add(table, program->path);
        table_add(table, program->library);
        table_add(table, state_name(program->state));
        table_add_number(table, program->key_lines);
        add_time(table, program->last_unix_ns);
        add_processes(table, program);
        table_add(table, program->reason);
    }
    if (target->tls_programs_left_out)
        add_left_out(table, target, pod);
    if (target->tls_connections)
        add_connections(table, target, pod);
}

void tls_table_print(Table *table)
{
    if (table->cells->len > G_N_ELEMENTS(heads)) {
        putchar('\n');
        table_print(table);
    } else {
        g_ptr_array_unref(table->cells);
    }
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* -z k8s,map: who calls whom. */
#include "plugins/ws_compat.h"

#include "plugins/stats/reports.h"

#include <stdio.h>

#include <epan/stat_tap_ui.h>

#include <wsutil/json_dumper.h>

#include "plugins/stats/call-stats.h"
#include "plugins/stats/counts-print.h"
#include "plugins/stats/table.h"

enum { CLIENT, SERVER, PROTOCOL };

enum { TEXT, JSON, DOT };

static const char *const formats[] = {[TEXT] = "text", [JSON] = "json", [DOT] = "dot", NULL};

static bool group(const CallStats *stats, const Call *call, const char **text)
{
    text[CLIENT] = call_stats_end(stats, call, CALL_CLIENT);
    text[SERVER] = call_stats_end(stats, call, CALL_SERVER);
    text[PROTOCOL] = call->protocol;
    return true;
}

static void print_table(const GPtrArray *rows)
{
    Table *table = table_new("CLIENT", "SERVER", "PROTOCOL", COUNTS_TITLES, NULL);

    for (unsigned i = 0; i < rows->len; i++) {
        const CallRow *row = rows->pdata[i];

        for (unsigned j = 0; j <= PROTOCOL; j++)
            table_add(table, g_strdup(row->text[j] ? row->text[j] : "-"));
        counts_add_cells(table, &row->counts);
    }
    table_print(table);
}

static void print_json(const GPtrArray *rows)
{
    static const char *const names[] = {"client", "server", "protocol"};
    json_dumper json = {.output_file = stdout, .flags = JSON_DUMPER_FLAGS_PRETTY_PRINT};

    json_dumper_begin_array(&json);
    for (unsigned i = 0; i < rows->len; i++) {
        const CallRow *row = rows->pdata[i];

        json_dumper_begin_object(&json);
        for (unsigned j = 0; j <= PROTOCOL; j++) {
            json_dumper_set_member_name(&json, names[j]);
            json_dumper_value_string(&json, row->text[j]);
        }
        counts_print_json(&json, &row->counts);
        json_dumper_end_object(&json);
    }
    json_dumper_end_array(&json);
    json_dumper_finish(&json);
}

/* A text of the DOT language. */
static void print_quoted(const char *text)
{
    putchar('"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            putchar('\\');
        putchar(*text == '\n' ? ' ' : *text);
    }
    putchar('"');
}

static void print_dot(const GPtrArray *rows)
{
    printf("digraph calls {\n  rankdir=LR;\n  node [shape=box, style=rounded, "
           "fontname=\"sans-serif\"];\n"
           "  edge [fontname=\"sans-serif\", fontsize=10];\n");
    for (unsigned i = 0; i < rows->len; i++) {
        const CallRow *row = rows->pdata[i];
        const CallCounts *counts = &row->counts;
        g_autofree char *median = call_duration_text(latency_at(&counts->latency, 0.5));
        g_autofree char *label =
            g_strdup_printf("%s: %" PRIu64 ", %s", row->text[PROTOCOL], counts->calls, median);

        printf("  ");
        print_quoted(row->text[CLIENT]);
        printf(" -> ");
        print_quoted(row->text[SERVER]);
        printf(" [label=");
        print_quoted(label);
        printf("%s];\n", counts->errors ? ", color=red" : "");
    }
    printf("}\n");
}

static void print(const CallStats *stats, unsigned format)
{
    static void (*const printers[])(const GPtrArray *rows) = {
        [TEXT] = print_table, [JSON] = print_json, [DOT] = print_dot};
    g_autoptr(GPtrArray) rows = call_stats_rows(stats);

    printers[format](rows);
}

static void start(const char *argument, void *data _U_)
{
    static const CallReport report = {"k8s,map", formats, group, print};

    call_stats_start(argument, &report);
}

void map_report_register(void)
{
    static stat_tap_ui ui = {REGISTER_STAT_GROUP_GENERIC, "Service Map", "k8s,map", start, 0, NULL};

    register_stat_tap_ui(&ui, NULL);
}

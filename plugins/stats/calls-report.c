// SPDX-License-Identifier: GPL-2.0-or-later
/* -z k8s,calls: rate, errors and durations of each service's endpoints. */
#include "plugins/ws_compat.h"

#include "plugins/stats/reports.h"

#include <stdio.h>
#include <string.h>

#include <epan/stat_tap_ui.h>

#include <wsutil/json_dumper.h>

#include "plugins/calls/adapter.h"
#include "plugins/stats/call-stats.h"
#include "plugins/stats/counts-print.h"
#include "plugins/stats/table.h"

enum { SERVER, PROTOCOL, METHOD, TARGET };

enum { TEXT, CSV, JSON };

static const char *const formats[] = {[TEXT] = "text", [CSV] = "csv", [JSON] = "json", NULL};

/* Without what is asked of it: "/items?page=2" is "/items". */
static const char *endpoint(const char *target)
{
    size_t length = target ? strcspn(target, "?") : 0;
    g_autofree char *path = NULL;

    if (!target || !target[length] || target[0] != '/')
        return target;
    path = g_strndup(target, length);
    return call_keep_text(path);
}

static bool group(const CallStats *stats, const Call *call, const char **text)
{
    text[SERVER] = call_stats_end(stats, call, CALL_SERVER);
    text[PROTOCOL] = call->protocol;
    text[METHOD] = call->method;
    text[TARGET] = endpoint(call->target);
    return true;
}

static void print_table(const GPtrArray *rows)
{
    Table *table = table_new("SERVER", "PROTOCOL", "METHOD", "TARGET", COUNTS_TITLES, NULL);

    for (unsigned i = 0; i < rows->len; i++) {
        const CallRow *row = rows->pdata[i];

        for (unsigned j = 0; j < CALL_ROW_TEXTS; j++)
            table_add(table, g_strdup(row->text[j] ? row->text[j] : "-"));
        counts_add_cells(table, &row->counts);
    }
    table_print(table);
}

static void print_csv(const GPtrArray *rows)
{
    printf("server,protocol,method,target,%s\n", COUNTS_CSV_TITLES);
    for (unsigned i = 0; i < rows->len; i++) {
        const CallRow *row = rows->pdata[i];

        for (unsigned j = 0; j < CALL_ROW_TEXTS; j++) {
            csv_print(row->text[j]);
            putchar(',');
        }
        counts_print_csv(&row->counts);
    }
}

static void print_json(const GPtrArray *rows)
{
    static const char *const names[] = {"server", "protocol", "method", "target"};
    json_dumper json = {.output_file = stdout, .flags = JSON_DUMPER_FLAGS_PRETTY_PRINT};

    json_dumper_begin_array(&json);
    for (unsigned i = 0; i < rows->len; i++) {
        const CallRow *row = rows->pdata[i];

        json_dumper_begin_object(&json);
        for (unsigned j = 0; j < CALL_ROW_TEXTS; j++) {
            json_dumper_set_member_name(&json, names[j]);
            json_dumper_value_string(&json, row->text[j]);
        }
        counts_print_json(&json, &row->counts);
        json_dumper_end_object(&json);
    }
    json_dumper_end_array(&json);
    json_dumper_finish(&json);
}

static void print(const CallStats *stats, unsigned format)
{
    static void (*const printers[])(const GPtrArray *rows) = {
        [TEXT] = print_table, [CSV] = print_csv, [JSON] = print_json};
    g_autoptr(GPtrArray) rows = call_stats_rows(stats);

    printers[format](rows);
}

static void start(const char *argument, void *data _U_)
{
    static const CallReport report = {"k8s,calls", formats, group, print};

    call_stats_start(argument, &report);
}

void calls_report_register(void)
{
    static stat_tap_ui ui = {REGISTER_STAT_GROUP_GENERIC, "Calls", "k8s,calls", start, 0, NULL};

    register_stat_tap_ui(&ui, NULL);
}

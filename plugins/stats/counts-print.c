// SPDX-License-Identifier: GPL-2.0-or-later
#include "plugins/ws_compat.h"

#include "plugins/stats/counts-print.h"

#include <stdio.h>
#include <string.h>

static const double ranks[] = {0.5, 0.9, 0.99};

void counts_add_cells(Table *table, const CallCounts *counts)
{
    bool has_times = counts->latency.count > 0;

    table_add(table, g_strdup_printf("%" PRIu64, counts->calls));
    table_add(table, g_strdup_printf("%.1f", call_counts_rate(counts)));
    table_add(table, g_strdup_printf("%" PRIu64, counts->errors));
    table_add(table, g_strdup_printf("%" PRIu64, counts->unanswered + counts->pending));
    for (unsigned i = 0; i < G_N_ELEMENTS(ranks); i++)
        table_add(table, has_times ? call_duration_text(latency_at(&counts->latency, ranks[i]))
                                   : g_strdup("-"));
    table_add(table, has_times ? call_duration_text(counts->latency.most_ns) : g_strdup("-"));
    table_add(table, g_strdup_printf("%" PRIu64, counts->request_bytes + counts->response_bytes));
}

void csv_print(const char *text)
{
    if (!text)
        return;
    if (!strpbrk(text, ",\"\r\n")) {
        fputs(text, stdout);
        return;
    }
    putchar('"');
    for (; *text; text++) {
        if (*text == '"')
            putchar('"');
        putchar(*text);
    }
    putchar('"');
}

void counts_print_csv(const CallCounts *counts)
{
    printf("%" PRIu64 ",%.3f,%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64, counts->calls,
           call_counts_rate(counts), counts->errors, counts->unanswered, counts->pending,
           counts->no_request);
    for (unsigned i = 0; i < G_N_ELEMENTS(ranks); i++) {
        putchar(',');
        if (counts->latency.count)
            printf("%" PRId64, latency_at(&counts->latency, ranks[i]));
    }
    putchar(',');
    if (counts->latency.count)
        printf("%" PRId64, counts->latency.most_ns);
    printf(",%" PRIu64 ",%" PRIu64 "\n", counts->request_bytes, counts->response_bytes);
}

static void member(json_dumper *json, const char *name, uint64_t value)
{
    json_dumper_set_member_name(json, name);
    json_dumper_value_anyf(json, "%" PRIu64, value);
}

void counts_print_json(json_dumper *json, const CallCounts *counts)
{
    member(json, "calls", counts->calls);
    json_dumper_set_member_name(json, "rate");
    json_dumper_value_anyf(json, "%.3f", call_counts_rate(counts));
    member(json, "errors", counts->errors);
    member(json, "unanswered", counts->unanswered);
    member(json, "pending", counts->pending);
    member(json, "no_request", counts->no_request);
    if (counts->latency.count) {
        member(json, "p50_ns", (uint64_t)latency_at(&counts->latency, ranks[0]));
        member(json, "p90_ns", (uint64_t)latency_at(&counts->latency, ranks[1]));
        member(json, "p99_ns", (uint64_t)latency_at(&counts->latency, ranks[2]));
        member(json, "max_ns", (uint64_t)counts->latency.most_ns);
    }
    member(json, "request_bytes", counts->request_bytes);
    member(json, "response_bytes", counts->response_bytes);
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include "plugins/ws_compat.h"

#include "plugins/stats/call-stats.h"

#include <stdlib.h>
#include <string.h>

#include <epan/tap.h>

#include <wsutil/report_message.h>

#include "plugins/calls/adapter.h"
#include "plugins/calls/calls.h"
#include "k8s-enrich/identity-option.h"

#define ROWS_MAX 100000

/* ---- Rows ------------------------------------------------------------------------------------*/

static unsigned hash_row(const void *row)
{
    return wmem_strong_hash(row, offsetof(CallRow, counts));
}

static gboolean same_row(const void *a, const void *b)
{
    return memcmp(a, b, offsetof(CallRow, counts)) == 0;
}

static void free_row(void *data)
{
    CallRow *row = data;

    call_counts_clear(&row->counts);
    g_free(row);
}

static void add(CallStats *stats, const Call *call)
{
    CallRow wanted = {{NULL}, {0}}, *row;

    if (!stats->report->group(stats, call, wanted.text))
        return;
    row = g_hash_table_lookup(stats->rows, &wanted);
    if (!row) {
        if (g_hash_table_size(stats->rows) >= ROWS_MAX) {
            stats->left_out++;
            return;
        }
        row = g_new(CallRow, 1);
        *row = wanted;
        g_hash_table_add(stats->rows, row);
    }
    call_counts_add(&row->counts, call);
}

static int most_calls_first(const void *a, const void *b)
{
    const CallRow *one = *(CallRow *const *)a, *other = *(CallRow *const *)b;

    if (one->counts.calls != other->counts.calls)
        return one->counts.calls > other->counts.calls ? -1 : 1;
    for (unsigned i = 0; i < CALL_ROW_TEXTS; i++) {
        int order = g_strcmp0(one->text[i], other->text[i]);

        if (order != 0)
            return order;
    }
    return 0;
}

GPtrArray *call_stats_rows(const CallStats *stats)
{
    GPtrArray *rows = g_ptr_array_sized_new(g_hash_table_size(stats->rows));
    GHashTableIter at;
    void *row;

    g_hash_table_iter_init(&at, stats->rows);
    while (g_hash_table_iter_next(&at, &row, NULL))
        g_ptr_array_add(rows, row);
    g_ptr_array_sort(rows, most_calls_first);
    return rows;
}

/* ---- Ends ------------------------------------------------------------------------------------*/

static const char *first_of(const char *a, const char *b, const char *c)
{
    if (a)
        return a;
    return b ? b : c;
}

const char *call_stats_end(const CallStats *stats, const Call *call, CallSide side)
{
    const char *const *text = call->ends->text[side];
    const char *name = text[CALL_END_NAME] ? text[CALL_END_NAME] : call_keep_text("?");

    switch (stats->by) {
    case CALL_BY_NAMESPACE:
        return first_of(text[CALL_END_NAMESPACE], NULL, name);
    case CALL_BY_POD:
        return first_of(text[CALL_END_POD], NULL, name);
    case CALL_BY_SERVICE:
        return side == CALL_SERVER ? first_of(text[CALL_END_SERVICE], text[CALL_END_OWNER], name)
                                   : first_of(text[CALL_END_OWNER], NULL, name);
    case CALL_BY_NODE:
        return first_of(text[CALL_END_NODE], NULL, name);
    case CALL_BY_OWNER:
        break;
    }
    return first_of(text[CALL_END_OWNER], NULL, name);
}

/* ---- The tap ---------------------------------------------------------------------------------*/

static void reset(void *data)
{
    CallStats *stats = data;

    g_hash_table_remove_all(stats->rows);
    g_hash_table_remove_all(stats->pending);
    stats->left_out = 0;
}

static tap_packet_status take(void *data, packet_info *pinfo _U_, epan_dissect_t *edt _U_,
                              const void *tapped, tap_flags_t flags _U_)
{
    CallStats *stats = data;
    const CallHalf *half = tapped;

    if (half->ends) {
        g_hash_table_remove(stats->pending, half->call);
        add(stats, half->call);
    } else if (half->call->state == CALL_PENDING) {
        g_hash_table_add(stats->pending, half->call);
    }
    return TAP_PACKET_REDRAW;
}

static void draw(void *data)
{
    CallStats *stats = data;
    GHashTableIter at;
    void *call;

    g_hash_table_iter_init(&at, stats->pending);
    while (g_hash_table_iter_next(&at, &call, NULL))
        add(stats, call);
    g_hash_table_remove_all(stats->pending);
    stats->report->print(stats, stats->format);
}

static void finish(void *data)
{
    CallStats *stats = data;

    g_hash_table_unref(stats->rows);
    g_hash_table_unref(stats->pending);
    g_free(stats->filter);
    g_free(stats);
}

/* ---- The argument ----------------------------------------------------------------------------*/

static const char *const bys[] = {"owner", "namespace", "pod", "service", "node", NULL};

/* The place of `word` in `names`; ends the program if it has none. */
static unsigned choose(const CallReport *report, const char *option, const char *word,
                       const char *const *names)
{
    g_autofree char *all = NULL;

    for (unsigned i = 0; names[i]; i++) {
        if (strcmp(names[i], word) == 0)
            return i;
    }
    all = g_strjoinv(", ", (char **)names);
    report_failure("-z %s: %s=%s is not known; there are: %s", report->command, option, word, all);
    exit(1);
}

/* Options come first, and what is none of them begins the filter, which may have commas. */
static void parse(CallStats *stats, const char *argument)
{
    const char *at = argument + strlen(stats->report->command);

    while (*at == ',') {
        size_t length = strcspn(++at, ",");
        g_autofree char *word = g_strndup(at, length);

        if (g_str_has_prefix(word, "by="))
            stats->by = choose(stats->report, "by", word + 3, bys);
        else if (g_str_has_prefix(word, "format="))
            stats->format = choose(stats->report, "format", word + 7, stats->report->formats);
        else
            break;
        at += length;
    }
    if (*at && *at != ',')
        stats->filter = g_strdup(at);
}

void call_stats_start(const char *argument, const CallReport *report)
{
    CallStats *stats = g_new0(CallStats, 1);
    GString *error;

    stats->report = report;
    stats->rows = g_hash_table_new_full(hash_row, same_row, free_row, NULL);
    stats->pending = g_hash_table_new(NULL, NULL);
    parse(stats, argument);
    error = register_tap_listener(CALL_TAP, stats, stats->filter, TL_REQUIRES_PROTO_TREE, reset,
                                  take, draw, finish);
    if (error) {
        report_failure("-z %s: %s", report->command, error->str);
        g_string_free(error, TRUE);
        exit(1);
    }
}

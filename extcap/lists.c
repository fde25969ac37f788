// SPDX-License-Identifier: GPL-2.0-or-later
#include "extcap/lists.h"

#include <stdio.h>
#include <string.h>

#include "collector/collector.h"
#include "common/log.h"

#define ANSWER_NS (2 * (uint64_t)1000000000)
#define NAMES_MAX 8 /* in a sentence */

typedef Remora__V1__ListTargetsResponse Targets;
typedef Remora__V1__Target Target;

static void targets_free(gpointer targets)
{
    remora__v1__list_targets_response__free_unpacked(targets, NULL);
}

/* Answers of all endpoints that gave one; *ret_failed counts the others. The first failure is in
 * `error`, NULL: each is logged. */
static GPtrArray *ask_targets(const RemoradumpOptions *options, unsigned *ret_failed,
                              GError **error)
{
    GPtrArray *answers = g_ptr_array_new_with_free_func(targets_free);
    unsigned failed = 0;
    for (char **endpoint = options->endpoints; *endpoint; endpoint++) {
        g_autoptr(GError) problem = NULL;
        Targets *targets =
            collector_list_targets(*endpoint, options->insecure, ANSWER_NS, &problem);
        if (targets) {
            g_ptr_array_add(answers, targets);
            continue;
        }
        failed++;
        if (!error)
            log_error("%s", problem->message);
        else if (!*error)
            g_propagate_error(error, g_steal_pointer(&problem));
    }
    *ret_failed = failed;
    return answers;
}

static bool in_list(char **list, const char *name)
{
    return !list || !list[0] || g_strv_contains((const char *const *)list, name);
}

/* As TargetSelector in remora.proto has it, but for labels. */
static bool is_selected(const RemoradumpOptions *options, const Remora__V1__Entity *pod)
{
    if (!in_list(options->namespaces, pod->namespace_))
        return false;
    if (!options->pods || !options->pods[0])
        return true;
    g_autofree char *full = g_strconcat(pod->namespace_, "/", pod->name, NULL);
    for (char **pattern = options->pods; *pattern; pattern++) {
        if (g_pattern_match_simple(*pattern, strchr(*pattern, '/') ? full : pod->name))
            return true;
    }
    return false;
}

typedef void (*TargetFunction)(const Target *target, void *userdata);

static void each_target(GPtrArray *answers, TargetFunction function, void *userdata)
{
    for (guint i = 0; i < answers->len; i++) {
        const Targets *targets = answers->pdata[i];
        for (size_t k = 0; k < targets->n_targets; k++) {
            if (targets->targets[k]->entity)
                function(targets->targets[k], userdata);
        }
    }
}

/* ---- Tables ----------------------------------------------------------------------------------*/

/* Rows of cells as they were added; a column is as wide as its widest cell, and numbers stand to
 * the right. */
typedef struct Table {
    GPtrArray *cells; /* of char * */
    unsigned columns;
    const char *right; /* per column: 'r' or 'l' */
} Table;

static void table_init(Table *table, const char *alignment)
{
    table->cells = g_ptr_array_new_with_free_func(g_free);
    table->columns = (unsigned)strlen(alignment);
    table->right = alignment;
}

/* Names come from the network: none of them may move the terminal's cursor. */
static void table_add(Table *table, const char *text)
{
    char *cell = g_utf8_make_valid(text && *text ? text : "-", -1);
    for (char *c = cell; *c; c++) {
        if (g_ascii_iscntrl(*c))
            *c = '?';
    }
    g_ptr_array_add(table->cells, cell);
}

static void table_add_number(Table *table, uint64_t number)
{
    g_ptr_array_add(table->cells, g_strdup_printf("%" G_GUINT64_FORMAT, number));
}

static void table_print(Table *table)
{
    g_autofree glong *widths = g_new0(glong, table->columns);
    for (guint i = 0; i < table->cells->len; i++) {
        glong width = g_utf8_strlen(table->cells->pdata[i], -1);
        widths[i % table->columns] = MAX(widths[i % table->columns], width);
    }
    for (guint i = 0; i < table->cells->len; i++) {
        unsigned column = i % table->columns;
        const char *cell = table->cells->pdata[i];
        int padding = (int)(widths[column] - g_utf8_strlen(cell, -1));
        bool last = column + 1 == table->columns;
        if (table->right[column] == 'r')
            printf("%*s%s", padding, "", cell);
        else
            printf("%s%*s", cell, last ? 0 : padding, "");
        fputs(last ? "\n" : "  ", stdout);
    }
    g_ptr_array_unref(table->cells);
}

static const char *state_name(Remora__V1__TargetState state)
{
    switch (state) {
    case REMORA__V1__TARGET_STATE__TARGET_STATE_IDLE:
        return "idle";
    case REMORA__V1__TARGET_STATE__TARGET_STATE_CAPTURED:
        return "captured";
    case REMORA__V1__TARGET_STATE__TARGET_STATE_EXCLUDED:
        return "excluded";
    case REMORA__V1__TARGET_STATE__TARGET_STATE_FAILED:
        return "failed";
    case REMORA__V1__TARGET_STATE__TARGET_STATE_ABSENT:
        return "absent";
    default:
        return "unknown";
    }
}

typedef struct TargetTable {
    const RemoradumpOptions *options;
    Table table;
} TargetTable;

static void add_target(const Target *target, void *userdata)
{
    TargetTable *targets = userdata;
    const Remora__V1__Entity *pod = target->entity;
    if (!is_selected(targets->options, pod))
        return;
    g_autofree char *name = g_strconcat(pod->namespace_, "/", pod->name, NULL);
    table_add(&targets->table, target->node);
    table_add(&targets->table, name);
    table_add(&targets->table, state_name(target->state));
    table_add_number(&targets->table, target->packets);
    table_add_number(&targets->table, target->lost);
    table_add(&targets->table, target->reason);
}

bool lists_print_targets(const RemoradumpOptions *options)
{
    unsigned failed;
    g_autoptr(GPtrArray) answers = ask_targets(options, &failed, NULL);
    if (answers->len > 0) {
        static const char *const heads[] = {"NODE", "POD", "STATE", "PACKETS", "LOST", "REASON"};
        TargetTable targets = {.options = options};
        table_init(&targets.table, "lllrrl");
        for (size_t i = 0; i < G_N_ELEMENTS(heads); i++)
            table_add(&targets.table, heads[i]);
        each_target(answers, add_target, &targets);
        table_print(&targets.table);
    }
    return failed == 0;
}

static void print_status(const char *endpoint, const Remora__V1__GetStatusResponse *status)
{
    Table table;
    table_init(&table, "ll");
    table_add(&table, "endpoint");
    table_add(&table, endpoint);
    table_add(&table, "node");
    table_add(&table, status->node);
    table_add(&table, "cluster");
    table_add(&table, status->cluster);
    table_add(&table, "version");
    table_add(&table, status->version);
    table_add(&table, "seconds since start");
    table_add_number(&table,
                     (status->time_unix_ns - MIN(status->start_unix_ns, status->time_unix_ns)) /
                         1000000000);
    table_add(&table, "streams");
    table_add_number(&table, status->subscribers);
    table_add(&table, "pods known");
    table_add_number(&table, status->targets_known);
    table_add(&table, "pods captured");
    table_add_number(&table, status->targets_captured);
    table_add(&table, "bytes of rings");
    table_add_number(&table, status->ring_bytes);
    for (size_t i = 0; i < status->n_counters; i++) {
        table_add(&table, status->counters[i]->name);
        table_add_number(&table, status->counters[i]->value);
    }
    for (size_t i = 0; i < status->n_problems; i++) {
        g_autofree char *text =
            g_strdup_printf("%s: %s", status->problems[i]->subject, status->problems[i]->message);
        table_add(&table, "problem");
        table_add(&table, text);
    }
    table_print(&table);
}

bool lists_print_status(const RemoradumpOptions *options)
{
    bool ok = true;
    for (char **endpoint = options->endpoints; *endpoint; endpoint++) {
        g_autoptr(GError) error = NULL;
        Remora__V1__GetStatusResponse *status =
            collector_get_status(*endpoint, options->insecure, ANSWER_NS, &error);
        if (!status) {
            log_error("%s", error->message);
            ok = false;
            continue;
        }
        if (endpoint != options->endpoints)
            putchar('\n');
        print_status(*endpoint, status);
        remora__v1__get_status_response__free_unpacked(status, NULL);
    }
    return ok;
}

/* ---- Names -----------------------------------------------------------------------------------*/

typedef struct Names {
    const RemoradumpOptions *options;
    bool pods;
    GHashTable *set; /* of char *, owned */
} Names;

static void add_name(const Target *target, void *userdata)
{
    Names *names = userdata;
    const Remora__V1__Entity *pod = target->entity;
    if (!names->pods)
        g_hash_table_add(names->set, g_strdup(pod->namespace_));
    else if (in_list(names->options->namespaces, pod->namespace_))
        g_hash_table_add(names->set, g_strconcat(pod->namespace_, "/", pod->name, NULL));
}

static gint compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static GPtrArray *collect_names(const RemoradumpOptions *options, GPtrArray *answers, bool pods)
{
    g_autoptr(GHashTable) set = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    Names names = {.options = options, .pods = pods, .set = set};
    each_target(answers, add_name, &names);
    GPtrArray *list = g_ptr_array_new_with_free_func(g_free);
    GHashTableIter iter;
    gpointer name;
    g_hash_table_iter_init(&iter, set);
    while (g_hash_table_iter_next(&iter, &name, NULL)) {
        g_ptr_array_add(list, name);
        g_hash_table_iter_steal(&iter);
    }
    g_ptr_array_sort(list, compare_names);
    return list;
}

GPtrArray *lists_names(const RemoradumpOptions *options, bool pods, GError **error)
{
    unsigned failed;
    g_autoptr(GError) problem = NULL;
    g_autoptr(GPtrArray) answers = ask_targets(options, &failed, &problem);
    GPtrArray *names = collect_names(options, answers, pods);
    if (names->len > 0)
        return names;
    g_ptr_array_unref(names);
    if (problem)
        g_propagate_error(error, g_steal_pointer(&problem));
    else
        g_set_error(error, REMORADUMP_ERROR, REMORADUMP_ERROR_FAILED, "the nodes know no pods%s",
                    pods && options->namespaces ? " in this namespace" : "");
    return NULL;
}

static void match_target(const Target *target, void *userdata)
{
    Names *names = userdata;
    if (is_selected(names->options, target->entity))
        names->pods = true;
}

/* The answers of all nodes within ANSWER_NS altogether, or NULL: one that is missing could be the
 * one that matters, and the others are not worth waiting for. */
static GPtrArray *ask_all_targets(const RemoradumpOptions *options)
{
    g_autoptr(GPtrArray) answers = g_ptr_array_new_with_free_func(targets_free);
    gint64 end = g_get_monotonic_time() + ANSWER_NS / 1000;
    for (char **endpoint = options->endpoints; *endpoint; endpoint++) {
        gint64 left = end - g_get_monotonic_time();
        Targets *targets = left > 0 ? collector_list_targets(*endpoint, options->insecure,
                                                             (uint64_t)left * 1000, NULL)
                                    : NULL;
        if (!targets)
            return NULL;
        g_ptr_array_add(answers, targets);
    }
    return g_steal_pointer(&answers);
}

char *lists_nothing_matches(const RemoradumpOptions *options)
{
    if ((!options->namespaces || !options->namespaces[0]) && (!options->pods || !options->pods[0]))
        return NULL;
    g_autoptr(GPtrArray) answers = ask_all_targets(options);
    if (!answers)
        return NULL;
    Names found = {.options = options, .pods = false};
    each_target(answers, match_target, &found);
    if (found.pods)
        return NULL;

    g_autoptr(GPtrArray) known = collect_names(options, answers, false);
    g_autoptr(GString) list = g_string_new(NULL);
    for (guint i = 0; i < MIN(known->len, NAMES_MAX); i++)
        g_string_append_printf(list, "%s%s", i ? ", " : "", (const char *)known->pdata[i]);
    if (known->len > NAMES_MAX)
        g_string_append(list, ", ...");
    return g_strdup_printf(
        "no pod matches now; those that come later will be captured. Namespaces with pods on "
        "these nodes: %s. See remoradump --list-targets",
        list->len ? list->str : "none");
}

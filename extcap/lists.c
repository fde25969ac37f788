// SPDX-License-Identifier: GPL-2.0-or-later
#include "extcap/lists.h"

#include <stdio.h>
#include <string.h>

#include "collector/collector.h"
#include "common/log.h"
#include "extcap/ask.h"
#include "extcap/table.h"
#include "extcap/tls-table.h"

#define NAMES_MAX 8 /* in a sentence */

typedef Remora__V1__ListTargetsResponse Targets;
typedef Remora__V1__Target Target;
typedef Remora__V1__GetStatusResponse Status;

static gpointer ask_for_targets(const char *endpoint, bool insecure, uint64_t timeout_ns,
                                GError **error)
{
    return collector_list_targets(endpoint, insecure, timeout_ns, error);
}

static gpointer ask_for_status(const char *endpoint, bool insecure, uint64_t timeout_ns,
                               GError **error)
{
    return collector_get_status(endpoint, insecure, timeout_ns, error);
}

static void targets_free(gpointer targets)
{
    remora__v1__list_targets_response__free_unpacked(targets, NULL);
}

static void status_free(gpointer status)
{
    remora__v1__get_status_response__free_unpacked(status, NULL);
}

static const Question for_targets = {ask_for_targets, targets_free};
static const Question for_status = {ask_for_status, status_free};

/* The first error of the answers, or NULL. */
static const GError *first_error(GPtrArray *answers)
{
    for (guint i = 0; i < answers->len; i++) {
        const Answer *answer = answers->pdata[i];
        if (!answer->message)
            return answer->error;
    }
    return NULL;
}

static bool any_answer(GPtrArray *answers)
{
    for (guint i = 0; i < answers->len; i++) {
        if (((const Answer *)answers->pdata[i])->message)
            return true;
    }
    return false;
}

static void log_errors(GPtrArray *answers)
{
    for (guint i = 0; i < answers->len; i++) {
        const Answer *answer = answers->pdata[i];
        if (!answer->message)
            log_error("%s", answer->error->message);
    }
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

/* Each pod of each node once, also if the node has several addresses that were asked. */
static void each_target(GPtrArray *answers, TargetFunction function, void *userdata)
{
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    for (guint i = 0; i < answers->len; i++) {
        const Answer *answer = answers->pdata[i];
        const Targets *targets = answer->message;
        for (size_t k = 0; targets && k < targets->n_targets; k++) {
            const Target *target = targets->targets[k];
            const Remora__V1__Entity *pod = target->entity;
            if (pod &&
                g_hash_table_add(seen, g_strdup_printf("%s\n%s\n%s\n%s", target->node, pod->uid,
                                                       pod->namespace_, pod->name)))
                function(target, userdata);
        }
    }
}

/* ---- Pods ------------------------------------------------------------------------------------*/

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
    Table table, tls;
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
    tls_table_add(&targets->tls, target, name);
}

static void warn_of_left_out(GPtrArray *answers)
{
    guint left_out = 0;
    for (guint i = 0; i < answers->len; i++) {
        const Targets *targets = ((const Answer *)answers->pdata[i])->message;
        left_out += targets ? targets->targets_left_out : 0;
    }
    if (left_out)
        log_warning("%u pods are left out, as what is to be said of them has no room in an answer",
                    left_out);
}

bool lists_print_targets(const RemoradumpOptions *options)
{
    g_autoptr(GPtrArray) answers = ask_nodes(options, &for_targets, false);
    log_errors(answers);
    if (any_answer(answers)) {
        static const char *const heads[] = {"NODE", "POD", "STATE", "PACKETS", "LOST", "REASON"};
        TargetTable targets = {.options = options};
        table_init(&targets.table, "lllrrl");
        for (size_t i = 0; i < G_N_ELEMENTS(heads); i++)
            table_add(&targets.table, heads[i]);
        tls_table_init(&targets.tls);
        each_target(answers, add_target, &targets);
        table_print(&targets.table);
        tls_table_print(&targets.tls);
        warn_of_left_out(answers);
    }
    return !first_error(answers);
}

static void print_status(const char *endpoint, const Status *status)
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
    g_autoptr(GPtrArray) answers = ask_nodes(options, &for_status, false);
    /* A process that was asked at several of its addresses. */
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    bool is_first = true;
    log_errors(answers);
    for (guint i = 0; i < answers->len; i++) {
        const Answer *answer = answers->pdata[i];
        const Status *status = answer->message;
        if (!status || (*status->boot_id &&
                        !g_hash_table_add(seen, g_strdup_printf("%s\n%s\n%s", status->cluster,
                                                                status->node, status->boot_id))))
            continue;
        if (!is_first)
            putchar('\n');
        is_first = false;
        print_status(answer->endpoint, status);
    }
    return !first_error(answers);
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
    g_autoptr(GPtrArray) answers = ask_nodes(options, &for_targets, false);
    GPtrArray *names = collect_names(options, answers, pods);
    if (names->len > 0)
        return names;
    g_ptr_array_unref(names);
    const GError *problem = first_error(answers);
    if (problem)
        g_propagate_error(error, g_error_copy(problem));
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

char *lists_nothing_matches(const RemoradumpOptions *options)
{
    if ((!options->namespaces || !options->namespaces[0]) && (!options->pods || !options->pods[0]))
        return NULL;
    /* One that is missing could be the one that matters, and is not worth waiting for. */
    g_autoptr(GPtrArray) answers = ask_nodes(options, &for_targets, true);
    if (first_error(answers))
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

// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/server/tls-notices.h"

struct TlsNotices {
    char *node;
    GHashTable *told; /* stream id -> Told */
    /* All this as of the last run. */
    uint64_t generation, wishes;
    char *problem;
};

typedef struct Told {
    GHashTable *all;    /* a set of "subject\nmessage" */
    GHashTable *of_one; /* subject -> how many, GUINT_TO_POINTER */
} Told;

static Told *told_new(void)
{
    Told *told = g_new(Told, 1);
    told->all = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    told->of_one = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    return told;
}

static void told_free(void *data)
{
    Told *told = data;
    g_hash_table_unref(told->all);
    g_hash_table_unref(told->of_one);
    g_free(told);
}

TlsNotices *tls_notices_new(const char *node)
{
    TlsNotices *notices = g_new0(TlsNotices, 1);
    notices->node = g_strdup(node);
    notices->told = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, told_free);
    return notices;
}

TlsNotices *tls_notices_free(TlsNotices *notices)
{
    if (notices) {
        g_hash_table_unref(notices->told);
        g_free(notices->problem);
        g_free(notices->node);
        g_free(notices);
    }
    return NULL;
}

static Told *told_to(TlsNotices *notices, const Stream *stream)
{
    uint64_t id = stream_id(stream);
    Told *told = g_hash_table_lookup(notices->told, &id);
    if (!told) {
        told = told_new();
        g_hash_table_insert(notices->told, g_memdup2(&id, sizeof(id)), told);
    }
    return told;
}

static void tell(TlsNotices *notices, Stream *stream, const char *subject, const char *message)
{
    Told *told = told_to(notices, stream);
    g_autofree char *both = g_strdup_printf("%s\n%s", subject, message);
    guint count = GPOINTER_TO_UINT(g_hash_table_lookup(told->of_one, subject));
    if (g_hash_table_size(told->all) >= TLS_NOTICES_MAX || count >= TLS_NOTICES_OF_ONE ||
        g_hash_table_contains(told->all, both)) {
        return;
    }
    g_hash_table_add(told->all, g_steal_pointer(&both));
    g_hash_table_insert(told->of_one, g_strdup(subject), GUINT_TO_POINTER(count + 1));
    if (count + 1 == TLS_NOTICES_OF_ONE) {
        message =
            "no TLS secrets of further files, more than are told here; the list of targets has "
            "them";
    }
    Fact *fact = fact_notice(subject, message);
    if (fact) {
        queue_fact(stream_lock(stream), fact);
        stream_unlock(stream);
        fact_unref(fact);
    }
}

/* ---- Pods ------------------------------------------------------------------------------------*/

typedef struct Telling {
    TlsNotices *notices;
    const Pod *pod;
    const char *subject;
} Telling;

static void on_program(const TlsProgram *program, void *userdata)
{
    const Telling *telling = userdata;
    if (program->state == TLS_PROGRAM_HOOKED) {
        return;
    }
    g_autofree char *message = g_strdup_printf(
        "no TLS secrets of what runs %s: %s is %s%s%s", program->path, program->library,
        tls_program_state_name(program->state), *program->reason ? ": " : "", program->reason);
    for (guint i = 0; i < telling->pod->streams->len; i++) {
        Stream *stream = g_ptr_array_index(telling->pod->streams, i);
        if (stream_wish(stream)->tls & TLS_TAKE_KEYS) {
            tell(telling->notices, stream, telling->subject, message);
        }
    }
}

static void tell_of_pods(TlsNotices *notices, TlsPrograms *programs, const Capture *capture)
{
    GHashTableIter iter;
    const Pod *pod;
    g_hash_table_iter_init(&iter, capture_pods(capture));
    while (g_hash_table_iter_next(&iter, NULL, (void **)&pod)) {
        if (pod->netns_inode && pod->streams->len > 0) {
            g_autofree char *subject = pod_label(pod);
            Telling telling = {notices, pod, subject};
            tls_programs_list(programs, pod->netns_inode, on_program, &telling);
        }
    }
}

/* ---- All of it -------------------------------------------------------------------------------*/

static void tell_of_problem(TlsNotices *notices, const Capture *capture, const char *problem)
{
    g_autofree char *message = g_strdup_printf("no TLS secrets: %s", problem);
    const GPtrArray *streams = capture_streams(capture);
    for (guint i = 0; i < streams->len; i++) {
        Stream *stream = g_ptr_array_index(streams, i);
        if (stream_wish(stream)->tls & TLS_TAKE_KEYS) {
            tell(notices, stream, notices->node, message);
        }
    }
}

static void forget_closed(TlsNotices *notices, const Capture *capture)
{
    GHashTable *open = g_hash_table_new(g_int64_hash, g_int64_equal);
    const GPtrArray *streams = capture_streams(capture);
    g_autofree uint64_t *ids = g_new(uint64_t, streams->len + 1);
    for (guint i = 0; i < streams->len; i++) {
        ids[i] = stream_id(g_ptr_array_index(streams, i));
        g_hash_table_add(open, &ids[i]);
    }
    GHashTableIter iter;
    void *id;
    g_hash_table_iter_init(&iter, notices->told);
    while (g_hash_table_iter_next(&iter, &id, NULL)) {
        if (!g_hash_table_contains(open, id)) {
            g_hash_table_iter_remove(&iter);
        }
    }
    g_hash_table_unref(open);
}

void tls_notices_run(TlsNotices *notices, TlsPrograms *programs, const Capture *capture,
                     const char *problem)
{
    uint64_t wishes = capture_wishes(capture), generation = tls_programs_generation(programs);
    if (wishes == notices->wishes && generation == notices->generation &&
        g_strcmp0(problem, notices->problem) == 0) {
        return;
    }
    notices->wishes = wishes;
    notices->generation = generation;
    g_free(notices->problem);
    notices->problem = g_strdup(problem);
    forget_closed(notices, capture);
    if (problem) {
        tell_of_problem(notices, capture, problem);
    }
    tell_of_pods(notices, programs, capture);
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include "extcap/ask.h"

#include "collector/collector.h"

#define ANSWER_NS (2 * (uint64_t)1000000000)
#define AT_ONCE   16

typedef struct Asking {
    const RemoradumpOptions *options;
    Question question;
    gint64 end_us;
} Asking;

/* The array's own function knows no question. */
typedef struct OwnedAnswer {
    Answer answer;
    GDestroyNotify free;
} OwnedAnswer;

static void answer_free(gpointer data)
{
    OwnedAnswer *owned = data;
    if (owned->answer.message)
        owned->free(owned->answer.message);
    g_clear_error(&owned->answer.error);
    g_free(owned->answer.endpoint);
    g_free(owned);
}

static Answer *add_answer(GPtrArray *answers, const Question *question, const char *endpoint)
{
    OwnedAnswer *owned = g_new0(OwnedAnswer, 1);
    owned->answer.endpoint = g_strdup(endpoint);
    owned->free = question->free;
    g_ptr_array_add(answers, owned);
    return &owned->answer;
}

/* An answer still without a message for each node. */
static void find_nodes(const Asking *asking, GPtrArray *answers)
{
    const RemoradumpOptions *options = asking->options;
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    for (char **endpoint = options->endpoints; *endpoint; endpoint++) {
        g_autoptr(GError) error = NULL;
        g_auto(GStrv) nodes =
            collector_endpoint_nodes(*endpoint, options->insecure, ANSWER_NS, &error);
        if (!nodes)
            add_answer(answers, &asking->question, *endpoint)->error = g_steal_pointer(&error);
        for (char **node = nodes; node && *node; node++) {
            if (g_hash_table_add(seen, g_strdup(*node)))
                add_answer(answers, &asking->question, *node);
        }
    }
}

static void ask_one(gpointer data, gpointer userdata)
{
    Answer *answer = data;
    const Asking *asking = userdata;
    gint64 left_us = asking->end_us - g_get_monotonic_time();
    uint64_t timeout_ns = (uint64_t)CLAMP(left_us, 0, (gint64)(ANSWER_NS / 1000)) * 1000;
    answer->message = asking->question.ask(answer->endpoint, asking->options->insecure, timeout_ns,
                                           &answer->error);
}

GPtrArray *ask_nodes(const RemoradumpOptions *options, const Question *question, bool in_all)
{
    GPtrArray *answers = g_ptr_array_new_with_free_func(answer_free);
    Asking asking = {options, *question, G_MAXINT64};
    if (in_all)
        asking.end_us = g_get_monotonic_time() + (gint64)(ANSWER_NS / 1000);
    find_nodes(&asking, answers);
    GThreadPool *pool = g_thread_pool_new(ask_one, &asking, AT_ONCE, FALSE, NULL);
    for (guint i = 0; i < answers->len; i++) {
        Answer *answer = answers->pdata[i];
        if (!answer->error)
            g_thread_pool_push(pool, answer, NULL);
    }
    g_thread_pool_free(pool, FALSE, TRUE);
    return answers;
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/server/questions.h"

#include <errno.h>
#include <glib.h>

/* Shared by the thread that asks and the one that answers. */
typedef struct Question {
    GMutex mutex;
    GCond answered;
    bool done;
    Snapshot snapshot;
} Question;

struct Questions {
    GAsyncQueue *asked; /* of Question *, references */
};

static void question_clear(void *data)
{
    Question *question = data;
    g_mutex_clear(&question->mutex);
    g_cond_clear(&question->answered);
}

static void question_unref(void *question)
{
    g_atomic_rc_box_release_full(question, question_clear);
}

Questions *questions_new(void)
{
    Questions *questions = g_new0(Questions, 1);
    questions->asked = g_async_queue_new_full(question_unref);
    return questions;
}

Questions *questions_free(Questions *questions)
{
    g_async_queue_unref(questions->asked);
    g_free(questions);
    return NULL;
}

int questions_ask(Questions *questions, void (*wake)(void *userdata), void *userdata,
                  uint64_t timeout_ns, Snapshot *ret)
{
    Question *question = g_atomic_rc_box_new0(Question);
    g_mutex_init(&question->mutex);
    g_cond_init(&question->answered);
    int64_t deadline_us = g_get_monotonic_time() + (int64_t)(timeout_ns / 1000u);
    g_async_queue_push(questions->asked, g_atomic_rc_box_acquire(question));
    wake(userdata);

    g_mutex_lock(&question->mutex);
    while (!question->done &&
           g_cond_wait_until(&question->answered, &question->mutex, deadline_us)) {
    }
    bool done = question->done;
    if (done) {
        *ret = question->snapshot;
    }
    g_mutex_unlock(&question->mutex);
    question_unref(question);
    return done ? 0 : -ETIMEDOUT;
}

void questions_answer(Questions *questions, void (*take)(Snapshot *ret, void *userdata),
                      void *userdata)
{
    Question *question;
    while ((question = g_async_queue_try_pop(questions->asked))) {
        g_mutex_lock(&question->mutex);
        take(&question->snapshot, userdata);
        question->done = true;
        g_cond_signal(&question->answered);
        g_mutex_unlock(&question->mutex);
        question_unref(question);
    }
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* What other threads ask of the capture thread: a snapshot. Who asks may give up. */
#pragma once

#include "node-capture/server/snapshot.h"

typedef struct Questions Questions;

Questions *questions_new(void);
Questions *questions_free(Questions *questions); /* nobody asks any more; returns NULL */

/* Any thread but the one that answers, which `wake` has come to questions_answer(). 0; -ETIMEDOUT:
 * it did not in time. */
int questions_ask(Questions *questions, void (*wake)(void *userdata), void *userdata,
                  uint64_t timeout_ns, Snapshot *ret);
/* Answers what was asked so far. */
void questions_answer(Questions *questions, void (*take)(Snapshot *ret, void *userdata),
                      void *userdata);

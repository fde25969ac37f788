// SPDX-License-Identifier: GPL-2.0-or-later
/* One question to all nodes at the same time. */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "extcap/options.h"

typedef struct Answer {
    char *endpoint;   /* of the node, or the name that could not be resolved */
    gpointer message; /* NULL: there is none, and why */
    GError *error;
} Answer;

/* Asks one endpoint, and frees what it said. */
typedef struct Question {
    gpointer (*ask)(const char *endpoint, bool insecure, uint64_t timeout_ns, GError **error);
    GDestroyNotify free;
} Question;

/* The Answers of all endpoints, of names those of all their nodes, in the endpoints' order;
 * g_ptr_array_unref() frees. Each is waited for 2 s at most, and with `in_all` all of them
 * together. */
GPtrArray *ask_nodes(const RemoradumpOptions *options, const Question *question, bool in_all);

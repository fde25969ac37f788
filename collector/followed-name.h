// SPDX-License-Identifier: GPL-2.0-or-later
/* An endpoint dns:///NAME[:PORT]: asked for again and again, for its addresses are the nodes. Only
 * answers count: while no name server gives one, and until it has said twice in a row that there
 * are no addresses, the last ones are still true. Internal to the collector; one thread. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "collector/resolve.h"

#define FOLLOWED_NAME_NODES_MAX 1024u /* addresses of a name that are used */
#define FOLLOWED_NAME_SILENCE   "no name server gives an answer"
#define FOLLOWED_NAME_ADVICE                                                                     \
    "Is the name right, is its service a headless one, and does this machine ask the cluster's " \
    "DNS?"

typedef struct FollowedName {
    char *endpoint; /* as it was given */
    char *name;
    uint16_t port;
    Resolver resolver;
    uint64_t interval_ns; /* between questions, and at random up to as much again */
    Lookup *lookup;       /* under way, or NULL */
    uint64_t asked_ns, next_ns;
    GPtrArray *nodes;  /* of char *, "10.0.0.1:7470": what the name stands for */
    GHashTable *set;   /* the same, to find one */
    bool has_answered; /* with addresses, once at least */
    unsigned failures; /* since the last answer with addresses */
    unsigned denials;  /* times in a row that there are none */
    unsigned left_out; /* addresses beyond FOLLOWED_NAME_NODES_MAX */
    char *problem;     /* of the last lookup; NULL: it went well, or none has ended as yet */

    /* The collector's own. */
    bool holds;            /* the others wait for its first answer ... */
    uint32_t merge_stream; /* ... as for this stream */
    char *told; /* of the problems the last that was told; NULL: none since it went well */
} FollowedName;

typedef enum FollowedNameNews {
    FOLLOWED_NAME_NO_NEWS,
    FOLLOWED_NAME_ANSWER,  /* `nodes` are what they are now */
    FOLLOWED_NAME_PROBLEM, /* `problem` says which; `nodes` may be none now */
} FollowedNameNews;

/* EINVAL and EPERM as rpc_name_parse(). `interval_ns` 0: 5 s. Never blocks. */
FollowedName *followed_name_new(const char *endpoint, bool insecure, const Resolver *resolver,
                                uint64_t interval_ns, GError **error);
FollowedName *followed_name_free(FollowedName *name); /* NULL is fine; returns NULL */
/* Asks if it is time to, and takes what was answered. `random` is 0..1. */
FollowedNameNews followed_name_tend(FollowedName *name, uint64_t now_ns, double random);
/* Something has changed there: asks soon. */
void followed_name_hurry(FollowedName *name, uint64_t now_ns);
bool followed_name_has(const FollowedName *name, const char *node);

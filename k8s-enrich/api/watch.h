// SPDX-License-Identifier: GPL-2.0-or-later
/* The cluster as the API server tells it: namespaces, nodes, services, endpoint slices and pods,
 * listed and then watched; and the Jobs that pods belong to, one by one.
 *
 * An ApiWatch runs a thread of its own, which talks to the server and makes entities; they are
 * handed over by a queue, and the callbacks come on the thread that calls api_watch_dispatch(),
 * inside it. Whatever fails is tried again for as long as the watch lives; what was known stays in
 * force and is marked by a problem that says since when. docs/kubernetes-api.md has it in full. */
#pragma once

#include <stdint.h>

#include "k8s-enrich/api/config.h"
#include "k8s-enrich/api/resource.h"

typedef struct ApiScope {
    const char *node_name; /* only pods of this node; NULL: all pods of the cluster */
    /* 0: the default. */
    unsigned watch_s; /* how long a watch is asked to last: 300 to 600, drawn anew each time */
    unsigned stall_s; /* how long a server may be silent where it ought to answer: 30 */
    unsigned refused_retry_s; /* at most, after 403 and 404: 60 */
} ApiScope;

typedef struct ApiCallbacks {
    /* Something known, changed or gone (deleted_ns != 0). What is known when the watch first sees
     * it is valid since its own time; a change is valid since it arrived. A pod's owner may be
     * corrected: then from_ns is that of before. */
    void (*identity)(const Entity *entity, uint64_t deleted_ns, void *userdata);
    /* Once: everything that can be listed has been. What is refused (403, 404) is not waited for.
     */
    void (*synced)(void *userdata);
    /* Something is wrong (subject, message), or well again (message NULL). */
    void (*problem)(const char *subject, const char *message, void *userdata);
} ApiCallbacks;

typedef struct ApiResourceStats {
    const char *name;
    uint64_t objects;            /* known now */
    uint64_t last_event_unix_ns; /* 0: never heard of */
    uint64_t stale_unix_ns;      /* since when it is; 0: it is not */
} ApiResourceStats;

typedef struct ApiWatchStats {
    uint64_t lists, watches, gets, events, errors, relists, malformed, bytes;
    ApiResourceStats resources[API_RESOURCE_WATCHED];
} ApiWatchStats;

typedef struct ApiWatch ApiWatch;

/* Takes a reference to `config` and copies the rest but `callbacks`, which must outlive the watch.
 * NULL with an error if the system refuses a thread or descriptor; the server is not asked yet. */
ApiWatch *api_watch_new(const ApiConfig *config, const ApiScope *scope,
                        const ApiCallbacks *callbacks, void *userdata, GError **error);
/* Ends the thread, which takes no longer than it needs to notice. NULL is fine; returns NULL. */
ApiWatch *api_watch_free(ApiWatch *watch);
/* Something shows that the server is there, though it may have failed before: what waits after a
 * failure asks at once, but not twice in half a second, nor before a time that the server named. If
 * that fails too, times between tries begin to double anew. */
void api_watch_hurry(ApiWatch *watch);
/* Poll for reading, then dispatch. */
int api_watch_fd(const ApiWatch *watch);
/* A slice of what is there; the descriptor stays readable while there is more. */
void api_watch_dispatch(ApiWatch *watch);
/* From any thread. */
void api_watch_stats(const ApiWatch *watch, ApiWatchStats *ret);

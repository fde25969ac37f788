// SPDX-License-Identifier: GPL-2.0-or-later
/* Which pods there are on this node, where their network namespaces are, and what else is known of
 * the cluster.
 *
 * A backend is a vtable: `static` (an inventory file; pods mapped to namespaces by annotation),
 * `kubernetes` (kubernetes.h), and a fake for tests. Callbacks come on the thread that calls
 * dispatch(), inside it. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "k8s-enrich/inventory.h"

#define TARGETS_AT_ONCE UINT64_MAX

typedef struct TargetsCallbacks {
    /* A pod of this node with an open namespace. netns_fd is borrowed. The pod's identity() has
     * come before. `since_ns`: its packets may have passed unseen from then on, because the
     * namespace was there before we knew of the pod; 0: nobody knows since when; TARGETS_AT_ONCE:
     * it was noticed as it came into being. */
    void (*appeared)(const Entity *pod, int netns_fd, uint64_t since_ns, void *userdata);
    void (*vanished)(const char *pod_uid, void *userdata);
    /* A pod that cannot be captured now, and why; again when the reason changes; appeared() takes
     * it back. */
    void (*failed)(const Entity *pod, const char *reason, void *userdata);
    /* A pod that nothing is captured of through nobody's fault, and why (a constant); again when
     * the reason changes; appeared() takes it back. `excluded`: it is left out for what it is; else
     * it does not run: not yet, or no longer. */
    void (*left_out)(const Entity *pod, bool excluded, const char *reason, void *userdata);
    /* Something known, changed or gone (deleted_ns != 0). */
    void (*identity)(const Entity *entity, uint64_t deleted_ns, void *userdata);
    /* The initial state is complete. */
    void (*synced)(void *userdata);
    /* Something is wrong (subject, message), or well again (message NULL). */
    void (*problem)(const char *subject, const char *message, void *userdata);
} TargetsCallbacks;

/* A pod that so far is known by its uid alone: it has no namespace and no labels; its name is the
 * uid. The real one comes by identity(). */
static inline bool entity_is_provisional(const Entity *pod)
{
    return *pod->namespace_name == '\0';
}

/* What the API server was asked for and what came of it, and what the kernel told of processes and
 * their control groups, since the start. */
typedef struct TargetsStats {
    uint64_t api_lists, api_watches, api_events, api_errors;
    uint64_t api_expired; /* answers 410 Gone: what was known was too old to go on from */
    uint64_t process_events, process_events_skipped, process_events_lost;
} TargetsStats;

typedef struct Targets Targets;
typedef struct TargetsOps {
    const char *name;
    void (*free)(Targets *targets);
    int (*fd)(const Targets *targets); /* poll for reading; then dispatch; -1: none */
    void (*dispatch)(Targets *targets);
    void (*stats)(const Targets *targets, TargetsStats *ret); /* NULL: it asks nobody */
} TargetsOps;
struct Targets {
    const TargetsOps *ops;
};

/* Follows `path`, written anew or replaced by rename; a broken new version is reported and the old
 * state stays. A network namespace whose path does not exist yet is followed as well, and one that
 * is made anew has vanished and appeared. The file is read here (NULL with error if that fails),
 * and told by the first dispatch: fd() is readable at once. */
Targets *targets_static_new(const char *path, const char *node_name,
                            const TargetsCallbacks *callbacks, void *userdata, GError **error);

/* ---- Selection -------------------------------------------------------------------------------*/

#define SELECTOR_ERROR (selector_error_quark())
GQuark selector_error_quark(void);
enum { SELECTOR_ERROR_SYNTAX, SELECTOR_ERROR_LIMIT };

/* Which pods somebody wants: a compiled TargetSelector. May be shared between threads. */
typedef struct Selector Selector;
/* NULL with error (names the part that cannot be parsed) for a bad pattern or label selector. proto
 * may be NULL: all pods. */
Selector *selector_new(const Remora__V1__TargetSelector *proto, GError **error);
Selector *selector_free(Selector *selector);
bool selector_matches(const Selector *selector, const Entity *pod);

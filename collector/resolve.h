// SPDX-License-Identifier: GPL-2.0-or-later
/* Names to addresses, in the background. Who looks names up is a backend: the system, or a test's
 * own. */
#pragma once

#include <gio/gio.h>
#include <stdbool.h>
#include <stdint.h>

/* A backend. */
typedef struct Resolver {
    /* All addresses of the name, IPv4 and IPv6, as numbers; NULL-terminated, g_strfreev() frees.
     * Blocks, on a thread of its own; soon returns once it is cancelled. Errors are
     * G_RESOLVER_ERROR's: NOT_FOUND says that the name has no addresses, all others that nothing is
     * known of it. */
    char **(*lookup)(void *userdata, const char *name, GCancellable *cancellable, GError **error);
    void *userdata;
} Resolver;

extern const Resolver resolver_system;

/* One question, under way or answered. */
typedef struct Lookup Lookup;

Lookup *lookup_start(const Resolver *resolver, const char *name);
/* Waits for the answer, `timeout_ns` at most; whether it is there. */
bool lookup_wait(Lookup *lookup, uint64_t timeout_ns);
/* The answer, once; NULL with the error set if there is none. Only after lookup_wait(). */
char **lookup_take(Lookup *lookup, GError **error);
Lookup *lookup_free(Lookup *lookup); /* cancels what is under way; NULL is fine */

/* What a person should read of a failed lookup: "the name is not known". */
const char *resolve_problem(const GError *error);

/* Those of an answer that a node can have, each once, sorted, `max` at most; *ret_left_out counts
 * what is beyond. An answer is whatever a name server liked to say. NULL-terminated, g_strfreev()
 * frees. */
char **resolve_usable(char *const *addresses, unsigned max, unsigned *ret_left_out);

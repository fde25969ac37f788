// SPDX-License-Identifier: GPL-2.0-or-later
/* Hooks where programs read from TLS connections and write to them: attaches the BPF program to
 * points that the finder found, and hands out the bytes. One thread. */
#pragma once

#include "node-capture/tls/hooks.h"
#include "node-capture/tls/keys.h"

typedef struct PlaintextHooks PlaintextHooks;

/* Valid during the call. */
typedef void (*PlaintextCallback)(void *userdata, const TlsPlaintext *plaintext);

typedef struct PlaintextCounters {
    uint64_t taken, lost, unreadable; /* bytes; see bpf/plaintext.bpf.c */
    uint64_t passed;                  /* calls */
} PlaintextCounters;

/* Loads the program (Linux 6.3, for the tracepoints of sockets). `keys`, which must live as long,
 * knows which connections have told their secrets. 0, or -errno with *ret_message for people (to be
 * freed). */
int plaintext_hooks_new(const TlsHooks *keys, PlaintextCallback callback, void *userdata,
                        PlaintextHooks **ret, char **ret_message);
/* Detaches everything. NULL is fine; returns NULL. */
PlaintextHooks *plaintext_hooks_free(PlaintextHooks *hooks);

/* Attaches to all points of a file, by its inode, whatever path it has opened; `fd` is used during
 * the call only. 0; -EEXIST: the file is hooked, *ret_hook is it; -EINVAL: there are no points;
 * else what the kernel says. */
int plaintext_hooks_attach(PlaintextHooks *hooks, int fd, const TlsPoints *points,
                           uint64_t *ret_hook);
/* -ENOENT: there is no such hook. */
int plaintext_hooks_detach(PlaintextHooks *hooks, uint64_t hook);

/* What is taken of processes in a network namespace: bits of TlsTake, of which those of plaintext
 * count; none to begin with. 0, or -errno. */
int plaintext_hooks_set_netns(PlaintextHooks *hooks, const TlsWanted *wanted);

/* plaintext_hooks_dispatch() calls back for what there is, and leaves some for the next time if
 * there is much. Readable when there is much: for little, call it every few milliseconds. */
int plaintext_hooks_fd(const PlaintextHooks *hooks);
void plaintext_hooks_dispatch(PlaintextHooks *hooks);
void plaintext_hooks_counters(const PlaintextHooks *hooks, PlaintextCounters *ret);

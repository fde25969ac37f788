// SPDX-License-Identifier: GPL-2.0-or-later
/* The insides of the source of secrets and plaintext that hooks processes: keys-kernel.c (its life,
 * its thread, what is wanted) and keys-kernel-processes.c (which processes run what). */
#pragma once

#include <glib.h>
#include <sys/types.h>

#include "node-capture/tls/hooked-files.h"
#include "node-capture/tls/key-lines.h"
#include "node-capture/tls/keys.h"
#include "node-capture/tls/mappings.h"
#include "node-capture/tls/seen-randoms.h"
#include "node-capture/tls/wire-randoms.h"
#include "node-capture/tls/wire-sockets.h"

typedef struct Kernel {
    TlsKeys keys;
    const TlsKeysCallbacks *callbacks;
    void *userdata;
    GThread *thread;
    int wake_fd, proc_fd;
    KnownChains *chains; /* for as long as this lives */
    SeenRandoms *seen;

    GMutex lock;    /* of these */
    GArray *wanted; /* of TlsWanted: what was asked for, if it was since the last look; else NULL */
    bool stop;
    TlsHooks *counted; /* `hooks`, to be asked what it counts */
    PlaintextHooks *counted_plaintext;
    TlsKeysStats stats; /* of what was unloaded, and what the thread counts */

    /* The thread's. */
    GHashTable *namespaces; /* a set of TlsWanted, by its first member */
    TlsHooks *hooks;        /* these six while a namespace is wanted, else NULL */
    HookedFiles *files;
    Mappings *mappings;
    KeyLines *lines;
    WireRandoms *randoms;
    WireSockets *sockets;
    uint64_t unknown;          /* of wire_sockets_unknown(), what is in `stats` */
    PlaintextHooks *plaintext; /* while it is wanted in one of them, else NULL */
    GHashTable
        *settled; /* MappedId -> its file's number: needs no further look when mapped again */
    uint64_t sweep_ns, tend_ns; /* monotonic */
    uint64_t gather_ns;         /* monotonic: up to here nobody looks for further secrets */
    uint64_t generation;        /* of the programs, as was told */
    bool unfinished; /* the last look at processes, as something else was wanted meanwhile */
    bool told, told_plaintext; /* a problem */
} Kernel;

/* ---- keys-kernel.c */

/* Something else is wanted by now. */
bool keys_kernel_is_interrupted(Kernel *self);
void keys_kernel_tell_taken(void *self);

/* ---- keys-kernel-processes.c */

/* Hooks what the processes of the wanted namespaces run. */
void keys_kernel_look_at_all(Kernel *self);
/* A MappingsCallback. */
void keys_kernel_on_mapping(pid_t pid, const MappedId *id, const char *path, void *self);
/* A TlsProgramsThere: whether the process is still in that namespace. */
bool keys_kernel_is_there(uint64_t netns_inode, pid_t pid, void *self);
/* MappedId -> uint64_t, see Kernel.settled. */
GHashTable *keys_kernel_settled_new(void);

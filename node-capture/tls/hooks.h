// SPDX-License-Identifier: GPL-2.0-or-later
/* Hooks on key-log functions: attaches the BPF program to what the finder found, and hands out the
 * secrets. One thread. */
#pragma once

#include "node-capture/tls/finder.h"
#include "node-capture/tls/random-search.h"

typedef struct TlsHooks TlsHooks;

/* What one call of a key-log function gave: a line of a key log. Valid during the callback. */
typedef struct TlsSecret {
    uint64_t time_ns;     /* monotonic */
    uint64_t netns_inode; /* of the process's network namespace */
    uint32_t pid;         /* thread group, in the first PID namespace */
    uint64_t hook;        /* as tls_hooks_attach() gave it */
    const char *label;    /* ends with a zero byte, too */
    size_t label_length;
    const uint8_t *random; /* 32 bytes */
    const uint8_t *secret;
    size_t secret_length;
} TlsSecret;

typedef void (*TlsSecretCallback)(void *userdata, const TlsSecret *secret);

typedef struct TlsHooksCounters {
    uint64_t taken, lost, passed, unreadable; /* as the program counts, see bpf/tls.bpf.c */
} TlsHooksCounters;

/* Loads the program. 0, or -errno with *ret_message for people (to be freed). */
int tls_hooks_new(TlsSecretCallback callback, void *userdata, TlsHooks **ret, char **ret_message);
/* Detaches everything. NULL does nothing. */
void tls_hooks_free(TlsHooks *hooks);

/* Attaches to a file, by its inode: every process that runs its code from now on is hooked,
 * whatever path it has opened. `fd` is used during the call only. 0; -EEXIST: that function of that
 * inode has a hook, *ret_hook is it; -EINVAL: the verdict is not TLS_HOOKED, or the random is not
 * known; -ENOSPC: too many; else what the kernel says. */
int tls_hooks_attach(TlsHooks *hooks, int fd, TlsArch arch, const TlsImplementation *found,
                     uint64_t *ret_hook);
/* -ENOENT: there is no such hook. */
int tls_hooks_detach(TlsHooks *hooks, uint64_t hook);

/* Attaches to a function whose verdict is TLS_HOOKED, but of which it is not known where the client
 * random is. It gives no secrets, but copies of sessions, of which TLS_HOOKS_SAMPLES_EACH wait to
 * be looked at. `place`: below TLS_HOOKS_SAMPLING, of no other hook. Else as tls_hooks_attach(). */
#define TLS_HOOKS_SAMPLING     8u
#define TLS_HOOKS_SAMPLES_EACH 2u
#define TLS_HOOKS_SAMPLES      (TLS_HOOKS_SAMPLING * TLS_HOOKS_SAMPLES_EACH)
int tls_hooks_attach_sampling(TlsHooks *hooks, int fd, TlsArch arch, const TlsImplementation *found,
                              unsigned place, uint64_t *ret_hook);

typedef struct TlsSample {
    uint64_t hook, netns_inode;
    uint64_t time_ns;  /* monotonic */
    RandomSample copy; /* valid until it is wiped */
} TlsSample;

/* Number `number` of TLS_HOOKS_SAMPLES; false: there is none now. */
bool tls_hooks_sample(TlsHooks *hooks, unsigned number, TlsSample *ret);
/* Once it was looked at. Makes room for another one. */
void tls_hooks_wipe_sample(TlsHooks *hooks, unsigned number);
bool tls_hooks_has_samples(TlsHooks *hooks); /* or one is being made */

/* Whose secrets are taken: of processes in these network namespaces; none to begin with. 0, or
 * -errno. */
int tls_hooks_add_netns(TlsHooks *hooks, uint64_t inode);
int tls_hooks_remove_netns(TlsHooks *hooks, uint64_t inode);

/* Maps that are shared with the program that takes plaintext (bpf/sessions.bpf.h); borrowed. */
int tls_hooks_sessions_fd(const TlsHooks *hooks);
int tls_hooks_handshakes_fd(const TlsHooks *hooks);

/* Readable when there are secrets; then tls_hooks_dispatch() calls back for each. */
int tls_hooks_fd(const TlsHooks *hooks);
void tls_hooks_dispatch(TlsHooks *hooks);
void tls_hooks_counters(const TlsHooks *hooks, TlsHooksCounters *ret);

// SPDX-License-Identifier: GPL-2.0-or-later
/* Where the secrets of TLS connections, and what goes through them, come from: hooks in the
 * processes of pods, or a fake. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node-capture/tls/programs.h"

#define TLS_KEYS_LINES_MAX 3840u         /* bytes of lines told at once */
#define TLS_KEYS_SUBJECT   "TLS secrets" /* of problems */
#define TLS_KEYS_RANDOM    32u           /* bytes of a client random */

typedef struct TlsKeys TlsKeys;

/* What is taken of the processes in a network namespace, as bits. */
typedef enum TlsTake {
    TLS_TAKE_KEYS = 1,            /* secrets */
    TLS_TAKE_PLAINTEXT_REST = 2,  /* plaintext of connections whose secrets cannot be had */
    TLS_TAKE_PLAINTEXT_EVERY = 4, /* plaintext of every connection */
} TlsTake;

typedef struct TlsWanted {
    uint64_t netns_inode;
    unsigned take; /* TlsTake, at least one */
    /* Monotonic: secrets that were told before cannot be had any more, by somebody who has come
     * since; so the rest is also that of their connections. */
    uint64_t rest_since_ns;
} TlsWanted;

/* One end of a connection. */
typedef struct TlsAddress {
    uint8_t bytes[16]; /* network order; the first 4 where the connection is IPv4 */
    uint16_t port;
} TlsAddress;

/* The beginning of a TLS connection, as it was captured. */
typedef struct TlsSeenHello {
    uint64_t netns_inode, time_unix_ns;
    bool has_random;   /* else: something began, or was lost, whose random cannot be seen; and the
                          rest is not set */
    bool may_be_outer; /* the connection's random may be another one (Encrypted ClientHello) */
    uint8_t random[TLS_KEYS_RANDOM];
    uint8_t family; /* AF_INET, AF_INET6 */
    TlsAddress client, server;
} TlsSeenHello;

typedef enum TlsDirection { TLS_READ, TLS_WRITTEN } TlsDirection;

/* Bytes that a process has read from a TLS connection, or written to it, before they were
 * encrypted. Those of one direction come in order; where some were lost, `offset` shows it. */
typedef struct TlsPlaintext {
    uint64_t connection; /* unique for the source's life */
    uint64_t netns_inode;
    uint32_t pid;          /* thread group, in the first PID namespace */
    uint64_t time_unix_ns; /* of the call */
    TlsDirection direction;
    uint64_t secrets_ns; /* monotonic: when the secrets of this connection were told; 0: never */
    bool is_server; /* the process is the one that was connected to; meaningful if family is set */
    bool has_role;  /* the session was given its role: is_server is set, whatever family is */
    uint8_t family; /* AF_INET, AF_INET6; 0: which socket it uses is not known */
    TlsAddress local, remote; /* of its socket */
    uint64_t offset; /* bytes of that direction before these, since the connection's first */
    bool skipped;    /* some of these were left out, as nobody wanted them */
    bool from_start; /* offset 0 is the connection's first byte; else what came before the hook is
                        not known */
    bool end;        /* nothing more comes of either direction; `length` is 0 */
    const uint8_t *data;
    size_t length;
    const uint8_t *random; /* TLS_KEYS_RANDOM bytes, the client's, or NULL; only if family is 0 */
} TlsPlaintext;

typedef struct TlsKeysCallbacks {
    /* Lines of a key log (https://www.ietf.org/archive/id/draft-ietf-tls-keylogfile-02.html), each
     * with its newline, TLS_KEYS_LINES_MAX bytes at most, of a process in that network namespace.
     * `time_unix_ns`: when the first of them was made. Each line is told once. */
    void (*secrets)(uint64_t netns_inode, uint64_t time_unix_ns, const char *lines, size_t length,
                    void *userdata);
    /* Valid during the call. */
    void (*plaintext)(const TlsPlaintext *plaintext, void *userdata);
    /* Something is wrong, or well again (message NULL). */
    void (*problem)(const char *subject, const char *message, void *userdata);
    /* tls_programs_generation() of TlsKeys.programs has changed. May be NULL. */
    void (*programs)(void *userdata);
} TlsKeysCallbacks;

typedef struct TlsKeysStats {
    uint64_t taken, lost, passed, unreadable; /* as the program counts, see bpf/tls.bpf.c */
    /* Of plaintext: bytes, but `passed`, which are calls; see bpf/plaintext.bpf.c. */
    uint64_t plaintext_taken, plaintext_lost, plaintext_passed, plaintext_unreadable;
    uint64_t plaintext_unknown; /* connections whose socket was not found */
    uint64_t mappings_lost; /* files that processes mapped: all processes were looked at again */
    uint64_t withdrawn;     /* files whose hooks were taken out for what they gave */
    unsigned hooked_files;  /* now */
} TlsKeysStats;

typedef struct TlsKeysOps {
    const char *name;
    void (*free)(TlsKeys *keys); /* nothing is hooked any more, and no callback comes after it */
    /* The network namespaces of whose processes something is wanted from now on, in place of those
     * before; none: nothing stays hooked. Any thread; does not wait. */
    void (*follow)(TlsKeys *keys, const TlsWanted *wanted, size_t count);
    /* A ClientHello was captured in a namespace that is followed. Any thread; does not wait. */
    void (*saw_hello)(TlsKeys *keys, const TlsSeenHello *hello);
    void (*stats)(TlsKeys *keys, TlsKeysStats *ret); /* any thread */
} TlsKeysOps;

/* Callbacks come on a thread of the source's own. */
struct TlsKeys {
    const TlsKeysOps *ops;
    /* What processes of the namespaces that are followed run; any thread may ask. */
    TlsPrograms *programs;
};

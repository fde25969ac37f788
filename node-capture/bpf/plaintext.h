/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* What the BPF program that takes plaintext is told of a function, and what it tells. */
#pragma once

#include <linux/types.h>

/* With less than PLAINTEXT_WAKE_BYTES in the ring nobody is woken: it is polled. */
#define PLAINTEXT_RING_BYTES  (16 * 1024 * 1024)
#define PLAINTEXT_WAKE_BYTES  (256 * 1024)
#define PLAINTEXT_CONNECTIONS 16384 /* followed at the same time; the longest unused go first */
#define PLAINTEXT_NAMESPACES  16384
#define PLAINTEXT_CHUNK       16384 /* bytes told at once: a TLS record */

/* A probe's cookie is the TlsPointKind of tls/point-kinds.h, and this. */
#define PLAINTEXT_KIND          0xff
#define PLAINTEXT_ON_STACK      0x100 /* Go: arguments and results are on the stack */
#define PLAINTEXT_BY_DESCRIPTOR 0x800 /* NSS: see TlsPoint */
/* The way from the session to its client random: how many steps (0: not known), and from here on
 * their offsets, 16 bits each. All but the last are followed. */
#define PLAINTEXT_STEPS_SHIFT  9
#define PLAINTEXT_STEPS_MAX    3
#define PLAINTEXT_OFFSET_SHIFT 16
#define PLAINTEXT_OFFSET_BITS  16

enum {
    PLAINTEXT_DATA,
    PLAINTEXT_END,  /* of a connection that was told of */
    PLAINTEXT_EXIT, /* the process has ended, or runs another program: so have its connections */
};

enum { PLAINTEXT_READ, PLAINTEXT_WRITTEN };

enum {
    PLAINTEXT_FROM_START = 1, /* its first byte was seen, and nothing was left out */
    PLAINTEXT_TOLD = 2,
    PLAINTEXT_CLIENT = 4, /* which end it is, if it is known */
    PLAINTEXT_SERVER = 8,
    PLAINTEXT_SKIPPED = 16, /* bytes ahead of these were left out; of what is written: twice that */
};

#define PLAINTEXT_BY_RANDOM 0xffff /* family: not known, but the client random is */

/* What is wanted of the processes in a network namespace. */
struct plaintext_wanted {
    __u64 rest_since_ns; /* monotonic: secrets that were told before do not count */
    __u32 take;          /* TlsTake of tls/keys.h */
    __u32 spare;
};
_Static_assert(sizeof(struct plaintext_wanted) == 16, "no padding");

struct plaintext_socket {
    union {
        struct {
            __u8 local[16], remote[16]; /* network order, IPv4: the first 4 */
        };
        __u8 random[32];
    };
    __u16 local_port, remote_port;
    __u16 family; /* 0: not known */
    __u16 spare;
};
_Static_assert(sizeof(struct plaintext_socket) == 40, "no padding");

/* As the program keeps it. */
struct plaintext_connection {
    __u64 id;
    __u64 offsets[2]; /* bytes so far, by direction */
    __u64 flags;
    struct plaintext_socket socket;
};
_Static_assert(sizeof(struct plaintext_connection) == 72, "no padding");

struct plaintext_event {
    __u64 time_ns;    /* monotonic */
    __u64 connection; /* a number of its own */
    __u64 session;    /* its address in the process */
    __u64 offset;     /* in its direction */
    __u64 secrets_ns; /* monotonic: when its secrets were told; 0: they were not */
    __u32 netns;      /* inode */
    __u32 pid;        /* thread group, in the first PID namespace */
    __u32 length;     /* of what follows: the first bytes of `data` */
    __u8 kind, direction, flags, spare;
    struct plaintext_socket socket;
    __u8 data[];
};
_Static_assert(sizeof(struct plaintext_event) == 96, "no padding");

/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* What the BPF program that takes TLS secrets is told of a function, and what it tells. */
#pragma once

#define TLS_RING_BYTES   (1024 * 1024) /* some 3,800 secrets */
#define TLS_PROBES       4096          /* functions that are hooked at the same time */
#define TLS_NAMESPACES   16384         /* network namespaces of targets */
#define TLS_SESSIONS     16384         /* that are known to have told their secrets */
#define TLS_LABEL_SIZE   40
#define TLS_RANDOM_BYTES 32
#define TLS_SECRET_BYTES 64 /* the longest hash; a master secret has 48 */
#define TLS_WAY_MAX      4

/* While it is not known where sessions keep their client random: what is copied of one. */
#define TLS_SAMPLING 8 /* functions at the same time */
#define TLS_SAMPLES_EACH \
    2 /* copies of each that wait to be looked at; beyond it nothing is copied */
#define TLS_OBJECT_BYTES  2048
#define TLS_POINTERS      32 /* in the object, the first; they are followed */
#define TLS_POINTED_BYTES 512

/* Where a value stands when the function is entered. */
enum { TLS_VALUE_NONE, TLS_VALUE_REGISTER, TLS_VALUE_STACK };

struct tls_value {
    __u8 kind;
    __u8 spare;
    __u16 offset; /* of the register in struct pt_regs; on the stack: from the stack pointer */
};

struct tls_probe {
    struct tls_value session, label, label_length, secret, secret_length, random;
    struct tls_value goroutine; /* Go: has no session */
    __u16 stack_pointer;        /* its offset in struct pt_regs */
    __u16 steps;                /* of `way` */
    __s32 way[TLS_WAY_MAX];     /* from the session to the random: all but the last are followed */
    __u32 sampling;             /* 1 to TLS_SAMPLING: no secrets, but copies of sessions; else 0 */
    __u32 spare;
};
_Static_assert(sizeof(struct tls_probe) == 56, "no padding");

enum { TLS_SAMPLE_FREE, TLS_SAMPLE_FILLING, TLS_SAMPLE_FULL };

/* What cannot be read is zero. User space wipes it, and makes it free again. */
struct tls_sample {
    __u64 state;
    __u64 time_ns; /* monotonic */
    __u64 probe;   /* cookie */
    __u32 netns;   /* inode of its network namespace */
    __u32 n_pointers;
    __u16 places[TLS_POINTERS]; /* of the pointers in the object, in bytes */
    __u8 object[TLS_OBJECT_BYTES];
    __u8 pointed[TLS_POINTERS][TLS_POINTED_BYTES];
};
_Static_assert(sizeof(struct tls_sample) == 96 + 2048 + 32 * 512, "no padding");

struct tls_session {
    __u64 session; /* its address in the process; Go: of the connection or the goroutine */
    __u32 pid;     /* thread group */
    __u32 spare;   /* 0 */
};
_Static_assert(sizeof(struct tls_session) == 16, "no padding");

/* A session's secrets were told. */
struct tls_told {
    __u64 time_ns; /* monotonic: the last that is needed */
    __u32 netns;   /* inode of its network namespace */
    __u32 spare;
};
_Static_assert(sizeof(struct tls_told) == 16, "no padding");

struct tls_event {
    __u64 time_ns; /* monotonic */
    __u64 probe;   /* cookie */
    __u32 netns;   /* inode of its network namespace */
    __u32 pid;     /* thread group, in the first PID namespace */
    __u16 label_length, secret_length;
    char label[TLS_LABEL_SIZE];
    __u8 random[TLS_RANDOM_BYTES];
    __u8 secret[TLS_SECRET_BYTES];
    __u32 spare;
};
_Static_assert(sizeof(struct tls_event) == 168, "no padding");

/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* What the BPF programs that follow sockets tell user space. */
#pragma once

#include <linux/types.h>

#define SOCKETS_RING_BYTES  (1024 * 1024)
#define SOCKETS_NAME_SIZE   16  /* of a process, as the kernel keeps it */
#define SOCKETS_GROUP_DEPTH 6   /* names of a control group and those above that are told */
#define SOCKETS_GROUP_NAME  192 /* longer names are cut */
#define SOCKETS_GROUPS      8192

enum {
    SOCKETS_OWNED, /* struct sockets_event */
    SOCKETS_ENDED, /* struct sockets_event: the socket is no more */
    SOCKETS_GROUP, /* struct sockets_group: comes before the first event that names it */
};

enum {
    SOCKETS_TOLD = 1,    /* there was an event of it */
    SOCKETS_LISTENS = 2, /* TCP: what it accepts is its owner's as well */
    SOCKETS_PASSIVE = 4, /* TCP: accepted; from_ns is the end of the handshake */
};

/* A socket, as kept beside it in the kernel. Addresses are 4 or 16 bytes, zero: any. */
struct sockets_owner {
    __u64 from_ns; /* monotonic; 0: it was there before we looked */
    __u64 group;   /* control group of the owner, as in struct sockets_group; 0: not known */
    __u32 pid;     /* thread group, in the first PID namespace */
    __u32 netns;   /* inode */
    __u16 local_port, remote_port;
    __u8 protocol;
    __u8 is_v6;
    __u8 flags;
    __u8 changes; /* of the owner */
    __u8 local[16], remote[16];
    char name[SOCKETS_NAME_SIZE];
    __u32 period; /* in which it was told last */
    __u32 spare;
};
_Static_assert(sizeof(struct sockets_owner) == 88, "shared with user space");

struct sockets_event {
    __u32 kind;
    __u32 spare;
    __u64 time_ns; /* monotonic */
    struct sockets_owner owner;
};
_Static_assert(sizeof(struct sockets_event) == 104, "shared with user space");

/* What is known of a control group, in the map of them. */
enum {
    SOCKETS_GROUP_NAMED = 1,  /* user space was told of it */
    SOCKETS_GROUP_NO_POD = 2, /* and knows it for none of a pod */
};

struct sockets_group {
    __u32 kind;
    __u32 spare;
    __u64 group;
    char names[SOCKETS_GROUP_DEPTH][SOCKETS_GROUP_NAME]; /* its own, then upwards; "": none */
};
_Static_assert(sizeof(struct sockets_group) == 16 + SOCKETS_GROUP_DEPTH * SOCKETS_GROUP_NAME,
               "shared with user space");

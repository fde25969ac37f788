// SPDX-License-Identifier: GPL-2.0-or-later
/* Which process holds which socket: in all network namespaces, in the host's only those of pods.
 *
 * A backend is a vtable: `kernel` (BPF programs, bpf/sockets.bpf.c) and a fake for tests
 * (socket-owners-fake.h). One thread; callbacks come in dispatch(). */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "node-capture/targets/cgroup-path.h"
#include "node-capture/targets/container-name.h"

#define SOCKET_PROCESS_SIZE 17 /* as in /proc/PID/comm, with the NUL */

/* A socket and its owner from from_ns on, or the end of what was told before. */
typedef struct SocketNews {
    bool ended;
    ino_t netns_inode;
    bool host_network; /* that is the host's: the pod is the process's */
    uint8_t protocol;  /* IANA: TCP, UDP */
    uint8_t local[16], remote[16];
    uint8_t local_length, remote_length; /* 4, 16, or 0: any */
    uint16_t local_port, remote_port;    /* 0: any */
    uint64_t from_ns;                    /* Unix; 0: it was there before we looked */
    uint64_t to_ns;                      /* Unix; 0: not ended */
    pid_t pid;
    char process[SOCKET_PROCESS_SIZE];   /* UTF-8 without control characters; may be empty */
    CgroupPod pod;                       /* uid and container empty where not known */
    char container[CONTAINER_NAME_SIZE]; /* its name; empty where not known */
} SocketNews;

typedef struct SocketOwnersCallbacks {
    /* `news` is valid inside the call. */
    void (*owner)(const SocketNews *news, void *userdata);
} SocketOwnersCallbacks;

typedef struct SocketOwnersStats {
    uint64_t events;
    uint64_t lost; /* that we were too slow for; all sockets were looked through again */
} SocketOwnersStats;

typedef struct SocketOwners SocketOwners;
typedef struct SocketOwnersOps {
    void (*free)(SocketOwners *owners);
    /* Whether anybody wants to know. Once it is so, what is there already is told as well, some
     * time later, and again each time after it was not so. */
    void (*want)(SocketOwners *owners, bool wanted);
    /* All that happened before the call is told when it returns. Costs next to nothing if that is
     * nothing. */
    void (*dispatch)(SocketOwners *owners);
    void (*stats)(const SocketOwners *owners, SocketOwnersStats *ret);
} SocketOwnersOps;
struct SocketOwners {
    const SocketOwnersOps *ops;
};

static inline SocketOwners *socket_owners_free(SocketOwners *owners)
{
    if (owners) {
        owners->ops->free(owners);
    }
    return NULL;
}

typedef struct SocketOwnersOptions {
    const char *proc;       /* NULL: "/proc" */
    const char *host_netns; /* NULL: the first process's alone; else this one as well */
} SocketOwnersOptions;

/* Returns 0, or -errno with *ret_message (g_free) saying what is missing. If 0, *ret_message is
 * NULL, or says what of it does not work. Nothing is told until want(). */
int socket_owners_kernel_new(const SocketOwnersOptions *options,
                             const SocketOwnersCallbacks *callbacks, void *userdata,
                             SocketOwners **ret, char **ret_message);

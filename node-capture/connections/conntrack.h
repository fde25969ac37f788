// SPDX-License-Identifier: GPL-2.0-or-later
/* Follows the connections whose addresses this node rewrites: a dump of the kernel's table, then
 * its events, then a dump again whenever events were lost. A thread of its own reads, so that
 * nothing waits for it.
 *
 * Where the messages come from is a vtable: a netlink socket in a network namespace
 * (conntrack-socket.h), or a fake. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "node-capture/connections/conntrack-message.h"
#include "proto/remora.pb-c.h"

typedef struct ConntrackSource ConntrackSource;
typedef struct ConntrackSourceOps {
    /* All are called by the thread alone. */
    int (*open)(ConntrackSource *source); /* 0 or -errno */
    int (*fd)(const ConntrackSource *source);
    int (*request_dump)(ConntrackSource *source); /* 0 or -errno */
    /* A datagram: its length; -EAGAIN: none is there; -ENOBUFS: some were lost; other -errno. */
    ssize_t (*receive)(ConntrackSource *source, void *buffer, size_t size);
    void (*free)(ConntrackSource *source);
} ConntrackSourceOps;
struct ConntrackSource {
    const ConntrackSourceOps *ops;
};

/* On the thread. */
typedef struct ConntrackCallbacks {
    void (*translation)(const Remora__V1__Translation *translation, void *userdata);
    /* Whether it is to be told. What is not is kept aside, see conntrack_look_again(). */
    bool (*wanted)(const ConntrackEntry *entry, void *userdata);
    /* Something is wrong (subject, message), or well again (message NULL). */
    void (*problem)(const char *subject, const char *message, void *userdata);
} ConntrackCallbacks;

typedef struct Conntrack Conntrack;

/* Takes over the source and starts the thread. */
Conntrack *conntrack_new(ConntrackSource *source, const ConntrackCallbacks *callbacks,
                         void *userdata);
Conntrack *conntrack_free(Conntrack *conntrack); /* NULL is fine; ends the thread; returns NULL */

/* wanted() may answer otherwise than before: what was kept aside and is wanted now is told. Any
 * thread; returns at once. */
void conntrack_look_again(Conntrack *conntrack);

typedef struct ConntrackCounters {
    uint64_t events;   /* messages of rewritten connections, those of dumps included */
    uint64_t overruns; /* times that the kernel had no room for events; a dump followed */
    uint64_t invalid;  /* messages that could not be read */
    uint64_t left_out; /* wanted connections beyond the limit */
    uint64_t unwanted; /* connections that ended, or found no room aside, without being wanted */
} ConntrackCounters;
void conntrack_counters(Conntrack *conntrack, ConntrackCounters *ret); /* any thread */

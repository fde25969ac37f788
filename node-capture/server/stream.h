// SPDX-License-Identifier: GPL-2.0-or-later
/* One call of Capture/Stream: what was asked for, the queue, and the sending of it.
 *
 * The capture thread fills the queue between stream_lock() and stream_unlock(); messages leave from
 * there and, while the reader keeps the transport busy, from the RPC thread. One message is under
 * way at a time, so a reader that stops costs its queue and no more. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/rpc/rpc.h"
#include "node-capture/server/info.h"
#include "node-capture/server/queue.h"
#include "node-capture/targets/targets.h"
#include "node-capture/tls/keys.h"

/* Events (identity, interfaces) that wait at most; a reader that far behind is told to go away. */
#define STREAM_EVENTS_MAX 500000u

/* Plaintext of TLS comes so much behind its time at most, or is told as late by who merges. */
#define STREAM_PLAINTEXT_DELAY_NS (100u * 1000000u)

typedef struct StreamWish {
    uint32_t protocol_version; /* the one both sides speak */
    Selector *selector;
    uint32_t snap_length;
    unsigned tls;  /* TlsTake: what it is given of TLS */
    char *filter;  /* "": none */
    char *client;  /* printable */
    char *summary; /* printable, of all this, for the log */
} StreamWish;
void stream_wish_clear(StreamWish *wish);

typedef struct StreamStats {
    QueueStats queue;
    uint64_t messages_sent;
} StreamStats;

typedef struct Stream Stream;

typedef struct StreamCallbacks {
    /* Either of these once, from stream_open(), and neither if the call is over by then. Must not
     * call back. */
    void (*opened)(Stream *stream, void *userdata);
    void (*refused)(Stream *stream, const char *reason, void *userdata);
    /* The stream was given up and needs nothing more, but its call goes on for as long as the
     * reader does not take the status. Must not call back. */
    void (*given_up)(Stream *stream, int status, void *userdata);
    /* Once, on the RPC thread, when the call is over. */
    void (*closed)(Stream *stream, int status, void *userdata);
} StreamCallbacks;

/* Inside an RPC method's start(). Takes over what is in `wish`. `queue_bytes`: memory of packets
 * that wait. */
Stream *stream_new(RpcCall *call, uint64_t id, const NodeInfo *info, StreamWish *wish,
                   uint64_t queue_bytes, const StreamCallbacks *callbacks, void *userdata);
/* Compiles the filter, which may block: on a thread of its own. */
void stream_open(Stream *stream);
Stream *stream_ref(Stream *stream);
Stream *stream_unref(Stream *stream); /* NULL is fine; returns NULL */

uint64_t stream_id(const Stream *stream);
const char *stream_peer(const Stream *stream);
const StreamWish *stream_wish(const Stream *stream);
/* It is given what there is from now on; the capture thread, once. */
void stream_join(Stream *stream);
uint64_t stream_joined_ns(const Stream *stream); /* monotonic; 0: it has not */
/* Whether it is given the plaintext of a connection whose secrets were told then (monotonic; 0:
 * were not). Those told before it joined it has not got. */
bool stream_wants_plaintext(const Stream *stream, uint64_t secrets_ns);
/* How far its watermarks stay behind those of the packets. */
uint64_t stream_delay_ns(const Stream *stream);
uint64_t stream_age_ns(const Stream *stream);

bool stream_is_closed(Stream *stream);

/* The queue, for a short while; only after opened(). Unlocking sends what is due. */
Queue *stream_lock(Stream *stream);
void stream_unlock(Stream *stream);

/* Sends what is due, and returns when it is to be called again (monotonic) if nothing happens. */
uint64_t stream_serve(Stream *stream);

/* What waits is sent, then End, then status UNAVAILABLE. */
void stream_end(Stream *stream, const char *reason);
void stream_stats(Stream *stream, StreamStats *ret);
/* The status of StreamCallbacks in words. */
const char *stream_closing_reason(int status);

// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/server/stream.h"

#include <errno.h>

#include "common/clock.h"
#include "node-capture/server/encode.h"

/* The reader has not taken a message while the next is due: that is not to be looked for
 * all the time, as the transport tells when it is ready. */
#define HELD_UP_NS (20u * 1000000u)

struct Stream {
    int refs;
    uint64_t id, opened_ns, joined_ns;
    const NodeInfo *info;
    StreamWish wish;
    char *peer;
    uint64_t queue_bytes;
    const StreamCallbacks *callbacks;
    void *userdata;

    GMutex lock; /* of all below */
    RpcCall *call;
    Queue *queue;
    uint64_t sequence;
    bool under_way; /* the transport has a message and has not taken it yet */
    bool closed;    /* nothing more can be sent */
    char *end_reason;
};

void stream_wish_clear(StreamWish *wish)
{
    selector_free(wish->selector);
    g_free(wish->filter);
    g_free(wish->client);
    g_free(wish->summary);
    *wish = (StreamWish){0};
}

static void finish(Stream *stream, int status, const char *message)
{
    rpc_call_finish(stream->call, status, message);
    stream->closed = true;
}

static void give_up(Stream *stream, const char *message)
{
    finish(stream, -EMSGSIZE, message);
    stream->callbacks->given_up(stream, -EMSGSIZE, stream->userdata);
}

/* Sends one message. */
static void send_message(Stream *stream, EncodedMessage *message)
{
    stream->sequence++;
    stream->under_way = true;
    int error = rpc_call_send(stream->call, message->pieces, message->n_pieces);
    if (error == -EMSGSIZE) {
        give_up(stream, "something known of the cluster does not fit into a message of 4 MiB; look "
                        "for an object with very long labels or annotations");
    } else if (error < 0) {
        stream->closed = true;
    }
}

/* Sends what is due, if nothing is under way. */
static void pump(Stream *stream)
{
    if (!stream->queue || stream->under_way || stream->closed) {
        return;
    }
    EncodedMessage encoded;
    if (stream->sequence == 0) {
        encode_hello(1, stream->info, &stream->wish, &encoded);
        send_message(stream, &encoded);
        return;
    }
    QueueMessage message;
    queue_next(stream->queue, clock_monotonic_ns(), &message);
    if (message.type != QUEUE_NOTHING) {
        encode_queue_message(&message, stream->sequence + 1, stream->info, &stream->wish, &encoded);
        send_message(stream, &encoded);
        queue_message_clear(&message);
    } else if (stream->end_reason && queue_is_empty(stream->queue)) {
        encode_end(stream->sequence + 1, stream->end_reason, &encoded);
        send_message(stream, &encoded);
        finish(stream, -ECONNREFUSED, stream->end_reason);
    }
}

static void on_ready(RpcCall *call, void *userdata)
{
    Stream *stream = userdata;
    g_mutex_lock(&stream->lock);
    stream->under_way = false;
    pump(stream);
    g_mutex_unlock(&stream->lock);
}

static void on_closed(RpcCall *call, int status, void *userdata)
{
    Stream *stream = userdata;
    g_mutex_lock(&stream->lock);
    stream->closed = true;
    g_mutex_unlock(&stream->lock);
    stream->callbacks->closed(stream, status, stream->userdata);
    stream_unref(stream);
}

static const RpcCallHandlers call_handlers = {on_ready, on_closed};

Stream *stream_new(RpcCall *call, uint64_t id, const NodeInfo *info, StreamWish *wish,
                   uint64_t queue_bytes, const StreamCallbacks *callbacks, void *userdata)
{
    Stream *stream = g_new0(Stream, 1);
    stream->refs = 2; /* the caller's and that of the call */
    stream->id = id;
    stream->opened_ns = clock_monotonic_ns();
    stream->info = info;
    stream->wish = *wish;
    *wish = (StreamWish){0};
    stream->peer = g_strdup(rpc_call_peer(call));
    stream->queue_bytes = queue_bytes;
    stream->callbacks = callbacks;
    stream->userdata = userdata;
    g_mutex_init(&stream->lock);
    stream->call = rpc_call_ref(call);
    rpc_call_set_handlers(call, &call_handlers, stream);
    return stream;
}

Stream *stream_ref(Stream *stream)
{
    g_atomic_int_inc(&stream->refs);
    return stream;
}

Stream *stream_unref(Stream *stream)
{
    if (stream && g_atomic_int_dec_and_test(&stream->refs)) {
        rpc_call_unref(stream->call);
        queue_free(stream->queue);
        stream_wish_clear(&stream->wish);
        g_mutex_clear(&stream->lock);
        g_free(stream->peer);
        g_free(stream->end_reason);
        g_free(stream);
    }
    return NULL;
}

uint64_t stream_id(const Stream *stream)
{
    return stream->id;
}

const char *stream_peer(const Stream *stream)
{
    return stream->peer;
}

const StreamWish *stream_wish(const Stream *stream)
{
    return &stream->wish;
}

void stream_join(Stream *stream)
{
    stream->joined_ns = clock_monotonic_ns();
}

uint64_t stream_joined_ns(const Stream *stream)
{
    return stream->joined_ns;
}

bool stream_wants_plaintext(const Stream *stream, uint64_t secrets_ns)
{
    bool has_secrets = secrets_ns >= MAX(stream->joined_ns, 1);
    unsigned take = TLS_TAKE_PLAINTEXT_EVERY | (has_secrets ? 0 : TLS_TAKE_PLAINTEXT_REST);
    return stream->wish.tls & take;
}

uint64_t stream_delay_ns(const Stream *stream)
{
    return stream_wants_plaintext(stream, 0) ? STREAM_PLAINTEXT_DELAY_NS : 0;
}

uint64_t stream_age_ns(const Stream *stream)
{
    return clock_monotonic_ns() - stream->opened_ns;
}

void stream_open(Stream *stream)
{
    if (stream_is_closed(stream)) {
        return;
    }
    g_autoptr(GError) error = NULL;
    Filter *filter = *stream->wish.filter ? filter_new(stream->wish.filter, &error) : NULL;
    g_mutex_lock(&stream->lock);
    if (stream->closed) {
        filter_free(filter);
    } else if (error) {
        finish(stream, -EINVAL, error->message);
        stream->callbacks->refused(stream, error->message, stream->userdata);
    } else {
        stream->queue = queue_new(stream->queue_bytes, stream->wish.snap_length, filter);
        if (stream->wish.protocol_version < REMORA_PROTOCOL_FACTS) {
            queue_facts_apart(stream->queue);
        }
        stream->callbacks->opened(stream, stream->userdata);
    }
    g_mutex_unlock(&stream->lock);
}

bool stream_is_closed(Stream *stream)
{
    g_mutex_lock(&stream->lock);
    bool closed = stream->closed;
    g_mutex_unlock(&stream->lock);
    return closed;
}

Queue *stream_lock(Stream *stream)
{
    g_mutex_lock(&stream->lock);
    return stream->queue;
}

static void send_due(Stream *stream)
{
    if (!stream->closed && queue_events(stream->queue) > STREAM_EVENTS_MAX) {
        give_up(stream,
                "the stream was not read for so long that its identity events no longer fit; open "
                "it again");
    }
    pump(stream);
}

void stream_unlock(Stream *stream)
{
    send_due(stream);
    g_mutex_unlock(&stream->lock);
}

uint64_t stream_serve(Stream *stream)
{
    Queue *queue = stream_lock(stream);
    send_due(stream);
    uint64_t now_ns = clock_monotonic_ns();
    uint64_t due_ns = stream->closed ? UINT64_MAX : queue_due_ns(queue);
    g_mutex_unlock(&stream->lock);
    return due_ns > now_ns ? due_ns : now_ns + HELD_UP_NS;
}

void stream_end(Stream *stream, const char *reason)
{
    Queue *queue = stream_lock(stream);
    g_free(stream->end_reason);
    stream->end_reason = g_strdup(reason);
    queue_finish(queue);
    stream_unlock(stream);
}

void stream_stats(Stream *stream, StreamStats *ret)
{
    g_mutex_lock(&stream->lock);
    *ret = (StreamStats){.messages_sent = stream->sequence};
    if (stream->queue) {
        queue_stats(stream->queue, &ret->queue);
    }
    g_mutex_unlock(&stream->lock);
}

const char *stream_closing_reason(int status)
{
    switch (status) {
    case 0:
        return "ended";
    case -ECANCELED:
        return "the reader went away";
    case -ECONNREFUSED:
        return "remora-node goes down";
    case -EMSGSIZE:
        return "given up: what it must be told does not fit";
    default:
        return g_strerror(-status);
    }
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include "reader.h"

#include <string.h>

#include "common/pcapng/pcapng.h"
#include "node-capture/server/plaintext.h"

#define WAIT_S 20

struct Reader {
    RpcStream *stream;
    GMutex lock;
    GCond changed;
    uint64_t allowed;   /* messages that may still be taken */
    bool waiting;       /* for leave to read the next */
    uint64_t told_lost; /* since the last packet */
    ReaderState state;
};

/* Of IPv4 packets. */
static void take_plaintext(ReaderState *state, const PcapngPacket *packet)
{
    g_assert_true(state->has_plaintext_interface);
    g_assert_cmpuint(packet->captured_length, >=, 40);
    size_t header = 20 + (size_t)(packet->data[32] >> 4) * 4;
    state->plaintext_packets++;
    if (packet->captured_length > header) {
        g_autofree char *text =
            g_strndup((const char *)packet->data + header, packet->captured_length - header);
        g_strlcat(state->plaintext, text, sizeof state->plaintext);
    }
}

static void take_interface(ReaderState *state, const Remora__V1__Interface *interface)
{
    state->interfaces++;
    g_assert_cmpint(interface->plaintext, ==, interface->id >= PLAINTEXT_INTERFACES);
    if (interface->plaintext) {
        g_assert_false(state->has_plaintext_interface);
        g_assert_cmpuint(interface->link_type, ==, 101);
        g_assert_cmpstr(interface->target_uid, !=, "");
        state->has_plaintext_interface = true;
    }
}

static void take_packets(Reader *reader, const StreamPackets *packets)
{
    ReaderState *state = &reader->state;
    size_t offset = 0;
    for (uint32_t i = 0; i < packets->count; i++) {
        PcapngPacket packet;
        const uint8_t *options;
        uint32_t options_length, number;
        int length = pcapng_packet_parse(packets->blocks + offset, packets->blocks_length - offset,
                                         &packet, &options, &options_length);
        g_assert_cmpint(length, >, 0);
        g_assert_cmpuint(packet.time_ns, >=, state->watermark_ns);
        offset += (size_t)length;
        if (packet.interface_id >= PLAINTEXT_INTERFACES) {
            take_plaintext(state, &packet);
            continue;
        }
        g_assert_cmpuint(packet.captured_length, >=, 8);
        memcpy(&number, packet.data + 4, sizeof(number));
        g_assert_cmpuint(number, >=, state->next_number);
        if (number - state->next_number != reader->told_lost) {
            state->holes++;
        }
        reader->told_lost = 0;
        state->next_number = number + 1;
        state->captured_max = MAX(state->captured_max, packet.captured_length);
        state->packets++;
    }
    g_assert_cmpuint(offset, ==, packets->blocks_length);
    g_assert_cmpuint(packets->watermark_unix_ns, >=, state->watermark_ns);
    state->watermark_ns = packets->watermark_unix_ns;
}

static void take_loss(Reader *reader, const Remora__V1__Loss *loss)
{
    ReaderState *state = &reader->state;
    if (loss->stage == REMORA__V1__LOSS_STAGE__LOSS_STAGE_SUBSCRIBER_QUEUE) {
        state->lost += loss->packets;
        reader->told_lost += loss->packets;
    } else if (loss->stage == REMORA__V1__LOSS_STAGE__LOSS_STAGE_KERNEL_RING) {
        state->kernel_lost += loss->packets;
    } else if (loss->stage == REMORA__V1__LOSS_STAGE__LOSS_STAGE_TLS_HOOKS) {
        g_assert_true(loss->unknown);
        state->plaintext_holes++;
    } else if (loss->stage == REMORA__V1__LOSS_STAGE__LOSS_STAGE_TLS_PLAINTEXT) {
        state->plaintext_lost += loss->packets;
    } else if (loss->stage == REMORA__V1__LOSS_STAGE__LOSS_STAGE_CAPTURE_START) {
        g_assert_true(loss->unknown);
        g_assert_cmpstr(loss->detail, !=, "");
        state->starts_lost++;
        g_strlcpy(state->start_text, loss->detail, sizeof(state->start_text));
        state->start_from_ns = loss->from_unix_ns;
        state->start_to_ns = loss->to_unix_ns;
    }
}

static void take_identity(ReaderState *state, const Remora__V1__IdentityEvent *event)
{
    if (event->synced) {
        g_assert_false(state->synced);
        state->synced = true;
    } else if (event->deleted) {
        g_assert_cmpuint(event->entity->to_unix_ns, >, 0);
        state->deleted++;
    } else {
        state->entities++;
    }
}

static void take_notice(ReaderState *state, const Remora__V1__Notice *notice)
{
    g_autofree char *line = g_strdup_printf("%s: %s\n", notice->subject, notice->message);
    g_strlcat(state->notices, line, sizeof(state->notices));
}

static void take_secrets(ReaderState *state, const Remora__V1__TlsSecrets *secrets)
{
    g_autofree char *text = g_strndup((const char *)secrets->key_log.data, secrets->key_log.len);
    g_assert_cmpuint(secrets->time_unix_ns, >, 0);
    state->packets_before_secrets = state->packets;
    g_strlcat(state->key_log, text, sizeof(state->key_log));
}

static void take_facts(ReaderState *state, const StreamMessage *message)
{
    Remora__V1__Fact fact;
    for (size_t i = 0; stream_message_fact(message, i, &fact); i++) {
        if (fact.body_case == REMORA__V1__FACT__BODY_TLS_SECRETS) {
            take_secrets(state, fact.tls_secrets);
        } else if (fact.body_case == REMORA__V1__FACT__BODY_NOTICE) {
            take_notice(state, fact.notice);
        } else {
            g_error("unexpected fact %d", (int)fact.body_case);
        }
    }
}

static void take_message(Reader *reader, const StreamMessage *message)
{
    ReaderState *state = &reader->state;
    state->messages++;
    g_assert_cmpuint(message->sequence, ==, state->messages);
    g_assert_cmpint(message->type == STREAM_HELLO, ==, state->messages == 1);
    switch (message->type) {
    case STREAM_HELLO:
        g_assert_cmpstr(message->response->hello->node, ==, "n1");
        break;
    case STREAM_INTERFACE:
        take_interface(state, message->response->interface);
        break;
    case STREAM_IDENTITY:
        take_identity(state, message->response->identity);
        break;
    case STREAM_PACKETS:
        g_assert_true(state->synced);
        g_assert_cmpuint(state->interfaces, >, 0);
        take_packets(reader, &message->packets);
        break;
    case STREAM_LOSS:
        take_loss(reader, message->response->loss);
        break;
    case STREAM_HEARTBEAT:
        g_assert_cmpuint(message->response->heartbeat->watermark_unix_ns, >=, state->watermark_ns);
        state->watermark_ns = message->response->heartbeat->watermark_unix_ns;
        break;
    case STREAM_TLS_SECRETS:
    case STREAM_NOTICE:
    case STREAM_FACTS:
        take_facts(state, message);
        break;
    case STREAM_END:
        state->ended = true;
        state->end_retry = message->response->end->retry;
        break;
    default:
        g_error("unexpected message type %d", message->type);
    }
}

/* Under the lock: whether the next message may be read now. */
static bool may_read(Reader *reader)
{
    if (reader->allowed == 0) {
        return false;
    }
    reader->allowed -= reader->allowed != UINT64_MAX;
    return true;
}

static void on_message(RpcStream *stream, const uint8_t *data, size_t length, void *userdata)
{
    Reader *reader = userdata;
    StreamMessage message;
    g_assert_cmpint(stream_message_decode(data, length, &message), ==, 0);
    g_mutex_lock(&reader->lock);
    take_message(reader, &message);
    bool read = may_read(reader);
    reader->waiting = !read;
    g_cond_broadcast(&reader->changed);
    g_mutex_unlock(&reader->lock);
    stream_message_clear(&message);
    if (read) {
        rpc_stream_read(stream);
    }
}

static void on_closed(RpcStream *stream, int status, const char *text, void *userdata)
{
    Reader *reader = userdata;
    g_mutex_lock(&reader->lock);
    reader->state.closed = true;
    reader->state.status = status;
    g_strlcpy(reader->state.text, text, sizeof(reader->state.text));
    g_cond_broadcast(&reader->changed);
    g_mutex_unlock(&reader->lock);
}

static const RpcStreamHandlers handlers = {.message = on_message, .closed = on_closed};

static Reader *open_reader(RpcChannel *channel, const void *request, size_t length,
                           uint64_t allowed)
{
    Reader *reader = g_new0(Reader, 1);
    g_mutex_init(&reader->lock);
    g_cond_init(&reader->changed);
    reader->allowed = allowed;
    reader->stream =
        rpc_stream_open(channel, REMORA_METHOD_STREAM, request, length, &handlers, reader);
    return reader;
}

Reader *reader_new(RpcChannel *channel, const Remora__V1__StreamRequest *request, bool free_running)
{
    size_t length = remora__v1__stream_request__get_packed_size(request);
    g_autofree uint8_t *bytes = g_malloc(length + 1);
    remora__v1__stream_request__pack(request, bytes);
    return open_reader(channel, bytes, length, free_running ? UINT64_MAX : 0);
}

Reader *reader_new_raw(RpcChannel *channel, const void *request, size_t length)
{
    return open_reader(channel, request, length, UINT64_MAX);
}

Reader *reader_free(Reader *reader)
{
    rpc_stream_cancel(reader->stream);
    reader_allow(reader, UINT64_MAX);
    reader_wait(reader, reader_closed, 0);
    rpc_stream_free(reader->stream);
    g_mutex_clear(&reader->lock);
    g_cond_clear(&reader->changed);
    g_free(reader);
    return NULL;
}

void reader_allow(Reader *reader, uint64_t messages)
{
    g_mutex_lock(&reader->lock);
    reader->allowed = messages == UINT64_MAX ? UINT64_MAX : reader->allowed + messages;
    bool read = reader->waiting && may_read(reader);
    reader->waiting = reader->waiting && !read;
    g_mutex_unlock(&reader->lock);
    if (read) {
        rpc_stream_read(reader->stream);
    }
}

ReaderState reader_wait(Reader *reader, bool (*done)(const ReaderState *state, uint64_t value),
                        uint64_t value)
{
    gint64 end = g_get_monotonic_time() + WAIT_S * G_TIME_SPAN_SECOND;
    g_mutex_lock(&reader->lock);
    while (!done(&reader->state, value)) {
        if (reader->state.closed && done != reader_closed) {
            g_error("the stream closed: %d %s", reader->state.status, reader->state.text);
        }
        if (!g_cond_wait_until(&reader->changed, &reader->lock, end)) {
            g_error("nothing came in %d s; %" G_GUINT64_FORMAT " messages before", WAIT_S,
                    reader->state.messages);
        }
    }
    ReaderState state = reader->state;
    g_mutex_unlock(&reader->lock);
    return state;
}

bool reader_synced(const ReaderState *state, uint64_t value)
{
    return state->synced;
}

bool reader_closed(const ReaderState *state, uint64_t value)
{
    return state->closed;
}

bool reader_has_messages(const ReaderState *state, uint64_t value)
{
    return state->messages >= value;
}

bool reader_has_watermark(const ReaderState *state, uint64_t value)
{
    return state->watermark_ns >= value;
}

bool reader_has_lost_starts(const ReaderState *state, uint64_t value)
{
    return state->starts_lost >= value;
}

bool reader_has_deleted(const ReaderState *state, uint64_t value)
{
    return state->deleted >= value;
}

bool reader_has_secrets(const ReaderState *state, uint64_t bytes)
{
    return strlen(state->key_log) >= bytes;
}

bool reader_has_plaintext(const ReaderState *state, uint64_t bytes)
{
    return strlen(state->plaintext) >= bytes;
}

bool reader_has_notices(const ReaderState *state, uint64_t count)
{
    for (const char *c = state->notices; *c; c++) {
        count -= *c == '\n' && count > 0;
    }
    return count == 0;
}

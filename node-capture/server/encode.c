// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/server/encode.h"

#include <glib.h>

#include "common/clock.h"

typedef Remora__V1__StreamResponse Response;

/* protobuf-c has no const strings; it only reads them here. */
static char *text(const char *constant)
{
    return (char *)(uintptr_t)constant;
}

static void encode_response(Response *response, uint64_t sequence, EncodedMessage *ret)
{
    uint8_t *bytes;
    size_t length;
    stream_response_encode(response, sequence, &bytes, &length);
    ret->pieces[0] = (RpcBytes){bytes, length, g_free, bytes};
    ret->n_pieces = 1;
}

void encode_hello(uint64_t sequence, const NodeInfo *info, const StreamWish *wish,
                  EncodedMessage *ret)
{
    Remora__V1__Hello hello = REMORA__V1__HELLO__INIT;
    hello.protocol_version = wish->protocol_version;
    hello.role = REMORA__V1__ROLE__ROLE_NODE;
    hello.cluster = text(info->cluster);
    hello.node = text(info->node);
    hello.boot_id = text(info->boot_id);
    hello.version = text(info->version);
    hello.time_unix_ns = clock_unix_ns();
    hello.heartbeat_interval_ms = QUEUE_HEARTBEAT_NS / 1000000u;
    Response response = REMORA__V1__STREAM_RESPONSE__INIT;
    response.body_case = REMORA__V1__STREAM_RESPONSE__BODY_HELLO;
    response.hello = &hello;
    encode_response(&response, sequence, ret);
}

void encode_end(uint64_t sequence, const char *reason, EncodedMessage *ret)
{
    Remora__V1__End end = REMORA__V1__END__INIT;
    end.reason = text(reason);
    end.retry = true;
    Response response = REMORA__V1__STREAM_RESPONSE__INIT;
    response.body_case = REMORA__V1__STREAM_RESPONSE__BODY_END;
    response.end = &end;
    encode_response(&response, sequence, ret);
}

static void encode_interface(const NodeInterface *interface, uint64_t sequence,
                             const NodeInfo *info, const StreamWish *wish, EncodedMessage *ret)
{
    g_autofree char *description = g_strdup_printf("%s %s", interface->target, interface->device);
    Remora__V1__Interface body = REMORA__V1__INTERFACE__INIT;
    body.id = interface->id;
    body.node = text(info->node);
    body.device = interface->device;
    body.description = description;
    body.link_type = interface->link_type;
    body.snap_length = wish->snap_length;
    body.filter = wish->filter;
    body.hardware = text(info->hardware);
    body.os = text(info->os);
    body.target_uid = interface->target_uid;
    body.loopback = interface->loopback;
    body.plaintext = interface->plaintext;
    Response response = REMORA__V1__STREAM_RESPONSE__INIT;
    response.body_case = REMORA__V1__STREAM_RESPONSE__BODY_INTERFACE;
    response.interface = &body;
    encode_response(&response, sequence, ret);
}

/* `entity` NULL: synced. */
static void encode_identity(const Entity *entity, uint64_t deleted_ns, uint64_t sequence,
                            EncodedMessage *ret)
{
    Remora__V1__IdentityEvent event = REMORA__V1__IDENTITY_EVENT__INIT;
    Remora__V1__Entity *proto = entity ? entity_to_proto(entity) : NULL;
    event.synced = entity == NULL;
    event.entity = proto;
    if (deleted_ns > 0) {
        event.deleted = true;
        proto->to_unix_ns = deleted_ns;
    }
    Response response = REMORA__V1__STREAM_RESPONSE__INIT;
    response.body_case = REMORA__V1__STREAM_RESPONSE__BODY_IDENTITY;
    response.identity = &event;
    encode_response(&response, sequence, ret);
    if (proto) {
        entity_proto_free(proto);
    }
}

static void encode_loss(const QueueLoss *loss, uint64_t sequence, const NodeInfo *info,
                        EncodedMessage *ret)
{
    g_autofree char *detail = NULL;
    if (loss->detail || loss->interface) {
        detail = g_strdup(loss->detail ? loss->detail : loss->interface->target);
    }
    Remora__V1__Loss body = REMORA__V1__LOSS__INIT;
    body.node = text(info->node);
    body.stage = loss->stage;
    body.packets = loss->packets;
    body.unknown = loss->unknown;
    body.from_unix_ns = loss->from_ns;
    body.to_unix_ns = loss->to_ns;
    body.has_interface = loss->interface != NULL;
    body.interface_id = loss->interface ? loss->interface->id : 0;
    if (detail) {
        body.detail = detail;
    }
    Response response = REMORA__V1__STREAM_RESPONSE__INIT;
    response.body_case = REMORA__V1__STREAM_RESPONSE__BODY_LOSS;
    response.loss = &body;
    encode_response(&response, sequence, ret);
}

static void encode_heartbeat(uint64_t watermark_ns, uint64_t sequence, EncodedMessage *ret)
{
    Remora__V1__Heartbeat body = REMORA__V1__HEARTBEAT__INIT;
    body.watermark_unix_ns = watermark_ns;
    Response response = REMORA__V1__STREAM_RESPONSE__INIT;
    response.body_case = REMORA__V1__STREAM_RESPONSE__BODY_HEARTBEAT;
    response.heartbeat = &body;
    encode_response(&response, sequence, ret);
}

static void release_batch(void *batch)
{
    batch_unref(batch);
}

static void encode_packets(QueueMessage *message, uint64_t sequence, EncodedMessage *ret)
{
    size_t length = stream_packets_header(ret->header, sequence, &message->packets);
    ret->pieces[0] = (RpcBytes){ret->header, length, NULL, NULL};
    ret->n_pieces = 1;
    for (size_t i = 0; i < message->n_batches; i++) {
        Batch *batch = g_steal_pointer(&message->batches[i]);
        ret->pieces[ret->n_pieces++] = (RpcBytes){batch->data, batch->length, release_batch, batch};
    }
}

static void encode_facts(const QueueMessage *message, uint64_t sequence, EncodedMessage *ret)
{
    uint8_t *bytes = g_malloc(message->facts_bytes + message->n_facts * STREAM_FACT_EXTRA);
    uint8_t *end = bytes;
    for (size_t i = 0; i < message->n_facts; i++) {
        const Fact *fact = message->facts[i];
        end = stream_facts_append(end, fact_message(fact), fact->length);
    }
    size_t length = (size_t)(end - bytes);
    ret->pieces[0] =
        (RpcBytes){ret->header, stream_facts_header(ret->header, sequence, length), NULL, NULL};
    ret->pieces[1] = (RpcBytes){bytes, length, g_free, bytes};
    ret->n_pieces = 2;
}

/* Copied by the transport, as it is short. */
static void encode_fact(const Fact *fact, uint64_t sequence, EncodedMessage *ret)
{
    ret->pieces[0] =
        (RpcBytes){ret->header, stream_sequence_header(ret->header, sequence), NULL, NULL};
    ret->pieces[1] = (RpcBytes){fact_message(fact), fact->length, NULL, NULL};
    ret->n_pieces = 2;
}

void encode_queue_message(QueueMessage *message, uint64_t sequence, const NodeInfo *info,
                          const StreamWish *wish, EncodedMessage *ret)
{
    ret->n_pieces = 0;
    switch (message->type) {
    case QUEUE_NOTHING:
        break;
    case QUEUE_INTERFACE:
        encode_interface(message->interface, sequence, info, wish, ret);
        break;
    case QUEUE_IDENTITY:
    case QUEUE_SYNCED:
        encode_identity(message->entity, message->deleted_ns, sequence, ret);
        break;
    case QUEUE_FACTS:
        if (message->n_facts == 1) {
            encode_fact(message->facts[0], sequence, ret);
        } else {
            encode_facts(message, sequence, ret);
        }
        break;
    case QUEUE_LOSS:
        encode_loss(&message->loss, sequence, info, ret);
        break;
    case QUEUE_PACKETS:
        encode_packets(message, sequence, ret);
        break;
    case QUEUE_HEARTBEAT:
        encode_heartbeat(message->packets.watermark_unix_ns, sequence, ret);
        break;
    }
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* A reader for tests in Python: asks a node and prints what it is told, one line each, at once.
 *
 *   stream-reader ENDPOINT stream [filter=TEXT] [pods=GLOB] [snap=BYTES]
 *   stream-reader ENDPOINT status | targets
 *
 * Lines of a stream: hello NODE | synced | identity KIND NAME [deleted] | interface ID DEVICE UID |
 * packets COUNT WATERMARK | packet INTERFACE TIME CAPTURED ORIGINAL HEX | loss STAGE PACKETS
 * UNKNOWN DETAIL | heartbeat WATERMARK | end REASON | closed STATUS TEXT. Exits when the stream is
 * over. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <glib.h>

#include "common/pcapng/pcapng.h"
#include "common/rpc/rpc.h"
#include "proto/stream.h"

typedef struct Reader {
    GMutex lock;
    GCond changed;
    bool closed;
} Reader;

static void print_packets(const StreamPackets *packets)
{
    printf("packets %u %" PRIu64 "\n", packets->count, packets->watermark_unix_ns);
    size_t offset = 0;
    for (uint32_t i = 0; i < packets->count; i++) {
        PcapngPacket packet;
        const uint8_t *options;
        uint32_t options_length;
        int length = pcapng_packet_parse(packets->blocks + offset, packets->blocks_length - offset,
                                         &packet, &options, &options_length);
        if (length < 0) {
            printf("invalid\n");
            return;
        }
        printf("packet %u %" PRIu64 " %u %u ", packet.interface_id, packet.time_ns,
               packet.captured_length, packet.original_length);
        for (uint32_t j = 0; j < packet.captured_length; j++) {
            printf("%02x", packet.data[j]);
        }
        printf("\n");
        offset += (size_t)length;
    }
}

static void print_identity(const Remora__V1__IdentityEvent *event)
{
    if (event->synced) {
        printf("synced\n");
    } else {
        printf("identity %d %s%s\n", event->entity->kind, event->entity->name,
               event->deleted ? " deleted" : "");
    }
}

static void print_message(const StreamMessage *message)
{
    const Remora__V1__StreamResponse *response = message->response;
    switch (message->type) {
    case STREAM_HELLO:
        printf("hello %s\n", response->hello->node);
        break;
    case STREAM_INTERFACE:
        printf("interface %u %s %s\n", response->interface->id, response->interface->device,
               response->interface->target_uid);
        break;
    case STREAM_IDENTITY:
        print_identity(response->identity);
        break;
    case STREAM_PACKETS:
        print_packets(&message->packets);
        break;
    case STREAM_LOSS:
        printf("loss %d %" PRIu64 " %d %s\n", response->loss->stage, response->loss->packets,
               response->loss->unknown, response->loss->detail);
        break;
    case STREAM_HEARTBEAT:
        printf("heartbeat %" PRIu64 "\n", response->heartbeat->watermark_unix_ns);
        break;
    case STREAM_END:
        printf("end %s\n", response->end->reason);
        break;
    default:
        printf("unknown\n");
    }
}

static void on_message(RpcStream *stream, const uint8_t *data, size_t length, void *userdata)
{
    StreamMessage message;
    if (stream_message_decode(data, length, &message) < 0) {
        printf("invalid\n");
    } else {
        print_message(&message);
        stream_message_clear(&message);
    }
    fflush(stdout);
    rpc_stream_read(stream);
}

static void on_closed(RpcStream *stream, int status, const char *text, void *userdata)
{
    Reader *reader = userdata;
    printf("closed %d %s\n", status, text);
    fflush(stdout);
    g_mutex_lock(&reader->lock);
    reader->closed = true;
    g_cond_signal(&reader->changed);
    g_mutex_unlock(&reader->lock);
}

static void read_stream(RpcChannel *channel, char **arguments)
{
    Remora__V1__TargetSelector targets = REMORA__V1__TARGET_SELECTOR__INIT;
    Remora__V1__StreamRequest request = REMORA__V1__STREAM_REQUEST__INIT;
    request.protocol_version = REMORA_PROTOCOL_VERSION;
    request.targets = &targets;
    request.client = (char *)"stream-reader";
    char *pods[1];
    for (; *arguments; arguments++) {
        char *value = strchr(*arguments, '=') + 1;
        if (g_str_has_prefix(*arguments, "filter=")) {
            request.filter = value;
        } else if (g_str_has_prefix(*arguments, "pods=")) {
            pods[0] = value;
            targets.pods = pods;
            targets.n_pods = 1;
        } else if (g_str_has_prefix(*arguments, "snap=")) {
            request.snap_length = (uint32_t)atoi(value);
        }
    }
    size_t length = remora__v1__stream_request__get_packed_size(&request);
    g_autofree uint8_t *bytes = g_malloc(length);
    remora__v1__stream_request__pack(&request, bytes);

    static const RpcStreamHandlers handlers = {.message = on_message, .closed = on_closed};
    Reader reader = {.closed = false};
    RpcStream *stream =
        rpc_stream_open(channel, REMORA_METHOD_STREAM, bytes, length, &handlers, &reader);
    g_mutex_lock(&reader.lock);
    while (!reader.closed) {
        g_cond_wait(&reader.changed, &reader.lock);
    }
    g_mutex_unlock(&reader.lock);
    rpc_stream_free(stream);
}

static int ask(RpcChannel *channel, bool status)
{
    g_autoptr(GError) error = NULL;
    g_autofree uint8_t *bytes = NULL;
    size_t length;
    if (rpc_channel_call(channel, status ? REMORA_METHOD_GET_STATUS : REMORA_METHOD_LIST_TARGETS,
                         "", 0, 5000000000u, &bytes, &length, &error) < 0) {
        fprintf(stderr, "%s\n", error->message);
        return EXIT_FAILURE;
    }
    if (status) {
        Remora__V1__GetStatusResponse *answer =
            remora__v1__get_status_response__unpack(NULL, length, bytes);
        printf("subscribers %u\ntargets_captured %u\n", answer->subscribers,
               answer->targets_captured);
        for (size_t i = 0; i < answer->n_counters; i++) {
            printf("%s %" PRIu64 "\n", answer->counters[i]->name, answer->counters[i]->value);
        }
        for (size_t i = 0; i < answer->n_problems; i++) {
            printf("problem %s: %s\n", answer->problems[i]->subject, answer->problems[i]->message);
        }
        remora__v1__get_status_response__free_unpacked(answer, NULL);
        return EXIT_SUCCESS;
    }
    Remora__V1__ListTargetsResponse *answer =
        remora__v1__list_targets_response__unpack(NULL, length, bytes);
    for (size_t i = 0; i < answer->n_targets; i++) {
        const Remora__V1__Target *target = answer->targets[i];
        printf("target %s %d %" PRIu64 " %" PRIu64 " %s\n", target->entity->name, target->state,
               target->packets, target->lost, target->reason);
    }
    remora__v1__list_targets_response__free_unpacked(answer, NULL);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: stream-reader ENDPOINT stream|status|targets [NAME=VALUE...]\n");
        return EXIT_FAILURE;
    }
    g_autoptr(GError) error = NULL;
    RpcClient *client = rpc_client_new();
    RpcChannel *channel = rpc_channel_new(client, argv[1], true, &error);
    int result = EXIT_SUCCESS;
    if (!channel) {
        fprintf(stderr, "%s\n", error->message);
        result = EXIT_FAILURE;
    } else if (strcmp(argv[2], "stream") == 0) {
        read_stream(channel, argv + 3);
    } else {
        result = ask(channel, strcmp(argv[2], "status") == 0);
    }
    if (channel) {
        rpc_channel_free(channel);
    }
    rpc_client_free(client);
    return result;
}

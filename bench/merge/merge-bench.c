// SPDX-License-Identifier: GPL-2.0-or-later
/* What a packet costs between the arrival of its message and the bytes for the file: merge, vantage
 * choice, names. CPU time of one thread, no I/O; the copy into the output is part of it. Usage:
 * merge-bench [STREAMS [PACKETS [CONNECTIONS]]] */
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "collector/annotate.h"
#include "collector/merge.h"
#include "collector/namer.h"
#include "collector/vantage.h"
#include "common/pcapng/packet.h"

#define FRAME_BYTES   100u
#define BATCH_PACKETS 1000u
#define POD_PORT      8080u

typedef struct Bench {
    unsigned streams, connections;
    Inventory *inventory;
    CapturePoint *points; /* one pod a stream */
    uint8_t *output;
    PcapngBuilder builder;
} Bench;

static double cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void make_pods(Bench *bench)
{
    bench->inventory = inventory_new();
    bench->points = g_new0(CapturePoint, bench->streams);
    for (unsigned i = 0; i < bench->streams; i++) {
        char uid[64], name[64];
        uint8_t address[4] = {10, 1, (uint8_t)(i >> 8), (uint8_t)i};
        g_snprintf(uid, sizeof uid, "6f1c7c4e-0000-4000-8000-%012u", i);
        g_snprintf(name, sizeof name, "frontend-7d4b9c6f5-%05u", i);
        ProtobufCBinaryData addresses = {sizeof address, address};
        Remora__V1__Entity pod = REMORA__V1__ENTITY__INIT;
        pod.kind = REMORA__V1__ENTITY_KIND__ENTITY_KIND_POD;
        pod.uid = uid;
        pod.namespace_ = (char *)"shop";
        pod.name = name;
        pod.node = (char *)"node-a";
        pod.owner_kind = (char *)"Deployment";
        pod.owner_name = (char *)"frontend";
        pod.addresses = &addresses;
        pod.n_addresses = 1;
        const char *error;
        Entity *entity = entity_from_proto(&pod, &error);
        inventory_add(bench->inventory, entity);
        entity_unref(entity);
        bench->points[i] = (CapturePoint){.id = i + 1,
                                          .cluster = "bench",
                                          .node = "node-a",
                                          .device = "eth0",
                                          .target_uid = g_strdup(uid),
                                          .link_type = 1,
                                          .alive = true};
    }
}

/* Pod `stream` is a server that receives; its clients are the other pods. */
static void make_frame(const Bench *bench, unsigned stream, unsigned connection, uint8_t *frame)
{
    memset(frame, 0, FRAME_BYTES);
    unsigned client = (stream + 1 + connection % (bench->streams - 1)) % bench->streams;
    const uint8_t head[] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, FRAME_BYTES - 14};
    memcpy(frame, head, sizeof head);
    frame[23] = 6;
    const uint8_t addresses[] = {10, 1, (uint8_t)(client >> 8), (uint8_t)client,
                                 10, 1, (uint8_t)(stream >> 8), (uint8_t)stream};
    memcpy(frame + 26, addresses, sizeof addresses);
    unsigned port = 20000 + connection;
    frame[34] = (uint8_t)(port >> 8);
    frame[35] = (uint8_t)port;
    frame[36] = POD_PORT >> 8;
    frame[37] = POD_PORT & 0xff;
    frame[46] = 0x50;
    frame[47] = PACKET_TCP_ACK;
}

static MergeBuffer *make_message(const Bench *bench, unsigned stream, uint64_t start_ns)
{
    static uint8_t memory[BATCH_PACKETS * (FRAME_BYTES + 64)];
    PcapngBuilder builder;
    pcapng_builder_init(&builder, memory, sizeof memory);
    for (unsigned i = 0; i < BATCH_PACKETS; i++) {
        uint8_t frame[FRAME_BYTES];
        make_frame(bench, stream, (unsigned)g_random_int_range(0, (gint)bench->connections), frame);
        uint64_t time_ns = start_ns + i * 1000 + (uint64_t)g_random_int_range(0, 1000);
        pcapng_build_packet(&builder, stream, time_ns, frame, FRAME_BYTES, FRAME_BYTES);
        pcapng_build_option_u32(&builder, PCAPNG_EPB_FLAGS, PCAPNG_DIRECTION_INBOUND);
        pcapng_build_end(&builder);
    }
    return merge_buffer_new(memory, builder.length);
}

static bool any_interface(uint32_t id, void *userdata)
{
    return true;
}

static void write_packet(const VantagePacket *packet, const Annotation *names, void *userdata)
{
    Bench *bench = userdata;
    if (bench->builder.capacity - bench->builder.length < 16384)
        pcapng_builder_init(&bench->builder, bench->output, bench->builder.capacity);
    pcapng_build_packet_copy(&bench->builder, packet->packet.block, packet->packet.length, 0,
                             names->options, names->length);
}

static VantagePacket parse(const Bench *bench, const MergePacket *merged)
{
    VantagePacket ret = {.packet = *merged, .point = &bench->points[merged->stream]};
    PcapngPacket packet;
    const uint8_t *options;
    uint32_t options_length;
    pcapng_packet_fields(merged->block, &packet, &options, &options_length);
    ret.direction = packet_direction(options, options_length);
    packet_parse(1, packet.data, packet.captured_length, &ret.info);
    return ret;
}

/* One message of each stream, pushed and drained, again and again. Returns the packets. */
static uint64_t run(Bench *bench, uint64_t wanted, bool with_vantage, double *ret_ns)
{
    Merge *merge = merge_new(bench->streams, G_MAXINT64, UINT64_MAX);
    Vantage *vantage = vantage_new(bench->inventory, NULL, 0, false);
    Annotator *annotator = annotator_new(bench->inventory, "", false);
    Namer *namer = namer_new(annotator, write_packet, bench);
    for (unsigned i = 0; i < bench->streams; i++) {
        merge_open(merge, i, 0);
        vantage_point_changed(vantage, &bench->points[i]);
    }
    uint64_t packets = 0, start_ns = 1700000000u * (uint64_t)1000000000u;
    MergeBuffer **messages = g_new(MergeBuffer *, bench->streams);
    for (*ret_ns = 0; packets < wanted; start_ns += BATCH_PACKETS * 1000) {
        for (unsigned i = 0; i < bench->streams; i++)
            messages[i] = make_message(bench, i, start_ns);
        double before = cpu_ns();
        for (unsigned i = 0; i < bench->streams; i++) {
            int error;
            merge_push(merge, i, messages[i], 0, messages[i]->length, any_interface, NULL, 0,
                       &error);
            merge_watermark(merge, i, start_ns + BATCH_PACKETS * 1000, 0);
        }
        MergePacket merged;
        while (merge_pop(merge, &merged)) {
            VantagePacket packet = parse(bench, &merged);
            packets++;
            if (!with_vantage) {
                namer_push(namer, &packet);
                continue;
            }
            vantage_push(vantage, &packet);
            while (vantage_pop(vantage, merged.time_ns, &packet))
                namer_push(namer, &packet);
        }
        namer_flush(namer);
        *ret_ns += cpu_ns() - before;
    }
    g_free(messages);
    namer_free(namer);
    vantage_free(vantage);
    merge_free(merge);
    annotator_free(annotator);
    return packets;
}

int main(int argc, char **argv)
{
    Bench bench = {.streams = 100, .connections = 50};
    uint64_t wanted = 5000000;
    if (argc > 1)
        bench.streams = (unsigned)MAX(2, atoi(argv[1]));
    if (argc > 2)
        wanted = g_ascii_strtoull(argv[2], NULL, 10);
    if (argc > 3)
        bench.connections = (unsigned)CLAMP(atoi(argv[3]), 1, 40000);
    make_pods(&bench);
    bench.output = g_malloc(1 << 20);
    pcapng_builder_init(&bench.builder, bench.output, 1 << 20);
    printf("%u streams, %u connections each\n", bench.streams, bench.connections);
    for (int with_vantage = 0; with_vantage < 2; with_vantage++) {
        double ns;
        uint64_t packets = run(&bench, wanted, with_vantage, &ns);
        printf("%s: %.1f ns a packet (%" G_GUINT64_FORMAT " packets)\n",
               with_vantage ? "merge, vantage, names" : "merge, names         ",
               ns / (double)packets, packets);
    }
    for (unsigned i = 0; i < bench.streams; i++)
        g_free((char *)bench.points[i].target_uid);
    g_free(bench.points);
    g_free(bench.output);
    inventory_free(bench.inventory);
    return 0;
}

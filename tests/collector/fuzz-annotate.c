// SPDX-License-Identifier: GPL-2.0-or-later
/* Any blocks as a node may send them: merge, parsing, vantage choice and names. The first two bytes
 * are the link type. */
#include <stdlib.h>

#include "collector/annotate.h"
#include "collector/merge.h"
#include "collector/vantage.h"
#include "fixture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool any_interface(uint32_t id, void *userdata)
{
    return true;
}

static void name(Annotator *annotator, const VantagePacket *packet)
{
    static uint8_t memory[1024 * 1024];
    AnnotateRequest request = {packet->point,          &packet->info,   packet->direction,
                               packet->packet.time_ns, packet->service, packet->flow,
                               packet->service_is_src};
    Annotation names;
    annotate(annotator, &request, &names);
    PcapngBuilder builder;
    pcapng_builder_init(&builder, memory, sizeof memory);
    int length = pcapng_build_packet_copy(&builder, packet->packet.block, packet->packet.length, 0,
                                          names.options, names.length);
    PcapngPacket again;
    const uint8_t *options;
    uint32_t options_length;
    if (length < 0 || names.length > ANNOTATE_OPTIONS_MAX)
        abort();
    if (packet->packet.length + names.length < PCAPNG_OPTIONS_MAX &&
        pcapng_packet_parse(memory, (size_t)length, &again, &options, &options_length) != length)
        abort();
    merge_buffer_unref(packet->packet.buffer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    static Inventory *inventory;
    static Annotator *annotator; /* its cache is large */
    if (!inventory) {
        inventory = inventory_new();
        fixture_pod(inventory, "client", "10.1.0.1", 0);
        fixture_pod(inventory, "server", "10.2.0.1", 0);
        fixture_service(inventory, "catalog", "10.96.0.1", 80, 8080, 6, "server", "10.2.0.1", NULL);
        annotator = annotator_new(inventory, NULL, true);
    }
    static CapturePoint points[2] = {
        {.id = 1,
         .cluster = "",
         .node = "a",
         .device = "eth0",
         .target_uid = "uid-client",
         .alive = true},
        {.id = 2,
         .cluster = "",
         .node = "b",
         .device = "eth0",
         .target_uid = "uid-server",
         .alive = true},
    };
    points[0].link_type = points[1].link_type = (uint16_t)(data[0] | data[1] << 8);
    Merge *merge = merge_new(1, 1, 1 << 20);
    Vantage *vantage = vantage_new(inventory, NULL, 4, false);
    PacketFragments *fragments = g_new0(PacketFragments, 1);
    vantage_point_changed(vantage, &points[0]);
    vantage_point_changed(vantage, &points[1]);

    int error;
    merge_push(merge, 0, merge_buffer_new(data + 2, size - 2), 0, size - 2, any_interface, NULL, 0,
               &error);
    MergePacket merged;
    VantagePacket packet;
    while (merge_pop_forced(merge, &merged)) {
        PcapngPacket parsed;
        const uint8_t *options;
        uint32_t options_length;
        pcapng_packet_parse(merged.block, merged.length, &parsed, &options, &options_length);
        packet = (VantagePacket){.packet = merged,
                                 .point = &points[parsed.interface_id & 1],
                                 .direction = packet_direction(options, options_length)};
        packet.packet.forced = parsed.interface_id & 2;
        packet_parse(packet.point->link_type, parsed.data, parsed.captured_length, &packet.info);
        packet_fragments_resolve(fragments, packet.point->id, &packet.info);
        vantage_push(vantage, &packet);
        while (vantage_pop(vantage, merged.time_ns, &packet))
            name(annotator, &packet);
    }
    while (vantage_pop(vantage, UINT64_MAX, &packet))
        name(annotator, &packet);
    if (merge_held_bytes(merge))
        abort();
    g_free(fragments);
    vantage_free(vantage);
    merge_free(merge);
    return 0;
}

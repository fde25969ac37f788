// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/server/wire-watch.h"

#include "common/pcapng/packet.h"
#include "common/tls-hello.h"

_Static_assert(TLS_HELLO_RANDOM_BYTES == TLS_KEYS_RANDOM, "a client random");

/* Of the interface with that id; 0: it is none of the pod's. */
static uint16_t link_type(const Pod *pod, uint32_t interface_id)
{
    for (guint i = 0; i < pod->interfaces->len; i++) {
        const NodeInterface *interface = g_ptr_array_index(pod->interfaces, i);
        if (interface->id == interface_id) {
            return interface->link_type;
        }
    }
    return 0;
}

static void look_at(TlsKeys *keys, const Pod *pod, const uint8_t *block)
{
    PcapngPacket packet;
    const uint8_t *options, *random;
    uint32_t options_length;
    pcapng_packet_fields(block, &packet, &options, &options_length);
    TlsHello hello = tls_hello_find(link_type(pod, packet.interface_id), packet.data,
                                    packet.captured_length, &random);
    if (hello == TLS_HELLO_RANDOM || hello == TLS_HELLO_HIDDEN) {
        bool may_be_outer =
            random && tls_hello_may_be_outer(random, packet.data + packet.captured_length);
        keys->ops->saw_random(keys, pod->netns_inode, packet.time_ns, random, may_be_outer);
    }
}

void wire_watch(TlsKeys *keys, const Pod *pod, const Batch *batch, uint64_t time_ns)
{
    if (!batch) {
        keys->ops->saw_random(keys, pod->netns_inode, time_ns, NULL, false);
        return;
    }
    for (size_t at = 0; at < batch->length; at += load32(batch->data + at + 4, false)) {
        look_at(keys, pod, batch->data + at);
    }
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/server/wire-watch.h"

#include <string.h>
#include <sys/socket.h>

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

/* `end`: of the packet. */
static void tell(TlsKeys *keys, const Pod *pod, uint64_t time_ns, const TlsHelloFields *fields,
                 const uint8_t *end)
{
    TlsSeenHello hello = {.netns_inode = pod->netns_inode, .time_unix_ns = time_ns};
    if (fields->random) {
        size_t length = fields->is_v6 ? 16 : 4;
        hello.has_random = true;
        hello.may_be_outer = tls_hello_may_be_outer(fields->random, end);
        memcpy(hello.random, fields->random, sizeof hello.random);
        hello.family = fields->is_v6 ? AF_INET6 : AF_INET;
        memcpy(hello.client.bytes, fields->from, length);
        memcpy(hello.server.bytes, fields->to, length);
        hello.client.port = fields->from_port;
        hello.server.port = fields->to_port;
    }
    keys->ops->saw_hello(keys, &hello);
}

static void look_at(TlsKeys *keys, const Pod *pod, const uint8_t *block)
{
    PcapngPacket packet;
    TlsHelloFields fields;
    const uint8_t *options;
    uint32_t options_length;
    pcapng_packet_fields(block, &packet, &options, &options_length);
    TlsHello hello = tls_hello_find(link_type(pod, packet.interface_id), packet.data,
                                    packet.captured_length, &fields);
    if (hello == TLS_HELLO_RANDOM || hello == TLS_HELLO_HIDDEN) {
        tell(keys, pod, packet.time_ns, &fields, packet.data + packet.captured_length);
    }
}

void wire_watch(TlsKeys *keys, const Pod *pod, const Batch *batch, uint64_t time_ns)
{
    if (!batch) {
        tell(keys, pod, time_ns, &(TlsHelloFields){0}, NULL);
        return;
    }
    for (size_t at = 0; at < batch->length; at += load32(batch->data + at + 4, false)) {
        look_at(keys, pod, batch->data + at);
    }
}

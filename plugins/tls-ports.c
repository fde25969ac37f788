// SPDX-License-Identifier: GPL-2.0-or-later
#include "plugins/tls-ports.h"

#include "plugins/ws_compat.h"

#include <epan/packet.h>

/* Where Wireshark (4.0 to 4.6) has a dissector of that name for a port of TCP: the ports of TLS at
 * which the same is spoken. What says itself what it is (ALPN), or begins TLS in its own words
 * (PostgreSQL, MySQL, SMTP), needs none. */
static const struct {
    const char *name;
    unsigned tcp;
    unsigned tls[2];
} ports[] = {
    {"resp", 6379, {6379, 6380}}, /* Redis */
    {"kafka", 9092, {9093}},
    {"cql", 9042, {9042, 9142}}, /* Cassandra */
};

static void add(dissector_handle_t handle, unsigned port)
{
    if (port && !dissector_get_uint_handle(find_dissector_table("tls.port"), port)) {
        dissector_add_uint("tls.port", port, handle);
    }
}

void tls_ports_register(void)
{
    for (size_t i = 0; i < array_length(ports); i++) {
        dissector_handle_t handle =
            dissector_get_uint_handle(find_dissector_table("tcp.port"), ports[i].tcp);
        if (!handle || dissector_handle_get_protocol_index(handle) !=
                           proto_get_id_by_filter_name(ports[i].name)) {
            continue;
        }
        for (size_t j = 0; j < array_length(ports[i].tls); j++) {
            add(handle, ports[i].tls[j]);
        }
    }
}

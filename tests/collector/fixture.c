// SPDX-License-Identifier: GPL-2.0-or-later
#include "fixture.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <string.h>

static ProtobufCBinaryData address_of(const char *text, struct in_addr *memory)
{
    g_assert_cmpint(inet_pton(AF_INET, text, memory), ==, 1);
    return (ProtobufCBinaryData){4, (uint8_t *)memory};
}

static void add(Inventory *inventory, const Remora__V1__Entity *proto)
{
    const char *error = NULL;
    Entity *entity = entity_from_proto(proto, &error);
    g_assert_cmpstr(error, ==, NULL);
    inventory_add(inventory, entity);
    entity_unref(entity);
}

void fixture_labelled_pod(Inventory *inventory, const char *name, const char *address,
                          const char *key, const char *value, uint64_t from_ns)
{
    g_autofree char *uid = g_strdup_printf("uid-%s", name);
    struct in_addr memory;
    ProtobufCBinaryData addresses = address_of(address, &memory);
    Remora__V1__Label label = REMORA__V1__LABEL__INIT, *labels = &label;
    label.key = (char *)key;
    label.value = (char *)value;
    Remora__V1__Entity pod = REMORA__V1__ENTITY__INIT;
    pod.kind = REMORA__V1__ENTITY_KIND__ENTITY_KIND_POD;
    pod.uid = uid;
    pod.namespace_ = (char *)"shop";
    pod.name = (char *)name;
    pod.node = (char *)"node-a";
    pod.addresses = &addresses;
    pod.n_addresses = 1;
    pod.labels = &labels;
    pod.n_labels = key ? 1 : 0;
    pod.from_unix_ns = from_ns;
    add(inventory, &pod);
}

void fixture_pod(Inventory *inventory, const char *name, const char *address, uint64_t from_ns)
{
    fixture_labelled_pod(inventory, name, address, NULL, NULL, from_ns);
}

static void add_slice(Inventory *inventory, const char *service, uint16_t target_port,
                      uint8_t protocol, va_list pods)
{
    enum { MAX = 8 };
    struct in_addr memory[MAX];
    ProtobufCBinaryData addresses[MAX];
    Remora__V1__Endpoint endpoints[MAX], *pointers[MAX];
    g_autoptr(GPtrArray) uids = g_ptr_array_new_with_free_func(g_free);
    size_t n = 0;
    for (const char *name; (name = va_arg(pods, const char *)); n++) {
        g_assert_cmpuint(n, <, MAX);
        addresses[n] = address_of(va_arg(pods, const char *), &memory[n]);
        remora__v1__endpoint__init(&endpoints[n]);
        endpoints[n].addresses = &addresses[n];
        endpoints[n].n_addresses = 1;
        endpoints[n].target_uid = g_strdup_printf("uid-%s", name);
        g_ptr_array_add(uids, endpoints[n].target_uid);
        pointers[n] = &endpoints[n];
    }
    g_autofree char *uid = g_strdup_printf("uid-slice-%s", service);
    Remora__V1__Port port = REMORA__V1__PORT__INIT, *ports = &port;
    port.protocol = protocol;
    port.port = target_port;
    Remora__V1__Entity slice = REMORA__V1__ENTITY__INIT;
    slice.kind = REMORA__V1__ENTITY_KIND__ENTITY_KIND_ENDPOINT_SLICE;
    slice.uid = uid;
    slice.namespace_ = (char *)"shop";
    slice.name = uid;
    slice.service_name = (char *)service;
    slice.ports = &ports;
    slice.n_ports = 1;
    slice.endpoints = pointers;
    slice.n_endpoints = n;
    add(inventory, &slice);
}

void fixture_service(Inventory *inventory, const char *name, const char *address, uint16_t port,
                     uint16_t target_port, int protocol, ...)
{
    g_autofree char *uid = g_strdup_printf("uid-%s", name);
    struct in_addr memory;
    ProtobufCBinaryData addresses = address_of(address, &memory);
    Remora__V1__Port one = REMORA__V1__PORT__INIT, *ports = &one;
    one.protocol = (uint32_t)protocol;
    one.port = port;
    Remora__V1__Entity service = REMORA__V1__ENTITY__INIT;
    service.kind = REMORA__V1__ENTITY_KIND__ENTITY_KIND_SERVICE;
    service.uid = uid;
    service.namespace_ = (char *)"shop";
    service.name = (char *)name;
    service.addresses = &addresses;
    service.n_addresses = 1;
    service.ports = &ports;
    service.n_ports = 1;
    add(inventory, &service);
    va_list pods;
    va_start(pods, protocol);
    add_slice(inventory, name, target_port, (uint8_t)protocol, pods);
    va_end(pods);
}

static void put16(uint8_t *at, uint16_t value)
{
    value = htons(value);
    memcpy(at, &value, 2);
}

static void put32(uint8_t *at, uint32_t value)
{
    value = htonl(value);
    memcpy(at, &value, 4);
}

size_t fixture_frame(const FixturePacket *packet, uint8_t out[FIXTURE_PACKET_MAX])
{
    memset(out, 0, FIXTURE_PACKET_MAX);
    out[0] = out[6] = 2; /* locally administered, one receiver */
    put16(out + 12, 0x0800);
    uint8_t *ip = out + 14, *l4 = ip + 20;
    size_t header = packet->protocol == 6 ? 20 : 8;
    ip[0] = 0x45;
    put16(ip + 2, (uint16_t)(20 + header + 4));
    put16(ip + 4, packet->fragment_id);
    put16(ip + 6, (uint16_t)(packet->fragment_offset | (packet->more_fragments ? 0x2000 : 0)));
    ip[8] = 64;
    ip[9] = packet->protocol;
    g_assert_cmpint(inet_pton(AF_INET, packet->src, ip + 12), ==, 1);
    g_assert_cmpint(inet_pton(AF_INET, packet->dst, ip + 16), ==, 1);
    if (packet->protocol == 1) {
        l4[0] = packet->echo_reply ? 0 : 8;
        put16(l4 + 4, packet->src_port);
    } else {
        put16(l4, packet->src_port);
        put16(l4 + 2, packet->dst_port);
    }
    if (packet->protocol == 6) {
        put32(l4 + 4, packet->tcp_seq);
        put32(l4 + 8, packet->tcp_ack);
        l4[12] = 0x50;
        l4[13] = packet->tcp_flags;
    }
    put32(l4 + header, packet->number);
    return 14 + 20 + header + 4;
}

uint32_t fixture_number(const uint8_t *frame, size_t length)
{
    uint32_t number;
    memcpy(&number, frame + length - 4, 4);
    return ntohl(number);
}

void fixture_block(PcapngBuilder *builder, const FixturePacket *packet, uint32_t interface_id,
                   uint64_t time_ns, unsigned direction)
{
    uint8_t frame[FIXTURE_PACKET_MAX];
    size_t length = fixture_frame(packet, frame);
    pcapng_build_packet(builder, interface_id, time_ns, frame, (uint32_t)length, (uint32_t)length);
    pcapng_build_option_u32(builder, PCAPNG_EPB_FLAGS, direction);
    g_assert_cmpint(pcapng_build_end(builder), >, 0);
}

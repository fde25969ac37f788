// SPDX-License-Identifier: GPL-2.0-or-later
/* The encrypted packets of a connection are mostly in the same file, with the same addresses and
 * ports, and Wireshark tells conversations apart by nothing else. So plaintext gets addresses that
 * are longer than those of others: a tag follows, which is not shown, but counts in comparing. It
 * tells the pod as well, since with every vantage point in the file both ends of a connection may
 * be. That happens between IP, which sets the addresses, and TCP, which looks for the conversation:
 * in TCP's place in IP's table. */
#include "plugins/ws_compat.h"

#include "plugins/plaintext.h"

#include <string.h>

#include <epan/conversation.h>
#include <epan/epan.h>
#include <epan/ipproto.h>
#include <epan/packet.h>

#include "plugins/packet-option.h"

#define INTERFACE_SUFFIX "/plaintext"
#define TAG_BYTES        8
#define TCP_FLAGS        13 /* RFC 9293 */
#define FLAG_SYN         0x02
#define FLAG_ACK         0x10

static int proto_plaintext; /* in name only: it adds no layer */
static dissector_handle_t tcp_handle;
static dissector_handle_t tls_handle;
static dissector_handle_t unknown_handle;
static dissector_handle_t https_handle;
static dissector_table_t tcp_ports;
static dissector_table_t tls_ports; /* what is inside of TLS there */
static heur_dissector_list_t tcp_heuristics;

/* The protocols that nodes name. */
typedef struct Protocol {
    const char *name;
    const char *dissectors[2]; /* the first that there is; */
    unsigned port;             /* else the one of this port */
    dissector_handle_t handle;
} Protocol;

static Protocol protocols[] = {
    {"http", {"http-over-tcp", "http"}, 80, NULL}, {"http2", {"http2", NULL}, 0, NULL},
    {"redis", {"resp", NULL}, 6379, NULL},         {"postgresql", {"pgsql", NULL}, 5432, NULL},
    {"amqp", {"amqp", NULL}, 5672, NULL},          {"ldap", {"ldap", NULL}, 389, NULL},
    {"mqtt", {"mqtt", NULL}, 1883, NULL},          {"mongodb", {"mongo", NULL}, 0, NULL},
    {"kafka", {"kafka", NULL}, 9092, NULL},
};

bool is_plaintext_interface(const packet_info *pinfo)
{
    const char *name;
    size_t length;

    /* A node may be called so, but what it captures is called after its link type if that is RAW.
     */
    if (!(pinfo->rec->presence_flags & WTAP_HAS_INTERFACE_ID) ||
        pinfo->rec->rec_header.packet_header.pkt_encap != WTAP_ENCAP_RAW_IP)
        return false;
    name = ws_interface_name(pinfo);
    length = name ? strlen(name) : 0;
    return length >= strlen(INTERFACE_SUFFIX) &&
           strcmp(name + length - strlen(INTERFACE_SUFFIX), INTERFACE_SUFFIX) == 0;
}

/* ---- Apart from others -----------------------------------------------------------------------*/

static uint32_t hash_bytes(uint32_t hash, const uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ bytes[i]) * 16777619u; /* FNV-1a */
    return hash;
}

/* Of the capture point. Each half is followed by its complement, so that TCP's checksum, in which
 * the addresses are, stays what it was. */
static void make_tag(const packet_info *pinfo, const K8sOption *option, uint8_t *tag)
{
    const char *name = ws_interface_name(pinfo);
    uint32_t hash = hash_bytes(2166136261u, (const uint8_t *)name, strlen(name));
    IdentityTlv pod;

    if (k8s_option_text(option, IDENTITY_CAPTURE_POD, &pod))
        hash = hash_bytes(hash, pod.value, pod.length);
    for (unsigned i = 0; i < 2; i++) {
        uint16_t half = (uint16_t)(hash >> 16 * i);

        tag[4 * i] = (uint8_t)(half >> 8);
        tag[4 * i + 1] = (uint8_t)half;
        tag[4 * i + 2] = (uint8_t)~tag[4 * i];
        tag[4 * i + 3] = (uint8_t)~tag[4 * i + 1];
    }
}

static void add_tag(packet_info *pinfo, address *end, const uint8_t *tag)
{
    uint8_t *bytes;
    int length = end->len;

    if (end->type != AT_IPv4 && end->type != AT_IPv6)
        return;
    bytes = (uint8_t *)wmem_alloc(pinfo->pool, (size_t)length + TAG_BYTES);
    memcpy(bytes, end->data, (size_t)length);
    memcpy(bytes + length, tag, TAG_BYTES);
    set_address(end, end->type, length + TAG_BYTES, bytes);
}

/* ---- To its dissector ------------------------------------------------------------------------*/

static dissector_handle_t find_handle(const IdentityTlv *name)
{
    for (size_t i = 0; i < array_length(protocols); i++) {
        if (strlen(protocols[i].name) == name->length &&
            memcmp(protocols[i].name, name->value, name->length) == 0)
            return protocols[i].handle;
    }
    return NULL;
}

static bool try_port(tvbuff_t *tvb, packet_info *pinfo, proto_tree *tree, void *data, uint32_t port)
{
    dissector_handle_t handle = dissector_get_uint_handle(tcp_ports, port);

    if (handle && handle == tls_handle) {
        handle = tls_ports ? dissector_get_uint_handle(tls_ports, port) : NULL;
        data = NULL; /* what TLS would tell */
    }
    /* HTTP would have been seen to be it. */
    if (!handle || handle == tls_handle || handle == https_handle)
        return false;
    pinfo->can_desegment = pinfo->saved_can_desegment;
    return call_dissector_only(handle, tvb, pinfo, tree, data) != 0;
}

/* What no node has named: as TCP does it, but that it is not encrypted, whatever its port says. */
static int dissect_unknown(tvbuff_t *tvb, packet_info *pinfo, proto_tree *tree, void *data)
{
    uint32_t ports[2] = {MIN(pinfo->srcport, pinfo->destport),
                         MAX(pinfo->srcport, pinfo->destport)};
    heur_dtbl_entry_t *entry;

    pinfo->can_desegment = pinfo->saved_can_desegment;
    if (dissector_try_heuristic(tcp_heuristics, tvb, pinfo, tree, &entry, data))
        return tvb_captured_length(tvb);
    if (try_port(tvb, pinfo, tree, data, ports[0]) || try_port(tvb, pinfo, tree, data, ports[1]))
        return tvb_captured_length(tvb);
    call_data_dissector(tvb, pinfo, tree);
    return tvb_captured_length(tvb);
}

/* Finds the conversation ahead of TCP. Every SYN begins one: the same ports may serve again. */
static void steer(tvbuff_t *tvb, packet_info *pinfo, const K8sOption *option)
{
    uint32_t src_port, dst_port;
    uint8_t flags;
    conversation_t *conversation;
    dissector_handle_t handle = NULL, set;
    IdentityTlv name;

    if (!tvb_bytes_exist(tvb, 0, TCP_FLAGS + 1))
        return;
    src_port = tvb_get_ntohs(tvb, 0);
    dst_port = tvb_get_ntohs(tvb, 2);
    flags = ws_tvb_uint8(tvb, TCP_FLAGS);
    conversation = find_conversation(pinfo->num, &pinfo->src, &pinfo->dst, CONVERSATION_TCP,
                                     src_port, dst_port, 0);
    if (!conversation || (flags & (FLAG_SYN | FLAG_ACK)) == FLAG_SYN)
        conversation = conversation_new(pinfo->num, &pinfo->src, &pinfo->dst, CONVERSATION_TCP,
                                        src_port, dst_port, 0);
    if (k8s_option_text(option, IDENTITY_L7, &name))
        handle = find_handle(&name);
    set = conversation_get_dissector(conversation, pinfo->num);
    if (!set || (set == unknown_handle && handle))
        conversation_set_dissector_from_frame_number(conversation, pinfo->num,
                                                     handle ? handle : unknown_handle);
}

static int dissect_before_tcp(tvbuff_t *tvb, packet_info *pinfo, proto_tree *tree, void *data)
{
    if (is_plaintext_interface(pinfo)) {
        K8sOption option;
        uint8_t tag[TAG_BYTES];

        k8s_option_find(pinfo, &option);
        make_tag(pinfo, &option, tag);
        add_tag(pinfo, &pinfo->src, tag);
        add_tag(pinfo, &pinfo->dst, tag);
        if (!PINFO_FD_VISITED(pinfo))
            steer(tvb, pinfo, &option);
    }
    return call_dissector_only(tcp_handle, tvb, pinfo, tree, data);
}

/* It stands in the place of TCP, and is switched off with that, and not with k8s. */
void plaintext_register(void)
{
    proto_plaintext = proto_register_protocol_in_name_only(
        "Plaintext of TLS beside TCP", "TLS Plaintext", "k8s_plaintext",
        proto_get_id_by_filter_name("tcp"), FT_PROTOCOL);
}

void plaintext_register_handoff(void)
{
    tcp_handle = find_dissector("tcp");
    tls_handle = find_dissector("tls");
    https_handle = find_dissector("http-over-tls");
    tcp_ports = find_dissector_table("tcp.port");
    tls_ports = find_dissector_table("tls.port");
    tcp_heuristics = find_heur_dissector_list("tcp");
    if (!tcp_handle || !tcp_ports || !tcp_heuristics)
        return;
    for (size_t i = 0; i < array_length(protocols); i++) {
        Protocol *protocol = &protocols[i];

        for (unsigned j = 0; j < 2 && !protocol->handle && protocol->dissectors[j]; j++)
            protocol->handle = find_dissector(protocol->dissectors[j]);
        if (!protocol->handle && protocol->port)
            protocol->handle = dissector_get_uint_handle(tcp_ports, protocol->port);
    }
    unknown_handle = create_dissector_handle(dissect_unknown, proto_plaintext);
    dissector_add_uint("ip.proto", IP_PROTO_TCP,
                       create_dissector_handle(dissect_before_tcp, proto_plaintext));
}

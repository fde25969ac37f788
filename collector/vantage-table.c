// SPDX-License-Identifier: GPL-2.0-or-later
#include "collector/vantage-table.h"

#include <string.h>

#include "collector/vantage-captured.h"
#include "common/pcapng/pcapng.h"
#include "common/seeded-hash.h"

#define CLIENT_LEGS_MAX 32 /* looked at when a leg searches its other one */
#define CLIENT_BYTES    offsetof(VantageClient, hash)

struct VantageTable {
    const Inventory *inventory;
    const Translations *translations; /* or NULL */
    size_t max_connections;
    GHashTable *legs;    /* a set, by key */
    GHashTable *clients; /* VantageClient (in the leg) -> first leg of its list */
    GQueue used;         /* legs, least recently used first */
    VantageCaptured *captured;
    VantageService *held_service;
    uint64_t evicted;
};

static guint leg_hash(gconstpointer leg)
{
    return ((const VantageLeg *)leg)->hash;
}

static gboolean leg_equal(gconstpointer a, gconstpointer b)
{
    return memcmp(&((const VantageLeg *)a)->key, &((const VantageLeg *)b)->key,
                  sizeof(VantageKey)) == 0;
}

static guint client_hash(gconstpointer client)
{
    return ((const VantageClient *)client)->hash;
}

static gboolean client_equal(gconstpointer a, gconstpointer b)
{
    return memcmp(a, b, CLIENT_BYTES) == 0;
}

VantageTable *vantage_table_new(const Inventory *inventory, const Translations *translations,
                                size_t max_connections)
{
    VantageTable *table = g_new0(VantageTable, 1);
    table->inventory = inventory;
    table->translations = translations;
    table->max_connections = max_connections;
    table->legs = g_hash_table_new(leg_hash, leg_equal);
    table->clients = g_hash_table_new(client_hash, client_equal);
    g_queue_init(&table->used);
    table->captured = vantage_captured_new(inventory);
    return table;
}

static VantageService *service_new(const Entity *entity)
{
    VantageService *service = g_new0(VantageService, 1);
    service->refs = 1;
    service->entity = entity ? entity_ref(entity) : NULL;
    return service;
}

static void service_unref(VantageService *service)
{
    if (!service || --service->refs)
        return;
    entity_unref(service->entity);
    g_free(service);
}

VantageLeg *vantage_leg_unref(VantageLeg *leg)
{
    if (!leg || --leg->refs)
        return NULL;
    service_unref(leg->service);
    g_free(leg->server_uid);
    g_free(leg);
    return NULL;
}

static void unlist_client(VantageTable *table, VantageLeg *leg)
{
    if (!leg->listed)
        return;
    if (leg->client_next)
        leg->client_next->client_previous = leg->client_previous;
    if (leg->client_previous)
        leg->client_previous->client_next = leg->client_next;
    else if (leg->client_next)
        g_hash_table_replace(table->clients, &leg->client_next->client, leg->client_next);
    else
        g_hash_table_remove(table->clients, &leg->client);
    leg->listed = false;
}

static void list_client(VantageTable *table, VantageLeg *leg)
{
    leg->client_next = g_hash_table_lookup(table->clients, &leg->client);
    if (leg->client_next)
        leg->client_next->client_previous = leg;
    g_hash_table_replace(table->clients, &leg->client, leg);
    leg->listed = true;
}

static void forget(VantageTable *table, VantageLeg *leg)
{
    unlist_client(table, leg);
    g_hash_table_remove(table->legs, leg);
    g_queue_unlink(&table->used, &leg->link);
    vantage_leg_unref(leg);
}

VantageTable *vantage_table_free(VantageTable *table)
{
    if (!table)
        return NULL;
    while (table->used.head)
        forget(table, table->used.head->data);
    g_hash_table_destroy(table->legs);
    g_hash_table_destroy(table->clients);
    vantage_captured_free(table->captured);
    service_unref(table->held_service);
    g_free(table);
    return NULL;
}

static VantageService *share(VantageService *service)
{
    service->refs++;
    return service;
}

/* ---- Keys ------------------------------------------------------------------------------------*/

static bool is_link_local(const IpAddress *address)
{
    static const uint8_t none[16] = {0}, v4[12] = {[10] = 0xff, [11] = 0xff};
    if (memcmp(address->bytes, v4, sizeof v4) == 0) {
        const uint8_t *b = address->bytes + 12;
        return (b[0] == 169 && b[1] == 254) || b[0] == 127 || memcmp(b, none, 4) == 0;
    }
    return (address->bytes[0] == 0xfe && (address->bytes[1] & 0xc0) == 0x80) ||
           memcmp(address->bytes, none, 15) == 0; /* ::, ::1 */
}

/* False for what means something else, or nothing, at another capture point. */
static bool has_connection(const PacketInfo *info)
{
    return info->is_ip && !info->is_group && !is_link_local(&info->src) &&
           !is_link_local(&info->dst);
}

static bool src_is_first(const PacketInfo *info)
{
    int order = memcmp(&info->src, &info->dst, sizeof info->src);
    return order ? order < 0 : info->src_port <= info->dst_port;
}

static void make_key(const PacketInfo *info, bool is_plaintext, VantageLeg *ret)
{
    unsigned src = src_is_first(info) ? 0 : 1;
    ret->key.address[src] = info->src;
    ret->key.address[!src] = info->dst;
    ret->key.port[src] = info->src_port;
    ret->key.port[!src] = info->dst_port;
    ret->key.fragment_id = info->is_fragment && !info->has_ports ? info->fragment_id : 0;
    ret->key.protocol = info->protocol | (is_plaintext ? VANTAGE_PLAINTEXT : 0);
    ret->hash = seeded_hash(&ret->key, sizeof ret->key);
}

bool vantage_leg_server_is_src(const VantageLeg *leg, const VantagePacket *packet)
{
    return src_is_first(&packet->info) == leg->server_is_first;
}

bool vantage_leg_at_server(const VantageLeg *leg, const VantagePacket *packet)
{
    if (packet->direction == PCAPNG_DIRECTION_OUTBOUND)
        return vantage_leg_server_is_src(leg, packet);
    if (packet->direction == PCAPNG_DIRECTION_INBOUND)
        return !vantage_leg_server_is_src(leg, packet);
    return leg->server_uid && strcmp(leg->server_uid, packet->point->target_uid) == 0;
}

/* ---- A new leg -------------------------------------------------------------------------------*/

static bool declares_port(const Entity *pod, uint8_t protocol, uint16_t port)
{
    for (size_t i = 0; pod && i < pod->n_ports; i++) {
        if (pod->ports[i].port == port && pod->ports[i].protocol == protocol)
            return true;
    }
    return false;
}

/* How much this end looks like a server. */
static int server_likeness(const VantageTable *table, const Peer *peer, const IpAddress *address,
                           uint8_t protocol, uint16_t port, uint64_t time_ns)
{
    if (peer->type == PEER_SERVICE)
        return 3;
    if (peer->type != PEER_POD)
        return 0;
    if (inventory_service_of_endpoint(table->inventory, address, protocol, port, time_ns))
        return 2;
    return declares_port(peer->pod, protocol, port) ? 1 : 0;
}

static bool server_is_src(const VantageTable *table, const PacketInfo *info, const Peer *src,
                          const Peer *dst, uint64_t time_ns)
{
    if (!info->has_ports)
        return false;
    if (packet_is_echo(info))
        return info->is_echo_reply;
    if (info->protocol == PACKET_TCP && info->tcp_flags & PACKET_TCP_SYN)
        return info->tcp_flags & PACKET_TCP_ACK;
    int s = server_likeness(table, src, &info->src, info->protocol, info->src_port, time_ns);
    int d = server_likeness(table, dst, &info->dst, info->protocol, info->dst_port, time_ns);
    if (s != d)
        return s > d;
    if (info->src_port != info->dst_port)
        return info->src_port < info->dst_port;
    return src_is_first(info);
}

/* The client is the same, and one goes to a service of which the other's server is an endpoint. */
static bool are_legs_of_one(const VantageTable *table, const VantageLeg *service_leg,
                            const Entity *service, const VantageLeg *pod_leg, uint64_t time_ns)
{
    if (service_leg->has_syn && pod_leg->has_syn && service_leg->syn_seq != pod_leg->syn_seq)
        return false;
    if (service_leg->first_point == pod_leg->first_point)
        return false; /* a pod that calls itself sees both legs, and they are different packets */
    unsigned server = pod_leg->server_is_first ? 0 : 1;
    return inventory_is_endpoint(table->inventory, service, &pod_leg->key.address[server],
                                 (uint8_t)pod_leg->key.protocol, pod_leg->key.port[server],
                                 time_ns);
}

static void join_other_leg(VantageTable *table, VantageLeg *leg, uint64_t time_ns)
{
    VantageLeg *other = g_hash_table_lookup(table->clients, &leg->client);
    for (int i = 0; other && i < CLIENT_LEGS_MAX; i++, other = other->client_next) {
        if (other->to_service == leg->to_service || (other->service && other->service->flow.id))
            continue;
        VantageLeg *service_leg = leg->to_service ? leg : other;
        VantageLeg *pod_leg = leg->to_service ? other : leg;
        if (!are_legs_of_one(table, service_leg, service_leg->service->entity, pod_leg, time_ns))
            continue;
        service_unref(pod_leg->service);
        pod_leg->service = share(service_leg->service);
        if (pod_leg == other) /* it was here first and is shown already */
            service_leg->service->legs =
                (VantageChoice){VANTAGE_SIDE_POD, MAX(pod_leg->last_ns, pod_leg->points.last_ns)};
        return;
    }
}

/* ---- A leg that conntrack knows
 * ----------------------------------------------------------------*/

static FlowEnd leg_end(const VantageLeg *leg, unsigned index)
{
    return (FlowEnd){leg->key.address[index], leg->key.port[index]};
}

static bool is_end(const VantageLeg *leg, unsigned index, const FlowEnd *end)
{
    return leg->key.port[index] == end->port &&
           ip_address_equal(&leg->key.address[index], &end->address);
}

static bool flow_of(const VantageTable *table, const VantageLeg *leg, uint64_t time_ns, Flow *ret)
{
    FlowEnd ends[2] = {leg_end(leg, 0), leg_end(leg, 1)};
    if (!table->translations || leg->key.fragment_id ||
        !translations_find(table->translations, (uint8_t)leg->key.protocol, &ends[0], &ends[1],
                           time_ns, ret))
        return false;
    /* There is no later one: a packet behind the end is asked about again, but not each. */
    if (ret->to_ns && ret->to_ns < time_ns)
        ret->to_ns = time_ns + TRANSLATION_SLACK_NS;
    return true;
}

static VantageLeg *leg_between(const VantageTable *table, uint8_t protocol, bool is_plaintext,
                               const FlowEnd *a, const FlowEnd *b)
{
    const PacketInfo info = {.src = a->address,
                             .dst = b->address,
                             .src_port = a->port,
                             .dst_port = b->port,
                             .protocol = protocol,
                             .has_ports = true};
    VantageLeg wanted;
    make_key(&info, is_plaintext, &wanted);
    return g_hash_table_lookup(table->legs, &wanted);
}

/* The same connection's leg at its other end, if that was seen. */
static VantageLeg *other_leg(const VantageTable *table, const VantageLeg *leg, const Flow *flow)
{
    bool is_plaintext = vantage_leg_is_plaintext(leg);
    VantageLeg *other =
        leg->to_service
            ? leg_between(table, flow->protocol, is_plaintext, &flow->masked_client, &flow->server)
            : leg_between(table, flow->protocol, is_plaintext, &flow->client, &flow->service);
    bool differs = !other || other == leg ||
                   (other->has_syn && leg->has_syn && other->syn_seq != leg->syn_seq);
    return differs ? NULL : other;
}

/* Whose end is which, and what stands behind it. */
static void set_ends(VantageTable *table, VantageLeg *leg, const Flow *flow, uint64_t time_ns)
{
    bool at_server = (is_end(leg, 0, &flow->masked_client) && is_end(leg, 1, &flow->server)) ||
                     (is_end(leg, 1, &flow->masked_client) && is_end(leg, 0, &flow->server));
    leg->to_service = !at_server;
    leg->server_is_first =
        at_server ? is_end(leg, 0, &flow->server) : is_end(leg, 0, &flow->service);
    Peer server;
    inventory_lookup(table->inventory, &flow->server.address, flow->protocol, flow->server.port,
                     time_ns, &server);
    if (server.type == PEER_POD) {
        leg->server_captured = vantage_captured_pod(table->captured, server.pod->uid);
        g_free(leg->server_uid);
        leg->server_uid = g_strdup(server.pod->uid);
    }
}

static const Entity *called_service(const VantageTable *table, const Flow *flow, uint64_t time_ns)
{
    Peer called;
    inventory_lookup(table->inventory, &flow->service.address, flow->protocol, flow->service.port,
                     time_ns, &called);
    return called.service;
}

/* Joins the leg with its other one by what conntrack says, whatever was guessed. */
static void join_by_flow(VantageTable *table, VantageLeg *leg, const Flow *flow, uint64_t time_ns)
{
    unlist_client(table, leg);
    set_ends(table, leg, flow, time_ns);
    VantageLeg *other = other_leg(table, leg, flow);
    VantageService *service = other && other->service && other->service->flow.id == flow->id
                                  ? share(other->service)
                                  : service_new(called_service(table, flow, time_ns));
    service->flow = *flow;
    /* What is shown already goes on. */
    if (leg->service && leg->service->legs.chosen && !service->legs.chosen)
        service->legs = leg->service->legs;
    service_unref(leg->service);
    leg->service = service;
    if (!other || other->service == service)
        return;
    unlist_client(table, other);
    set_ends(table, other, flow, time_ns);
    service_unref(other->service);
    other->service = share(service);
    VantageLeg *pod_leg = leg->to_service ? other : leg;
    if (!service->legs.chosen && pod_leg->points.chosen)
        service->legs =
            (VantageChoice){VANTAGE_SIDE_POD, MAX(pod_leg->last_ns, pod_leg->points.last_ns)};
}

static void translate_leg(VantageTable *table, VantageLeg *leg)
{
    Flow flow;
    if (!leg || !flow_of(table, leg, leg->last_ns, &flow))
        return;
    if (!leg->service || !leg->service->flow.id)
        join_by_flow(table, leg, &flow, leg->last_ns);
    else if (leg->service->flow.id == flow.id)
        leg->service->flow.to_ns = flow.to_ns;
}

void vantage_table_translated(VantageTable *table, const Translation *translation)
{
    for (unsigned is_plaintext = 0; is_plaintext < 2; is_plaintext++) {
        translate_leg(table, leg_between(table, translation->protocol, is_plaintext,
                                         &translation->client, &translation->service));
        translate_leg(table, leg_between(table, translation->protocol, is_plaintext,
                                         &translation->masked_client, &translation->server));
    }
}

static void describe_leg(VantageTable *table, VantageLeg *leg, const VantagePacket *packet)
{
    const PacketInfo *info = &packet->info;
    uint64_t time_ns = packet->packet.time_ns;
    leg->first_point = packet->point->id;
    Flow flow;
    if (info->has_ports && flow_of(table, leg, time_ns, &flow)) {
        join_by_flow(table, leg, &flow, time_ns);
        return;
    }
    bool is_echo = packet_is_echo(info);
    Peer src, dst;
    inventory_lookup(table->inventory, &info->src, info->protocol, is_echo ? 0 : info->src_port,
                     time_ns, &src);
    inventory_lookup(table->inventory, &info->dst, info->protocol, is_echo ? 0 : info->dst_port,
                     time_ns, &dst);
    bool from_server = server_is_src(table, info, &src, &dst, time_ns);
    const Peer *server = from_server ? &src : &dst;
    leg->server_is_first = from_server == src_is_first(info);
    unsigned client = leg->server_is_first ? 1 : 0;
    leg->client = (VantageClient){
        .address = leg->key.address[client],
        .port = leg->key.port[client],
        .protocol = (uint16_t)leg->key.protocol,
    };
    leg->client.hash = seeded_hash(&leg->client, CLIENT_BYTES);
    if (server->type == PEER_SERVICE) {
        leg->to_service = true;
        leg->server_captured = vantage_captured_service(table->captured, server->service);
        leg->service = service_new(server->service);
    } else if (server->type == PEER_POD) {
        leg->server_captured = vantage_captured_pod(table->captured, server->pod->uid);
        leg->server_uid = g_strdup(server->pod->uid);
    }
    if (info->has_ports && (server->type == PEER_SERVICE || server->type == PEER_POD)) {
        join_other_leg(table, leg, time_ns);
        list_client(table, leg);
    }
}

/* The client's initial sequence number, by which both ends' handshakes tell the connection. Those
 * of plaintext are made up at each end, and say nothing. */
static bool initial_sequence(const VantagePacket *packet, uint32_t *ret)
{
    const PacketInfo *info = &packet->info;
    if (packet->point->plaintext || info->protocol != PACKET_TCP ||
        !(info->tcp_flags & PACKET_TCP_SYN))
        return false;
    *ret = info->tcp_flags & PACKET_TCP_ACK ? info->tcp_ack - 1 : info->tcp_seq;
    return true;
}

/* A connection's plaintext comes from either end, each with one SYN. Returns whether this is the
 * second of an end: another connection. */
static bool note_plaintext_syn(VantageLeg *leg, const VantagePacket *packet)
{
    const PacketInfo *info = &packet->info;
    bool is_syn = info->protocol == PACKET_TCP &&
                  (info->tcp_flags & (PACKET_TCP_SYN | PACKET_TCP_ACK)) == PACKET_TCP_SYN;
    if (!packet->point->plaintext || !is_syn)
        return false;
    for (unsigned i = 0; i < 2; i++) {
        if (leg->plaintext_points[i] == packet->point->id)
            return true;
        if (!leg->plaintext_points[i]) {
            leg->plaintext_points[i] = packet->point->id;
            break;
        }
    }
    return false;
}

/* Whether the packet belongs to another connection than the leg's, or the leg's choice can no
 * longer stand. */
static bool is_over(const VantageTable *table, const VantageLeg *leg, const VantagePacket *packet)
{
    const PacketInfo *info = &packet->info;
    if (packet->packet.time_ns > leg->last_ns + VANTAGE_IDLE_NS)
        return true;
    if (leg->service && leg->service->flow.to_ns &&
        packet->packet.time_ns > leg->service->flow.to_ns)
        return true; /* the same addresses, perhaps rewritten in another way */
    uint32_t sequence;
    if (initial_sequence(packet, &sequence) &&
        (leg->has_syn ? sequence != leg->syn_seq : !(info->tcp_flags & PACKET_TCP_ACK)))
        return true;
    uint32_t chosen = leg->points.chosen;
    return chosen && chosen != packet->point->id &&
           !vantage_captured_point(table->captured, chosen);
}

VantageLeg *vantage_table_find(VantageTable *table, const VantagePacket *packet)
{
    if (!has_connection(&packet->info))
        return NULL;
    VantageLeg wanted;
    make_key(&packet->info, packet->point->plaintext, &wanted);
    VantageLeg *leg = g_hash_table_lookup(table->legs, &wanted);
    if (leg && (is_over(table, leg, packet) || note_plaintext_syn(leg, packet))) {
        forget(table, leg);
        leg = NULL;
    }
    if (leg) {
        g_queue_unlink(&table->used, &leg->link);
    } else {
        if (table->used.length >= table->max_connections) {
            forget(table, table->used.head->data);
            table->evicted++;
        }
        leg = g_new0(VantageLeg, 1);
        leg->key = wanted.key;
        leg->hash = wanted.hash;
        leg->refs = 1;
        leg->link.data = leg;
        leg->has_syn = initial_sequence(packet, &leg->syn_seq);
        note_plaintext_syn(leg, packet);
        describe_leg(table, leg, packet);
        g_hash_table_add(table->legs, leg);
    }
    g_queue_push_tail_link(&table->used, &leg->link);
    leg->last_ns = MAX(leg->last_ns, packet->packet.time_ns);
    if (!leg->has_syn)
        leg->has_syn = initial_sequence(packet, &leg->syn_seq);
    leg->refs++;
    return leg;
}

const VantageService *vantage_table_hold_service(VantageTable *table, const VantageLeg *leg)
{
    VantageService *service = leg->service;
    if (service != table->held_service) {
        service_unref(table->held_service);
        table->held_service = service ? share(service) : NULL;
    }
    return service;
}

void vantage_table_stats(const VantageTable *table, size_t *ret_connections, uint64_t *ret_evicted)
{
    *ret_connections = table->used.length;
    *ret_evicted = table->evicted;
}

void vantage_table_point_changed(VantageTable *table, const CapturePoint *point)
{
    vantage_captured_point_changed(table->captured, point);
}

uint64_t vantage_table_endpoints_examined(const VantageTable *table)
{
    return vantage_captured_examined(table->captured);
}

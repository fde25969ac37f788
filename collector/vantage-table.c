// SPDX-License-Identifier: GPL-2.0-or-later
#include "collector/vantage-table.h"

#include <string.h>

#include "common/pcapng/pcapng.h"
#include "common/seeded-hash.h"

#define CLIENT_LEGS_MAX 32 /* looked at when a leg searches its other one */
#define CLIENT_BYTES    offsetof(VantageClient, hash)

struct VantageTable {
    const Inventory *inventory;
    size_t max_connections;
    GHashTable *legs;        /* a set, by key */
    GHashTable *clients;     /* VantageClient (in the leg) -> first leg of its list */
    GQueue used;             /* legs, least recently used first */
    GHashTable *live_points; /* a set of CapturePoint ids */
    GHashTable *captured;    /* pod uid -> number of live points */
    /* Services with a captured endpoint, "namespace/name", as of these. */
    GHashTable *captured_services;
    bool captured_services_valid;
    uint64_t captured_services_generation;
    Entity *held_service;
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

VantageTable *vantage_table_new(const Inventory *inventory, size_t max_connections)
{
    VantageTable *table = g_new0(VantageTable, 1);
    table->inventory = inventory;
    table->max_connections = max_connections;
    table->legs = g_hash_table_new(leg_hash, leg_equal);
    table->clients = g_hash_table_new(client_hash, client_equal);
    g_queue_init(&table->used);
    table->live_points = g_hash_table_new(NULL, NULL);
    table->captured = g_hash_table_new_full(seeded_str_hash, g_str_equal, g_free, NULL);
    table->captured_services = g_hash_table_new_full(seeded_str_hash, g_str_equal, g_free, NULL);
    return table;
}

static VantageService *service_new(const Entity *entity)
{
    VantageService *service = g_new0(VantageService, 1);
    service->refs = 1;
    service->entity = entity_ref(entity);
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
    g_hash_table_destroy(table->live_points);
    g_hash_table_destroy(table->captured);
    g_hash_table_destroy(table->captured_services);
    entity_unref(table->held_service);
    g_free(table);
    return NULL;
}

/* ---- What is captured ------------------------------------------------------------------------*/

void vantage_table_point_changed(VantageTable *table, const CapturePoint *point)
{
    gpointer id = GUINT_TO_POINTER(point->id);
    if (g_hash_table_contains(table->live_points, id) == point->alive)
        return;
    if (point->alive)
        g_hash_table_add(table->live_points, id);
    else
        g_hash_table_remove(table->live_points, id);
    if (point->loopback || !*point->target_uid)
        return;
    guint count = GPOINTER_TO_UINT(g_hash_table_lookup(table->captured, point->target_uid));
    count = point->alive ? count + 1 : count - 1;
    if (count)
        g_hash_table_insert(table->captured, g_strdup(point->target_uid), GUINT_TO_POINTER(count));
    else
        g_hash_table_remove(table->captured, point->target_uid);
    table->captured_services_valid = false;
}

static void collect_captured_service(const Entity *entity, void *userdata)
{
    VantageTable *table = userdata;
    if (entity->kind != ENTITY_ENDPOINT_SLICE)
        return;
    for (size_t i = 0; i < entity->n_endpoints; i++) {
        if (g_hash_table_contains(table->captured, entity->endpoints[i].target_uid)) {
            g_hash_table_add(
                table->captured_services,
                g_strdup_printf("%s/%s", entity->namespace_name, entity->service_name));
            return;
        }
    }
}

static bool service_is_captured(VantageTable *table, const Entity *service)
{
    uint64_t generation = inventory_generation(table->inventory);
    if (!table->captured_services_valid || table->captured_services_generation != generation) {
        g_hash_table_remove_all(table->captured_services);
        inventory_foreach(table->inventory, 0, collect_captured_service, table);
        table->captured_services_generation = generation;
        table->captured_services_valid = true;
    }
    char name[600];
    g_snprintf(name, sizeof name, "%s/%s", service->namespace_name, service->name);
    return g_hash_table_contains(table->captured_services, name);
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

static void make_key(const PacketInfo *info, VantageLeg *ret)
{
    unsigned src = src_is_first(info) ? 0 : 1;
    ret->key.address[src] = info->src;
    ret->key.address[!src] = info->dst;
    ret->key.port[src] = info->src_port;
    ret->key.port[!src] = info->dst_port;
    ret->key.fragment_id = info->is_fragment && !info->has_ports ? info->fragment_id : 0;
    ret->key.protocol = info->protocol;
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

static VantageService *share(VantageService *service)
{
    service->refs++;
    return service;
}

static void join_other_leg(VantageTable *table, VantageLeg *leg, uint64_t time_ns)
{
    VantageLeg *other = g_hash_table_lookup(table->clients, &leg->client);
    for (int i = 0; other && i < CLIENT_LEGS_MAX; i++, other = other->client_next) {
        if (other->to_service == leg->to_service)
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

static void describe_leg(VantageTable *table, VantageLeg *leg, const VantagePacket *packet)
{
    const PacketInfo *info = &packet->info;
    uint64_t time_ns = packet->packet.time_ns;
    bool is_echo = packet_is_echo(info);
    Peer src, dst;
    inventory_lookup(table->inventory, &info->src, info->protocol, is_echo ? 0 : info->src_port,
                     time_ns, &src);
    inventory_lookup(table->inventory, &info->dst, info->protocol, is_echo ? 0 : info->dst_port,
                     time_ns, &dst);
    bool from_server = server_is_src(table, info, &src, &dst, time_ns);
    const Peer *server = from_server ? &src : &dst;
    leg->server_is_first = from_server == src_is_first(info);
    leg->first_point = packet->point->id;
    unsigned client = leg->server_is_first ? 1 : 0;
    leg->client = (VantageClient){
        .address = leg->key.address[client],
        .port = leg->key.port[client],
        .protocol = info->protocol,
    };
    leg->client.hash = seeded_hash(&leg->client, CLIENT_BYTES);
    if (server->type == PEER_SERVICE) {
        leg->to_service = true;
        leg->server_captured = service_is_captured(table, server->service);
        leg->service = service_new(server->service);
    } else if (server->type == PEER_POD) {
        leg->server_captured = g_hash_table_contains(table->captured, server->pod->uid);
        leg->server_uid = g_strdup(server->pod->uid);
    }
    if (info->has_ports && (server->type == PEER_SERVICE || server->type == PEER_POD)) {
        join_other_leg(table, leg, time_ns);
        list_client(table, leg);
    }
}

/* The client's initial sequence number, by which both ends' handshakes tell the connection. */
static bool initial_sequence(const PacketInfo *info, uint32_t *ret)
{
    if (info->protocol != PACKET_TCP || !(info->tcp_flags & PACKET_TCP_SYN))
        return false;
    *ret = info->tcp_flags & PACKET_TCP_ACK ? info->tcp_ack - 1 : info->tcp_seq;
    return true;
}

/* Whether the packet belongs to another connection than the leg's, or the leg's choice can no
 * longer stand. */
static bool is_over(const VantageTable *table, const VantageLeg *leg, const VantagePacket *packet)
{
    const PacketInfo *info = &packet->info;
    if (packet->packet.time_ns > leg->last_ns + VANTAGE_IDLE_NS)
        return true;
    uint32_t sequence;
    if (initial_sequence(info, &sequence) &&
        (leg->has_syn ? sequence != leg->syn_seq : !(info->tcp_flags & PACKET_TCP_ACK)))
        return true;
    uint32_t chosen = leg->points.chosen;
    return chosen && chosen != packet->point->id &&
           !g_hash_table_contains(table->live_points, GUINT_TO_POINTER(chosen));
}

VantageLeg *vantage_table_find(VantageTable *table, const VantagePacket *packet)
{
    if (!has_connection(&packet->info))
        return NULL;
    VantageLeg wanted;
    make_key(&packet->info, &wanted);
    VantageLeg *leg = g_hash_table_lookup(table->legs, &wanted);
    if (leg && is_over(table, leg, packet)) {
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
        leg->has_syn = initial_sequence(&packet->info, &leg->syn_seq);
        describe_leg(table, leg, packet);
        g_hash_table_add(table->legs, leg);
    }
    g_queue_push_tail_link(&table->used, &leg->link);
    leg->last_ns = MAX(leg->last_ns, packet->packet.time_ns);
    if (!leg->has_syn)
        leg->has_syn = initial_sequence(&packet->info, &leg->syn_seq);
    leg->refs++;
    return leg;
}

const Entity *vantage_table_hold_service(VantageTable *table, const VantageLeg *leg)
{
    Entity *service = leg->service ? leg->service->entity : NULL;
    if (service != table->held_service) {
        entity_unref(table->held_service);
        table->held_service = service ? entity_ref(service) : NULL;
    }
    return service;
}

void vantage_table_stats(const VantageTable *table, size_t *ret_connections, uint64_t *ret_evicted)
{
    *ret_connections = table->used.length;
    *ret_evicted = table->evicted;
}

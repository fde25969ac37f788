// SPDX-License-Identifier: GPL-2.0-or-later
#include "k8s-enrich/address.h"
#include "k8s-enrich/inventory-private.h"

/* A question, and the interval in which everything that was asked on the way has the same answer.
 */
typedef struct Query {
    const Inventory *inventory;
    const IpAddress *address;
    uint8_t protocol;
    uint16_t port;
    uint64_t time_ns;
    Interval interval;
} Query;

static const Timeline *timeline_of(const Query *query, PlaceRole role)
{
    PlaceKey key = {.address = *query->address, .role = role};
    return place_table_find(&query->inventory->places, &key);
}

static const Holder *holder_at(Query *query, const Timeline *timeline)
{
    return timeline_at(timeline, query->time_ns, &query->interval);
}

/* Who holds the query's port at `address`. */
static const Holder *port_holder(Query *query, const IpAddress *address, PlaceRole role)
{
    static const uint8_t any[] = {6, 17, 132};
    const uint8_t *protocols = query->protocol ? &query->protocol : any;
    size_t n = query->protocol ? 1 : G_N_ELEMENTS(any);
    for (size_t i = 0; query->port && i < n; i++) {
        PlaceKey key = {*address, query->port, protocols[i], role};
        const Holder *holder = holder_at(query, place_table_find(&query->inventory->places, &key));
        if (holder)
            return holder;
    }
    return NULL;
}

static bool answer_pod(Query *query, const Holder *pod, Peer *ret)
{
    ret->type = PEER_POD;
    ret->pod = pod->entity;
    const Holder *node = pod->name ? holder_at(query, pod->name->versions) : NULL;
    ret->node = node ? node->entity : NULL;
    return true;
}

/* Whatever had the address at any time. */
typedef struct Owners {
    const Timeline *pods, *host_pods, *services, *nodes;
} Owners;

/* False: nobody holds the address then. */
static bool answer_from(Query *query, const Owners *owners, Peer *ret)
{
    static const IpAddress every_node;
    const Holder *pod = holder_at(query, owners->pods);
    if (!pod && owners->host_pods)
        pod = port_holder(query, query->address, PLACE_HOST_POD);
    if (pod)
        return answer_pod(query, pod, ret);

    const Holder *node = holder_at(query, owners->nodes), *service = NULL;
    if (owners->services) {
        service = port_holder(query, query->address, PLACE_SERVICE);
        if (!service && !node)
            service = holder_at(query, owners->services);
    }
    if (!service && node)
        service = port_holder(query, &every_node, PLACE_SERVICE);
    ret->node = node ? node->entity : NULL;
    ret->service = service ? service->entity : NULL;
    ret->type = service ? PEER_SERVICE : node ? PEER_NODE : PEER_UNKNOWN;
    return ret->type != PEER_UNKNOWN;
}

/* The start of the only entity that ever had the address, or TIME_OPEN if there were several. */
static uint64_t only_start(const Owners *owners)
{
    const Timeline *const timelines[] = {owners->pods, owners->services, owners->nodes};
    const Entity *only = NULL;
    uint64_t start_ns = TIME_OPEN;
    for (size_t i = 0; i < G_N_ELEMENTS(timelines); i++) {
        for (size_t j = 0; j < timeline_count(timelines[i]); j++) {
            const Entity *entity = timelines[i]->holders[j].entity;
            if (only && only->key != entity->key)
                return TIME_OPEN;
            only = entity;
            start_ns = MIN(start_ns, entity->from_ns);
        }
    }
    return start_ns;
}

/* Nobody holds the address at the time: perhaps somebody does in a moment. */
static bool answer_early(Query *query, const Owners *owners, Peer *ret)
{
    uint64_t start_ns = only_start(owners);
    if (start_ns == TIME_OPEN || query->time_ns >= start_ns)
        return false;
    uint64_t early_ns = start_ns - MIN(start_ns, CLOCK_SLACK_NS);
    if (query->time_ns < early_ns) {
        query->interval.to_ns = MIN(query->interval.to_ns, early_ns);
        return false;
    }
    query->time_ns = start_ns;
    query->interval = (Interval){0, TIME_OPEN};
    bool found = answer_from(query, owners, ret);
    query->interval.from_ns = early_ns;
    return found;
}

static void answer(Query *query, Peer *ret)
{
    Owners owners = {.pods = timeline_of(query, PLACE_POD)};
    const Holder *pod = holder_at(query, owners.pods);
    if (pod) {
        answer_pod(query, pod, ret);
        return;
    }
    owners.host_pods = timeline_of(query, PLACE_HOST_POD);
    owners.services = timeline_of(query, PLACE_SERVICE);
    owners.nodes = timeline_of(query, PLACE_NODE);
    if (!owners.pods && !owners.host_pods && !owners.services && !owners.nodes) {
        bool knows_anything = g_hash_table_size(query->inventory->records) > 0;
        if (knows_anything && ip_address_is_host(query->address))
            ret->type = PEER_EXTERNAL;
        return;
    }
    if (!answer_from(query, &owners, ret))
        answer_early(query, &owners, ret);
}

void inventory_lookup(const Inventory *inventory, const IpAddress *address, uint8_t protocol,
                      uint16_t port, uint64_t time_ns, Peer *ret)
{
    Query query = {inventory, address, protocol, port, time_ns, {0, TIME_OPEN}};
    *ret = (Peer){0};
    answer(&query, ret);
    ret->from_ns = query.interval.from_ns;
    ret->to_ns = query.interval.to_ns == TIME_OPEN ? 0 : query.interval.to_ns;
}

/* An endpoint slice's ports hold for all its endpoints; a port that is not given means all ports.
 */
static bool slice_has_port(const Entity *slice, uint8_t protocol, uint16_t port)
{
    if (port == 0)
        return true;
    for (size_t i = 0; i < slice->n_ports; i++) {
        const EntityPort *have = &slice->ports[i];
        if ((have->port == 0 || have->port == port) &&
            (protocol == 0 || have->protocol == protocol))
            return true;
    }
    return false;
}

/* Slices that list an address, to be walked from the latest on. */
static const Timeline *slices_of(const Inventory *inventory, const IpAddress *address)
{
    PlaceKey key = {.address = *address, .role = PLACE_SLICE};
    return place_table_find(&inventory->places, &key);
}

static bool lists_port(const Holder *slice, uint8_t protocol, uint16_t port, uint64_t time_ns)
{
    return slice->to_ns > time_ns && slice->name && slice_has_port(slice->entity, protocol, port);
}

const Entity *inventory_service_of_endpoint(const Inventory *inventory, const IpAddress *address,
                                            uint8_t protocol, uint16_t port, uint64_t time_ns)
{
    const Timeline *slices = slices_of(inventory, address);
    const Name *only = NULL;
    for (size_t i = timeline_first_begun(slices, time_ns); i < timeline_count(slices); i++) {
        const Holder *slice = &slices->holders[i];
        if (!lists_port(slice, protocol, port, time_ns))
            continue;
        if (only && only != slice->name)
            return NULL;
        only = slice->name;
    }
    Interval interval = {0, TIME_OPEN};
    const Holder *service = only ? timeline_at(only->versions, time_ns, &interval) : NULL;
    return service ? service->entity : NULL;
}

bool inventory_is_endpoint(const Inventory *inventory, const Entity *service,
                           const IpAddress *address, uint8_t protocol, uint16_t port,
                           uint64_t time_ns)
{
    const Timeline *slices = slices_of(inventory, address);
    for (size_t i = timeline_first_begun(slices, time_ns); i < timeline_count(slices); i++) {
        const Holder *slice = &slices->holders[i];
        if (lists_port(slice, protocol, port, time_ns) &&
            g_str_equal(slice->name->name, service->name) &&
            g_str_equal(slice->name->namespace_name, service->namespace_name))
            return true;
    }
    return false;
}

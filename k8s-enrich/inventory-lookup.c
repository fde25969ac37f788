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

static const Holder *holder_at(Query *query, const Place *place, PlaceRole role)
{
    return timeline_at(&place->timelines[role], query->time_ns, &query->interval);
}

static const Entity *entity_at(Query *query, const Place *place, PlaceRole role)
{
    const Holder *holder = holder_at(query, place, role);
    return holder ? holder->entity : NULL;
}

/* Who holds the query's port at `address`. */
static const Holder *port_holder(Query *query, const IpAddress *address, PlaceRole role)
{
    static const uint8_t any[] = {6, 17, 132};
    const uint8_t *protocols = query->protocol ? &query->protocol : any;
    size_t n = query->protocol ? 1 : G_N_ELEMENTS(any);
    for (size_t i = 0; query->port && i < n; i++) {
        PlaceKey key = {*address, protocols[i], query->port};
        const Place *place = place_table_find(&query->inventory->places, &key);
        const Holder *holder = place ? holder_at(query, place, role) : NULL;
        if (holder)
            return holder;
    }
    return NULL;
}

static void answer_pod(Query *query, const Holder *pod, Peer *ret)
{
    ret->type = PEER_POD;
    ret->pod = pod->entity;
    const Holder *node =
        pod->name ? timeline_at(&pod->name->versions, query->time_ns, &query->interval) : NULL;
    ret->node = node ? node->entity : NULL;
}

/* False: nobody holds the address then. */
static bool answer_place(Query *query, const Place *place, Peer *ret)
{
    static const IpAddress every_node;
    const Holder *pod = holder_at(query, place, PLACE_POD);
    if (!pod && place->timelines[PLACE_HOST_POD].n_holders > 0)
        pod = port_holder(query, query->address, PLACE_HOST_POD);
    if (pod) {
        answer_pod(query, pod, ret);
        return true;
    }

    ret->node = entity_at(query, place, PLACE_NODE);
    const Holder *service = NULL;
    if (place->timelines[PLACE_SERVICE].n_holders > 0) {
        service = port_holder(query, query->address, PLACE_SERVICE);
        if (!service && !ret->node)
            service = holder_at(query, place, PLACE_SERVICE);
    }
    if (!service && ret->node)
        service = port_holder(query, &every_node, PLACE_SERVICE);
    ret->service = service ? service->entity : NULL;
    ret->type = service ? PEER_SERVICE : PEER_NODE;
    return ret->service || ret->node;
}

/* The start of the only entity that ever had the address, or TIME_OPEN if there were several. */
static uint64_t only_start(const Place *place)
{
    static const PlaceRole owners[] = {PLACE_POD, PLACE_SERVICE, PLACE_NODE};
    const Entity *only = NULL;
    uint64_t start_ns = TIME_OPEN;
    for (size_t i = 0; i < G_N_ELEMENTS(owners); i++) {
        const Timeline *timeline = &place->timelines[owners[i]];
        for (size_t j = 0; j < timeline->n_holders; j++) {
            const Entity *entity = timeline->holders[j].entity;
            if (only && only->key != entity->key)
                return TIME_OPEN;
            only = entity;
            start_ns = MIN(start_ns, entity->from_ns);
        }
    }
    return start_ns;
}

/* Nobody holds the address at the time: perhaps somebody does in a moment. */
static bool answer_early(Query *query, const Place *place, Peer *ret)
{
    uint64_t start_ns = only_start(place);
    if (start_ns == TIME_OPEN || query->time_ns >= start_ns)
        return false;
    uint64_t early_ns = start_ns - MIN(start_ns, CLOCK_SLACK_NS);
    if (query->time_ns < early_ns) {
        query->interval.to_ns = MIN(query->interval.to_ns, early_ns);
        return false;
    }
    query->time_ns = start_ns;
    query->interval = (Interval){0, TIME_OPEN};
    bool found = answer_place(query, place, ret);
    query->interval.from_ns = early_ns;
    return found;
}

static bool knows_anything(const Inventory *inventory)
{
    return g_hash_table_size(inventory->records) > 0;
}

static bool was_ever_held(const Place *place)
{
    return place->timelines[PLACE_POD].n_holders || place->timelines[PLACE_SERVICE].n_holders ||
           place->timelines[PLACE_NODE].n_holders || place->timelines[PLACE_HOST_POD].n_holders;
}

void inventory_lookup(const Inventory *inventory, const IpAddress *address, uint8_t protocol,
                      uint16_t port, uint64_t time_ns, Peer *ret)
{
    Query query = {inventory, address, protocol, port, time_ns, {0, TIME_OPEN}};
    PlaceKey key = {*address, 0, 0};
    const Place *place = place_table_find(&inventory->places, &key);
    *ret = (Peer){0};
    if (!place || !was_ever_held(place)) {
        if (knows_anything(inventory) && ip_address_is_host(address))
            ret->type = PEER_EXTERNAL;
    } else if (!answer_place(&query, place, ret) && !answer_early(&query, place, ret)) {
        *ret = (Peer){0};
    }
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
    static const Timeline none;
    PlaceKey key = {*address, 0, 0};
    const Place *place = place_table_find(&inventory->places, &key);
    return place ? &place->timelines[PLACE_SLICE] : &none;
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
    for (size_t i = timeline_begun(slices, time_ns); i-- > 0;) {
        const Holder *slice = &slices->holders[i];
        if (slice->cover_ns <= time_ns)
            break;
        if (!lists_port(slice, protocol, port, time_ns))
            continue;
        if (only && only != slice->name)
            return NULL;
        only = slice->name;
    }
    Interval interval = {0, TIME_OPEN};
    const Holder *service = only ? timeline_at(&only->versions, time_ns, &interval) : NULL;
    return service ? service->entity : NULL;
}

bool inventory_is_endpoint(const Inventory *inventory, const Entity *service,
                           const IpAddress *address, uint8_t protocol, uint16_t port,
                           uint64_t time_ns)
{
    const Timeline *slices = slices_of(inventory, address);
    for (size_t i = timeline_begun(slices, time_ns); i-- > 0;) {
        const Holder *slice = &slices->holders[i];
        if (slice->cover_ns <= time_ns)
            break;
        if (lists_port(slice, protocol, port, time_ns) &&
            g_str_equal(slice->name->name, service->name) &&
            g_str_equal(slice->name->namespace_name, service->namespace_name))
            return true;
    }
    return false;
}

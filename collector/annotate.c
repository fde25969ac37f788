// SPDX-License-Identifier: GPL-2.0-or-later
/* Finding and keeping the names; annotate-encode.c writes them down. */
#include "collector/annotate.h"

#include <glib.h>
#include <string.h>

#include "collector/annotate-encode.h"
#include "common/pcapng/pcapng.h"

#define CACHE_BITS 15
#define CACHE_SIZE (1u << CACHE_BITS)

/* Room for the names of both ends as they mostly are; makes an entry six cache lines. */
#define OPTIONS_INLINE 256u
#define CACHE_LINE     64u

/* inventory_service_of_endpoint() does not say for how long its answer holds. */
#define ENDPOINT_HOLDS_NS (100u * 1000000u)

typedef struct CacheKey { /* no padding: hashed and compared as words */
    IpAddress src, dst;
    uint64_t call_key; /* of service and flow: both are hashes */
    uint32_t point_id;
    uint16_t src_port, dst_port;
    uint8_t protocol, direction, is_ip, service_is_src;
    uint32_t spare;
} CacheKey;
_Static_assert(sizeof(CacheKey) == 56, "CacheKey has padding");
#define KEY_WORDS (sizeof(CacheKey) / sizeof(uint64_t))
_Static_assert(sizeof(CacheKey) == sizeof(((AnnotateTicket *)0)->key), "a ticket has the key");

/* What was told of an entity already. */
typedef struct Told {
    uint64_t key;
    Entity *entity; /* the version that was told */
    uint64_t at_ns;
} Told;

/* What the usual packet needs of an entry, in a few neighbouring cache lines. */
typedef struct CacheEntry {
    CacheKey key;
    uint64_t generation;
    uint64_t from_ns, to_ns; /* the names are these for packets of this time; to_ns 0: open */
    Told *told[2];           /* src, dst; NULL where the end is no entity */
    const Entity *entity[2]; /* the ends in `names`; good as long as the generation is */
    uint32_t owners_generation;
    uint16_t length; /* of the encoded options */
    bool in_use, unnamed;
    uint8_t *large; /* the options where they are longer than the room here */
    uint8_t options[OPTIONS_INLINE];
} CacheEntry;
_Static_assert(sizeof(CacheEntry) % CACHE_LINE == 0, "entries share cache lines");

typedef struct CacheNames {
    uint64_t made; /* in the order of making */
    Names names;
} CacheNames;

struct Annotator {
    const Inventory *inventory;
    const SocketTable *owners; /* or NULL */
    char *cluster;
    bool comments, secrets_asked;
    GHashTable *told; /* entity key -> Told */
    void *memory;
    CacheEntry *cache; /* in `memory`, at the beginning of a cache line */
    CacheNames *names; /* of the entry with the same index: what only the rare packet needs */
    uint64_t made;
    uint8_t with_attributes[ANNOTATE_OPTIONS_MAX];
};

static void told_free(gpointer data)
{
    Told *told = data;
    entity_unref(told->entity);
    g_free(told);
}

Annotator *annotator_new(const Inventory *inventory, const char *cluster, bool comments)
{
    Annotator *annotator = g_new0(Annotator, 1);
    annotator->inventory = inventory;
    annotator->cluster = g_strdup(cluster ? cluster : "");
    annotator->comments = comments;
    annotator->told = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, told_free);
    /* From calloc(), so that only what is used takes memory. */
    annotator->memory = g_new0(CacheEntry, CACHE_SIZE + 1);
    annotator->cache = (CacheEntry *)(((uintptr_t)annotator->memory + CACHE_LINE - 1) &
                                      ~(uintptr_t)(CACHE_LINE - 1));
    annotator->names = g_new0(CacheNames, CACHE_SIZE);
    return annotator;
}

Annotator *annotator_free(Annotator *annotator)
{
    if (!annotator)
        return NULL;
    for (size_t i = 0; i < CACHE_SIZE; i++)
        g_free(annotator->cache[i].large);
    g_free(annotator->memory);
    g_free(annotator->names);
    g_hash_table_destroy(annotator->told);
    g_free(annotator->cluster);
    g_free(annotator);
    return NULL;
}

void annotator_set_owners(Annotator *annotator, const SocketTable *owners)
{
    annotator->owners = owners;
}

void annotator_set_secrets_asked(Annotator *annotator, bool asked)
{
    annotator->secrets_asked = asked;
}

/* ---- Who is it -------------------------------------------------------------------------------*/

static void narrow(CacheEntry *entry, uint64_t from_ns, uint64_t to_ns)
{
    entry->from_ns = MAX(entry->from_ns, from_ns);
    if (to_ns && (!entry->to_ns || to_ns < entry->to_ns))
        entry->to_ns = to_ns;
}

static void name_by_peer(CacheEntry *entry, const Peer *peer, NamedEnd *end)
{
    *end = (NamedEnd){.type = peer->type, .node = peer->node, .service = peer->service};
    if (peer->type == PEER_POD)
        end->entity = peer->pod;
    else if (peer->type == PEER_SERVICE)
        end->entity = peer->service;
    else if (peer->type == PEER_NODE)
        end->entity = peer->node;
    narrow(entry, peer->from_ns, peer->to_ns);
}

/* The capturing pod itself, if it is known yet. */
static bool name_by_uid(const Annotator *annotator, CacheEntry *entry, const CapturePoint *point,
                        uint64_t time_ns, NamedEnd *end)
{
    const Entity *pod = inventory_get(annotator->inventory, ENTITY_POD, point->target_uid, time_ns);
    if (!pod)
        return false;
    *end = (NamedEnd){.type = PEER_POD, .entity = pod};
    narrow(entry, pod->from_ns, pod->to_ns);
    return true;
}

/* Both ends are the capturing pod. */
static bool stays_in_pod(const CapturePoint *point, const PacketInfo *info)
{
    static const IpAddress unknown = {{[10] = 0xff, [11] = 0xff}}; /* 0.0.0.0 */
    return point->loopback ||
           (point->plaintext && info->is_ip && /* devices are not told there */
            ip_address_equal(&info->src, &info->dst) && !ip_address_equal(&info->src, &unknown));
}

/* The end that the connection really has there; false if nothing is known of it. */
static bool name_by_flow(const Annotator *annotator, CacheEntry *entry,
                         const AnnotateRequest *request, bool is_src, NamedEnd *end)
{
    const FlowEnd *real =
        is_src == request->service_is_src ? &request->flow->server : &request->flow->client;
    Peer peer;
    inventory_lookup(annotator->inventory, &real->address, request->info->protocol, real->port,
                     request->time_ns, &peer);
    if (peer.type == PEER_UNKNOWN) {
        narrow(entry, peer.from_ns, peer.to_ns);
        return false;
    }
    name_by_peer(entry, &peer, end);
    return true;
}

static void name_end(const Annotator *annotator, CacheEntry *entry, const AnnotateRequest *request,
                     bool is_src, NamedEnd *end)
{
    const PacketInfo *info = request->info;
    const CapturePoint *point = request->point;
    unsigned own = is_src ? PCAPNG_DIRECTION_OUTBOUND : PCAPNG_DIRECTION_INBOUND;
    *end = (NamedEnd){.type = PEER_UNKNOWN};
    if (point && *point->target_uid && (stays_in_pod(point, info) || request->direction == own) &&
        name_by_uid(annotator, entry, point, request->time_ns, end))
        return;
    if (!info->is_ip)
        return;
    if (request->flow && name_by_flow(annotator, entry, request, is_src, end))
        return;
    uint16_t port = is_src ? info->src_port : info->dst_port;
    Peer peer;
    inventory_lookup(annotator->inventory, is_src ? &info->src : &info->dst, info->protocol,
                     packet_is_echo(info) ? 0 : port, request->time_ns, &peer);
    name_by_peer(entry, &peer, end);
    if (end->type == PEER_UNKNOWN && (is_src || !info->is_group))
        entry->unnamed = true;
}

static void set_called_service(Names *names, const AnnotateRequest *request)
{
    NamedEnd *end = request->service_is_src ? &names->src : &names->dst;
    if (end->type == PEER_POD || (request->flow && end->type != PEER_UNKNOWN))
        end->service = request->service;
}

/* The service whose endpoint the pod is, at the end where the server is. */
static void name_service(const Annotator *annotator, CacheEntry *entry,
                         const AnnotateRequest *request, Names *names)
{
    const PacketInfo *info = request->info;
    NamedEnd *src = &names->src, *dst = &names->dst;
    if (request->service) {
        set_called_service(names, request);
        return;
    }
    if (!info->is_ip || !info->has_ports || packet_is_echo(info) ||
        (request->point && request->point->loopback))
        return;
    narrow(entry, request->time_ns, request->time_ns + ENDPOINT_HOLDS_NS);
    if (dst->type == PEER_POD)
        dst->service = inventory_service_of_endpoint(
            annotator->inventory, &info->dst, info->protocol, info->dst_port, request->time_ns);
    if (src->type == PEER_POD && !dst->service)
        src->service = inventory_service_of_endpoint(
            annotator->inventory, &info->src, info->protocol, info->src_port, request->time_ns);
}

/* ---- Which process is it ---------------------------------------------------------------------*/

/* The socket's own view of its connection, whatever addresses this leg's packets bear. */
static void place_in_flow(const Flow *flow, bool is_server, SocketPlace *place)
{
    const FlowEnd *local = is_server ? &flow->server : &flow->client;
    const FlowEnd *remote = is_server ? &flow->masked_client : &flow->service;
    place->local = local->address;
    place->local_port = local->port;
    place->remote = remote->address;
    place->remote_port = remote->port;
}

/* The sockets of pods on a node's network are found by the node; 0: nobody can hold one. */
static uint64_t key_of_sockets(const NamedEnd *end)
{
    if (end->type == PEER_POD)
        return end->entity->host_network ? socket_table_host_key(end->entity->node)
                                         : end->entity->key;
    return end->type == PEER_NODE && end->entity ? socket_table_host_key(end->entity->name) : 0;
}

/* False if nobody can hold it. */
static bool place_of(const NamedEnd *end, const AnnotateRequest *request, bool is_src,
                     SocketPlace *ret)
{
    const PacketInfo *info = request->info;
    uint64_t pod_key = key_of_sockets(end);
    if (!pod_key || !info->is_ip || !info->has_ports || packet_is_echo(info))
        return false;
    *ret = (SocketPlace){
        .pod_key = pod_key,
        .local = is_src ? info->src : info->dst,
        .remote = is_src ? info->dst : info->src,
        .local_port = is_src ? info->src_port : info->dst_port,
        .remote_port = is_src ? info->dst_port : info->src_port,
        .protocol = info->protocol,
    };
    if (request->flow)
        place_in_flow(request->flow, is_src == request->service_is_src, ret);
    return true;
}

/* Of the pods that share a node's addresses it is the one whose socket it is. */
static void name_by_holder(const Annotator *annotator, CacheEntry *entry, uint64_t time_ns,
                           NamedEnd *end)
{
    const Entity *pod =
        inventory_get(annotator->inventory, ENTITY_POD, end->holder.pod_uid, time_ns);
    end->is_held = pod != NULL;
    if (pod) {
        end->type = PEER_POD;
        end->entity = pod;
        narrow(entry, pod->from_ns, pod->to_ns);
    }
}

static void find_holder(const Annotator *annotator, CacheEntry *entry,
                        const AnnotateRequest *request, bool is_src, NamedEnd *end)
{
    SocketPlace place;
    uint64_t from_ns, to_ns;
    end->is_held = false;
    if (!annotator->owners || !place_of(end, request, is_src, &place))
        return;
    end->is_held = socket_table_find(annotator->owners, &place, request->time_ns, &end->holder,
                                     &from_ns, &to_ns);
    narrow(entry, from_ns, to_ns);
    if (!end->is_held)
        return;
    if (!annotator->secrets_asked) /* another reader's matter */
        end->holder.no_secrets = NULL;
    /* That it has ended is no change, so it is asked for again. */
    narrow(entry, from_ns, request->time_ns + SOCKET_LINGER_NS);
    if (*end->holder.pod_uid)
        name_by_holder(annotator, entry, request->time_ns, end);
}

/* Whether another one may hold a socket of the entry's connection than when it was made. */
static bool has_new_holder(const Annotator *annotator, CacheEntry *entry,
                           const AnnotateRequest *request)
{
    if (!annotator->owners)
        return false;
    uint32_t generation = socket_table_generation(annotator->owners);
    if (G_LIKELY(entry->owners_generation == generation))
        return false;
    const Names *names = &annotator->names[entry - annotator->cache].names;
    SocketPlace place;
    for (int is_src = 0; is_src <= 1; is_src++) {
        const NamedEnd *end = is_src ? &names->src : &names->dst;
        if (place_of(end, request, is_src, &place) &&
            socket_table_changed(annotator->owners, &place, entry->owners_generation))
            return true;
    }
    entry->owners_generation = generation;
    return false;
}

static Told *told_of(Annotator *annotator, const Entity *entity)
{
    if (!entity)
        return NULL;
    Told *told = g_hash_table_lookup(annotator->told, &entity->key);
    if (!told) {
        told = g_new0(Told, 1);
        told->key = entity->key;
        g_hash_table_insert(annotator->told, &told->key, told);
    }
    return told;
}

/* ---- The cache -------------------------------------------------------------------------------*/

static void make_key(const AnnotateRequest *request, CacheKey *ret)
{
    const PacketInfo *info = request->info;
    *ret = (CacheKey){
        .src = info->src,
        .dst = info->dst,
        .call_key = (request->service ? request->service->key : 0) ^
                    (request->flow ? request->flow->id : 0),
        .point_id = request->point ? request->point->id : 0,
        .src_port = info->src_port,
        .dst_port = info->dst_port,
        .protocol = info->protocol,
        .direction = (uint8_t)request->direction,
        .is_ip = info->is_ip,
        .service_is_src = request->service_is_src,
        /* What is sent to a group may be nobody's, and that is no gap in our knowledge. */
        .spare = info->is_group | (uint32_t)info->has_ports << 1,
    };
}

static inline void key_words(const CacheKey *key, uint64_t ret[KEY_WORDS])
{
    memcpy(ret, key, sizeof *key);
}

static inline bool same_key(const CacheEntry *entry, const uint64_t words[KEY_WORDS])
{
    uint64_t other[KEY_WORDS], difference = 0;
    key_words(&entry->key, other);
    for (size_t i = 0; i < KEY_WORDS; i++)
        difference |= other[i] ^ words[i];
    return !difference;
}

/* The products do not wait for each other. */
static inline uint32_t hash_key(const uint64_t words[KEY_WORDS])
{
    uint64_t hash = 0, factor = 0x9e3779b97f4a7c15u;
    for (size_t i = 0; i < KEY_WORDS; i++, factor = factor << 7 ^ factor >> 57 ^ 2) {
        uint64_t product = (words[i] ^ words[i] >> 32) * factor;
        hash ^= product ^ product >> 29;
    }
    return (uint32_t)(hash * 0x9e3779b97f4a7c15u >> (64 - CACHE_BITS));
}

/* The entry of the key, or else the one to use for it: of two places the one that is free or was
 * made longer ago. */
static CacheEntry *find_entry(const Annotator *annotator, const AnnotateTicket *ticket,
                              bool *ret_found)
{
    uint32_t index = ticket->index;
    CacheEntry *first = &annotator->cache[index], *second = &annotator->cache[index ^ 1];
    *ret_found = true;
    if (G_LIKELY(same_key(first, ticket->key)))
        return first;
    if (same_key(second, ticket->key))
        return second;
    *ret_found = false;
    uint64_t first_made = annotator->names[index].made;
    uint64_t second_made = annotator->names[index ^ 1].made;
    return !first->in_use || first_made <= second_made ? first : second;
}

static inline const uint8_t *entry_options(const CacheEntry *entry)
{
    return G_LIKELY(entry->length <= sizeof entry->options) ? entry->options : entry->large;
}

static void keep_options(CacheEntry *entry, const uint8_t *options, size_t length)
{
    entry->length = (uint16_t)length;
    g_clear_pointer(&entry->large, g_free);
    if (length > sizeof entry->options)
        entry->large = g_memdup2(options, length);
    else
        memcpy(entry->options, options, length);
}

static void fill(Annotator *annotator, CacheEntry *entry, const AnnotateTicket *ticket,
                 const AnnotateRequest *request)
{
    CacheNames *kept = &annotator->names[entry - annotator->cache];
    Names *names = &kept->names;
    memcpy(&entry->key, ticket->key, sizeof entry->key);
    entry->generation = inventory_generation(annotator->inventory);
    entry->from_ns = entry->to_ns = 0;
    entry->unnamed = false;
    *names = (Names){.point = request->point,
                     .cluster = annotator->cluster,
                     .secrets_asked = annotator->secrets_asked,
                     .flow_id = request->flow ? request->flow->id : 0};
    name_end(annotator, entry, request, true, &names->src);
    name_end(annotator, entry, request, false, &names->dst);
    find_holder(annotator, entry, request, true, &names->src);
    find_holder(annotator, entry, request, false, &names->dst);
    name_service(annotator, entry, request, names);
    if (request->point && *request->point->target_uid)
        names->capture_pod = inventory_get(annotator->inventory, ENTITY_POD,
                                           request->point->target_uid, request->time_ns);
    entry->owners_generation = annotator->owners ? socket_table_generation(annotator->owners) : 0;
    entry->entity[0] = names->src.entity;
    entry->entity[1] = names->dst.entity;
    entry->told[0] = told_of(annotator, names->src.entity);
    entry->told[1] = told_of(annotator, names->dst.entity);

    entry->in_use = true;
    kept->made = ++annotator->made;
    uint8_t options[ANNOTATE_OPTIONS_MAX];
    bool is_known = names->src.type != PEER_UNKNOWN || names->dst.type != PEER_UNKNOWN;
    size_t length = request->point || is_known
                        ? names_encode(names, 0, annotator->comments, options, sizeof options, NULL)
                        : 0;
    keep_options(entry, options, length);
}

static bool is_due(const Told *told, const Entity *entity, uint64_t time_ns)
{
    return told && (told->entity != entity || time_ns >= told->at_ns + ANNOTATE_ATTRIBUTES_NS);
}

static void tell(Told *told, const Entity *entity, uint64_t time_ns)
{
    if (told->entity != entity) {
        entity_unref(told->entity);
        told->entity = entity_ref(entity);
    }
    told->at_ns = time_ns;
}

/* The rare packet that says what its ends are labelled, and so on. */
static void annotate_with_attributes(Annotator *annotator, CacheEntry *entry,
                                     const AnnotateRequest *request, unsigned due, Annotation *ret)
{
    uint64_t time_ns = request->time_ns;
    Names names = annotator->names[entry - annotator->cache].names;
    if (request->service) /* the one that the entry was made with may be gone */
        set_called_service(&names, request);
    find_holder(annotator, entry, request, true, &names.src); /* as well */
    find_holder(annotator, entry, request, false, &names.dst);
    bool overflow = false;
    ret->options = annotator->with_attributes;
    ret->length = names_encode(&names, due, annotator->comments, annotator->with_attributes,
                               sizeof annotator->with_attributes, &overflow);
    if (overflow && due == (NAMES_SRC | NAMES_DST)) { /* the other end at the next packet */
        due = NAMES_SRC;
        ret->length = names_encode(&names, due, annotator->comments, annotator->with_attributes,
                                   sizeof annotator->with_attributes, NULL);
    }
    if (due & NAMES_SRC)
        tell(entry->told[0], names.src.entity, time_ns);
    if (due & NAMES_DST)
        tell(entry->told[1], names.dst.entity, time_ns);
}

void annotate_begin(const Annotator *annotator, const AnnotateRequest *request, AnnotateTicket *ret)
{
    CacheKey key;
    make_key(request, &key);
    key_words(&key, ret->key);
    ret->index = hash_key(ret->key);
    const uint8_t *entry = (const uint8_t *)&annotator->cache[ret->index];
    for (size_t line = 0; line < sizeof(CacheEntry); line += CACHE_LINE)
        __builtin_prefetch(entry + line);
}

void annotate_end(Annotator *annotator, const AnnotateRequest *request,
                  const AnnotateTicket *ticket, Annotation *ret)
{
    bool found;
    CacheEntry *entry = find_entry(annotator, ticket, &found);
    uint64_t time_ns = request->time_ns;
    if (!found || !entry->in_use ||
        entry->generation != inventory_generation(annotator->inventory) ||
        time_ns < entry->from_ns || (entry->to_ns && time_ns >= entry->to_ns) ||
        has_new_holder(annotator, entry, request))
        fill(annotator, entry, ticket, request);

    *ret = (Annotation){entry_options(entry), entry->length, entry->unnamed};
    unsigned due = (is_due(entry->told[0], entry->entity[0], time_ns) ? NAMES_SRC : 0) |
                   (is_due(entry->told[1], entry->entity[1], time_ns) ? NAMES_DST : 0);
    /* Both ends may be the same entity: a pod that talks to itself. */
    if (due == (NAMES_SRC | NAMES_DST) && entry->told[0] == entry->told[1])
        due = NAMES_SRC;
    if (G_UNLIKELY(due))
        annotate_with_attributes(annotator, entry, request, due, ret);
}

void annotate(Annotator *annotator, const AnnotateRequest *request, Annotation *ret)
{
    AnnotateTicket ticket;
    annotate_begin(annotator, request, &ticket);
    annotate_end(annotator, request, &ticket, ret);
}

static gboolean is_old(gpointer key, gpointer told, gpointer before_ns)
{
    return ((const Told *)told)->at_ns < *(const uint64_t *)before_ns;
}

void annotator_forget(Annotator *annotator, uint64_t before_ns)
{
    if (!g_hash_table_foreach_remove(annotator->told, is_old, &before_ns))
        return;
    /* They point to what is gone. */
    for (size_t i = 0; i < CACHE_SIZE; i++)
        annotator->cache[i].in_use = false;
}

size_t annotator_entities(const Annotator *annotator)
{
    return g_hash_table_size(annotator->told);
}

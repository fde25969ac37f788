// SPDX-License-Identifier: GPL-2.0-or-later
/* Finding and keeping the names; annotate-encode.c writes them down. */
#include "collector/annotate.h"

#include <glib.h>
#include <string.h>

#include "collector/annotate-encode.h"
#include "common/pcapng/pcapng.h"

#define CACHE_BITS 15
#define CACHE_SIZE (1u << CACHE_BITS)

/* inventory_service_of_endpoint() does not say for how long its answer holds. */
#define ENDPOINT_HOLDS_NS (100u * 1000000u)

typedef struct CacheKey { /* no padding: hashed and compared as bytes */
    IpAddress src, dst;
    uint64_t service_key;
    uint32_t point_id;
    uint16_t src_port, dst_port;
    uint8_t protocol, direction, is_ip, service_is_src;
    uint32_t spare;
} CacheKey;
_Static_assert(sizeof(CacheKey) == 56, "CacheKey has padding");

/* What was told of an entity already. */
typedef struct Told {
    uint64_t key;
    Entity *entity; /* the version that was told */
    uint64_t at_ns;
} Told;

typedef struct CacheEntry {
    CacheKey key;
    uint64_t generation;
    uint64_t made;           /* in the order of making */
    uint64_t from_ns, to_ns; /* the names are these for packets of this time; to_ns 0: open */
    uint32_t owners_generation;
    Names names;   /* entities are good as long as the generation is; holders are not */
    Told *told[2]; /* src, dst; NULL where the end is no entity */
    uint8_t *options;
    uint32_t length, capacity;
    bool in_use, unnamed;
} CacheEntry;

struct Annotator {
    const Inventory *inventory;
    const SocketTable *owners; /* or NULL */
    char *cluster;
    bool comments;
    GHashTable *told; /* entity key -> Told */
    CacheEntry *cache;
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
    annotator->cache = g_new0(CacheEntry, CACHE_SIZE);
    return annotator;
}

Annotator *annotator_free(Annotator *annotator)
{
    if (!annotator)
        return NULL;
    for (size_t i = 0; i < CACHE_SIZE; i++)
        g_free(annotator->cache[i].options);
    g_free(annotator->cache);
    g_hash_table_destroy(annotator->told);
    g_free(annotator->cluster);
    g_free(annotator);
    return NULL;
}

void annotator_set_owners(Annotator *annotator, const SocketTable *owners)
{
    annotator->owners = owners;
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

static void name_end(const Annotator *annotator, CacheEntry *entry, const AnnotateRequest *request,
                     bool is_src, NamedEnd *end)
{
    const PacketInfo *info = request->info;
    const CapturePoint *point = request->point;
    unsigned own = is_src ? PCAPNG_DIRECTION_OUTBOUND : PCAPNG_DIRECTION_INBOUND;
    *end = (NamedEnd){.type = PEER_UNKNOWN};
    if (point && *point->target_uid && (point->loopback || request->direction == own) &&
        name_by_uid(annotator, entry, point, request->time_ns, end))
        return;
    if (!info->is_ip)
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
    if (end->type == PEER_POD)
        end->service = request->service;
}

/* The service whose endpoint the pod is, at the end where the server is. */
static void name_service(const Annotator *annotator, CacheEntry *entry,
                         const AnnotateRequest *request)
{
    const PacketInfo *info = request->info;
    NamedEnd *src = &entry->names.src, *dst = &entry->names.dst;
    if (request->service) {
        set_called_service(&entry->names, request);
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

/* False if nobody can hold it. */
static bool place_of(const NamedEnd *end, const PacketInfo *info, bool is_src, SocketPlace *ret)
{
    if (end->type != PEER_POD || !info->is_ip || !info->has_ports || packet_is_echo(info))
        return false;
    *ret = (SocketPlace){
        .pod_key = end->entity->key,
        .local = is_src ? info->src : info->dst,
        .remote = is_src ? info->dst : info->src,
        .local_port = is_src ? info->src_port : info->dst_port,
        .remote_port = is_src ? info->dst_port : info->src_port,
        .protocol = info->protocol,
    };
    return true;
}

static void find_holder(const Annotator *annotator, CacheEntry *entry,
                        const AnnotateRequest *request, bool is_src, NamedEnd *end)
{
    SocketPlace place;
    uint64_t from_ns, to_ns;
    end->is_held = false;
    if (!annotator->owners || !place_of(end, request->info, is_src, &place))
        return;
    end->is_held = socket_table_find(annotator->owners, &place, request->time_ns, &end->holder,
                                     &from_ns, &to_ns);
    narrow(entry, from_ns, to_ns);
    if (end->is_held) /* that it has ended is no change, so it is asked for again */
        narrow(entry, from_ns, request->time_ns + SOCKET_LINGER_NS);
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
    SocketPlace place;
    for (int is_src = 0; is_src <= 1; is_src++) {
        const NamedEnd *end = is_src ? &entry->names.src : &entry->names.dst;
        if (place_of(end, request->info, is_src, &place) &&
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
        .service_key = request->service ? request->service->key : 0,
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

static uint32_t hash_key(const CacheKey *key)
{
    uint64_t words[sizeof *key / 8], hash = 0;
    memcpy(words, key, sizeof words);
    for (size_t i = 0; i < G_N_ELEMENTS(words); i++)
        hash = (hash ^ words[i]) * 0x9e3779b97f4a7c15u;
    return (uint32_t)(hash >> (64 - CACHE_BITS));
}

/* The entry of the key, or the one to use for it: of two places the one that is free or was made
 * longer ago. */
static CacheEntry *find_entry(const Annotator *annotator, const CacheKey *key)
{
    uint32_t hash = hash_key(key);
    CacheEntry *first = &annotator->cache[hash], *second = &annotator->cache[hash ^ 1];
    if (memcmp(&first->key, key, sizeof *key) == 0)
        return first;
    if (memcmp(&second->key, key, sizeof *key) == 0)
        return second;
    return !first->in_use || first->made <= second->made ? first : second;
}

static void fill(Annotator *annotator, CacheEntry *entry, const CacheKey *key,
                 const AnnotateRequest *request)
{
    entry->key = *key;
    entry->generation = inventory_generation(annotator->inventory);
    entry->from_ns = entry->to_ns = 0;
    entry->unnamed = false;
    entry->names = (Names){.point = request->point, .cluster = annotator->cluster};
    name_end(annotator, entry, request, true, &entry->names.src);
    name_end(annotator, entry, request, false, &entry->names.dst);
    name_service(annotator, entry, request);
    if (request->point && *request->point->target_uid)
        entry->names.capture_pod = inventory_get(annotator->inventory, ENTITY_POD,
                                                 request->point->target_uid, request->time_ns);
    find_holder(annotator, entry, request, true, &entry->names.src);
    find_holder(annotator, entry, request, false, &entry->names.dst);
    entry->owners_generation = annotator->owners ? socket_table_generation(annotator->owners) : 0;
    entry->told[0] = told_of(annotator, entry->names.src.entity);
    entry->told[1] = told_of(annotator, entry->names.dst.entity);

    entry->in_use = true;
    entry->made = ++annotator->made;
    entry->length = 0;
    bool is_known = entry->names.src.type != PEER_UNKNOWN || entry->names.dst.type != PEER_UNKNOWN;
    if (!request->point && !is_known)
        return;
    uint8_t options[ANNOTATE_OPTIONS_MAX];
    entry->length = (uint32_t)names_encode(&entry->names, 0, annotator->comments, options,
                                           sizeof options, NULL);
    if (entry->capacity < entry->length) {
        g_free(entry->options);
        entry->capacity = (entry->length + 127) / 128 * 128;
        entry->options = g_malloc(entry->capacity);
    }
    memcpy(entry->options, options, entry->length);
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
    Names names = entry->names;
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

void annotate(Annotator *annotator, const AnnotateRequest *request, Annotation *ret)
{
    CacheKey key;
    make_key(request, &key);
    CacheEntry *entry = find_entry(annotator, &key);
    uint64_t time_ns = request->time_ns;
    if (!entry->in_use || entry->generation != inventory_generation(annotator->inventory) ||
        time_ns < entry->from_ns || (entry->to_ns && time_ns >= entry->to_ns) ||
        memcmp(&entry->key, &key, sizeof key) != 0 || has_new_holder(annotator, entry, request))
        fill(annotator, entry, &key, request);

    *ret = (Annotation){entry->options, entry->length, entry->unnamed};
    unsigned due = (is_due(entry->told[0], entry->names.src.entity, time_ns) ? NAMES_SRC : 0) |
                   (is_due(entry->told[1], entry->names.dst.entity, time_ns) ? NAMES_DST : 0);
    /* Both ends may be the same entity: a pod that talks to itself. */
    if (due == (NAMES_SRC | NAMES_DST) && entry->told[0] == entry->told[1])
        due = NAMES_SRC;
    if (G_UNLIKELY(due))
        annotate_with_attributes(annotator, entry, request, due, ret);
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

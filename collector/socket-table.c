// SPDX-License-Identifier: GPL-2.0-or-later
/* Every fact stands in up to two chains of the same hash table, newest first: that of its own
 * addresses, and for a connection that of its local port, whatever its far end. */
#include "collector/socket-table.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define VERSIONS_MAX     4u /* of a chain */
#define TEXT_MAX_BYTES   253u
#define REASON_MAX_BYTES 1024u
#define BUCKETS          16384u

/* No padding: hashed and compared as bytes. */
typedef struct Key {
    uint64_t pod_key;
    IpAddress local, remote; /* zeros: any */
    uint16_t local_port, remote_port;
    uint8_t protocol;
    uint8_t of_port; /* the chain of a local port */
    uint16_t spare;
} Key;
_Static_assert(sizeof(Key) == 48, "Key has padding");

typedef struct Fact {
    struct Fact *older; /* of the same key */
    struct Fact *twin;  /* in the chain of the port; or NULL */
    Key key;
    uint64_t from_ns, to_ns;   /* to_ns 0: still so */
    char *container, *process; /* GRefString */
    char *no_secrets;          /* GRefString */
    char *pod_uid;             /* GRefString; "" but for pods on a node's network */
    uint32_t pid, node;
    GList link; /* of its node's lists; not of twins */
} Fact;

typedef struct Chain {
    Key key;
    Fact *newest;
    unsigned length;
} Chain;

typedef struct NodeFacts {
    GQueue held, ended; /* of Fact */
} NodeFacts;

struct SocketTable {
    size_t max_facts, count;
    GHashTable *chains; /* Key -> Chain */
    GHashTable *nodes;  /* number -> NodeFacts */
    uint32_t generation;
    uint32_t changed[BUCKETS]; /* the generation at which a key of the bucket was told of last */
};

/* ---- Keys ------------------------------------------------------------------------------------*/

static uint64_t mix(const Key *key)
{
    uint64_t words[sizeof(*key) / 8], hash = 0;
    memcpy(words, key, sizeof(words));
    for (size_t i = 0; i < G_N_ELEMENTS(words); i++)
        hash = (hash ^ words[i]) * 0x9e3779b97f4a7c15u, hash ^= hash >> 29;
    return hash;
}

static guint hash_key(gconstpointer key)
{
    return (guint)(mix(key) >> 16);
}

static gboolean equal_keys(gconstpointer a, gconstpointer b)
{
    return memcmp(a, b, sizeof(Key)) == 0;
}

/* Never that of a pod. */
uint64_t socket_table_host_key(const char *node)
{
    return entity_key(ENTITY_NODE, node);
}

/* A place's keys, from the most to the least exact. */
enum { EXACT, BOUND, ANY_ADDRESS, OF_PORT, KEYS };

static void make_keys(const SocketPlace *place, Key keys[static KEYS])
{
    Key exact = {.pod_key = place->pod_key,
                 .local = place->local,
                 .remote = place->remote,
                 .local_port = place->local_port,
                 .remote_port = place->remote_port,
                 .protocol = place->protocol};
    keys[EXACT] = keys[BOUND] = exact;
    keys[BOUND].remote = (IpAddress){{0}};
    keys[BOUND].remote_port = 0;
    keys[ANY_ADDRESS] = keys[OF_PORT] = keys[BOUND];
    keys[ANY_ADDRESS].local = (IpAddress){{0}};
    keys[OF_PORT].of_port = 1;
}

static uint32_t *bucket(const SocketTable *table, const Key *key)
{
    return (uint32_t *)&table->changed[mix(key) >> 40 & (BUCKETS - 1)];
}

/* ---- Chains ----------------------------------------------------------------------------------*/

static void fact_free(Fact *fact)
{
    g_ref_string_release(fact->container);
    g_ref_string_release(fact->process);
    g_ref_string_release(fact->pod_uid);
    g_ref_string_release(fact->no_secrets);
    g_free(fact);
}

static void unlink_from_chain(SocketTable *table, Fact *fact)
{
    Chain *chain = g_hash_table_lookup(table->chains, &fact->key);
    Fact **at = &chain->newest;
    while (*at != fact)
        at = &(*at)->older;
    *at = fact->older;
    if (--chain->length == 0)
        g_hash_table_remove(table->chains, &fact->key);
}

static NodeFacts *node_facts(SocketTable *table, uint32_t node)
{
    NodeFacts *facts = g_hash_table_lookup(table->nodes, GUINT_TO_POINTER(node));
    if (!facts) {
        facts = g_new0(NodeFacts, 1);
        g_hash_table_insert(table->nodes, GUINT_TO_POINTER(node), facts);
    }
    return facts;
}

static void drop(SocketTable *table, Fact *fact)
{
    NodeFacts *facts = node_facts(table, fact->node);
    g_queue_unlink(fact->to_ns ? &facts->ended : &facts->held, &fact->link);
    unlink_from_chain(table, fact);
    if (fact->twin) {
        unlink_from_chain(table, fact->twin);
        fact_free(fact->twin);
    }
    fact_free(fact);
    table->count--;
}

/* Puts it where its beginning belongs. */
static void link_to_chain(SocketTable *table, Fact *fact)
{
    Chain *chain = g_hash_table_lookup(table->chains, &fact->key);
    if (!chain) {
        chain = g_new0(Chain, 1);
        chain->key = fact->key;
        g_hash_table_insert(table->chains, &chain->key, chain);
    }
    Fact **at = &chain->newest;
    while (*at && (*at)->from_ns > fact->from_ns)
        at = &(*at)->older;
    fact->older = *at;
    *at = fact;
    chain->length++;
}

static Fact *find_version(const SocketTable *table, const Key *key, uint64_t from_ns)
{
    const Chain *chain = g_hash_table_lookup(table->chains, key);
    Fact *fact = chain ? chain->newest : NULL;
    while (fact && fact->from_ns != from_ns)
        fact = fact->older;
    return fact;
}

/* The node's clock was set since it told of the beginning. */
static Fact *find_held(const SocketTable *table, const Key *key)
{
    const Chain *chain = g_hash_table_lookup(table->chains, key);
    return chain && chain->newest->to_ns == 0 ? chain->newest : NULL;
}

static void drop_oldest(SocketTable *table, const Key *key)
{
    const Chain *chain = g_hash_table_lookup(table->chains, key);
    if (!chain || chain->length < VERSIONS_MAX)
        return;
    Fact *fact = chain->newest;
    while (fact->older)
        fact = fact->older;
    if (!key->of_port) {
        drop(table, fact);
        return;
    }
    unlink_from_chain(table, fact);
    fact->twin->twin = NULL;
    fact_free(fact);
}

/* ---- What nodes tell -------------------------------------------------------------------------*/

static bool take_address(const ProtobufCBinaryData *bytes, IpAddress *ret)
{
    *ret = (IpAddress){{0}};
    return bytes->len == 0 || ip_address_from_bytes(ret, bytes->data, bytes->len);
}

static const char *take_place(const Remora__V1__SocketOwner *told, SocketPlace *ret)
{
    *ret = (SocketPlace){.local_port = (uint16_t)told->local_port,
                         .remote_port = (uint16_t)told->remote_port,
                         .protocol = (uint8_t)told->protocol};
    if (*told->target_uid == '\0' || strlen(told->target_uid) > TEXT_MAX_BYTES)
        return "a socket's owner without a target";
    if (told->protocol == 0 || told->protocol > UINT8_MAX)
        return "a socket's owner of an impossible protocol";
    if (told->local_port == 0 || told->local_port > UINT16_MAX || told->remote_port > UINT16_MAX)
        return "a socket's owner with an impossible port";
    if (!take_address(&told->local, &ret->local) || !take_address(&told->remote, &ret->remote))
        return "a socket's owner with an impossible address";
    if (strlen(told->container) > TEXT_MAX_BYTES || strlen(told->process) > TEXT_MAX_BYTES)
        return "a socket's owner with too long a name";
    if (strlen(told->no_secrets) > REASON_MAX_BYTES)
        return "a socket's owner with too long a reason";
    if (!g_utf8_validate(told->container, -1, NULL) || !g_utf8_validate(told->process, -1, NULL) ||
        !g_utf8_validate(told->no_secrets, -1, NULL))
        return "a socket's owner whose name is no UTF-8";
    if (told->to_unix_ns && told->to_unix_ns < told->from_unix_ns)
        return "a socket's owner that ended before it began";
    if (strlen(told->host_node) > TEXT_MAX_BYTES)
        return "a socket's owner on a node with too long a name";
    ret->pod_key = *told->host_node ? socket_table_host_key(told->host_node)
                                    : entity_key(ENTITY_POD, told->target_uid);
    return NULL;
}

static void set_holder(Fact *fact, const Remora__V1__SocketOwner *told)
{
    char *container = g_ref_string_new_intern(told->container);
    char *process = g_ref_string_new_intern(told->process);
    char *pod_uid = g_ref_string_new_intern(*told->host_node ? told->target_uid : "");
    /* At its end the process may be gone, and is not known any more. */
    bool keeps_reason = fact->no_secrets && told->to_unix_ns && !*told->no_secrets;
    char *no_secrets = keeps_reason ? g_ref_string_acquire(fact->no_secrets)
                                    : g_ref_string_new_intern(told->no_secrets);
    if (fact->container) {
        g_ref_string_release(fact->container);
        g_ref_string_release(fact->process);
        g_ref_string_release(fact->pod_uid);
        g_ref_string_release(fact->no_secrets);
    }
    fact->pod_uid = pod_uid;
    fact->no_secrets = no_secrets;
    fact->container = container;
    fact->process = process;
    fact->pid = told->pid;
}

static void set_end(SocketTable *table, Fact *fact, uint64_t to_ns)
{
    NodeFacts *facts = node_facts(table, fact->node);
    g_queue_unlink(fact->to_ns ? &facts->ended : &facts->held, &fact->link);
    fact->to_ns = to_ns;
    if (fact->twin)
        fact->twin->to_ns = to_ns;
    g_queue_push_tail_link(to_ns ? &facts->ended : &facts->held, &fact->link);
}

static bool is_pod_of(const Fact *fact, const Remora__V1__SocketOwner *told)
{
    return strcmp(fact->pod_uid, *told->host_node ? told->target_uid : "") == 0;
}

static Fact *fact_new(SocketTable *table, const Key *key, const Remora__V1__SocketOwner *told,
                      uint32_t node)
{
    drop_oldest(table, key);
    Fact *fact = g_new0(Fact, 1);
    fact->key = *key;
    fact->from_ns = told->from_unix_ns;
    fact->to_ns = told->to_unix_ns;
    fact->node = node;
    fact->link.data = fact;
    set_holder(fact, told);
    link_to_chain(table, fact);
    return fact;
}

static bool is_bound(const SocketTable *table, const Key keys[static KEYS])
{
    return g_hash_table_contains(table->chains, &keys[BOUND]) ||
           g_hash_table_contains(table->chains, &keys[ANY_ADDRESS]);
}

static bool make_room(SocketTable *table, uint32_t node)
{
    NodeFacts *facts = node_facts(table, node);
    if (facts->held.length + facts->ended.length < table->max_facts)
        return true;
    if (!facts->ended.head)
        return false;
    drop(table, facts->ended.head->data);
    return true;
}

int socket_table_apply(SocketTable *table, uint32_t node, const Remora__V1__SocketOwner *told,
                       const char **problem)
{
    SocketPlace place;
    const char *wrong = take_place(told, &place);
    if (wrong) {
        *problem = wrong;
        return -EINVAL;
    }
    Key keys[KEYS];
    make_keys(&place, keys);
    Fact *fact = find_version(table, &keys[EXACT], told->from_unix_ns);
    if (!fact && told->to_unix_ns)
        fact = find_held(table, &keys[EXACT]);
    if (fact) {
        bool same = fact->pid == told->pid && is_pod_of(fact, told) &&
                    strcmp(fact->container, told->container) == 0 &&
                    strcmp(fact->process, told->process) == 0 &&
                    (!*told->no_secrets || strcmp(fact->no_secrets, told->no_secrets) == 0);
        set_holder(fact, told);
        if (fact->twin)
            set_holder(fact->twin, told);
        set_end(table, fact, told->to_unix_ns);
        /* What was held is the answer for some time more. */
        if (same && told->to_unix_ns)
            return 0;
    } else {
        if (!make_room(table, node))
            return -ENOSPC;
        bool has_twin = told->remote_port && !is_bound(table, keys);
        fact = fact_new(table, &keys[EXACT], told, node);
        NodeFacts *facts = node_facts(table, node);
        g_queue_push_tail_link(fact->to_ns ? &facts->ended : &facts->held, &fact->link);
        table->count++;
        if (has_twin) {
            fact->twin = fact_new(table, &keys[OF_PORT], told, node);
            fact->twin->twin = fact;
            *bucket(table, &keys[OF_PORT]) = table->generation + 1;
        }
    }
    *bucket(table, &keys[EXACT]) = ++table->generation;
    return 0;
}

void socket_table_node_gone(SocketTable *table, uint32_t node, uint64_t now_ns)
{
    NodeFacts *facts = node_facts(table, node);
    while (facts->held.head) {
        Fact *fact = facts->held.head->data;
        set_end(table, fact, MAX(now_ns, fact->from_ns));
    }
}

static bool is_over(const Fact *fact, uint64_t time_ns)
{
    return fact->to_ns && time_ns >= SOCKET_LINGER_NS && fact->to_ns <= time_ns - SOCKET_LINGER_NS;
}

void socket_table_forget(SocketTable *table, uint64_t before_ns)
{
    GHashTableIter iter;
    NodeFacts *facts;
    g_hash_table_iter_init(&iter, table->nodes);
    while (g_hash_table_iter_next(&iter, NULL, (void **)&facts)) {
        while (facts->ended.head && is_over(facts->ended.head->data, before_ns))
            drop(table, facts->ended.head->data);
    }
}

/* ---- Asking ----------------------------------------------------------------------------------*/

static void narrow(uint64_t from_ns, uint64_t to_ns, uint64_t *ret_from_ns, uint64_t *ret_to_ns)
{
    *ret_from_ns = MAX(*ret_from_ns, from_ns);
    if (to_ns && (!*ret_to_ns || to_ns < *ret_to_ns))
        *ret_to_ns = to_ns;
}

static const Fact *find_in_chain(const SocketTable *table, const Key *key, uint64_t time_ns,
                                 uint64_t *ret_from_ns, uint64_t *ret_to_ns)
{
    const Chain *chain = g_hash_table_lookup(table->chains, key);
    uint64_t next_ns = 0; /* when the one after it begins */
    for (const Fact *fact = chain ? chain->newest : NULL; fact; fact = fact->older) {
        if (fact->from_ns > time_ns) {
            next_ns = fact->from_ns;
            continue;
        }
        narrow(0, next_ns, ret_from_ns, ret_to_ns);
        if (is_over(fact, time_ns)) {
            narrow(fact->to_ns + SOCKET_LINGER_NS, 0, ret_from_ns, ret_to_ns);
            return NULL;
        }
        narrow(fact->from_ns, fact->to_ns ? fact->to_ns + SOCKET_LINGER_NS : 0, ret_from_ns,
               ret_to_ns);
        return fact;
    }
    narrow(0, next_ns, ret_from_ns, ret_to_ns);
    return NULL;
}

bool socket_table_find(const SocketTable *table, const SocketPlace *place, uint64_t time_ns,
                       SocketHolder *ret, uint64_t *ret_from_ns, uint64_t *ret_to_ns)
{
    *ret_from_ns = *ret_to_ns = 0;
    if (table->count == 0)
        return false;
    Key keys[KEYS];
    make_keys(place, keys);
    const Fact *fact = NULL;
    for (unsigned i = 0; i < KEYS && !fact; i++)
        fact = find_in_chain(table, &keys[i], time_ns, ret_from_ns, ret_to_ns);
    if (fact)
        *ret = (SocketHolder){fact->container, fact->process, fact->pid, fact->pod_uid,
                              fact->no_secrets};
    return fact != NULL;
}

uint32_t socket_table_generation(const SocketTable *table)
{
    return table->generation;
}

bool socket_table_changed(const SocketTable *table, const SocketPlace *place, uint32_t generation)
{
    Key keys[KEYS];
    make_keys(place, keys);
    for (unsigned i = 0; i < KEYS; i++) {
        if ((int32_t)(*bucket(table, &keys[i]) - generation) > 0)
            return true;
    }
    return false;
}

size_t socket_table_count(const SocketTable *table)
{
    return table->count;
}

/* ---- The object ------------------------------------------------------------------------------*/

static void chain_free(gpointer data)
{
    Chain *chain = data;
    Fact *older;
    for (Fact *fact = chain->newest; fact; fact = older) {
        older = fact->older;
        fact_free(fact);
    }
    g_free(chain);
}

SocketTable *socket_table_new(size_t facts_of_node)
{
    SocketTable *table = g_new0(SocketTable, 1);
    table->max_facts = facts_of_node ? facts_of_node : SOCKET_TABLE_FACTS;
    table->chains = g_hash_table_new_full(hash_key, equal_keys, NULL, chain_free);
    table->nodes = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    return table;
}

SocketTable *socket_table_free(SocketTable *table)
{
    if (table) {
        g_hash_table_unref(table->chains);
        g_hash_table_unref(table->nodes);
        g_free(table);
    }
    return NULL;
}

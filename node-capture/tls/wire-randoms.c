// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/tls/wire-randoms.h"

#include <glib.h>
#include <string.h>

#include "common/seeded-hash.h"
#include "node-capture/tls/random-search.h"

#define HOOKS_OF_ONE   3u /* client, server and a proxy in one namespace */
#define NAMESPACES_MAX 16384u

typedef struct Key { /* no padding: hashed and compared as bytes */
    uint64_t netns_inode;
    uint8_t random[WIRE_RANDOMS_LENGTH];
} Key;

typedef struct Connection {
    Key key;
    uint64_t time_ns; /* when it was told of first */
    uint64_t hooks[HOOKS_OF_ONE];
    unsigned lines[HOOKS_OF_ONE], n_hooks;
    bool seen, judged;
    bool used; /* counted for another connection, whose random was not seen; or must not be */
    GList link;
} Connection;

typedef struct Hook {
    uint64_t id, hits;
    unsigned misses, lines;
    bool over; /* it was told */
} Hook;

typedef struct Namespace {
    uint64_t seen, with_secrets, hidden_ns;
} Namespace;

struct WireRandoms {
    GHashTable *connections; /* a set of Connection, by key */
    GQueue by_age;           /* of Connection, oldest first */
    GList *unjudged;         /* the first that was not judged yet; NULL: the first that comes */
    GHashTable *hooks;       /* &hook->id -> Hook */
    GHashTable *namespaces;  /* inode -> Namespace */
    uint64_t hidden_ns;      /* in a namespace that is not known */
};

static guint hash_key(gconstpointer connection)
{
    return seeded_hash(connection, sizeof(Key));
}

static gboolean equal_keys(gconstpointer a, gconstpointer b)
{
    return memcmp(a, b, sizeof(Key)) == 0;
}

WireRandoms *wire_randoms_new(void)
{
    WireRandoms *randoms = g_new0(WireRandoms, 1);
    randoms->connections = g_hash_table_new_full(hash_key, equal_keys, NULL, g_free);
    randoms->hooks = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
    randoms->namespaces = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
    return randoms;
}

WireRandoms *wire_randoms_free(WireRandoms *randoms)
{
    if (randoms) {
        g_hash_table_unref(randoms->connections);
        g_hash_table_unref(randoms->hooks);
        g_hash_table_unref(randoms->namespaces);
        g_free(randoms);
    }
    return NULL;
}

/* NULL: there are too many. */
static Namespace *namespace_of(WireRandoms *randoms, uint64_t inode)
{
    Namespace *namespace = g_hash_table_lookup(randoms->namespaces, &inode);
    if (!namespace && g_hash_table_size(randoms->namespaces) < NAMESPACES_MAX) {
        namespace = g_new0(Namespace, 1);
        g_hash_table_insert(randoms->namespaces, g_memdup2(&inode, sizeof(inode)), namespace);
    }
    return namespace;
}

static Hook *hook_of(WireRandoms *randoms, uint64_t id)
{
    Hook *hook = g_hash_table_lookup(randoms->hooks, &id);
    if (!hook && g_hash_table_size(randoms->hooks) < WIRE_RANDOMS_HOOKS) {
        hook = g_new0(Hook, 1);
        hook->id = id;
        g_hash_table_insert(randoms->hooks, &hook->id, hook);
    }
    return hook;
}

static void drop(WireRandoms *randoms, Connection *connection)
{
    if (randoms->unjudged == &connection->link) {
        randoms->unjudged = connection->link.next;
    }
    g_queue_unlink(&randoms->by_age, &connection->link);
    g_hash_table_remove(randoms->connections, connection);
}

static Connection *connection_of(WireRandoms *randoms, uint64_t netns_inode, uint64_t time_ns,
                                 const uint8_t *random)
{
    Key key = {.netns_inode = netns_inode};
    memcpy(key.random, random, sizeof(key.random));
    Connection *connection = g_hash_table_lookup(randoms->connections, &key);
    if (connection) {
        return connection;
    }
    if (randoms->by_age.length >= WIRE_RANDOMS_CONNECTIONS) {
        drop(randoms, randoms->by_age.head->data);
    }
    connection = g_new0(Connection, 1);
    connection->key = key;
    connection->time_ns = time_ns;
    connection->link.data = connection;
    g_hash_table_add(randoms->connections, connection);
    g_queue_push_tail_link(&randoms->by_age, &connection->link);
    randoms->unjudged = randoms->unjudged ? randoms->unjudged : &connection->link;
    return connection;
}

/* It was seen, and hooks gave it. */
static void count_hit(WireRandoms *randoms, const Connection *connection)
{
    Namespace *namespace = namespace_of(randoms, connection->key.netns_inode);
    if (namespace) {
        namespace->with_secrets++;
    }
    for (unsigned i = 0; i < connection->n_hooks; i++) {
        Hook *hook = hook_of(randoms, connection->hooks[i]);
        if (hook) {
            hook->hits++;
        }
    }
}

void wire_randoms_saw(WireRandoms *randoms, uint64_t netns_inode, uint64_t time_ns,
                      const uint8_t random[static WIRE_RANDOMS_LENGTH], bool may_be_outer)
{
    Namespace *namespace = namespace_of(randoms, netns_inode);
    Connection *connection = connection_of(randoms, netns_inode, time_ns, random);
    if (connection->seen) {
        return;
    }
    connection->seen = true;
    connection->used = may_be_outer;
    if (namespace) {
        namespace->seen++;
    }
    if (connection->n_hooks > 0) {
        count_hit(randoms, connection);
    }
}

void wire_randoms_hidden(WireRandoms *randoms, uint64_t netns_inode, uint64_t time_ns)
{
    if (netns_inode == WIRE_RANDOMS_ALL) {
        randoms->hidden_ns = MAX(randoms->hidden_ns, time_ns);
        return;
    }
    Namespace *namespace = namespace_of(randoms, netns_inode);
    if (namespace) {
        namespace->hidden_ns = MAX(namespace->hidden_ns, time_ns);
    }
}

void wire_randoms_line(WireRandoms *randoms, uint64_t netns_inode, uint64_t time_ns, uint64_t hook,
                       const uint8_t random[static WIRE_RANDOMS_LENGTH])
{
    Connection *connection = connection_of(randoms, netns_inode, time_ns, random);
    unsigned i = 0;
    while (i < connection->n_hooks && connection->hooks[i] != hook) {
        i++;
    }
    if (i == HOOKS_OF_ONE) {
        return;
    }
    connection->lines[i]++;
    if (i < connection->n_hooks) {
        return;
    }
    connection->hooks[connection->n_hooks++] = hook;
    if (connection->seen && connection->n_hooks == 1) {
        count_hit(randoms, connection);
    } else if (connection->seen) {
        Hook *known = hook_of(randoms, hook);
        if (known) {
            known->hits++;
        }
    }
}

/* ---- Judging ---------------------------------------------------------------------------------*/

static bool is_near(const Connection *connection, const Connection *other)
{
    uint64_t from_ns = MIN(connection->time_ns, other->time_ns);
    uint64_t to_ns = MAX(connection->time_ns, other->time_ns);
    return to_ns - from_ns <= WIRE_RANDOMS_NEAR_NS;
}

/* What could have been the connection, had the hook read the right place. */
static bool could_be(const Connection *connection, const Connection *other)
{
    return other->seen && other->n_hooks == 0 && !other->used &&
           other->key.netns_inode == connection->key.netns_inode;
}

/* Connections stand in the order in which they were told of, and that is about their times'. */
#define NEAR_MAX 256u /* that are looked at: a pod may make as many as it likes */

static bool use_one_near(Connection *connection)
{
    unsigned left = NEAR_MAX;
    for (GList *link = connection->link.prev; link && left-- && is_near(connection, link->data);
         link = link->prev) {
        if (could_be(connection, link->data)) {
            return ((Connection *)link->data)->used = true;
        }
    }
    left = NEAR_MAX;
    for (GList *link = connection->link.next; link && left-- && is_near(connection, link->data);
         link = link->next) {
        if (could_be(connection, link->data)) {
            return ((Connection *)link->data)->used = true;
        }
    }
    return false;
}

static bool has_hidden(WireRandoms *randoms, const Connection *connection)
{
    const Namespace *namespace = namespace_of(randoms, connection->key.netns_inode);
    return !namespace || MAX(namespace->hidden_ns, randoms->hidden_ns) + WIRE_RANDOMS_KEPT_NS >=
                             connection->time_ns;
}

static bool all_were_right(WireRandoms *randoms, const Connection *connection)
{
    for (unsigned i = 0; i < connection->n_hooks; i++) {
        const Hook *hook = hook_of(randoms, connection->hooks[i]);
        if (hook && hook->hits == 0 && !hook->over) {
            return false;
        }
    }
    return true;
}

/* Returns the hook that is to be taken out now, or 0. */
static uint64_t count_miss(WireRandoms *randoms, Connection *connection)
{
    if (connection->seen || connection->n_hooks == 0 || has_hidden(randoms, connection) ||
        all_were_right(randoms, connection) || !use_one_near(connection)) {
        return 0;
    }
    /* More than one gave it: then it is no nonsense. */
    Hook *hook = connection->n_hooks == 1 ? hook_of(randoms, connection->hooks[0]) : NULL;
    if (!hook || hook->hits > 0 || hook->over) {
        return 0;
    }
    hook->misses++;
    hook->lines += connection->lines[0];
    hook->over = hook->misses >= WIRE_RANDOMS_MISSES && hook->lines >= WIRE_RANDOMS_LINES;
    return hook->over ? hook->id : 0;
}

static void drop_old(WireRandoms *randoms, uint64_t now_ns)
{
    Connection *oldest;
    while (randoms->by_age.head && (oldest = randoms->by_age.head->data)->judged &&
           now_ns > oldest->time_ns + WIRE_RANDOMS_KEPT_NS) {
        drop(randoms, oldest);
    }
}

bool wire_randoms_judge(WireRandoms *randoms, uint64_t now_ns, uint64_t *ret_hook)
{
    while (randoms->unjudged) {
        Connection *connection = randoms->unjudged->data;
        if (now_ns < connection->time_ns + WIRE_RANDOMS_WAIT_NS) {
            break;
        }
        randoms->unjudged = randoms->unjudged->next;
        connection->judged = true;
        uint64_t wrong = count_miss(randoms, connection);
        if (wrong) {
            *ret_hook = wrong;
            return true;
        }
    }
    drop_old(randoms, now_ns);
    return false;
}

#define RECENT_MAX 4096u /* that are looked at */

unsigned wire_randoms_recent(const WireRandoms *randoms, uint64_t netns_inode, uint64_t since_ns,
                             uint8_t (*ret)[WIRE_RANDOMS_LENGTH], unsigned max)
{
    unsigned count = 0, left = RECENT_MAX;
    for (GList *link = randoms->by_age.tail; link && left-- && count < max; link = link->prev) {
        const Connection *connection = link->data;
        if (connection->seen && connection->time_ns >= since_ns &&
            connection->key.netns_inode == netns_inode &&
            random_search_is_random(connection->key.random)) {
            memcpy(ret[count++], connection->key.random, WIRE_RANDOMS_LENGTH);
        }
    }
    return count;
}

void wire_randoms_forget(WireRandoms *randoms, uint64_t netns_inode)
{
    GList *next;
    for (GList *link = randoms->by_age.head; link; link = next) {
        Connection *connection = link->data;
        next = link->next;
        if (connection->key.netns_inode == netns_inode) {
            drop(randoms, connection);
        }
    }
    g_hash_table_remove(randoms->namespaces, &netns_inode);
}

void wire_randoms_count(const WireRandoms *randoms, uint64_t netns_inode, uint64_t *ret_seen,
                        uint64_t *ret_with_secrets)
{
    const Namespace *namespace = g_hash_table_lookup(randoms->namespaces, &netns_inode);
    *ret_seen = namespace ? namespace->seen : 0;
    *ret_with_secrets = namespace ? namespace->with_secrets : 0;
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/tls/wire-sockets.h"

#include <glib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/seeded-hash.h"

typedef struct Key { /* no padding: hashed and compared as bytes */
    uint64_t netns_inode;
    uint8_t random[TLS_KEYS_RANDOM];
} Key;
_Static_assert(sizeof(Key) == 8 + TLS_KEYS_RANDOM, "Key has padding");

typedef struct Ends {
    uint8_t family;
    TlsAddress client, server;
} Ends;

typedef struct Hello {
    Key key;
    uint64_t time_ns;
    Ends ends;    /* those that it was seen between first */
    bool several; /* and between others */
    GList link;   /* by age */
} Hello;

typedef enum State { WAITING, KNOWN, UNKNOWN } State;

/* One whose socket the hooks have not seen. */
typedef struct Connection {
    uint64_t id;
    State state;
    Key key;
    uint64_t since_ns;
    GQueue pieces;  /* of Piece, while it waits */
    bool is_server; /* this and below: once it is known */
    uint8_t family;
    TlsAddress local, remote;
    GList link; /* while it waits in `waiting`, else in `used` */
} Connection;

typedef struct Piece {
    TlsPlaintext plaintext;
    uint8_t random[TLS_KEYS_RANDOM];
    uint8_t data[];
} Piece;

struct WireSockets {
    const WireSocketsCallbacks *callbacks;
    void *userdata;
    GHashTable *hellos;      /* a set of Hello, by key */
    GQueue by_age;           /* of Hello */
    bool fresh;              /* hellos came since the last look */
    GHashTable *connections; /* &connection->id -> Connection */
    GQueue waiting;          /* of Connection, the longest waiting first */
    GQueue used;             /* the others, the longest unused first */
    size_t waiting_bytes;
    uint64_t unknown;
};

static guint hash_key(gconstpointer hello)
{
    return seeded_hash(hello, sizeof(Key));
}

static gboolean equal_keys(gconstpointer a, gconstpointer b)
{
    return memcmp(a, b, sizeof(Key)) == 0;
}

WireSockets *wire_sockets_new(const WireSocketsCallbacks *callbacks, void *userdata)
{
    WireSockets *sockets = g_new0(WireSockets, 1);
    sockets->callbacks = callbacks;
    sockets->userdata = userdata;
    sockets->hellos = g_hash_table_new_full(hash_key, equal_keys, g_free, NULL);
    sockets->connections = g_hash_table_new(g_int64_hash, g_int64_equal);
    return sockets;
}

static GQueue *queue_of(WireSockets *sockets, const Connection *connection)
{
    return connection->state == WAITING ? &sockets->waiting : &sockets->used;
}

static void forget(WireSockets *sockets, Connection *connection)
{
    g_hash_table_remove(sockets->connections, &connection->id);
    g_queue_unlink(queue_of(sockets, connection), &connection->link);
    g_queue_clear_full(&connection->pieces, g_free);
    g_free(connection);
}

WireSockets *wire_sockets_free(WireSockets *sockets)
{
    if (sockets) {
        while (sockets->waiting.head) {
            forget(sockets, sockets->waiting.head->data);
        }
        while (sockets->used.head) {
            forget(sockets, sockets->used.head->data);
        }
        g_hash_table_unref(sockets->connections);
        g_hash_table_unref(sockets->hellos);
        g_free(sockets);
    }
    return NULL;
}

/* ---- What was seen on the wire ---------------------------------------------------------------*/

static bool is_same_end(const TlsAddress *a, const TlsAddress *b)
{
    return a->port == b->port && memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

static bool are_same(const Ends *a, const Ends *b)
{
    return a->family == b->family && is_same_end(&a->client, &b->client) &&
           is_same_end(&a->server, &b->server);
}

static void saw_again(Hello *known, const TlsSeenHello *hello, const Ends *ends)
{
    known->several |= !are_same(&known->ends, ends);
    if (hello->time_unix_ns < known->time_ns) {
        known->time_ns = hello->time_unix_ns;
        known->ends = *ends;
    }
}

void wire_sockets_saw(WireSockets *sockets, const TlsSeenHello *hello)
{
    if (!hello->has_random || !hello->family) {
        return;
    }
    const Ends ends = {hello->family, hello->client, hello->server};
    Key key = {.netns_inode = hello->netns_inode};
    memcpy(key.random, hello->random, sizeof(key.random));
    Hello *known = g_hash_table_lookup(sockets->hellos, &key);
    sockets->fresh = true;
    if (known) {
        saw_again(known, hello, &ends);
        return;
    }
    if (sockets->by_age.length >= WIRE_SOCKETS_HELLOS) {
        Hello *oldest = sockets->by_age.head->data;
        g_queue_unlink(&sockets->by_age, &oldest->link);
        g_hash_table_remove(sockets->hellos, oldest);
    }
    known = g_new0(Hello, 1);
    *known = (Hello){.key = key, .time_ns = hello->time_unix_ns, .ends = ends};
    known->link.data = known;
    g_hash_table_add(sockets->hellos, known);
    g_queue_push_tail_link(&sockets->by_age, &known->link);
}

/* ---- Who waits for it ------------------------------------------------------------------------*/

static void set_socket(const Connection *connection, TlsPlaintext *plaintext)
{
    if (connection->state == KNOWN) {
        plaintext->family = connection->family;
        plaintext->is_server = connection->is_server;
        plaintext->has_role = true;
        plaintext->local = connection->local;
        plaintext->remote = connection->remote;
        plaintext->random = NULL;
    }
}

static void give(WireSockets *sockets, const Connection *connection, TlsPlaintext *plaintext)
{
    set_socket(connection, plaintext);
    sockets->callbacks->plaintext(sockets->userdata, plaintext);
}

static size_t memory_of(const Piece *piece)
{
    return sizeof(*piece) + piece->plaintext.length;
}

/* It has waited; what it is told of from now on goes on at once. False: it has ended. */
static bool settle(WireSockets *sockets, Connection *connection, State state)
{
    g_queue_unlink(&sockets->waiting, &connection->link);
    connection->state = state;
    sockets->unknown += state == UNKNOWN;
    g_queue_push_tail_link(&sockets->used, &connection->link);
    bool ended = false;
    Piece *piece;
    while ((piece = g_queue_pop_head(&connection->pieces))) {
        sockets->waiting_bytes -= memory_of(piece);
        ended |= piece->plaintext.end;
        give(sockets, connection, &piece->plaintext);
        g_free(piece);
    }
    if (ended) {
        forget(sockets, connection);
    }
    return !ended;
}

/* Between two ends at one address the port alone does not tell which one is asked for. */
static bool find_role(const WireSockets *sockets, const TlsPlaintext *plaintext, const Ends *ends,
                      bool *ret_is_server)
{
    if (plaintext->has_role) {
        *ret_is_server = plaintext->is_server;
        return true;
    }
    if (memcmp(ends->client.bytes, ends->server.bytes, sizeof(ends->client.bytes)) == 0) {
        return false;
    }
    *ret_is_server = sockets->callbacks->is_listening(plaintext->pid, ends->server.port);
    return true;
}

static void look_up(WireSockets *sockets, Connection *connection)
{
    const Hello *hello = g_hash_table_lookup(sockets->hellos, &connection->key);
    const Piece *first = g_queue_peek_head(&connection->pieces);
    bool is_server;
    bool is_client = first->plaintext.has_role && !first->plaintext.is_server;
    if (!hello || (hello->several && !is_client) ||
        !find_role(sockets, &first->plaintext, &hello->ends, &is_server)) {
        return;
    }
    const Ends *ends = &hello->ends;
    connection->family = ends->family;
    connection->is_server = is_server;
    connection->local = is_server ? ends->server : ends->client;
    connection->remote = is_server ? ends->client : ends->server;
    settle(sockets, connection, KNOWN);
}

static void keep(WireSockets *sockets, Connection *connection, const TlsPlaintext *plaintext)
{
    Piece *piece = g_malloc(sizeof(*piece) + plaintext->length);
    piece->plaintext = *plaintext;
    piece->plaintext.data = piece->data;
    if (plaintext->length) {
        memcpy(piece->data, plaintext->data, plaintext->length);
    }
    if (plaintext->random) {
        memcpy(piece->random, plaintext->random, sizeof(piece->random));
        piece->plaintext.random = piece->random;
    }
    g_queue_push_tail(&connection->pieces, piece);
    sockets->waiting_bytes += memory_of(piece);
}

static void begin(WireSockets *sockets, const TlsPlaintext *plaintext, uint64_t now_ns)
{
    if (g_hash_table_size(sockets->connections) >= WIRE_SOCKETS_CONNECTIONS && sockets->used.head) {
        forget(sockets, sockets->used.head->data);
    }
    Connection *connection = g_new0(Connection, 1);
    connection->id = plaintext->connection;
    connection->key.netns_inode = plaintext->netns_inode;
    connection->since_ns = now_ns;
    connection->link.data = connection;
    g_hash_table_insert(sockets->connections, &connection->id, connection);
    g_queue_push_tail_link(&sockets->waiting, &connection->link);
    keep(sockets, connection, plaintext);
    if (!plaintext->random) {
        settle(sockets, connection, UNKNOWN);
        return;
    }
    memcpy(connection->key.random, plaintext->random, TLS_KEYS_RANDOM);
    look_up(sockets, connection);
}

/* The hooks have seen its socket meanwhile. */
static void take_socket(WireSockets *sockets, Connection *connection, const TlsPlaintext *plaintext)
{
    if (connection->state == WAITING) {
        connection->family = plaintext->family;
        connection->is_server = plaintext->is_server;
        connection->local = plaintext->local;
        connection->remote = plaintext->remote;
        if (!settle(sockets, connection, KNOWN)) {
            return;
        }
    }
    forget(sockets, connection);
}

static void go_on(WireSockets *sockets, Connection *connection, const TlsPlaintext *plaintext)
{
    if (connection->state == WAITING) {
        keep(sockets, connection, plaintext);
        return;
    }
    TlsPlaintext told = *plaintext;
    give(sockets, connection, &told);
    if (plaintext->end) {
        forget(sockets, connection);
        return;
    }
    g_queue_unlink(&sockets->used, &connection->link);
    g_queue_push_tail_link(&sockets->used, &connection->link);
}

void wire_sockets_add(WireSockets *sockets, const TlsPlaintext *plaintext, uint64_t now_ns)
{
    Connection *connection = g_hash_table_lookup(sockets->connections, &plaintext->connection);
    if (connection && plaintext->family) {
        take_socket(sockets, connection, plaintext);
        connection = NULL;
    }
    if (connection) {
        go_on(sockets, connection, plaintext);
    } else if (plaintext->family || plaintext->end) {
        sockets->callbacks->plaintext(sockets->userdata, plaintext);
    } else {
        begin(sockets, plaintext, now_ns);
    }
    while (sockets->waiting_bytes > WIRE_SOCKETS_WAITING_MAX) {
        settle(sockets, sockets->waiting.head->data, UNKNOWN);
    }
}

void wire_sockets_run(WireSockets *sockets, uint64_t now_ns)
{
    GList *next;
    for (GList *link = sockets->fresh ? sockets->waiting.head : NULL; link; link = next) {
        next = link->next;
        look_up(sockets, link->data);
    }
    sockets->fresh = false;
    while (sockets->waiting.head) {
        Connection *oldest = sockets->waiting.head->data;
        if (now_ns < oldest->since_ns + WIRE_SOCKETS_WAIT_NS) {
            break;
        }
        settle(sockets, oldest, UNKNOWN);
    }
}

uint64_t wire_sockets_unknown(const WireSockets *sockets)
{
    return sockets->unknown;
}

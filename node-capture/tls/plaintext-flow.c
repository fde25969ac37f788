// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/tls/plaintext-flow.h"

#include <glib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/pcapng/bytes.h"
#include "common/seeded-hash.h"
#include "k8s-enrich/identity-option.h"
#include "node-capture/tls/plaintext-protocol.h"
#include "node-capture/tls/tcp-packet.h"

#define MARKS        4u         /* how far back the other direction can be asked */
#define UNACKED_MAX  (1u << 20) /* bytes; then an acknowledgement of its own */
#define PROTOCOL_TRY 8u         /* calls in which the protocol is looked for */
#define OPTIONS_ROOM 96u        /* of one packet: flags and protocol */
#define BLOCK_ROOM   (PCAPNG_EPB_FIXED + TCP_PACKET_HEADERS + OPTIONS_ROOM + 8u)

typedef struct Tuple { /* no padding: hashed and compared as bytes */
    uint64_t netns_inode;
    uint8_t local[16], remote[16];
    uint16_t local_port, remote_port;
    uint32_t family;
} Tuple;
_Static_assert(sizeof(Tuple) == 48, "Tuple has padding");

typedef struct Mark {
    uint64_t time_ns, end; /* the direction had come as far as `end` at that time */
} Mark;

/* Who has sent the bytes of one direction. Indexed by TlsDirection: the remote end, the local one.
 */
typedef struct Side {
    uint32_t first_sequence;
    uint64_t next;  /* offset behind the last byte so far */
    uint64_t acked; /* up to here by the other side */
    uint64_t last_ns;
    uint64_t before_marks; /* how far it was before the oldest mark */
    Mark marks[MARKS];     /* a ring */
    unsigned n_marks, next_mark;
} Side;

typedef struct Connection {
    uint64_t id;
    Tuple tuple;
    TlsAddress local, remote; /* as in the packets */
    GList link;               /* in the order of use */
    uint64_t start_ns, last_ns;
    Side side[2];
    const char *protocol; /* NULL: not known */
    unsigned tried;
    bool begun; /* packets were made */
    bool is_v6;
    bool is_other_end; /* of one that is told already */
} Connection;

struct PlaintextFlow {
    GHashTable *connections; /* id (in it) -> Connection */
    GHashTable *tuples;      /* tuple (in it) -> Connection */
    GQueue used;             /* least recently used first */
    unsigned max_connections;
    PlaintextFlowStats stats;
    uint8_t packet[TCP_PACKET_HEADERS + TCP_PACKET_DATA_MAX];
};

/* Where packets go while the bytes of one call are made into some. */
typedef struct Writing {
    PlaintextFlow *flow;
    const Connection *connection;
    uint64_t time_ns;
    size_t left; /* bytes of plaintext still to come */
    Batch *batch;
    void (*take)(Batch *batch, void *userdata);
    void *userdata;
} Writing;

/* ---- Connections -----------------------------------------------------------------------------*/

static guint tuple_hash(gconstpointer tuple)
{
    return seeded_hash(tuple, sizeof(Tuple));
}

static gboolean tuple_equal(gconstpointer a, gconstpointer b)
{
    return memcmp(a, b, sizeof(Tuple)) == 0;
}

PlaintextFlow *plaintext_flow_new(unsigned max_connections)
{
    PlaintextFlow *flow = g_new0(PlaintextFlow, 1);
    flow->max_connections = max_connections ? max_connections : PLAINTEXT_CONNECTIONS_MAX;
    flow->connections = g_hash_table_new(g_int64_hash, g_int64_equal);
    flow->tuples = g_hash_table_new(tuple_hash, tuple_equal);
    g_queue_init(&flow->used);
    return flow;
}

static void forget_tuple(PlaintextFlow *flow, Connection *connection)
{
    if (g_hash_table_lookup(flow->tuples, &connection->tuple) == connection) {
        g_hash_table_remove(flow->tuples, &connection->tuple);
    }
}

static void forget(PlaintextFlow *flow, Connection *connection)
{
    forget_tuple(flow, connection);
    g_hash_table_remove(flow->connections, &connection->id);
    g_queue_unlink(&flow->used, &connection->link);
    g_free(connection);
}

PlaintextFlow *plaintext_flow_free(PlaintextFlow *flow)
{
    if (flow) {
        while (flow->used.head) {
            forget(flow, flow->used.head->data);
        }
        g_hash_table_unref(flow->connections);
        g_hash_table_unref(flow->tuples);
        g_free(flow);
    }
    return NULL;
}

/* Follows from the connection alone, so that one that was forgotten goes on with the same. */
static uint32_t first_sequence(uint64_t id, unsigned side)
{
    uint64_t mixed = (id * 2 + side + 1) * 0x9e3779b97f4a7c15u;
    mixed = (mixed ^ mixed >> 31) * 0xbf58476d1ce4e5b9u;
    return (uint32_t)(mixed >> 32);
}

/* Where the socket is not known no address is made up, and numbers in the places of ports tell
 * connections apart. */
static void read_ends(const TlsPlaintext *plaintext, TlsAddress *ret_local, TlsAddress *ret_remote)
{
    size_t length = plaintext->family == AF_INET6 ? 16 : plaintext->family == AF_INET ? 4 : 0;
    memset(ret_local, 0, sizeof *ret_local);
    memset(ret_remote, 0, sizeof *ret_remote);
    memcpy(ret_local->bytes, plaintext->local.bytes, length);
    memcpy(ret_remote->bytes, plaintext->remote.bytes, length);
    ret_local->port = plaintext->local.port;
    ret_remote->port = plaintext->remote.port;
    if (length == 0) {
        ret_local->port = (uint16_t)(1 + plaintext->connection % 65535);
        ret_remote->port = (uint16_t)(1 + plaintext->connection / 65535 % 65535);
    }
}

static void make_tuple(const TlsPlaintext *plaintext, const TlsAddress *local,
                       const TlsAddress *remote, Tuple *ret)
{
    *ret = (Tuple){.netns_inode = plaintext->netns_inode,
                   .local_port = local->port,
                   .remote_port = remote->port,
                   .family = plaintext->family};
    memcpy(ret->local, local->bytes, sizeof ret->local);
    memcpy(ret->remote, remote->bytes, sizeof ret->remote);
}

static bool is_other_end(const PlaintextFlow *flow, const Tuple *tuple, uint64_t time_ns)
{
    Tuple turned = *tuple;
    memcpy(turned.local, tuple->remote, sizeof turned.local);
    memcpy(turned.remote, tuple->local, sizeof turned.remote);
    turned.local_port = tuple->remote_port;
    turned.remote_port = tuple->local_port;
    const Connection *other = g_hash_table_lookup(flow->tuples, &turned);
    return tuple->family != 0 && other && !other->is_other_end &&
           time_ns < other->last_ns + PLAINTEXT_OTHER_END_NS;
}

/* The connection's socket is this from now on. */
static void place(PlaintextFlow *flow, Connection *connection, const TlsPlaintext *plaintext)
{
    TlsAddress local, remote;
    Tuple tuple;
    read_ends(plaintext, &local, &remote);
    make_tuple(plaintext, &local, &remote, &tuple);
    if (connection->start_ns && tuple_equal(&tuple, &connection->tuple)) {
        return;
    }
    forget_tuple(flow, connection);
    connection->tuple = tuple;
    connection->local = local;
    connection->remote = remote;
    connection->is_v6 = plaintext->family == AF_INET6;
    connection->is_other_end = is_other_end(flow, &tuple, plaintext->time_unix_ns);
    g_hash_table_replace(flow->tuples, &connection->tuple, connection);
}

static Connection *find(PlaintextFlow *flow, const TlsPlaintext *plaintext)
{
    Connection *connection = g_hash_table_lookup(flow->connections, &plaintext->connection);
    if (connection) {
        g_queue_unlink(&flow->used, &connection->link);
    } else if (plaintext->end) {
        return NULL;
    } else {
        if (flow->used.length >= flow->max_connections) {
            forget(flow, flow->used.head->data);
            flow->stats.forgotten++;
        }
        connection = g_new0(Connection, 1);
        connection->id = plaintext->connection;
        connection->link.data = connection;
        for (unsigned i = 0; i < 2; i++) {
            connection->side[i].first_sequence = first_sequence(connection->id, i);
        }
        g_hash_table_replace(flow->connections, &connection->id, connection);
    }
    g_queue_push_tail_link(&flow->used, &connection->link);
    if (!plaintext->end) { /* that is told without its socket */
        place(flow, connection, plaintext);
    }
    if (!connection->start_ns) {
        connection->start_ns = MAX(plaintext->time_unix_ns, 1);
    }
    return connection;
}

/* ---- How far a direction had come ------------------------------------------------------------*/

static uint64_t end_at(const Side *side, uint64_t time_ns)
{
    for (unsigned i = 1; i <= side->n_marks; i++) {
        const Mark *mark = &side->marks[(side->next_mark + MARKS - i) % MARKS];
        if (mark->time_ns <= time_ns) {
            return mark->end;
        }
    }
    return side->before_marks;
}

static void set_mark(Side *side, uint64_t time_ns)
{
    Mark *mark = &side->marks[side->next_mark];
    if (side->n_marks == MARKS) {
        side->before_marks = mark->end;
    } else {
        side->n_marks++;
    }
    *mark = (Mark){time_ns, side->next};
    side->next_mark = (side->next_mark + 1) % MARKS;
}

/* ---- Packets ---------------------------------------------------------------------------------*/

static void give_batch(Writing *writing)
{
    if (writing->batch) {
        writing->take(g_steal_pointer(&writing->batch), writing->userdata);
    }
}

static Batch *room_for(Writing *writing, size_t length)
{
    Batch *batch = writing->batch;
    if (batch && batch->capacity - batch->length < length) {
        give_batch(writing);
        batch = NULL;
    }
    if (!batch) {
        /* With what else may come: the handshake or the end, and an acknowledgement. */
        size_t wanted =
            writing->left + (writing->left / TCP_PACKET_DATA_MAX + 5) * (size_t)BLOCK_ROOM;
        writing->batch = batch = batch_new(CLAMP(wanted, length, BATCH_BYTES));
    }
    return batch;
}

static void put_options(PcapngBuilder *builder, const Connection *connection, unsigned from)
{
    pcapng_build_option_u32(builder, PCAPNG_EPB_FLAGS,
                            from == TLS_WRITTEN ? PCAPNG_DIRECTION_OUTBOUND
                                                : PCAPNG_DIRECTION_INBOUND);
    if (connection->protocol) {
        uint8_t identity[OPTIONS_ROOM - 24];
        IdentityWriter writer;
        identity_writer_init(&writer, identity, sizeof identity);
        identity_put_text(&writer, IDENTITY_L7, IDENTITY_PACKET, connection->protocol);
        pcapng_build_option_custom(builder, PCAPNG_OPT_CUSTOM_BINARY, IDENTITY_ENTERPRISE, identity,
                                   writer.length);
    }
}

/* A packet from that side; `offset` and `acked` count the bytes of both directions. */
static void put_packet(Writing *writing, unsigned from, uint8_t flags, uint64_t offset,
                       uint64_t acked, const uint8_t *data, size_t length)
{
    const Connection *connection = writing->connection;
    const Side *side = &connection->side[from], *other = &connection->side[!from];
    const TlsAddress *ends[] = {&connection->remote, &connection->local};
    const TcpPacket packet = {
        .is_v6 = connection->is_v6,
        .src = ends[from],
        .dst = ends[!from],
        .seq = side->first_sequence + 1 + (uint32_t)offset,
        .ack = other->first_sequence + 1 + (uint32_t)acked,
        .flags = flags,
        .data = data,
        .length = length,
    };
    PlaintextFlow *flow = writing->flow;
    uint32_t packet_length = (uint32_t)tcp_packet_write(flow->packet, &packet);
    Batch *batch = room_for(writing, pad4(packet_length) + BLOCK_ROOM);
    PcapngBuilder builder;
    pcapng_builder_init(&builder, batch->data + batch->length, batch->capacity - batch->length);
    pcapng_build_packet(&builder, 0, writing->time_ns, flow->packet, packet_length, packet_length);
    put_options(&builder, connection, from);
    int built = pcapng_build_end(&builder);
    g_assert(built > 0);
    batch->first_ns = MIN(batch->first_ns, writing->time_ns);
    batch->last_ns = MAX(batch->last_ns, writing->time_ns);
    batch->length += builder.length;
    batch->bytes += packet_length;
    batch->count++;
    flow->stats.packets++;
}

static void put_handshake(Writing *writing, bool local_is_server)
{
    unsigned client = local_is_server ? TLS_READ : TLS_WRITTEN;
    put_packet(writing, client, TCP_SYN, UINT64_MAX, 0, NULL, 0);
    put_packet(writing, !client, TCP_SYN | TCP_ACK, UINT64_MAX, 0, NULL, 0);
    put_packet(writing, client, TCP_ACK, 0, 0, NULL, 0);
}

static void put_end(Writing *writing)
{
    uint64_t local = writing->connection->side[TLS_WRITTEN].next;
    uint64_t remote = writing->connection->side[TLS_READ].next;
    put_packet(writing, TLS_WRITTEN, TCP_FIN | TCP_ACK, local, remote, NULL, 0);
    put_packet(writing, TLS_READ, TCP_FIN | TCP_ACK, remote, local + 1, NULL, 0);
    put_packet(writing, TLS_WRITTEN, TCP_ACK, local + 1, remote + 1, NULL, 0);
}

static void put_data(Writing *writing, Connection *connection, const TlsPlaintext *plaintext)
{
    unsigned from = plaintext->direction;
    Side *side = &connection->side[from], *other = &connection->side[!from];
    const uint8_t *data = plaintext->data;
    uint64_t offset = plaintext->offset;
    uint64_t acked = end_at(other, writing->time_ns);
    while (writing->left > 0) {
        size_t length = MIN(writing->left, TCP_PACKET_DATA_MAX);
        uint8_t flags = TCP_ACK | (length == writing->left ? TCP_PSH : 0);
        put_packet(writing, from, flags, offset, acked, data, length);
        data += length;
        offset += length;
        writing->left -= length;
        side->next = MAX(side->next, offset);
        if (side->next - side->acked > UNACKED_MAX) {
            put_packet(writing, !from, TCP_ACK, acked, side->next, NULL, 0);
            side->acked = side->next;
        }
    }
    other->acked = MAX(other->acked, acked);
    writing->flow->stats.bytes += plaintext->length;
}

static void find_protocol(Connection *connection, const TlsPlaintext *plaintext)
{
    if (connection->protocol || connection->tried >= PROTOCOL_TRY || plaintext->length == 0) {
        return;
    }
    connection->tried++;
    connection->protocol = plaintext_protocol(plaintext->data, plaintext->length,
                                              plaintext->from_start && plaintext->offset == 0);
}

/* ---- One call --------------------------------------------------------------------------------*/

static void find_hole(PlaintextFlow *flow, const Connection *connection,
                      const TlsPlaintext *plaintext, uint64_t time_ns, PlaintextHole *ret)
{
    const Side *side = &connection->side[plaintext->direction];
    bool is_new = side->n_marks == 0 && (!plaintext->from_start || flow->stats.forgotten > 0);
    if (plaintext->offset <= side->next || plaintext->skipped || is_new) {
        return;
    }
    uint64_t from_ns = side->last_ns ? side->last_ns + 1 : connection->start_ns;
    *ret = (PlaintextHole){plaintext->offset - side->next, MIN(from_ns, time_ns), time_ns};
    flow->stats.missing += ret->bytes;
}

/* A direction's bytes are in order, so their times are, whatever was read of the clock. */
static uint64_t time_of(const Connection *connection, const TlsPlaintext *plaintext)
{
    uint64_t time_ns = MAX(plaintext->time_unix_ns, connection->start_ns);
    return plaintext->end ? MAX(time_ns, connection->last_ns)
                          : MAX(time_ns, connection->side[plaintext->direction].last_ns);
}

static void write_bytes(Writing *writing, Connection *connection, const TlsPlaintext *plaintext)
{
    Side *side = &connection->side[plaintext->direction];
    bool from_start = plaintext->from_start && !plaintext->skipped;
    writing->left = plaintext->length;
    find_protocol(connection, plaintext);
    /* One that was forgotten has had its handshake. */
    if (!connection->begun && from_start &&
        (plaintext->offset == 0 || writing->flow->stats.forgotten == 0)) {
        put_handshake(writing, plaintext->is_server && plaintext->family != 0);
    }
    connection->begun = true;
    if (side->n_marks == 0) { /* what came before is not known */
        side->before_marks = from_start ? 0 : plaintext->offset;
        side->acked = plaintext->offset;
        side->next = MAX(side->next, plaintext->offset);
    }
    put_data(writing, connection, plaintext);
    set_mark(side, writing->time_ns);
    side->last_ns = writing->time_ns;
    connection->last_ns = MAX(connection->last_ns, writing->time_ns);
}

void plaintext_flow_add(PlaintextFlow *flow, const TlsPlaintext *plaintext,
                        void (*take)(Batch *batch, void *userdata), void *userdata,
                        PlaintextHole *ret_hole)
{
    *ret_hole = (PlaintextHole){0};
    if (plaintext->direction > TLS_WRITTEN || (plaintext->length == 0 && !plaintext->end)) {
        return;
    }
    Connection *connection = find(flow, plaintext);
    if (!connection) {
        return;
    }
    Writing writing = {.flow = flow,
                       .connection = connection,
                       .time_ns = time_of(connection, plaintext),
                       .take = take,
                       .userdata = userdata};
    if (connection->is_other_end) {
        flow->stats.other_end += plaintext->length;
    } else if (plaintext->length > 0) {
        find_hole(flow, connection, plaintext, writing.time_ns, ret_hole);
        write_bytes(&writing, connection, plaintext);
    }
    if (plaintext->end) {
        if (connection->begun && !connection->is_other_end) {
            put_end(&writing);
        }
        forget(flow, connection);
    }
    give_batch(&writing);
}

void plaintext_flow_stats(const PlaintextFlow *flow, PlaintextFlowStats *ret)
{
    *ret = flow->stats;
    ret->connections = flow->used.length;
}

void plaintext_batch_set_interface(Batch *batch, uint32_t interface_id)
{
    for (size_t at = 0; at < batch->length; at += load32(batch->data + at + 4, false)) {
        store32(batch->data + at + 8, interface_id);
    }
}

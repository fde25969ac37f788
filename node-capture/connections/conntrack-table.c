// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/connections/conntrack-table.h"

#include <glib.h>
#include <string.h>

typedef struct Connection {
    ConntrackEntry entry;
    uint64_t from_ns;
    uint64_t dump;  /* the last one in which, or after which, it was told of */
    bool from_dump; /* no event has told of it */
    bool told;
    GList link; /* in `aside` unless it is told */
} Connection;

struct ConntrackTable {
    ConntrackTell *tell;
    ConntrackWanted *wanted;
    void *userdata;
    size_t max, max_aside, from_dumps;
    GHashTable *connections; /* ConntrackTuple (in the Connection) -> Connection */
    GQueue aside;            /* of Connection: those of them that are not told */
    bool aside_overflowed;   /* since the last dump began */
    uint64_t dump, unknown_since_ns, left_out, unwanted;
};

static guint tuple_hash(gconstpointer tuple)
{
    const uint8_t *bytes = tuple;
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (size_t i = 0; i < sizeof(ConntrackTuple); i++) {
        hash = (hash ^ bytes[i]) * 16777619u;
    }
    return hash;
}

static gboolean tuple_equal(gconstpointer a, gconstpointer b)
{
    return memcmp(a, b, sizeof(ConntrackTuple)) == 0;
}

ConntrackTable *conntrack_table_new(size_t max, ConntrackTell *tell, ConntrackWanted *wanted,
                                    void *userdata)
{
    ConntrackTable *table = g_new0(ConntrackTable, 1);
    table->tell = tell;
    table->wanted = wanted;
    table->userdata = userdata;
    table->max = max ? max : CONNTRACK_TABLE_MAX;
    table->max_aside = MAX(table->max / 4, 1);
    table->connections = g_hash_table_new_full(tuple_hash, tuple_equal, NULL, g_free);
    return table;
}

ConntrackTable *conntrack_table_free(ConntrackTable *table)
{
    if (table) {
        g_hash_table_unref(table->connections);
        g_free(table);
    }
    return NULL;
}

/* It is about to leave the table. */
static void end(ConntrackTable *table, Connection *connection, uint64_t now_ns)
{
    table->from_dumps -= connection->from_dump;
    if (connection->told) {
        table->tell(&connection->entry, connection->from_ns, MAX(now_ns, connection->from_ns),
                    table->userdata);
    } else {
        g_queue_unlink(&table->aside, &connection->link);
        table->unwanted++;
    }
}

static bool is_same(const ConntrackEntry *a, const ConntrackEntry *b)
{
    return a->id == b->id && memcmp(&a->server, &b->server, sizeof(a->server)) == 0 &&
           memcmp(&a->masked_client, &b->masked_client, sizeof(a->masked_client)) == 0;
}

static bool has_room(ConntrackTable *table, bool wanted)
{
    if (wanted) {
        bool has = conntrack_table_count(table) < table->max;
        table->left_out += !has;
        return has;
    }
    bool has = table->aside.length < table->max_aside;
    table->unwanted += !has;
    table->aside_overflowed |= !has;
    return has;
}

static void tell_begin(ConntrackTable *table, Connection *connection)
{
    connection->told = true;
    table->tell(&connection->entry, connection->from_ns, 0, table->userdata);
}

/* The end of what had the same tuple was missed, if there was such. */
static void add(ConntrackTable *table, const ConntrackEntry *entry, uint64_t from_ns,
                bool from_dump)
{
    Connection *known = g_hash_table_lookup(table->connections, &entry->tuple);
    if (known && is_same(&known->entry, entry)) {
        known->dump = table->dump;
        return;
    }
    if (known) {
        end(table, known, from_ns);
        g_hash_table_remove(table->connections, &entry->tuple);
    }
    bool wanted = table->wanted(entry, table->userdata);
    if (!has_room(table, wanted)) {
        return;
    }
    Connection *connection = g_new0(Connection, 1);
    connection->entry = *entry;
    connection->from_ns = entry->start_ns ? entry->start_ns : from_ns;
    connection->dump = table->dump;
    connection->from_dump = from_dump;
    table->from_dumps += from_dump;
    connection->link.data = connection;
    g_hash_table_insert(table->connections, &connection->entry.tuple, connection);
    if (wanted) {
        tell_begin(table, connection);
    } else {
        g_queue_push_tail_link(&table->aside, &connection->link);
    }
}

bool conntrack_table_look_again(ConntrackTable *table)
{
    for (GList *link = table->aside.head, *next; link; link = next) {
        Connection *connection = link->data;
        next = link->next;
        if (table->wanted(&connection->entry, table->userdata) && has_room(table, true)) {
            g_queue_unlink(&table->aside, link);
            tell_begin(table, connection);
        }
    }
    return table->aside_overflowed;
}

void conntrack_table_event(ConntrackTable *table, const ConntrackEntry *entry, uint64_t now_ns)
{
    if (!entry->ended) {
        add(table, entry, now_ns, false);
        return;
    }
    Connection *known = g_hash_table_lookup(table->connections, &entry->tuple);
    if (known && known->entry.id == entry->id) {
        end(table, known, now_ns);
        g_hash_table_remove(table->connections, &entry->tuple);
    }
}

void conntrack_table_dump_begin(ConntrackTable *table, uint64_t unknown_since_ns)
{
    table->dump++;
    table->unknown_since_ns = unknown_since_ns;
    table->aside_overflowed = false;
}

void conntrack_table_dumped(ConntrackTable *table, const ConntrackEntry *entry)
{
    add(table, entry, table->unknown_since_ns, true);
}

void conntrack_table_dump_end(ConntrackTable *table, uint64_t now_ns)
{
    GHashTableIter iter;
    Connection *connection;
    g_hash_table_iter_init(&iter, table->connections);
    while (g_hash_table_iter_next(&iter, NULL, (void **)&connection)) {
        if (connection->dump != table->dump) {
            end(table, connection, now_ns);
            g_hash_table_iter_remove(&iter);
        }
    }
}

size_t conntrack_table_count(const ConntrackTable *table)
{
    return g_hash_table_size(table->connections) - table->aside.length;
}

bool conntrack_table_wants_dump(const ConntrackTable *table)
{
    return table->from_dumps > 0;
}

uint64_t conntrack_table_left_out(const ConntrackTable *table)
{
    return table->left_out;
}

uint64_t conntrack_table_unwanted(const ConntrackTable *table)
{
    return table->unwanted;
}

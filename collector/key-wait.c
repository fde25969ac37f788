// SPDX-License-Identifier: GPL-2.0-or-later
#include "collector/key-wait.h"

#include <glib.h>
#include <string.h>

#include "common/seeded-hash.h"
#include "common/tls-hello.h"

#define SLOTS       8192u /* of each table; a power of two */
#define HEX_BYTES   (2 * TLS_HELLO_RANDOM_BYTES)
#define TO_SERVER   "CLIENT_TRAFFIC_SECRET_0 "
#define FROM_SERVER "SERVER_TRAFFIC_SECRET_0 "

enum { HAS_TO_SERVER = 1, HAS_FROM_SERVER = 2, HAS_ALL = 3 };

typedef struct Random {
    uint8_t bytes[TLS_HELLO_RANDOM_BYTES];
} Random;

typedef struct Known {
    Random random;
    unsigned has;
} Known;

typedef struct Ends { /* no padding: hashed and compared as bytes */
    IpAddress client, server;
    uint16_t client_port, server_port;
} Ends;

typedef struct Connection {
    Ends ends;
    Random random;
} Connection;

typedef struct Server {
    IpAddress address;
    uint16_t port, in_vain;
} Server;

/* Each thing has one place in its table, and what comes later takes it. */
struct KeyWait {
    Known known[SLOTS];
    Connection connections[SLOTS];
    Server servers[SLOTS];
    Random awaited;
    Server *server; /* of what is awaited */
};

KeyWait *key_wait_new(void)
{
    return g_new0(KeyWait, 1);
}

KeyWait *key_wait_free(KeyWait *wait)
{
    g_free(wait);
    return NULL;
}

/* ---- Secrets ---------------------------------------------------------------------------------*/

static Known *known_slot(const KeyWait *wait, const Random *random)
{
    return (Known *)&wait->known[seeded_hash(random, sizeof(*random)) & (SLOTS - 1)];
}

static unsigned what_has(const KeyWait *wait, const Random *random)
{
    const Known *known = known_slot(wait, random);
    return memcmp(&known->random, random, sizeof(*random)) == 0 ? known->has : 0;
}

static bool take_hex(const uint8_t *hex, Random *ret)
{
    for (unsigned i = 0; i < sizeof(ret->bytes); i++) {
        int high = g_ascii_xdigit_value((gchar)hex[2 * i]);
        int low = g_ascii_xdigit_value((gchar)hex[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        ret->bytes[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static void take_line(KeyWait *wait, const uint8_t *line, size_t length)
{
    const size_t label = strlen(TO_SERVER);
    Random random;
    unsigned bit = length < label + HEX_BYTES              ? 0
                   : memcmp(line, TO_SERVER, label) == 0   ? HAS_TO_SERVER
                   : memcmp(line, FROM_SERVER, label) == 0 ? HAS_FROM_SERVER
                                                           : 0;
    if (!bit || !take_hex(line + label, &random))
        return;
    Known *known = known_slot(wait, &random);
    if (memcmp(&known->random, &random, sizeof(random)) != 0)
        *known = (Known){.random = random};
    known->has |= bit;
}

void key_wait_secrets(KeyWait *wait, const uint8_t *key_log, size_t length)
{
    while (length) {
        const uint8_t *end = memchr(key_log, '\n', length);
        size_t line = end ? (size_t)(end - key_log) : length;
        take_line(wait, key_log, line);
        key_log += line + (end != NULL);
        length -= line + (end != NULL);
    }
}

/* ---- Packets ---------------------------------------------------------------------------------*/

static Connection *connection_slot(KeyWait *wait, const Ends *ends)
{
    return &wait->connections[seeded_hash(ends, sizeof(*ends)) & (SLOTS - 1)];
}

static Server *server_of(KeyWait *wait, const Ends *ends)
{
    Server wanted = {.address = ends->server, .port = ends->server_port};
    Server *server = &wait->servers[seeded_hash(&wanted, sizeof(wanted)) & (SLOTS - 1)];
    if (memcmp(&server->address, &wanted.address, sizeof(wanted.address)) != 0 ||
        server->port != wanted.port)
        *server = wanted;
    return server;
}

static void take_client(KeyWait *wait, const PacketInfo *info, const uint8_t *random)
{
    const Ends ends = {info->src, info->dst, info->src_port, info->dst_port};
    Connection *connection = connection_slot(wait, &ends);
    connection->ends = ends;
    memcpy(&connection->random, random, sizeof(connection->random));
}

static bool take_server(KeyWait *wait, const PacketInfo *info)
{
    const Ends ends = {info->dst, info->src, info->dst_port, info->src_port};
    const Connection *connection = connection_slot(wait, &ends);
    if (memcmp(&connection->ends, &ends, sizeof(ends)) != 0)
        return false;
    Server *server = server_of(wait, &ends);
    if (what_has(wait, &connection->random) == HAS_ALL) {
        server->in_vain = 0;
        return false;
    }
    if (server->in_vain >= KEY_WAIT_IN_VAIN)
        return false;
    wait->awaited = connection->random;
    wait->server = server;
    return true;
}

bool key_wait_packet(KeyWait *wait, uint16_t link_type, const uint8_t *data, size_t length)
{
    TlsHelloFields fields;
    TlsHello hello = tls_hello_find(link_type, data, length, &fields);
    if (G_LIKELY(hello != TLS_HELLO_RANDOM && hello != TLS_HELLO_SERVER))
        return false;
    PacketInfo info;
    packet_parse(link_type, data, length, &info);
    if (!info.has_ports)
        return false;
    if (hello == TLS_HELLO_SERVER)
        return take_server(wait, &info);
    take_client(wait, &info, fields.random);
    return false;
}

bool key_wait_is_over(const KeyWait *wait)
{
    if (what_has(wait, &wait->awaited) != HAS_ALL)
        return false;
    wait->server->in_vain = 0;
    return true;
}

void key_wait_give_up(KeyWait *wait)
{
    wait->server->in_vain++;
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* The connections that the vantage choice remembers, and what it must know of each. Internal to
 * vantage.c. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/vantage.h"

typedef struct VantageChoice {
    uint32_t chosen;  /* 0: open */
    uint64_t last_ns; /* when the chosen one was seen last */
} VantageChoice;

enum { VANTAGE_SIDE_SERVICE = 1, VANTAGE_SIDE_POD = 2 };

/* A connection through a service address: the client's leg goes there, the server's leg to a pod.
 * Both legs refer to this. */
typedef struct VantageService {
    uint32_t refs;
    Entity *entity;     /* or NULL: the connection is rewritten, but through no known service */
    Flow flow;          /* what conntrack says of it; id 0: nothing, the legs are joined by guess */
    VantageChoice legs; /* VANTAGE_SIDE_* */
} VantageService;

/* The plaintext of a TLS connection is apart from the connection's packets. */
#define VANTAGE_PLAINTEXT 0x100u

typedef struct VantageKey { /* no padding: hashed and compared as bytes */
    IpAddress address[2];   /* in order, with its port */
    uint16_t port[2];
    uint32_t fragment_id; /* of fragments whose ports are not known */
    uint32_t protocol;    /* and VANTAGE_PLAINTEXT */
} VantageKey;
_Static_assert(sizeof(VantageKey) == 44, "VantageKey has padding");

typedef struct VantageClient {
    IpAddress address;
    uint16_t port, protocol;
    uint32_t hash; /* of what stands before it */
} VantageClient;
_Static_assert(offsetof(VantageClient, hash) == 20, "VantageClient has padding");

/* What has one five-tuple. */
struct VantageLeg {
    VantageKey key;
    uint32_t hash;
    uint32_t refs;
    VantageClient client;
    VantageLeg *client_next, *client_previous; /* other legs of the same client address and port */
    GList link;                                /* in the order of use */
    VantageChoice points;                      /* ids of capture points */
    VantageService *service;                   /* or NULL */
    char *server_uid;                          /* pod at the server's end, or NULL */
    uint64_t last_ns;
    uint32_t syn_seq;
    bool has_syn;
    bool server_is_first; /* of the key's two ends */
    bool to_service;      /* the server's end is a service address */
    bool server_captured; /* a capture point may stand at the server's end */
    bool listed;          /* among its client's legs */
    uint32_t first_point;
    uint32_t plaintext_points[2]; /* that began a connection of plaintext with a SYN */
};

typedef struct VantageTable VantageTable;

VantageTable *vantage_table_new(const Inventory *inventory, const Translations *translations,
                                size_t max_connections);
VantageTable *vantage_table_free(VantageTable *table);
void vantage_table_point_changed(VantageTable *table, const CapturePoint *point);
/* The packet's leg with a reference; made if it is the first one or if the connection is another
 * than before. NULL for what has no connection and stays where it was seen. */
VantageLeg *vantage_table_find(VantageTable *table, const VantagePacket *packet);
VantageLeg *vantage_leg_unref(VantageLeg *leg); /* NULL is fine; returns NULL */
/* A translation was added or has ended: its legs are joined by it from now on. */
void vantage_table_translated(VantageTable *table, const Translation *translation);
/* The connection through a service that the leg is of, or NULL; kept until the next call. */
const VantageService *vantage_table_hold_service(VantageTable *table, const VantageLeg *leg);
void vantage_table_stats(const VantageTable *table, size_t *ret_connections, uint64_t *ret_evicted);
/* How many endpoints were looked at so far to tell which services are captured. */
uint64_t vantage_table_endpoints_examined(const VantageTable *table);

bool vantage_leg_server_is_src(const VantageLeg *leg, const VantagePacket *packet);
bool vantage_leg_at_server(const VantageLeg *leg, const VantagePacket *packet);

static inline bool vantage_leg_is_plaintext(const VantageLeg *leg)
{
    return leg->key.protocol & VANTAGE_PLAINTEXT;
}

static inline uint32_t vantage_leg_side(const VantageLeg *leg)
{
    return leg->to_service ? VANTAGE_SIDE_SERVICE : VANTAGE_SIDE_POD;
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* Who had this address at that time: pods, services, nodes, over time.
 *
 * An Inventory is fed with entities (from a file, from the API server, from the identity events of
 * many nodes) and answers look-ups. Entities are immutable and reference counted; a change makes a
 * new one that is valid from then on, and the old one stays to answer for packets of its time. No
 * I/O, no clock. An Inventory belongs to one thread; entities may be shared. Times are nanoseconds
 * since the epoch; `to_ns` 0 means still valid; intervals do not include their end. Sources:
 * Kubernetes API reference (v1 Pod, Service, Node, Namespace; discovery.k8s.io EndpointSlice). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/remora.pb-c.h"

typedef enum EntityKind {
    ENTITY_POD = 1, /* values as in remora.v1.EntityKind */
    ENTITY_SERVICE,
    ENTITY_ENDPOINT_SLICE,
    ENTITY_NODE,
    ENTITY_NAMESPACE,
} EntityKind;

/* IPv4 is kept as IPv4-mapped IPv6 (RFC 4291, 2.5.5.2). */
typedef struct IpAddress {
    uint8_t bytes[16];
} IpAddress;

/* From 4 or 16 bytes in network order; false for any other length. */
bool ip_address_from_bytes(IpAddress *ret, const void *bytes, size_t length);
/* From "10.0.0.1" or "fd00::1"; false for anything else. */
bool ip_address_from_text(IpAddress *ret, const char *text);
bool ip_address_equal(const IpAddress *a, const IpAddress *b);
/* "10.0.0.1" or RFC 5952 text. `out` has room for 46 bytes. */
void ip_address_format(const IpAddress *address, char *out);

typedef struct EntityLabel {
    const char *key, *value;
} EntityLabel;
typedef struct EntityContainer {
    const char *name, *id, *image;
} EntityContainer;
typedef struct EntityPort {
    uint8_t protocol; /* IANA: 6, 17, 132 */
    uint16_t port, node_port;
    const char *name;
} EntityPort;
typedef struct EntityEndpoint {
    const IpAddress *addresses;
    size_t n_addresses;
    const char *target_uid, *node;
} EntityEndpoint;

/* Strings are never NULL; absent is "". */
typedef struct Entity {
    EntityKind kind;
    bool host_network;
    uint64_t key; /* 64-bit hash of kind and uid: entity_key(); 0 never occurs */
    const char *uid, *namespace_name, *name, *node;
    const char *owner_kind, *owner_name;
    const char *service_name; /* endpoint slices */
    const EntityLabel *labels;
    const EntityContainer *containers;
    const IpAddress *addresses;
    const EntityPort *ports;
    const EntityEndpoint *endpoints;
    uint32_t n_labels, n_containers, n_addresses, n_ports, n_endpoints;
    uint64_t from_ns, to_ns;
} Entity;

Entity *entity_ref(const Entity *entity);
Entity *entity_unref(const Entity *entity); /* NULL is fine; returns NULL */
/* FNV-1a over kind and uid, never 0. */
uint64_t entity_key(EntityKind kind, const char *uid);
/* Checks and copies a draft on the stack (strings may be NULL there, the key is computed) into an
 * entity that is one allocation. NULL with *ret_error (static text) for what cannot be an entity:
 * no uid, unknown kind, an end before the start, text that is not UTF-8, over the limits (10,000 of
 * a repeated field, 65536 pairs of address and port or addresses of endpoints, 1024 bytes a string
 * but 65536 for label values). */
Entity *entity_new(const Entity *draft, const char **ret_error);
/* The same from a message; an address must have 4 or 16 bytes. */
Entity *entity_from_proto(const Remora__V1__Entity *proto, const char **ret_error);
/* For sending. All pointers are into `entity` or freed by entity_proto_free(). */
Remora__V1__Entity *entity_to_proto(const Entity *entity);
void entity_proto_free(Remora__V1__Entity *proto);

typedef struct Inventory Inventory;

Inventory *inventory_new(void);
Inventory *inventory_free(Inventory *inventory);
/* Adds or replaces by uid; takes its own reference. What was known of the uid from entity->from_ns
 * on is replaced; the version before ends there. Repeating what is known changes nothing, also when
 * a node tells it late or with a clock that is off by up to 5 s; but an end (to_ns) that differs
 * from the newest version's is taken over. */
void inventory_add(Inventory *inventory, const Entity *entity);
/* It ended at `at_ns`: versions that begin later are dropped. An unknown uid is no error. */
void inventory_remove(Inventory *inventory, EntityKind kind, const char *uid, uint64_t at_ns);
/* Applies a stream's event. 0, or -EBADMSG with *ret_error. A `synced` event changes nothing. */
int inventory_apply(Inventory *inventory, const Remora__V1__IdentityEvent *event,
                    const char **ret_error);
/* Drops versions that ended before then; look-ups for earlier times no longer see them. */
void inventory_forget(Inventory *inventory, uint64_t before_ns);
/* Rises with every change: a cached answer holds while it stays the same. */
uint64_t inventory_generation(const Inventory *inventory);

typedef enum PeerType {
    PEER_UNKNOWN, /* nothing known of the address and it cannot be told external (loopback, link
                     local, multicast) */
    PEER_POD,
    PEER_SERVICE,
    PEER_NODE,
    PEER_EXTERNAL, /* known to be none of the cluster's */
} PeerType;

/* Who an address was. The entities are borrowed: valid until the inventory changes; take references
 * to keep them. */
typedef struct Peer {
    PeerType type;
    const Entity *pod;     /* PEER_POD: the pod */
    const Entity *service; /* PEER_SERVICE: the service; for NodePorts beside `node` */
    const Entity *node;    /* PEER_NODE; for pods the node entity if known */
    /* The answer is this for all times in here (to_ns 0: open), and perhaps for more. */
    uint64_t from_ns, to_ns;
} Peer;

/* Look-up by address, port (0: none) and IANA protocol (0: any) at a time.
 * - A pod beats a service beats a node. Of several at one time the one that began latest is meant:
 * an IP used again belongs to the new pod even before the end of the old one is known.
 * - Of pods on their node's network only one that declares the port is named, else the node.
 * - A service is found by any port of its own addresses; where the address is a node's too, or
 * other services', by its own ports; and by a node port at any address of a node (then `node` is
 * set as well).
 * - Clocks of API server and nodes differ: if only one entity was ever known to have the address,
 * it also had it in the 5 s before.
 * - PEER_EXTERNAL: a global or private unicast address that no entity ever had, if the inventory
 * knows anything at all. An address that was of the cluster, but nobody's at that time, is
 * PEER_UNKNOWN. */
void inventory_lookup(const Inventory *inventory, const IpAddress *address, uint8_t protocol,
                      uint16_t port, uint64_t time_ns, Peer *ret);
/* The version of a uid that was valid then, or NULL. Borrowed. */
const Entity *inventory_get(const Inventory *inventory, EntityKind kind, const char *uid,
                            uint64_t time_ns);
/* The service whose endpoint this address and port was then: the only one, or NULL when there are
 * none or several. Borrowed. */
const Entity *inventory_service_of_endpoint(const Inventory *inventory, const IpAddress *address,
                                            uint8_t protocol, uint16_t port, uint64_t time_ns);
/* Whether this address and port was an endpoint of the service then. port 0: any. */
bool inventory_is_endpoint(const Inventory *inventory, const Entity *service,
                           const IpAddress *address, uint8_t protocol, uint16_t port,
                           uint64_t time_ns);
/* How many versions of a uid are kept. */
size_t inventory_versions(const Inventory *inventory, EntityKind kind, const char *uid);
/* All entities as they are at `time_ns`, in no order; 0: the newest version of each, ended (to_ns)
 * or not. The callback must not change the inventory. */
void inventory_foreach(const Inventory *inventory, uint64_t time_ns,
                       void (*callback)(const Entity *entity, void *userdata), void *userdata);
/* The newest version of each endpoint slice of a service, ended or not. The callback must not
 * change the inventory. */
void inventory_foreach_slice(const Inventory *inventory, const Entity *service,
                             void (*callback)(const Entity *slice, void *userdata), void *userdata);
/* The generation in which the slices of a service changed last; 0 if it has none. While it stays
 * the same, so does what inventory_foreach_slice() tells. */
uint64_t inventory_slices_generation(const Inventory *inventory, const Entity *service);

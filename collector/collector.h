// SPDX-License-Identifier: GPL-2.0-or-later
/* Many nodes' streams -> one pcapng stream: connect and reconnect, merge by watermark, one vantage
 * per connection, names on both ends. Losses are told. The caller gives a sink; everything else
 * happens on the collector's own thread.
 *
 * The parts beneath (merge.h, vantage.h, annotate.h) are pure: bytes and times in, bytes out. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "k8s-enrich/inventory.h"

#define COLLECTOR_DEFAULT_PORT 7470u /* of dns:///NAME, where none is given */

#define COLLECTOR_ERROR (collector_error_quark())
GQuark collector_error_quark(void);
enum {
    COLLECTOR_ERROR_CONFIG,
    COLLECTOR_ERROR_CONNECT, /* no node could be reached, or none is left that would come back */
    COLLECTOR_ERROR_WRITE,
    COLLECTOR_ERROR_PROTOCOL,
    COLLECTOR_ERROR_FORMAT, /* a file is torn or is none of the expected form */
};

typedef enum CollectorVantage { COLLECTOR_VANTAGE_ONE, COLLECTOR_VANTAGE_ALL } CollectorVantage;

typedef enum CollectorTls {
    COLLECTOR_TLS_OFF,
    COLLECTOR_TLS_KEYS,     /* the secrets of connections */
    COLLECTOR_TLS_AUTO,     /* and the plaintext of those whose secrets cannot be had */
    COLLECTOR_TLS_PLAINTEXT /* the plaintext of all, and no secrets */
} CollectorTls;

/* How far behind their packets the secrets of a connection may come, and still be written ahead. */
#define COLLECTOR_SECRETS_WAIT_NS (100u * 1000000u)

typedef struct CollectorConfig {
    /* NULL-terminated; see common/rpc/rpc.h for the forms. dns:///NAME[:PORT] stands for all
     * addresses that the name has and will have: nodes that join and leave are followed. */
    char **endpoints;
    bool insecure;     /* allow plain gRPC to addresses that are not local */
    char **namespaces; /* may be NULL; as TargetSelector */
    char **pods;
    char *label_selector;
    char *filter;         /* libpcap syntax, or NULL */
    uint32_t snap_length; /* 0: server's */
    CollectorTls tls;     /* what is asked for of TLS; with secrets, packets wait for
                             COLLECTOR_SECRETS_WAIT_NS, as they are of no use ahead of these */
    CollectorVantage vantage;
    bool comments;          /* also a readable comment on every packet */
    const char *client;     /* "remoradump 0.1.0" */
    const char *cluster;    /* overrides the name that nodes tell; or NULL */
    uint64_t max_wait_ns;   /* how long a silent node may hold back the others; 0: 1 s */
    uint64_t memory_limit;  /* bytes of packets held at most; 0: 256 MiB; beyond: flow control, then
                               the oldest go out before their turn */
    uint64_t node_entities; /* names kept of what one node tells; 0: 200,000 */
    uint64_t node_entity_bytes;  /* and what they take; 0: 256 MiB */
    uint64_t node_points;        /* capture points kept of one node; 0: 65536 */
    uint64_t connect_timeout_ns; /* 0: 5 s: how long collector_run() tries for a first node before
                                    it gives up */
    const Inventory
        *inventory; /* further knowledge (a file), or NULL; not changed, outlives the collector */
    uint64_t resolve_interval_ns; /* names are asked for again after once to twice this; 0: 5 s */
    const struct Resolver *resolver; /* of collector/resolve.h, for tests; NULL: the system's */
} CollectorConfig;

typedef enum CollectorNoteLevel { COLLECTOR_INFO, COLLECTOR_WARNING } CollectorNoteLevel;

typedef struct CollectorBytes {
    const uint8_t *data;
    size_t length;
} CollectorBytes;

typedef struct CollectorSink {
    /* pcapng bytes, whole blocks only; the first call has the section header. May block: that is
     * the flow control. Returns 0, or -errno to stop (EPIPE: the reader is gone). */
    int (*write)(const uint8_t *bytes, size_t length, void *userdata);
    /* The same in pieces, which belong together; they may begin and end anywhere in a block. NULL:
     * all goes through write(), with a copy more. */
    int (*write_pieces)(const CollectorBytes *pieces, size_t n_pieces, void *userdata);
    /* A sentence for a person: node connected, lost, packets lost. */
    void (*note)(CollectorNoteLevel level, const char *text, void *userdata);
} CollectorSink;

typedef struct CollectorStats {
    uint64_t packets_received, packets_written, bytes_written;
    uint64_t other_vantage; /* left out: seen at another vantage point */
    uint64_t late;          /* came after their watermark; written out of order */
    uint64_t stalls; /* times that a node told nothing for so long that others did not wait */
    uint64_t lost_ring, lost_queue, lost_collector, lost_invalid,
        lost_plaintext;              /* told lost, by stage; the last: of TLS */
    uint64_t gaps;                   /* times a node was away */
    uint64_t unnamed;                /* packets with an end of which nothing is known */
    unsigned nodes, nodes_connected; /* now; one that has several addresses is one */
} CollectorStats;

typedef struct Collector Collector;

/* Checks the configuration (endpoints, filter is left to the nodes). */
Collector *collector_new(const CollectorConfig *config, const CollectorSink *sink, void *userdata,
                         GError **error);
/* Runs until collector_stop(), a write error or, at the start, no node at all could be reached.
 * true if stopped by collector_stop() or EPIPE. On false the error says which endpoint, why and
 * what to do. Flushes, writes interface statistics; not a byte if no node ever answered. */
bool collector_run(Collector *collector, GError **error);
void collector_stop(Collector *collector); /* from any thread and from signal handlers */
void collector_stats(const Collector *collector, CollectorStats *ret); /* from any thread */
Collector *collector_free(Collector *collector);

/* The nodes that an endpoint stands for, as endpoints: for dns:///NAME[:PORT] one for each address
 * that it has now, else itself. NULL-terminated, g_strfreev() frees; NULL: the name could not be
 * resolved. */
char **collector_endpoint_nodes(const char *endpoint, bool insecure, uint64_t timeout_ns,
                                GError **error);

/* Asks one endpoint; for lists in the dialog. The caller frees with the protobuf-c function for the
 * type. */
Remora__V1__ListTargetsResponse *collector_list_targets(const char *endpoint, bool insecure,
                                                        uint64_t timeout_ns, GError **error);
Remora__V1__GetStatusResponse *collector_get_status(const char *endpoint, bool insecure,
                                                    uint64_t timeout_ns, GError **error);

typedef struct CollectorAnnotateStats {
    uint64_t packets, named;
    uint64_t stray_statistics; /* blocks of interfaces that were never described; copied too */
} CollectorAnnotateStats;

/* Names the packets of any pcap or pcapng file from elsewhere. Blocks that are not packets are
 * copied as they are. Reads and writes files or
 * "-"; the output is always pcapng. The capture point is not known: both ends are looked up. On a
 * torn input everything before the tear is written, and the error names the offset. `ret` is set
 * in that case too. */
bool collector_annotate_file(const char *in_path, const char *out_path, const Inventory *inventory,
                             const char *cluster, bool comments, CollectorAnnotateStats *ret,
                             GError **error);

typedef struct CollectorKeysFirstStats {
    uint64_t sections;
    uint64_t secrets; /* Decryption Secrets Blocks, all of them kept */
    uint64_t moved;   /* of these: stood behind something that they now stand ahead of */
} CollectorKeysFirstStats;

/* Writes a pcapng file anew with the secrets of each section ahead of its packets: behind its
 * header and the interfaces that are described right there, for without an interface as the first
 * block Wireshark's tools do not know what the file holds. All blocks are kept byte for byte,
 * secrets and others each in their order. Reads and writes files or "-"; an input that cannot be
 * read twice is kept in a temporary file. On a torn input everything before the tear is written,
 * all secrets found there first, and the error names the offset. `ret` is set in that case too. */
bool collector_keys_first(const char *in_path, const char *out_path, CollectorKeysFirstStats *ret,
                          GError **error);

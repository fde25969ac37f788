// SPDX-License-Identifier: GPL-2.0-or-later
/* Names for packets: the pcapng options that say who is at both ends
 * (k8s-enrich/identity-option.h).
 *
 * The end at which a packet was captured is known exactly, by the capturing pod's uid and the
 * direction; the other end is looked up by address, port and the packet's time. Answers are kept,
 * encoded, for as long as they hold: the usual packet costs a hash. No I/O, no clock. One thread,
 * the inventory's. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/capture-point.h"
#include "collector/socket-table.h"
#include "collector/packet.h"
#include "collector/translations.h"
#include "k8s-enrich/inventory.h"

#define ANNOTATE_OPTIONS_MAX \
    3584u /* encoded options of one packet; leaves room for those that it has */
#define ANNOTATE_ATTRIBUTES_NS \
    (60u * 1000000000ull) /* uid, labels, ... of an entity are repeated after so long */

typedef struct Annotator Annotator;

typedef struct AnnotateRequest {
    const CapturePoint *point; /* outlives the annotator; NULL: not known where it was captured */
    const PacketInfo *info;
    unsigned direction; /* PCAPNG_DIRECTION_*, 0: unknown */
    uint64_t time_ns;
    const Entity *service; /* through which the connection was made, where known; else NULL: found
                              by its endpoints */
    const Flow *flow;    /* what conntrack says of the connection, or NULL: then the ends are named
                            that it really has, whatever addresses the packet bears */
    bool service_is_src; /* the end of the service, and of the flow's server, is the source */
} AnnotateRequest;

/* Where the answer to a request is looked for; annotate.c's own. */
typedef struct AnnotateTicket {
    uint64_t key[7];
    uint32_t index;
} AnnotateTicket;

typedef struct Annotation {
    const uint8_t *options; /* whole encoded options, little endian; valid until the next call */
    size_t length;          /* 0: nothing is known */
    bool unnamed;           /* an IP packet with an end of which nothing is known */
} Annotation;

/* `cluster` is written where the capture point names none; may be NULL. The inventory is borrowed.
 */
Annotator *annotator_new(const Inventory *inventory, const char *cluster, bool comments);
Annotator *annotator_free(Annotator *annotator);
/* Containers and processes are named from it, borrowed; NULL (as at first): they are not. */
void annotator_set_owners(Annotator *annotator, const SocketTable *owners);
/* Secrets of TLS connections were asked for: each packet says so. */
void annotator_set_secrets_asked(Annotator *annotator, bool asked);
void annotate(Annotator *annotator, const AnnotateRequest *request, Annotation *ret);
/* The same in two steps, for who has other work to do meanwhile: the look-up waits for memory
 * longer than everything else takes. The request must be the same in both. */
void annotate_begin(const Annotator *annotator, const AnnotateRequest *request,
                    AnnotateTicket *ret);
void annotate_end(Annotator *annotator, const AnnotateRequest *request,
                  const AnnotateTicket *ticket, Annotation *ret);
/* Keeps no longer what was told of entities before `before_ns`: so what a long capture takes does
 * not grow with the pods that came and went. If they are seen again, they are told of again. */
void annotator_forget(Annotator *annotator, uint64_t before_ns);
size_t annotator_entities(const Annotator *annotator); /* of how many something is kept */

// SPDX-License-Identifier: GPL-2.0-or-later
/* The identity that every packet carries in the file: pcapng custom option 2989 (binary, copied by
 * tools). docs/pcapng-identity.md describes it byte by byte; this is its codec, without I/O or
 * allocation, used by the collector (writing) and by the Wireshark plugin (reading). It depends on
 * nothing but the C library. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Private enterprise number, in the section's byte order as pcapng has it. Remora has none of its
 * own from IANA yet, so this is the one that RFC 5612 keeps for documentation; the magic behind it
 * tells our options from anybody else's. */
#define IDENTITY_ENTERPRISE 32473u

/* From here on numbers are in network order, whatever the section's byte order: tools that rewrite
 * a file for another machine cannot know what is inside. */
#define IDENTITY_MAGIC   0x524Du /* "RM" */
#define IDENTITY_VERSION 1u
#define IDENTITY_HEADER  4u /* magic (2), version (1), flags (1); follows the enterprise number */
#define IDENTITY_MAX     4000u /* bytes of header and TLVs */

/* Flags. */
#define IDENTITY_FLAG_ATTRIBUTES 0x01u /* has TLVs of the "once per entity and file" sort */
#define IDENTITY_FLAG_SECRETS    0x02u /* the capture asked for secrets of TLS connections */

/* A TLV: type (1), scope (1), length (2), value. Unknown types are skipped. */
typedef enum IdentityScope {
    IDENTITY_PACKET = 0,
    IDENTITY_SRC = 1,
    IDENTITY_DST = 2
} IdentityScope;

typedef enum IdentityType {
    /* Core, on every packet; scope src or dst. Text is UTF-8 without NUL. */
    IDENTITY_ENTITY = 1,    /* u64: key of the entity; attributes below belong to it */
    IDENTITY_PEER_TYPE = 2, /* u8: IdentityPeer */
    IDENTITY_NAMESPACE = 3,
    IDENTITY_POD = 4,
    IDENTITY_SERVICE = 5, /* name of the service that was called at this end (same namespace unless
                             SERVICE_NAMESPACE) */
    IDENTITY_SERVICE_NAMESPACE = 6,
    IDENTITY_NODE = 7,
    IDENTITY_OWNER_TYPE = 8, /* "Deployment" */
    IDENTITY_OWNER_NAME = 9,
    IDENTITY_CONTAINER = 10,
    IDENTITY_PROCESS_NAME = 11,
    IDENTITY_PROCESS_PID = 12, /* u32 */
    IDENTITY_NO_SECRETS = 13,  /* why no TLS secrets come from the process */
    /* Scope packet. */
    IDENTITY_CLUSTER = 32,
    IDENTITY_CAPTURE_NODE = 33,   /* node that saw the packet */
    IDENTITY_CAPTURE_DEVICE = 34, /* "eth0" in the network namespace of the capturing pod */
    IDENTITY_CAPTURE_POD = 35,    /* "namespace/name" of that pod */
    IDENTITY_L7 = 36,             /* name of the protocol inside, on plaintext interfaces */
    IDENTITY_FLOW_ID = 37, /* u64: ties the legs of a connection whose addresses are rewritten */
    /* Attributes: once per entity and file, again when they change, and again every 60 s of packet
     * time while the entity is active. Scope src or dst, after that end's IDENTITY_ENTITY. */
    IDENTITY_UID = 64,
    IDENTITY_LABEL = 65,           /* "key=value", repeated */
    IDENTITY_CONTAINER_NAME = 66,  /* containers of the pod, repeated */
    IDENTITY_CONTAINER_IMAGE = 67, /* of the CONTAINER_NAME before it */
} IdentityType;

typedef enum IdentityPeer { /* values as PeerType of inventory.h */
                            IDENTITY_PEER_UNKNOWN = 0,
                            IDENTITY_PEER_POD = 1,
                            IDENTITY_PEER_SERVICE = 2,
                            IDENTITY_PEER_NODE = 3,
                            IDENTITY_PEER_EXTERNAL = 4,
} IdentityPeer;

typedef struct IdentityWriter {
    uint8_t *data;
    size_t capacity, length;
    bool overflow; /* something did not fit and was left out; what is there is whole */
} IdentityWriter;

/* Writes the header; then TLVs. At most IDENTITY_MAX bytes are used of the memory. NULL or an empty
 * text writes nothing. */
void identity_writer_init(IdentityWriter *writer, void *memory, size_t capacity);
void identity_put_text(IdentityWriter *writer, IdentityType type, IdentityScope scope,
                       const char *text);
void identity_put_bytes(IdentityWriter *writer, IdentityType type, IdentityScope scope,
                        const void *value, size_t length);
void identity_put_u8(IdentityWriter *writer, IdentityType type, IdentityScope scope, uint8_t value);
void identity_put_u32(IdentityWriter *writer, IdentityType type, IdentityScope scope,
                      uint32_t value);
void identity_put_u64(IdentityWriter *writer, IdentityType type, IdentityScope scope,
                      uint64_t value);
void identity_set_flags(IdentityWriter *writer, uint8_t flags);

typedef struct IdentityTlv {
    uint8_t type, scope;
    uint16_t length;
    const uint8_t *value;
} IdentityTlv;

typedef struct IdentityReader {
    const uint8_t *cursor, *end;
    uint8_t version, flags;
} IdentityReader;

/* `bytes` follow the enterprise number. 0; -ENOMSG: somebody else's option (magic differs);
 * -EPROTO: a version we do not know; -EBADMSG: too short. */
int identity_reader_init(IdentityReader *reader, const uint8_t *bytes, size_t length);
/* 1 with *ret, 0 at the end, -EBADMSG when a TLV runs over the end. */
int identity_next(IdentityReader *reader, IdentityTlv *ret);
/* Numbers of the exact length, else -EBADMSG. */
int identity_u8(const IdentityTlv *tlv, uint8_t *ret);
int identity_u32(const IdentityTlv *tlv, uint32_t *ret);
int identity_u64(const IdentityTlv *tlv, uint64_t *ret);

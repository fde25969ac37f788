// SPDX-License-Identifier: GPL-2.0-or-later
/* pcapng blocks, read from and written to memory. No I/O, no clock, no allocation per packet.
 *
 * Source: draft-ietf-opsawg-pcapng (block types and option codes by their numbers there).
 * Reading accepts either byte order and any if_tsresol; writing is little endian with nanoseconds.
 * Functions return 0 or a count on success and -errno on failure:
 *   -EBADMSG   the bytes break the format; pcapng_reader_error() says where and what was expected
 *   -EMSGSIZE  a block is longer than PCAPNG_BLOCK_MAX
 *   -ENOSPC    (builder) the caller's buffer is full; nothing of the unfinished block counts
 * All objects belong to one thread at a time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PCAPNG_PACKET_MAX  262144u               /* captured bytes of one packet */
#define PCAPNG_OPTIONS_MAX 4096u                 /* options of one packet block we write */
#define PCAPNG_BLOCK_MAX   (16u * 1024u * 1024u) /* any block we read */
#define PCAPNG_EPB_CHANGED 12u                   /* up to the interface id: what a copy changes */
#define PCAPNG_EPB_FIXED   28u                   /* block header and fixed fields of an EPB */

enum {
    PCAPNG_SECTION = 0x0A0D0D0A,
    PCAPNG_INTERFACE = 1,
    PCAPNG_OBSOLETE_PACKET = 2,
    PCAPNG_SIMPLE_PACKET = 3,
    PCAPNG_NAME_RESOLUTION = 4,
    PCAPNG_STATISTICS = 5,
    PCAPNG_PACKET = 6, /* Enhanced Packet Block */
    PCAPNG_SECRETS = 10,
    PCAPNG_CUSTOM = 0x00000BAD,
    PCAPNG_CUSTOM_NO_COPY = 0x40000BAD,
};

enum {
    PCAPNG_OPT_END = 0,
    PCAPNG_OPT_COMMENT = 1,
    PCAPNG_OPT_CUSTOM_UTF8 = 2988, /* these four begin with the enterprise number, 4 bytes */
    PCAPNG_OPT_CUSTOM_BINARY = 2989,
    PCAPNG_OPT_CUSTOM_UTF8_NO_COPY = 19372,
    PCAPNG_OPT_CUSTOM_BINARY_NO_COPY = 19373,
    PCAPNG_SHB_HARDWARE = 2,
    PCAPNG_SHB_OS = 3,
    PCAPNG_SHB_USERAPPL = 4,
    PCAPNG_IF_NAME = 2,
    PCAPNG_IF_DESCRIPTION = 3,
    PCAPNG_IF_TSRESOL = 9,
    PCAPNG_IF_FILTER = 11,
    PCAPNG_IF_OS = 12,
    PCAPNG_IF_FCSLEN = 13, /* 1 byte: bits */
    PCAPNG_IF_TSOFFSET = 14,
    PCAPNG_IF_HARDWARE = 15,
    PCAPNG_EPB_FLAGS = 2,
    PCAPNG_EPB_DROPCOUNT = 4,
    PCAPNG_EPB_PACKETID = 5,
    PCAPNG_EPB_QUEUE = 6,
    PCAPNG_ISB_STARTTIME = 2,
    PCAPNG_ISB_ENDTIME = 3,
    PCAPNG_ISB_IFRECV = 4,
    PCAPNG_ISB_IFDROP = 5,
    PCAPNG_ISB_FILTERACCEPT = 6,
    PCAPNG_ISB_OSDROP = 7,
    PCAPNG_ISB_USRDELIV = 8,
};

#define PCAPNG_SECRETS_TLS 0x544c534bu /* "TLSK": NSS key log lines */

/* epb_flags, bits 0-1: direction as seen by the interface. */
#define PCAPNG_DIRECTION_INBOUND  1u
#define PCAPNG_DIRECTION_OUTBOUND 2u

/* ---- Reading ---------------------------------------------------------------------------------*/

typedef struct PcapngOption {
    uint16_t code;
    uint16_t length;      /* of value, without padding */
    const uint8_t *value; /* into the block */
} PcapngOption;

typedef struct PcapngPacket {
    uint32_t interface_id;
    uint64_t time_ns; /* since the epoch; tsresol and tsoffset applied */
    uint32_t captured_length;
    uint32_t original_length;
    const uint8_t *data; /* captured_length bytes, into the block */
} PcapngPacket;

typedef struct PcapngInterface {
    uint16_t link_type;
    uint32_t snap_length;
    uint8_t tsresol; /* as in the file; 6 where absent */
    int64_t tsoffset_s;
} PcapngInterface;

/* One block. Pointers stay valid as long as the bytes given to pcapng_reader_next() do. */
typedef struct PcapngBlock {
    uint32_t type;
    uint32_t length;        /* whole block */
    const uint8_t *data;    /* whole block, as it stands in the file */
    bool swapped;           /* the section's byte order is not little endian */
    const uint8_t *options; /* first option, or NULL where the block has none */
    uint32_t options_length;
    union {
        PcapngPacket packet;       /* PCAPNG_PACKET, PCAPNG_SIMPLE_PACKET, PCAPNG_OBSOLETE_PACKET */
        PcapngInterface interface; /* PCAPNG_INTERFACE */
        struct {
            uint32_t type;
            uint32_t length;
            const uint8_t *data;
        } secrets; /* PCAPNG_SECRETS */
        struct {
            uint32_t interface_id; /* perhaps of none that was described; time_ns is then 0 */
            uint64_t time_ns;
        } statistics; /* PCAPNG_STATISTICS */
        struct {
            uint32_t enterprise;
            const uint8_t *data;
            uint32_t length;
        } custom; /* PCAPNG_CUSTOM, PCAPNG_CUSTOM_NO_COPY: data may be followed by options */
    };
} PcapngBlock;

typedef struct PcapngReader PcapngReader;

PcapngReader *pcapng_reader_new(void);
PcapngReader *pcapng_reader_free(PcapngReader *reader); /* NULL is fine; returns NULL */

/* The next block at the head of `bytes`. Returns 1 and sets *ret; the caller then advances by
 * ret->length. Returns 0 when more bytes are needed (*ret_needed: how many the block takes in all,
 * at least). Packets name an interface that exists, their data lies in the block, and all options
 * of the block can be walked. A section has 65536 interfaces at most. The reader never keeps the
 * bytes. */
int pcapng_reader_next(PcapngReader *reader, const uint8_t *bytes, size_t length, PcapngBlock *ret,
                       size_t *ret_needed);

/* The bytes that come next are those at `offset` in the stream, where a section begins. */
void pcapng_reader_restart(PcapngReader *reader, uint64_t offset);

/* After a failure: what is wrong, with the offset in the stream and what was expected. Never NULL.
 */
const char *pcapng_reader_error(const PcapngReader *reader);
/* Bytes of whole blocks returned so far: the offset of the block that comes next. */
uint64_t pcapng_reader_offset(const PcapngReader *reader);
/* Interfaces of the current section; id must be below the count. */
uint32_t pcapng_reader_interfaces(const PcapngReader *reader);
const PcapngInterface *pcapng_reader_interface(const PcapngReader *reader, uint32_t id);

/* Walks options: set *cursor to block->options, call until 0. Returns 1 with *ret, 0 at the end,
 * -EBADMSG. */
int pcapng_option_next(const PcapngBlock *block, const uint8_t **cursor, PcapngOption *ret);
/* A numeric option's value in host order, whatever the section's byte order. -EBADMSG if its
 * length differs. */
int pcapng_option_u32(const PcapngBlock *block, const PcapngOption *option, uint32_t *ret);
int pcapng_option_u64(const PcapngBlock *block, const PcapngOption *option, uint64_t *ret);

/* The fast way for blocks that we made ourselves (little endian EPBs, nanoseconds): checks every
 * length of the first block in `bytes` and fills the packet, without a reader. Options must end
 * with opt_endofopt and are PCAPNG_OPTIONS_MAX bytes at most. Returns the block's length, or
 * -EBADMSG. */
int pcapng_packet_parse(const uint8_t *bytes, size_t length, PcapngPacket *ret,
                        const uint8_t **ret_options, uint32_t *ret_options_length);

/* ---- Writing ---------------------------------------------------------------------------------*/

/* Builds blocks one after the other in the caller's memory. An error is kept until
 * pcapng_builder_init(): check once, at pcapng_build_end(). */
typedef struct PcapngBuilder {
    uint8_t *data;
    size_t capacity;
    size_t length; /* whole blocks, and what is built of the current one */
    size_t block;  /* start of the current block */
    int error;     /* 0 or -errno */
    bool has_options;
} PcapngBuilder;

void pcapng_builder_init(PcapngBuilder *builder, void *memory, size_t capacity);

void pcapng_build_section(PcapngBuilder *builder);
void pcapng_build_interface(PcapngBuilder *builder, uint16_t link_type,
                            uint32_t snap_length); /* adds if_tsresol 9 */
void pcapng_build_packet(PcapngBuilder *builder, uint32_t interface_id, uint64_t time_ns,
                         const void *data, uint32_t captured_length, uint32_t original_length);
void pcapng_build_secrets(PcapngBuilder *builder, uint32_t type, const void *data, uint32_t length);
void pcapng_build_statistics(PcapngBuilder *builder, uint32_t interface_id, uint64_t time_ns);
void pcapng_build_custom(PcapngBuilder *builder, bool copy, uint32_t enterprise, const void *data,
                         uint32_t length);

/* Options of the current block, in any order and number. */
void pcapng_build_option(PcapngBuilder *builder, uint16_t code, const void *value, size_t length);
void pcapng_build_option_string(PcapngBuilder *builder, uint16_t code,
                                const char *text); /* NULL or "": nothing */
void pcapng_build_option_u32(PcapngBuilder *builder, uint16_t code, uint32_t value);
void pcapng_build_option_u64(PcapngBuilder *builder, uint16_t code, uint64_t value);
void pcapng_build_option_custom(PcapngBuilder *builder, uint16_t code, uint32_t enterprise,
                                const void *value, size_t length);

/* Closes the current block. Returns its length or the kept error; on error the builder's length is
 * where the block began. */
int pcapng_build_end(PcapngBuilder *builder);

/* Appends a copy of a little endian EPB with another interface id and further options behind its
 * own. `options` are whole encoded options (padded, without opt_endofopt). One memcpy of the
 * packet, no parsing beyond the lengths, which must have been checked by pcapng_packet_parse().
 * Returns the new length or -errno as pcapng_build_end(). */
int pcapng_build_packet_copy(PcapngBuilder *builder, const uint8_t *block, uint32_t block_length,
                             uint32_t interface_id, const uint8_t *options, size_t options_length);

/* The same without the copy of what stays as it is: builds the first PCAPNG_EPB_CHANGED bytes and
 * all that follows the *ret_kept first bytes of the old block, one behind the other. Between them
 * belongs what stands in `block` from PCAPNG_EPB_CHANGED up to *ret_kept. */
int pcapng_build_packet_around(PcapngBuilder *builder, const uint8_t *block, uint32_t block_length,
                               uint32_t interface_id, const uint8_t *options, size_t options_length,
                               size_t *ret_kept);

/* Encodes one option alone (for pcapng_build_packet_copy): returns bytes written incl. padding, or
 * -ENOSPC. */
int pcapng_encode_option(uint8_t *out, size_t capacity, uint16_t code, const void *value,
                         size_t length);

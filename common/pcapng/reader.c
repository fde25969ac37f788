// SPDX-License-Identifier: GPL-2.0-or-later
#include "common/pcapng/pcapng.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "common/pcapng/bytes.h"

#define BYTE_ORDER_MAGIC  0x1A2B3C4Du
#define BLOCK_MIN         12u    /* type, length, length */
#define INTERFACES_MAX    65536u /* of one section: what a hostile file can make us remember */
#define TSRESOL_DEFAULT   6u     /* microseconds */
#define TSRESOL_IS_BINARY 0x80u
#define NS_PER_SECOND     1000000000
#define POWERS_OF_TEN     20 /* that fit 64 bits */
#define SECTION_FIXED     24u
#define INTERFACE_FIXED   16u
#define SIMPLE_FIXED      12u
#define STATISTICS_FIXED  20u
#define SECRETS_FIXED     16u
#define CUSTOM_FIXED      12u
#define BLOCK_TRAILER     4u

struct PcapngReader {
    uint64_t offset;
    bool in_section;
    bool swapped;
    GArray *interfaces; /* PcapngInterface */
    char error[256];
};

PcapngReader *pcapng_reader_new(void)
{
    PcapngReader *reader = g_new0(PcapngReader, 1);
    reader->interfaces = g_array_new(FALSE, FALSE, sizeof(PcapngInterface));
    g_strlcpy(reader->error, "no error", sizeof reader->error);
    return reader;
}

PcapngReader *pcapng_reader_free(PcapngReader *reader)
{
    if (!reader)
        return NULL;
    g_array_unref(reader->interfaces);
    g_free(reader);
    return NULL;
}

void pcapng_reader_restart(PcapngReader *reader, uint64_t offset)
{
    reader->offset = offset;
    reader->in_section = false;
    reader->swapped = false;
    g_array_set_size(reader->interfaces, 0);
}

const char *pcapng_reader_error(const PcapngReader *reader)
{
    return reader->error;
}

uint64_t pcapng_reader_offset(const PcapngReader *reader)
{
    return reader->offset;
}

uint32_t pcapng_reader_interfaces(const PcapngReader *reader)
{
    return reader->interfaces->len;
}

const PcapngInterface *pcapng_reader_interface(const PcapngReader *reader, uint32_t id)
{
    return &g_array_index(reader->interfaces, PcapngInterface, id);
}

/* Keeps the message and returns -EBADMSG. `at` counts from the start of the block. */
static int __attribute__((format(printf, 3, 4)))
fail(PcapngReader *reader, size_t at, const char *format, ...)
{
    int length =
        snprintf(reader->error, sizeof reader->error, "offset %" PRIu64 ": ", reader->offset + at);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reader->error + length, sizeof reader->error - (size_t)length, format, arguments);
    va_end(arguments);
    return -EBADMSG;
}

static const char *block_name(uint32_t type)
{
    switch (type) {
    case PCAPNG_SECTION:
        return "section header block";
    case PCAPNG_INTERFACE:
        return "interface description block";
    case PCAPNG_OBSOLETE_PACKET:
        return "packet block";
    case PCAPNG_SIMPLE_PACKET:
        return "simple packet block";
    case PCAPNG_STATISTICS:
        return "interface statistics block";
    case PCAPNG_PACKET:
        return "enhanced packet block";
    case PCAPNG_SECRETS:
        return "decryption secrets block";
    case PCAPNG_CUSTOM:
    case PCAPNG_CUSTOM_NO_COPY:
        return "custom block";
    default:
        return "block";
    }
}

/* ---- Time ------------------------------------------------------------------------------------*/

static uint64_t power_of_ten(unsigned exponent)
{
    uint64_t power = 1;
    while (exponent--)
        power *= 10;
    return power;
}

/* Nanoseconds since the epoch; what 64 bits cannot hold becomes the nearest that they can. */
static uint64_t to_ns(const PcapngInterface *interface, uint64_t units)
{
    unsigned exponent = interface->tsresol & 0x7Fu;
    __int128 ns; /* 64 bits of units times 30 bits of nanoseconds fit, and so does the offset */
    if (interface->tsresol & TSRESOL_IS_BINARY)
        ns = (__int128)units * NS_PER_SECOND >> exponent;
    else if (exponent <= 9)
        ns = (__int128)units * (__int128)power_of_ten(9 - exponent);
    else
        ns = exponent - 9 < POWERS_OF_TEN ? units / power_of_ten(exponent - 9) : 0;
    ns += (__int128)interface->tsoffset_s * NS_PER_SECOND;
    if (ns < 0)
        return 0;
    return ns > UINT64_MAX ? UINT64_MAX : (uint64_t)ns;
}

/* ---- Options ---------------------------------------------------------------------------------*/

int pcapng_option_next(const PcapngBlock *block, const uint8_t **cursor, PcapngOption *ret)
{
    if (!block->options || !*cursor)
        return 0;
    size_t left = (size_t)(block->options + block->options_length - *cursor);
    if (!left)
        return 0;
    if (left < 4)
        return -EBADMSG;
    uint16_t code = load16(*cursor, block->swapped);
    uint16_t length = load16(*cursor + 2, block->swapped);
    if (code == PCAPNG_OPT_END)
        return 0;
    if (pad4(length) > left - 4)
        return -EBADMSG;
    *ret = (PcapngOption){.code = code, .length = length, .value = *cursor + 4};
    *cursor += 4 + pad4(length);
    return 1;
}

int pcapng_option_u32(const PcapngBlock *block, const PcapngOption *option, uint32_t *ret)
{
    if (option->length != sizeof *ret)
        return -EBADMSG;
    *ret = load32(option->value, block->swapped);
    return 0;
}

int pcapng_option_u64(const PcapngBlock *block, const PcapngOption *option, uint64_t *ret)
{
    if (option->length != sizeof *ret)
        return -EBADMSG;
    *ret = option_is_time(block->type, option->code) ? load_time(option->value, block->swapped)
                                                     : load64(option->value, block->swapped);
    return 0;
}

/* Everything from `start` to the trailer is options. Walks them once, so that a wrong one is told
 * with its place. */
static int set_options(PcapngReader *reader, PcapngBlock *block, uint64_t start)
{
    size_t length = block->length - BLOCK_TRAILER - (size_t)start;
    if (!length)
        return 0;
    block->options = block->data + start;
    block->options_length = (uint32_t)length;
    const uint8_t *cursor = block->options;
    PcapngOption option;
    int r;
    while ((r = pcapng_option_next(block, &cursor, &option)) > 0) {
    }
    if (r < 0)
        return fail(reader, (size_t)(cursor - block->data),
                    "option %u of the %s is %u bytes long, expected at most the %zu that are left "
                    "in the block",
                    load16(cursor, block->swapped), block_name(block->type),
                    load16(cursor + 2, block->swapped),
                    (size_t)(block->data + block->length - BLOCK_TRAILER - cursor) - 4);
    return 0;
}

/* ---- Blocks ----------------------------------------------------------------------------------*/

static int read_section(PcapngReader *reader, PcapngBlock *block)
{
    uint16_t major = load16(block->data + 12, block->swapped);
    if (major != 1)
        return fail(reader, 12, "pcapng version %u.%u, expected 1", major,
                    load16(block->data + 14, block->swapped));
    /* The section's length is left alone: it is often unknown (-1), and block by block we do not
     * need it. */
    int r = set_options(reader, block, SECTION_FIXED);
    if (r < 0)
        return r;
    reader->in_section = true;
    reader->swapped = block->swapped;
    g_array_set_size(reader->interfaces, 0);
    return 0;
}

static int read_interface_option(PcapngReader *reader, const PcapngBlock *block,
                                 const PcapngOption *option, PcapngInterface *interface)
{
    size_t at = (size_t)(option->value - block->data);
    uint64_t offset;
    switch (option->code) {
    case PCAPNG_IF_TSRESOL:
        if (option->length != 1)
            return fail(reader, at, "if_tsresol is %u bytes long, expected 1", option->length);
        interface->tsresol = option->value[0];
        break;
    case PCAPNG_IF_TSOFFSET:
        if (pcapng_option_u64(block, option, &offset) < 0)
            return fail(reader, at, "if_tsoffset is %u bytes long, expected 8", option->length);
        interface->tsoffset_s = (int64_t)offset;
        break;
    default:
        break;
    }
    return 0;
}

static int read_interface(PcapngReader *reader, PcapngBlock *block)
{
    if (reader->interfaces->len >= INTERFACES_MAX)
        return fail(reader, 0, "one more interface, expected at most %u in a section",
                    INTERFACES_MAX);
    PcapngInterface interface = {
        .link_type = load16(block->data + 8, block->swapped),
        .snap_length = load32(block->data + 12, block->swapped),
        .tsresol = TSRESOL_DEFAULT,
    };
    int r = set_options(reader, block, INTERFACE_FIXED);
    if (r < 0)
        return r;
    PcapngOption option;
    for (const uint8_t *cursor = block->options; pcapng_option_next(block, &cursor, &option) > 0;) {
        r = read_interface_option(reader, block, &option, &interface);
        if (r < 0)
            return r;
    }
    g_array_append_val(reader->interfaces, interface);
    block->interface = interface;
    return 0;
}

/* NULL, and the error is kept, where the section has not described it. */
static const PcapngInterface *find_interface(PcapngReader *reader, const PcapngBlock *block,
                                             uint32_t id)
{
    if (id < reader->interfaces->len)
        return pcapng_reader_interface(reader, id);
    fail(reader, 8, "%s of interface %u, expected one of the %u described before it",
         block_name(block->type), id, reader->interfaces->len);
    return NULL;
}

/* The Enhanced and the obsolete Packet Block: they differ in the first field only. */
static int read_packet(PcapngReader *reader, PcapngBlock *block)
{
    const uint8_t *data = block->data;
    uint32_t id = block->type == PCAPNG_PACKET ? load32(data + 8, block->swapped)
                                               : load16(data + 8, block->swapped);
    uint32_t captured_length = load32(data + 20, block->swapped);
    uint32_t room = block->length - BLOCK_TRAILER - PCAPNG_EPB_FIXED;
    const PcapngInterface *interface = find_interface(reader, block, id);
    if (!interface)
        return -EBADMSG;
    if (pad4(captured_length) > room)
        return fail(reader, 20, "captured length %u, expected at most the %u bytes in the block",
                    captured_length, room);
    block->packet = (PcapngPacket){
        .interface_id = id,
        .time_ns = to_ns(interface, load_time(data + 12, block->swapped)),
        .captured_length = captured_length,
        .original_length = load32(data + 24, block->swapped),
        .data = data + PCAPNG_EPB_FIXED,
    };
    return set_options(reader, block, PCAPNG_EPB_FIXED + pad4(captured_length));
}

/* Belongs to interface 0, has no time and tells its captured length through the snap length
 * (section 4.4). */
static int read_simple_packet(PcapngReader *reader, PcapngBlock *block)
{
    uint32_t original_length = load32(block->data + 8, block->swapped);
    uint32_t room = block->length - BLOCK_TRAILER - SIMPLE_FIXED;
    const PcapngInterface *interface = find_interface(reader, block, 0);
    if (!interface)
        return -EBADMSG;
    uint32_t captured_length = original_length;
    if (interface->snap_length && captured_length > interface->snap_length)
        captured_length = interface->snap_length;
    if (pad4(captured_length) > room)
        return fail(reader, 8, "captured length %u, expected at most the %u bytes in the block",
                    captured_length, room);
    block->packet = (PcapngPacket){
        .captured_length = captured_length,
        .original_length = original_length,
        .data = block->data + SIMPLE_FIXED,
    };
    return 0;
}

static int read_secrets(PcapngReader *reader, PcapngBlock *block)
{
    uint32_t length = load32(block->data + 12, block->swapped);
    uint32_t room = block->length - BLOCK_TRAILER - SECRETS_FIXED;
    if (pad4(length) > room)
        return fail(reader, 12, "secrets of %u bytes, expected at most the %u in the block", length,
                    room);
    block->secrets.type = load32(block->data + 8, block->swapped);
    block->secrets.length = length;
    block->secrets.data = block->data + SECRETS_FIXED;
    return set_options(reader, block, SECRETS_FIXED + pad4(length));
}

static int read_statistics(PcapngReader *reader, PcapngBlock *block)
{
    uint32_t id = load32(block->data + 8, block->swapped);
    block->statistics.interface_id = id;
    block->statistics.time_ns = 0;
    /* Statistics of nothing do no harm, and Wireshark reads on behind them. */
    if (id < reader->interfaces->len)
        block->statistics.time_ns =
            to_ns(pcapng_reader_interface(reader, id), load_time(block->data + 12, block->swapped));
    return set_options(reader, block, STATISTICS_FIXED);
}

static int read_custom(PcapngReader *reader, PcapngBlock *block)
{
    block->custom.enterprise = load32(block->data + 8, block->swapped);
    block->custom.data = block->data + CUSTOM_FIXED;
    block->custom.length = block->length - BLOCK_TRAILER - CUSTOM_FIXED;
    return 0;
}

static const struct {
    uint32_t type;
    uint32_t fixed; /* bytes in front of data and options */
    int (*read)(PcapngReader *reader, PcapngBlock *block);
} known_blocks[] = {
    {PCAPNG_PACKET, PCAPNG_EPB_FIXED, read_packet},
    {PCAPNG_SECTION, SECTION_FIXED, read_section},
    {PCAPNG_INTERFACE, INTERFACE_FIXED, read_interface},
    {PCAPNG_OBSOLETE_PACKET, PCAPNG_EPB_FIXED, read_packet},
    {PCAPNG_SIMPLE_PACKET, SIMPLE_FIXED, read_simple_packet},
    {PCAPNG_STATISTICS, STATISTICS_FIXED, read_statistics},
    {PCAPNG_SECRETS, SECRETS_FIXED, read_secrets},
    {PCAPNG_CUSTOM, CUSTOM_FIXED, read_custom},
    {PCAPNG_CUSTOM_NO_COPY, CUSTOM_FIXED, read_custom},
};

/* The body of a block whose frame is right. Blocks we do not know are whole as they are. */
static int read_body(PcapngReader *reader, PcapngBlock *block)
{
    for (size_t i = 0; i < G_N_ELEMENTS(known_blocks); i++) {
        if (known_blocks[i].type != block->type)
            continue;
        uint32_t minimum = known_blocks[i].fixed + BLOCK_TRAILER;
        if (block->length < minimum)
            return fail(reader, 4, "%s of %u bytes, expected at least %u", block_name(block->type),
                        block->length, minimum);
        return known_blocks[i].read(reader, block);
    }
    return 0;
}

static int fail_not_pcapng(PcapngReader *reader, uint32_t magic)
{
    bool is_pcap = magic == 0xA1B2C3D4u || magic == 0xD4C3B2A1u || magic == 0xA1B23C4Du ||
                   magic == 0x4D3CB2A1u;
    return fail(reader, 0, "%s, expected pcapng, which begins with a section header (0a0d0d0a)",
                is_pcap ? "a classic pcap file" : "no pcapng file");
}

/* The byte order: a section header's own, else the section's. */
static int read_byte_order(PcapngReader *reader, const uint8_t *bytes, bool is_section, bool *ret)
{
    *ret = reader->swapped;
    if (!is_section)
        return 0;
    uint32_t magic = load32(bytes + 8, false);
    *ret = magic == GUINT32_SWAP_LE_BE_CONSTANT(BYTE_ORDER_MAGIC);
    if (!*ret && magic != BYTE_ORDER_MAGIC)
        return fail(reader, 8, "byte order magic %08x, expected 1a2b3c4d in either order", magic);
    return 0;
}

int pcapng_reader_next(PcapngReader *reader, const uint8_t *bytes, size_t length, PcapngBlock *ret,
                       size_t *ret_needed)
{
    bool is_section = length >= 4 && load32(bytes, false) == PCAPNG_SECTION;
    if (!reader->in_section && length >= 4 && !is_section)
        return fail_not_pcapng(reader, load32(bytes, false));
    *ret_needed = BLOCK_MIN;
    if (length < BLOCK_MIN)
        return 0;

    bool swapped;
    int r = read_byte_order(reader, bytes, is_section, &swapped);
    if (r < 0)
        return r;
    uint32_t block_length = load32(bytes + 4, swapped);
    if (block_length > PCAPNG_BLOCK_MAX) {
        fail(reader, 4, "block of %u bytes, expected at most %u", block_length, PCAPNG_BLOCK_MAX);
        return -EMSGSIZE;
    }
    if (block_length < BLOCK_MIN || block_length % 4)
        return fail(reader, 4, "block of %u bytes, expected a multiple of 4 from %u", block_length,
                    BLOCK_MIN);
    *ret_needed = block_length;
    if (length < block_length)
        return 0;
    uint32_t trailer = load32(bytes + block_length - BLOCK_TRAILER, swapped);
    if (trailer != block_length)
        return fail(reader, block_length - BLOCK_TRAILER,
                    "length %u at the end of a block, expected %u as at its beginning", trailer,
                    block_length);

    PcapngBlock block = {
        .type = load32(bytes, swapped),
        .length = block_length,
        .data = bytes,
        .swapped = swapped,
    };
    r = read_body(reader, &block);
    if (r < 0)
        return r;
    reader->offset += block_length;
    *ret = block;
    return 1;
}

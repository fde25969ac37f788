// SPDX-License-Identifier: GPL-2.0-or-later
/* pcap or pcapng from elsewhere in, the same with names out. */
#include "collector/collector.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "collector/annotate.h"
#include "common/pcapng/bytes.h"
#include "common/pcapng/pcapng.h"

#define READ_BYTES     (256u * 1024u)
#define PCAP_HEADER    24u
#define PCAP_RECORD    16u
#define PCAP_LINKTYPE  0x03ffffffu /* the upper bits tell of a frame check sequence: */
#define PCAP_HAS_FCS   0x04000000u
#define PCAP_FCS_SHIFT 28 /* its length in units of 16 bits; draft-ietf-opsawg-pcap, 4 */

typedef struct Job {
    const char *in_path, *out_path;
    FILE *in, *out;
    uint8_t *buffer; /* what was read ahead */
    size_t start, end, capacity;
    uint64_t offset; /* in the file, of buffer[start] */
    Annotator *annotator;
    PacketFragments fragments;
    CollectorAnnotateStats stats;
    GError **error;
} Job;

static bool fail(const Job *job, const char *format, ...) __attribute__((format(printf, 2, 3)));

static bool fail(const Job *job, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error(job->error, COLLECTOR_ERROR, COLLECTOR_ERROR_FORMAT, "%s: %s",
                strcmp(job->in_path, "-") == 0 ? "standard input" : job->in_path, text);
    return false;
}

/* ---- Bytes in and out ------------------------------------------------------------------------*/

static size_t available(const Job *job)
{
    return job->end - job->start;
}

static const uint8_t *bytes(const Job *job)
{
    return job->buffer + job->start;
}

/* Reads until so many bytes stand in the buffer; fewer at the end of the file. */
static void fill(Job *job, size_t wanted)
{
    if (available(job) >= wanted)
        return;
    memmove(job->buffer, bytes(job), available(job));
    job->end -= job->start;
    job->start = 0;
    if (job->capacity < wanted + READ_BYTES) {
        job->capacity = wanted + READ_BYTES;
        job->buffer = g_realloc(job->buffer, job->capacity);
    }
    while (available(job) < wanted) {
        size_t n = fread(job->buffer + job->end, 1, job->capacity - job->end, job->in);
        if (!n)
            return;
        job->end += n;
    }
}

static void advance(Job *job, size_t length)
{
    job->start += length;
    job->offset += length;
}

static bool fail_write(const Job *job)
{
    g_set_error(job->error, COLLECTOR_ERROR, COLLECTOR_ERROR_WRITE, "Cannot write %s: %s",
                job->out_path, g_strerror(errno));
    return false;
}

static bool write_out(const Job *job, const void *data, size_t length)
{
    return fwrite(data, 1, length, job->out) == length || fail_write(job);
}

/* The end of the input: right only between two records. */
static bool at_end(const Job *job, const char *what, uint64_t expected)
{
    if (ferror(job->in))
        return fail(job, "offset %" PRIu64 ": cannot read on", job->offset + available(job));
    if (!available(job))
        return true;
    return fail(job, "offset %" PRIu64 ": the file is torn: %zu bytes of a %s, expected %" PRIu64,
                job->offset, available(job), what, expected);
}

static void name_packet(Job *job, uint16_t link_type, uint32_t interface_id, const uint8_t *data,
                        uint32_t length, uint64_t time_ns, Annotation *ret)
{
    PacketInfo info;
    packet_parse(link_type, data, length, &info);
    packet_fragments_resolve(&job->fragments, interface_id, &info);
    AnnotateRequest request = {.info = &info, .time_ns = time_ns};
    annotate(job->annotator, &request, ret);
    job->stats.packets++;
    job->stats.named += info.is_ip && !ret->unnamed;
}

/* ---- pcapng ----------------------------------------------------------------------------------*/

/* Our options are little endian; in a section that is not, their numbers must be turned. What
 * stands in the identity option is in network order anyway. */
static void turn_options(uint8_t *options, size_t length)
{
    while (length >= 4) {
        uint16_t code = load16(options, false), value = load16(options + 2, false);
        store16(options, GUINT16_SWAP_LE_BE(code));
        store16(options + 2, GUINT16_SWAP_LE_BE(value));
        if (code == PCAPNG_OPT_CUSTOM_BINARY)
            store32(options + 4, GUINT32_SWAP_LE_BE(load32(options + 4, false)));
        size_t whole = 4 + (size_t)pad4(value);
        options += whole;
        length -= whole;
    }
}

/* The block as it stands, with further options behind its own. */
static bool write_with_options(const Job *job, const PcapngBlock *block, const Annotation *added)
{
    const uint8_t *cursor = block->options;
    PcapngOption option;
    while (pcapng_option_next(block, &cursor, &option) > 0) {
    }
    size_t kept = cursor ? (size_t)(cursor - block->data) : block->length - 4;
    uint8_t tail[ANNOTATE_OPTIONS_MAX + 8] = {0}; /* the options, opt_endofopt, the length */
    memcpy(tail, added->options, added->length);
    if (block->swapped)
        turn_options(tail, added->length);
    uint32_t length = (uint32_t)(kept + added->length + 8);
    uint32_t in_order = block->swapped ? GUINT32_TO_BE(length) : GUINT32_TO_LE(length);
    memcpy(tail + added->length + 4, &in_order, 4);
    return write_out(job, block->data, 4) && write_out(job, &in_order, 4) &&
           write_out(job, block->data + 8, kept - 8) && write_out(job, tail, added->length + 8);
}

/* The section grows, so its length (of which nobody makes use) becomes unknown. */
static bool write_section(const Job *job, const PcapngBlock *block)
{
    const uint64_t unknown = UINT64_MAX;
    return write_out(job, block->data, 16) && write_out(job, &unknown, sizeof unknown) &&
           write_out(job, block->data + 24, block->length - 24);
}

static bool write_block(Job *job, const PcapngReader *reader, const PcapngBlock *block)
{
    if (block->type == PCAPNG_SECTION)
        return write_section(job, block);
    if (block->type == PCAPNG_STATISTICS)
        job->stats.stray_statistics +=
            block->statistics.interface_id >= pcapng_reader_interfaces(reader);
    /* A simple packet has no time and no room for options. */
    if (block->type != PCAPNG_PACKET && block->type != PCAPNG_OBSOLETE_PACKET)
        return write_out(job, block->data, block->length);
    const PcapngPacket *packet = &block->packet;
    Annotation names;
    name_packet(job, pcapng_reader_interface(reader, packet->interface_id)->link_type,
                packet->interface_id, packet->data, packet->captured_length, packet->time_ns,
                &names);
    if (!names.length)
        return write_out(job, block->data, block->length);
    return write_with_options(job, block, &names);
}

static bool annotate_pcapng(Job *job)
{
    PcapngReader *reader = pcapng_reader_new();
    bool ok = true;
    for (;;) {
        PcapngBlock block;
        size_t needed = 0;
        int r = pcapng_reader_next(reader, bytes(job), available(job), &block, &needed);
        if (r < 0) {
            ok = fail(job, "%s", pcapng_reader_error(reader));
            break;
        }
        if (r == 0) {
            fill(job, needed);
            if (available(job) >= needed)
                continue;
            ok = at_end(job, "block", needed);
            break;
        }
        ok = write_block(job, reader, &block);
        if (!ok)
            break;
        advance(job, block.length);
    }
    pcapng_reader_free(reader);
    return ok;
}

/* ---- Classic pcap ----------------------------------------------------------------------------*/

typedef struct PcapForm {
    bool swapped; /* big endian */
    bool nanoseconds;
} PcapForm;

static bool is_pcap(const uint8_t *magic, PcapForm *ret)
{
    for (int swapped = 0; swapped < 2; swapped++) {
        uint32_t value = load32(magic, swapped);
        *ret = (PcapForm){swapped, value == 0xa1b23c4d};
        if (value == 0xa1b2c3d4 || value == 0xa1b23c4d)
            return true;
    }
    return false;
}

/* `network`: the link type with what is told beside it. */
static bool begin_from_pcap(const Job *job, uint32_t network, uint32_t snap_length)
{
    uint8_t memory[512];
    PcapngBuilder builder;
    pcapng_builder_init(&builder, memory, sizeof memory);
    pcapng_build_section(&builder);
    pcapng_build_option_string(&builder, PCAPNG_SHB_USERAPPL, "remoradump " REMORA_VERSION);
    pcapng_build_end(&builder);
    pcapng_build_interface(&builder, (uint16_t)(network & PCAP_LINKTYPE), snap_length);
    if (network & PCAP_HAS_FCS) {
        uint8_t bits = (uint8_t)((network >> PCAP_FCS_SHIFT) * 16);
        pcapng_build_option(&builder, PCAPNG_IF_FCSLEN, &bits, sizeof bits);
    }
    pcapng_build_end(&builder);
    return write_out(job, memory, builder.length);
}

static bool write_pcap_packet(Job *job, PcapForm form, uint16_t link_type, uint32_t captured,
                              uint8_t *memory, size_t capacity)
{
    const uint8_t *record = bytes(job);
    uint64_t fraction = load32(record + 4, form.swapped);
    uint64_t time_ns = load32(record, form.swapped) * (uint64_t)1000000000u +
                       (form.nanoseconds ? fraction : fraction * 1000);
    Annotation names;
    name_packet(job, link_type, 0, record + PCAP_RECORD, captured, time_ns, &names);
    PcapngBuilder plain, named;
    pcapng_builder_init(&plain, memory, capacity / 2);
    pcapng_build_packet(&plain, 0, time_ns, record + PCAP_RECORD, captured,
                        load32(record + 12, form.swapped));
    int length = pcapng_build_end(&plain);
    pcapng_builder_init(&named, memory + capacity / 2, capacity / 2);
    pcapng_build_packet_copy(&named, plain.data, (uint32_t)length, 0, names.options, names.length);
    return write_out(job, named.data, named.length);
}

static bool annotate_pcap(Job *job, PcapForm form)
{
    fill(job, PCAP_HEADER);
    if (available(job) < PCAP_HEADER)
        return at_end(job, "pcap file header", PCAP_HEADER);
    uint32_t network = load32(bytes(job) + 20, form.swapped);
    uint32_t link_type = network & PCAP_LINKTYPE;
    if (link_type > UINT16_MAX)
        return fail(job, "offset 20: link type %u, expected at most 65535", link_type);
    if (!begin_from_pcap(job, network, load32(bytes(job) + 16, form.swapped)))
        return false;
    advance(job, PCAP_HEADER);

    const size_t capacity = 2 * (PCAPNG_PACKET_MAX + PCAPNG_OPTIONS_MAX + 64);
    g_autofree uint8_t *memory = g_malloc(capacity);
    for (;;) {
        fill(job, PCAP_RECORD);
        if (available(job) < PCAP_RECORD)
            return at_end(job, "packet header", PCAP_RECORD);
        uint32_t captured = load32(bytes(job) + 8, form.swapped);
        if (captured > PCAPNG_PACKET_MAX)
            return fail(job, "offset %" PRIu64 ": a packet of %u bytes, expected at most %u",
                        job->offset, captured, PCAPNG_PACKET_MAX);
        fill(job, PCAP_RECORD + captured);
        if (available(job) < PCAP_RECORD + captured)
            return at_end(job, "packet", PCAP_RECORD + (uint64_t)captured);
        if (!write_pcap_packet(job, form, (uint16_t)link_type, captured, memory, capacity))
            return false;
        advance(job, PCAP_RECORD + captured);
    }
}

/* ---- All together ----------------------------------------------------------------------------*/

static FILE *open_file(const char *path, const char *mode, FILE *standard, GError **error)
{
    if (strcmp(path, "-") == 0)
        return standard;
    FILE *file = g_fopen(path, mode);
    if (!file)
        g_set_error(error, COLLECTOR_ERROR, COLLECTOR_ERROR_CONFIG, "Cannot open %s: %s", path,
                    g_strerror(errno));
    return file;
}

static bool is_regular(FILE *file)
{
    struct stat status;
    return fstat(fileno(file), &status) == 0 && S_ISREG(status.st_mode);
}

static bool is_same_file(FILE *a, FILE *b)
{
    struct stat sa, sb;
    return fstat(fileno(a), &sa) == 0 && fstat(fileno(b), &sb) == 0 && S_ISREG(sa.st_mode) &&
           sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

static bool annotate_stream(Job *job)
{
    PcapForm form;
    fill(job, 4);
    if (available(job) < 4)
        return fail(job, "offset 0: %zu bytes, expected a pcap or pcapng file", available(job));
    if (is_pcap(bytes(job), &form))
        return annotate_pcap(job, form);
    if (load32(bytes(job), false) != PCAPNG_SECTION)
        return fail(job,
                    "offset 0: neither pcap nor pcapng, expected one of these, not compressed");
    return annotate_pcapng(job);
}

/* Flushes also after a failure: what came before it is to be kept. */
static bool close_out(const Job *job, bool ok)
{
    bool flushed = fflush(job->out) == 0 || (ok && fail_write(job));
    bool closed = job->out == stdout || fclose(job->out) == 0 || (ok && flushed && fail_write(job));
    return ok && flushed && closed;
}

bool collector_annotate_file(const char *in_path, const char *out_path, const Inventory *inventory,
                             const char *cluster, bool comments, CollectorAnnotateStats *ret,
                             GError **error)
{
    g_autofree Job *job = g_new0(Job, 1);
    job->in_path = in_path;
    job->out_path = out_path;
    job->error = error;
    job->capacity = READ_BYTES;
    job->buffer = g_malloc(job->capacity);
    job->in = open_file(in_path, "rb", stdin, error);
    /* Appending does not cut what may turn out to be the input. */
    job->out = job->in ? open_file(out_path, "ab", stdout, error) : NULL;
    bool ok = job->out != NULL;
    if (ok && is_same_file(job->in, job->out))
        ok = fail(job, "the output would overwrite the input; name another file");
    else if (ok && job->out != stdout && is_regular(job->out))
        ok = ftruncate(fileno(job->out), 0) == 0 || fail_write(job);
    if (ok) {
        job->annotator = annotator_new(inventory, cluster, comments);
        ok = annotate_stream(job);
        *ret = job->stats;
    }
    if (job->out)
        ok = close_out(job, ok);
    if (job->in && job->in != stdin)
        fclose(job->in);
    annotator_free(job->annotator);
    g_free(job->buffer);
    return ok;
}

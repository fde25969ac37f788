// SPDX-License-Identifier: GPL-2.0-or-later
/* pcap or pcapng from elsewhere in, the same with names out. */
#include "collector/collector.h"

#include <inttypes.h>
#include <string.h>

#include "collector/annotate.h"
#include "collector/file-copy.h"
#include "common/pcapng/bytes.h"
#include "common/pcapng/pcapng.h"

#define PCAP_HEADER    24u
#define PCAP_RECORD    16u
#define PCAP_LINKTYPE  0x03ffffffu /* the upper bits tell of a frame check sequence: */
#define PCAP_HAS_FCS   0x04000000u
#define PCAP_FCS_SHIFT 28 /* its length in units of 16 bits; draft-ietf-opsawg-pcap, 4 */

typedef struct Job {
    FileCopy files;
    Annotator *annotator;
    PacketFragments fragments;
    CollectorAnnotateStats stats;
} Job;

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
static bool write_with_options(Job *job, const PcapngBlock *block, const Annotation *added)
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
    return file_copy_write(&job->files, block->data, 4) &&
           file_copy_write(&job->files, &in_order, 4) &&
           file_copy_write(&job->files, block->data + 8, kept - 8) &&
           file_copy_write(&job->files, tail, added->length + 8);
}

/* The section grows, so its length (of which nobody makes use) becomes unknown. */
static bool write_section(Job *job, const PcapngBlock *block)
{
    const uint64_t unknown = UINT64_MAX;
    return file_copy_write(&job->files, block->data, 16) &&
           file_copy_write(&job->files, &unknown, sizeof unknown) &&
           file_copy_write(&job->files, block->data + 24, block->length - 24);
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
        return file_copy_write(&job->files, block->data, block->length);
    const PcapngPacket *packet = &block->packet;
    Annotation names;
    name_packet(job, pcapng_reader_interface(reader, packet->interface_id)->link_type,
                packet->interface_id, packet->data, packet->captured_length, packet->time_ns,
                &names);
    if (!names.length)
        return file_copy_write(&job->files, block->data, block->length);
    return write_with_options(job, block, &names);
}

static bool annotate_pcapng(Job *job)
{
    PcapngReader *reader = pcapng_reader_new();
    PcapngBlock block;
    int r;
    while ((r = file_copy_block(&job->files, reader, &block)) > 0) {
        if (!write_block(job, reader, &block)) {
            r = -1;
            break;
        }
    }
    pcapng_reader_free(reader);
    return r == 0;
}

/* ---- Classic pcap ----------------------------------------------------------------------------*/

/* `network`: the link type with what is told beside it. */
static bool begin_from_pcap(Job *job, uint32_t network, uint32_t snap_length)
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
    return file_copy_write(&job->files, memory, builder.length);
}

static bool write_pcap_packet(Job *job, FileForm form, uint16_t link_type, uint32_t captured,
                              uint8_t *memory, size_t capacity)
{
    const uint8_t *record = file_copy_bytes(&job->files);
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
    return file_copy_write(&job->files, named.data, named.length);
}

static bool annotate_pcap(Job *job, FileForm form)
{
    file_copy_fill(&job->files, PCAP_HEADER);
    if (file_copy_available(&job->files) < PCAP_HEADER)
        return file_copy_at_end(&job->files, "pcap file header", PCAP_HEADER);
    uint32_t network = load32(file_copy_bytes(&job->files) + 20, form.swapped);
    uint32_t link_type = network & PCAP_LINKTYPE;
    if (link_type > UINT16_MAX)
        return file_copy_fail(&job->files, "offset 20: link type %u, expected at most 65535",
                              link_type);
    if (!begin_from_pcap(job, network, load32(file_copy_bytes(&job->files) + 16, form.swapped)))
        return false;
    file_copy_advance(&job->files, PCAP_HEADER);

    const size_t capacity = 2 * (PCAPNG_PACKET_MAX + PCAPNG_OPTIONS_MAX + 64);
    g_autofree uint8_t *memory = g_malloc(capacity);
    for (;;) {
        file_copy_fill(&job->files, PCAP_RECORD);
        if (file_copy_available(&job->files) < PCAP_RECORD)
            return file_copy_at_end(&job->files, "packet header", PCAP_RECORD);
        uint32_t captured = load32(file_copy_bytes(&job->files) + 8, form.swapped);
        if (captured > PCAPNG_PACKET_MAX)
            return file_copy_fail(&job->files,
                                  "offset %" PRIu64 ": a packet of %u bytes, expected at most %u",
                                  job->files.offset, captured, PCAPNG_PACKET_MAX);
        file_copy_fill(&job->files, PCAP_RECORD + captured);
        if (file_copy_available(&job->files) < PCAP_RECORD + captured)
            return file_copy_at_end(&job->files, "packet", PCAP_RECORD + (uint64_t)captured);
        if (!write_pcap_packet(job, form, (uint16_t)link_type, captured, memory, capacity))
            return false;
        file_copy_advance(&job->files, PCAP_RECORD + captured);
    }
}

/* ---- All together ----------------------------------------------------------------------------*/

static bool annotate_stream(Job *job)
{
    FileForm form;
    if (!file_copy_form(&job->files, &form))
        return false;
    return form.is_pcap ? annotate_pcap(job, form) : annotate_pcapng(job);
}

bool collector_annotate_file(const char *in_path, const char *out_path, const Inventory *inventory,
                             const char *cluster, bool comments, CollectorAnnotateStats *ret,
                             GError **error)
{
    g_autofree Job *job = g_new0(Job, 1);
    bool ok = file_copy_open(&job->files, in_path, out_path);
    if (ok) {
        job->annotator = annotator_new(inventory, cluster, comments);
        ok = annotate_stream(job);
        *ret = job->stats;
    }
    annotator_free(job->annotator);
    return file_copy_close(&job->files, ok, error);
}

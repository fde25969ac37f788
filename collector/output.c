// SPDX-License-Identifier: GPL-2.0-or-later
#include "collector/output.h"

#include <glib.h>
#include <string.h>

#include "collector/secrets.h"
#include "common/pcapng/pcapng.h"
#include "common/seeded-hash.h"

#define BUFFER_BYTES     (1024u * 1024u)
#define FLUSH_BYTES      (256u * 1024u)
#define LOSS_OPTIONS_MAX 400u
/* From this size on a copy costs more than a piece in a list. */
#define REFER_BYTES   1024u
#define REFERS_MAX    256u
#define LOSS_TEXT_MAX 360u
#define LOSS_MORE     "and more"

typedef struct Interface {
    char *name; /* as in the file; nodes of two clusters may be called the same */
    uint16_t link_type;
    uint64_t received, written, lost_by_os, lost_elsewhere;
    /* Not yet said on a packet. */
    uint64_t pending_packets, pending_from_ns;
    GString *pending_text;
} Interface;

/* Bytes that are written from where they stand. */
typedef struct Reference {
    size_t at; /* in the output's buffer: they belong in front of the byte there */
    CollectorBytes bytes;
    MergeBuffer *buffer; /* a reference */
} Reference;

struct Output {
    const CollectorSink *sink;
    void *userdata;
    GPtrArray *interfaces; /* of Interface */
    GHashTable *ids;       /* Interface -> index + 1: a node may tell of tens of thousands */
    Secrets *secrets;
    PcapngBuilder builder;
    int error;
    uint64_t packets, bytes;
    uint8_t *buffer;
    Reference references[REFERS_MAX];
    size_t n_references, referenced_bytes;
};

static void interface_free(gpointer data)
{
    Interface *interface = data;
    g_string_free(interface->pending_text, TRUE);
    g_free(interface->name);
    g_free(interface);
}

static guint interface_hash(gconstpointer data)
{
    const Interface *interface = data;
    return seeded_str_hash(interface->name) + interface->link_type;
}

static gboolean interface_equal(gconstpointer data, gconstpointer other_data)
{
    const Interface *interface = data, *other = other_data;
    return interface->link_type == other->link_type && strcmp(interface->name, other->name) == 0;
}

static const char *system_name(void)
{
#if defined(__linux__)
    return "Linux";
#elif defined(__APPLE__)
    return "macOS";
#elif defined(_WIN32)
    return "Windows";
#else
    return "";
#endif
}

Output *output_new(const CollectorSink *sink, void *userdata)
{
    Output *output = g_new0(Output, 1);
    output->sink = sink;
    output->userdata = userdata;
    output->interfaces = g_ptr_array_new_with_free_func(interface_free);
    output->secrets = secrets_new();
    output->ids = g_hash_table_new(interface_hash, interface_equal);
    output->buffer = g_malloc(BUFFER_BYTES);
    pcapng_builder_init(&output->builder, output->buffer, BUFFER_BYTES);
    pcapng_build_section(&output->builder);
    pcapng_build_option_string(&output->builder, PCAPNG_SHB_OS, system_name());
    pcapng_build_option_string(&output->builder, PCAPNG_SHB_USERAPPL, "remoradump " REMORA_VERSION);
    pcapng_build_end(&output->builder);
    return output;
}

static void drop_references(Output *output)
{
    for (size_t i = 0; i < output->n_references; i++)
        merge_buffer_unref(output->references[i].buffer);
    output->n_references = output->referenced_bytes = 0;
}

Output *output_free(Output *output)
{
    if (!output)
        return NULL;
    g_hash_table_unref(output->ids);
    secrets_free(output->secrets);
    drop_references(output);
    g_ptr_array_unref(output->interfaces);
    g_free(output->buffer);
    g_free(output);
    return NULL;
}

static int write_pieces(const Output *output)
{
    CollectorBytes pieces[2 * REFERS_MAX + 1];
    size_t n = 0, at = 0;
    for (size_t i = 0; i < output->n_references; i++) {
        const Reference *reference = &output->references[i];
        pieces[n++] = (CollectorBytes){output->buffer + at, reference->at - at};
        pieces[n++] = reference->bytes;
        at = reference->at;
    }
    pieces[n++] = (CollectorBytes){output->buffer + at, output->builder.length - at};
    return output->sink->write_pieces(pieces, n, output->userdata);
}

int output_flush(Output *output)
{
    size_t length = output->builder.length;
    if (!output->error && length) {
        output->error = output->n_references
                            ? write_pieces(output)
                            : output->sink->write(output->buffer, length, output->userdata);
        output->bytes += output->error ? 0 : length + output->referenced_bytes;
    }
    drop_references(output);
    pcapng_builder_init(&output->builder, output->buffer, BUFFER_BYTES);
    return output->error;
}

/* Makes room for a block. */
static int reserve(Output *output, size_t length)
{
    size_t used = output->builder.length;
    if (used + output->referenced_bytes >= FLUSH_BYTES || BUFFER_BYTES - used < length ||
        output->n_references == REFERS_MAX)
        return output_flush(output);
    return output->error;
}

/* ---- Secrets ---------------------------------------------------------------------------------*/

/* Where the last whole line among the first `length` bytes ends; 0: nowhere. */
static size_t last_line_end(const uint8_t *text, size_t length)
{
    while (length && text[length - 1] != '\n')
        length--;
    return length;
}

static int write_secrets(Output *output, const uint8_t *key_log, size_t length)
{
    while (length && !output->error) {
        size_t part =
            length <= OUTPUT_SECRETS_MAX ? length : last_line_end(key_log, OUTPUT_SECRETS_MAX);
        if (!part) { /* a line that is none of a key log */
            const uint8_t *newline = memchr(key_log, '\n', length);
            part = newline ? (size_t)(newline - key_log) + 1 : length;
        } else if (reserve(output, part + 64) == 0) {
            pcapng_build_secrets(&output->builder, PCAPNG_SECRETS_TLS, key_log, (uint32_t)part);
            pcapng_build_end(&output->builder);
        }
        key_log += part;
        length -= part;
    }
    return output->error;
}

int output_secrets(Output *output, const uint8_t *key_log, size_t length)
{
    const GByteArray *fresh = secrets_take(output->secrets, key_log, length);
    return write_secrets(output, fresh->data, fresh->len);
}

/* ---- Interfaces ------------------------------------------------------------------------------*/

static char *interface_name(const CapturePoint *point)
{
    g_autoptr(GString) name = g_string_new(NULL);
    if (*point->cluster)
        g_string_append_printf(name, "%s/", point->cluster);
    g_string_append(name, point->node);
    if (point->plaintext) {
        g_string_append(name, "/plaintext");
        return g_string_free(g_steal_pointer(&name), FALSE);
    }
    switch (point->link_type) {
    case 1: /* Ethernet */
        break;
    case 101:
        g_string_append(name, "/raw");
        break;
    case 113:
        g_string_append(name, "/sll");
        break;
    case 276:
        g_string_append(name, "/sll2");
        break;
    default:
        g_string_append_printf(name, "/linktype-%u", point->link_type);
        break;
    }
    return g_string_free(g_steal_pointer(&name), FALSE);
}

uint32_t output_interface(Output *output, const CapturePoint *point, uint32_t snap_length,
                          const char *filter, const char *hardware, const char *os)
{
    g_autofree char *name = interface_name(point);
    const Interface wanted = {.name = name, .link_type = point->link_type};
    uint32_t known = GPOINTER_TO_UINT(g_hash_table_lookup(output->ids, &wanted));
    if (known)
        return known - 1;
    Interface *interface = g_new0(Interface, 1);
    interface->name = g_steal_pointer(&name);
    interface->link_type = point->link_type;
    interface->pending_text = g_string_new(NULL);
    g_ptr_array_add(output->interfaces, interface);
    g_hash_table_insert(output->ids, interface, GUINT_TO_POINTER(output->interfaces->len));

    reserve(output, 64 * 1024);
    pcapng_build_interface(&output->builder, point->link_type, snap_length);
    pcapng_build_option_string(&output->builder, PCAPNG_IF_NAME, interface->name);
    if (filter && *filter) { /* the first byte says that it is text */
        g_autofree char *text = g_strconcat("0", filter, NULL);
        text[0] = 0;
        pcapng_build_option(&output->builder, PCAPNG_IF_FILTER, text, 1 + strlen(filter));
    }
    pcapng_build_option_string(&output->builder, PCAPNG_IF_HARDWARE, hardware);
    pcapng_build_option_string(&output->builder, PCAPNG_IF_OS, os);
    pcapng_build_end(&output->builder);
    const GByteArray *early = secrets_release(output->secrets);
    write_secrets(output, early->data, early->len);
    return output->interfaces->len - 1;
}

/* ---- Packets ---------------------------------------------------------------------------------*/

/* The options that say what was lost before this packet. */
static size_t take_loss(Interface *interface, uint64_t time_ns, uint8_t *out)
{
    if (G_LIKELY(!interface->pending_text->len) || time_ns < interface->pending_from_ns)
        return 0;
    size_t length = 0;
    if (interface->pending_packets) {
        uint64_t count = GUINT64_TO_LE(interface->pending_packets);
        int size =
            pcapng_encode_option(out, LOSS_OPTIONS_MAX, PCAPNG_EPB_DROPCOUNT, &count, sizeof count);
        length += size > 0 ? (size_t)size : 0;
    }
    int size = pcapng_encode_option(out + length, LOSS_OPTIONS_MAX - length, PCAPNG_OPT_COMMENT,
                                    interface->pending_text->str, interface->pending_text->len);
    length += size > 0 ? (size_t)size : 0;
    g_string_truncate(interface->pending_text, 0);
    interface->pending_packets = interface->pending_from_ns = 0;
    return length;
}

static int refer_to_packet(Output *output, const OutputPacket *packet, const uint8_t *options,
                           size_t options_length)
{
    size_t at = output->builder.length + PCAPNG_EPB_CHANGED, kept;
    int r = pcapng_build_packet_around(&output->builder, packet->block, packet->length,
                                       packet->interface, options, options_length, &kept);
    if (r < 0)
        return r;
    CollectorBytes bytes = {packet->block + PCAPNG_EPB_CHANGED, kept - PCAPNG_EPB_CHANGED};
    output->references[output->n_references++] =
        (Reference){at, bytes, merge_buffer_ref(packet->buffer)};
    output->referenced_bytes += bytes.length;
    return r;
}

int output_packet(Output *output, const OutputPacket *packet)
{
    int r = reserve(output, packet->length + packet->options_length + LOSS_OPTIONS_MAX + 64);
    if (r)
        return r;
    Interface *interface = output->interfaces->pdata[packet->interface];
    const uint8_t *options = packet->options;
    size_t options_length = packet->options_length;
    uint8_t both[PCAPNG_OPTIONS_MAX + LOSS_OPTIONS_MAX];
    size_t loss_length = take_loss(interface, packet->time_ns, both);
    if (loss_length && options_length <= PCAPNG_OPTIONS_MAX) {
        memcpy(both + loss_length, options, options_length);
        options = both;
        options_length += loss_length;
    }
    if (packet->buffer && packet->length >= REFER_BYTES && output->sink->write_pieces)
        r = refer_to_packet(output, packet, options, options_length);
    else
        r = pcapng_build_packet_copy(&output->builder, packet->block, packet->length,
                                     packet->interface, options, options_length);
    if (r < 0)
        return output->error = r;
    interface->written++;
    output->packets++;
    return 0;
}

/* ---- Losses and statistics -------------------------------------------------------------------*/

void output_received(Output *output, uint32_t interface, uint64_t packets)
{
    ((Interface *)output->interfaces->pdata[interface])->received += packets;
}

void output_loss(Output *output, uint32_t id, OutputLossStage stage, uint64_t packets,
                 uint64_t from_ns, const char *text)
{
    Interface *interface = output->interfaces->pdata[id];
    if (stage == OUTPUT_LOST_BY_OS)
        interface->lost_by_os += packets;
    else
        interface->lost_elsewhere += packets;
    if (!interface->pending_text->len || from_ns < interface->pending_from_ns)
        interface->pending_from_ns = from_ns;
    interface->pending_packets += packets;
    GString *pending = interface->pending_text;
    size_t length = strlen(text);
    if (pending->len + length + strlen("; " LOSS_MORE) + 2 > LOSS_TEXT_MAX) {
        if (!pending->len)
            g_string_append(pending, "Remora: packets were lost before this one");
        else if (!g_str_has_suffix(pending->str, LOSS_MORE))
            g_string_append(pending, "; " LOSS_MORE);
        return; /* the count says the rest */
    }
    if (pending->len)
        g_string_append(pending, "; ");
    g_string_append_len(pending, text, (gssize)length);
}

int output_statistics(Output *output, uint64_t time_ns)
{
    for (uint32_t i = 0; i < output->interfaces->len; i++) {
        const Interface *interface = output->interfaces->pdata[i];
        uint64_t lost = interface->lost_by_os + interface->lost_elsewhere;
        if (reserve(output, 256 + LOSS_TEXT_MAX))
            break;
        pcapng_build_statistics(&output->builder, i, time_ns);
        pcapng_build_option_u64(&output->builder, PCAPNG_ISB_IFRECV, interface->received + lost);
        pcapng_build_option_u64(&output->builder, PCAPNG_ISB_IFDROP, interface->lost_elsewhere);
        pcapng_build_option_u64(&output->builder, PCAPNG_ISB_OSDROP, interface->lost_by_os);
        pcapng_build_option_u64(&output->builder, PCAPNG_ISB_USRDELIV, interface->written);
        /* No packet came after it that could have said so. */
        pcapng_build_option_string(&output->builder, PCAPNG_OPT_COMMENT,
                                   interface->pending_text->str);
        pcapng_build_end(&output->builder);
    }
    return output->error;
}

uint64_t output_packets(const Output *output)
{
    return output->packets;
}

uint64_t output_bytes(const Output *output)
{
    return output->bytes;
}

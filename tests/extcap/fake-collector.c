// SPDX-License-Identifier: GPL-2.0-or-later
/* A collector without nodes, so that the tests decide what comes. Its one endpoint says it:
 * "fake:WORD;WORD..." with packets=N size=BYTES   that many packets at once, then nothing until it
 * is stopped (default 0 and 100) rate=N                 packets a second, in place of all at once
 *   pieces                 hands them over in pieces that begin and end anywhere
 *   end                    ends by itself after the packets
 *   note=TEXT warn=TEXT    tells this at the start
 *   lost=N                 has lost that many in the nodes' queues
 *   refuse                 nobody listens there, which is told as a warning before it is the error
 *   pod=NAMESPACE/NAME     knows this pod (repeated)
 *   mute                   does not answer when it is asked for its pods
 * Packets have their number, 8 bytes in network order, behind the Ethernet header. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/collector.h"
#include "common/pcapng/pcapng.h"

G_DEFINE_QUARK(collector - error - quark, collector_error)

#define BATCH_BYTES (256 * 1024)
#define PACKET_MAX  65535
#define PIECE_BYTES 61u /* no whole number of blocks, and many more than fit into one call */

struct Collector {
    CollectorSink sink;
    void *userdata;
    char **words;
    char **words_now; /* of the endpoint */
    CollectorStats stats;
    uint8_t batch[BATCH_BYTES];
    int stopped; /* atomic */
};

static const char *word(char **words, const char *name)
{
    for (; *words; words++) {
        size_t length = strlen(name);
        if (strncmp(*words, name, length) == 0 &&
            ((*words)[length] == '=' || (*words)[length] == '\0'))
            return *words + length + ((*words)[length] == '=');
    }
    return NULL;
}

static uint64_t number(char **words, const char *name, uint64_t fallback)
{
    const char *text = word(words, name);
    return text ? g_ascii_strtoull(text, NULL, 10) : fallback;
}

static char **split(const char *endpoint, GError **error)
{
    if (g_str_has_prefix(endpoint, "fake:") && !strstr(endpoint, "refuse"))
        return g_strsplit(endpoint + strlen("fake:"), ";", -1);
    g_set_error(error, COLLECTOR_ERROR, ECONNREFUSED, "%s: connection refused", endpoint);
    return NULL;
}

Collector *collector_new(const CollectorConfig *config, const CollectorSink *sink, void *userdata,
                         GError **error)
{
    Collector *collector = g_new0(Collector, 1);
    collector->sink = *sink;
    collector->userdata = userdata;
    collector->words = g_strdupv(config->endpoints);
    collector->stats.nodes = g_strv_length(config->endpoints);
    return collector;
}

static int begin(Collector *collector)
{
    PcapngBuilder builder;
    pcapng_builder_init(&builder, collector->batch, sizeof collector->batch);
    pcapng_build_section(&builder);
    g_assert(pcapng_build_end(&builder) > 0);
    pcapng_build_interface(&builder, 1, 262144);
    pcapng_build_option_string(&builder, PCAPNG_IF_NAME, "fake/node");
    g_assert(pcapng_build_end(&builder) > 0);
    return collector->sink.write(builder.data, builder.length, collector->userdata);
}

static int write_in_pieces(const Collector *collector, const PcapngBuilder *builder)
{
    CollectorBytes pieces[BATCH_BYTES / PIECE_BYTES + 2] = {{builder->data, 0}};
    size_t n = 1; /* an empty one first */
    for (size_t at = 0; at < builder->length; at += PIECE_BYTES)
        pieces[n++] = (CollectorBytes){builder->data + at, MIN(PIECE_BYTES, builder->length - at)};
    return collector->sink.write_pieces(pieces, n, collector->userdata);
}

/* As many packets as fit and shall be, from `first` on. */
static int send_batch(Collector *collector, uint64_t first, uint64_t count, uint32_t size,
                      uint64_t *ret_sent)
{
    static uint8_t packet[PACKET_MAX];
    PcapngBuilder builder;
    pcapng_builder_init(&builder, collector->batch, sizeof collector->batch);
    uint64_t sent = 0;
    for (; sent < count; sent++) {
        uint64_t value = GUINT64_TO_BE(first + sent);
        memcpy(packet + 14, &value, sizeof value);
        pcapng_build_packet(&builder, 0, 1700000000000000000u + first + sent, packet, size, size);
        if (pcapng_build_end(&builder) < 0)
            break;
    }
    *ret_sent = sent;
    int r = word(collector->words_now, "pieces")
                ? write_in_pieces(collector, &builder)
                : collector->sink.write(builder.data, builder.length, collector->userdata);
    if (r == 0)
        collector->stats.packets_written += sent;
    return r;
}

static int finish(Collector *collector)
{
    PcapngBuilder builder;
    pcapng_builder_init(&builder, collector->batch, sizeof collector->batch);
    pcapng_build_statistics(&builder, 0, 1700000001000000000u);
    g_assert(pcapng_build_end(&builder) > 0);
    return collector->sink.write(builder.data, builder.length, collector->userdata);
}

static int produce(Collector *collector, char **words)
{
    uint64_t packets = number(words, "packets", 0), rate = number(words, "rate", 0), sent = 0;
    uint32_t size = (uint32_t)number(words, "size", 100);
    g_assert(size >= 22 && size <= PACKET_MAX);
    gint64 start = g_get_monotonic_time();
    collector->words_now = words;
    int r = begin(collector);
    while (r == 0 && !g_atomic_int_get(&collector->stopped)) {
        uint64_t due = packets;
        if (rate)
            due = MIN(packets, (uint64_t)(g_get_monotonic_time() - start) * rate / G_USEC_PER_SEC);
        uint64_t n;
        if (sent < due) {
            r = send_batch(collector, sent, due - sent, size, &n);
            sent += n;
        } else if (sent == packets && word(words, "end")) {
            break;
        } else {
            g_usleep(1000);
        }
    }
    return r == 0 ? finish(collector) : r;
}

bool collector_run(Collector *collector, GError **error)
{
    g_auto(GStrv) words = split(collector->words[0], error);
    if (!words) {
        collector->sink.note(COLLECTOR_WARNING, "trying again", collector->userdata);
        return false;
    }
    collector->stats.nodes_connected = 1;
    collector->stats.lost_queue = number(words, "lost", 0);
    if (word(words, "note"))
        collector->sink.note(COLLECTOR_INFO, word(words, "note"), collector->userdata);
    if (word(words, "warn"))
        collector->sink.note(COLLECTOR_WARNING, word(words, "warn"), collector->userdata);
    int r = produce(collector, words);
    if (r == 0 || r == -EPIPE)
        return true;
    g_set_error(error, COLLECTOR_ERROR, -r, "the sink failed: %s", g_strerror(-r));
    return false;
}

void collector_stop(Collector *collector)
{
    g_atomic_int_set(&collector->stopped, 1);
}

void collector_stats(const Collector *collector, CollectorStats *ret)
{
    *ret = collector->stats;
}

Collector *collector_free(Collector *collector)
{
    if (collector)
        g_strfreev(collector->words);
    g_free(collector);
    return NULL;
}

static Remora__V1__Target *make_target(const char *name)
{
    g_auto(GStrv) parts = g_strsplit(name, "/", 2);
    Remora__V1__Target *target = malloc(sizeof *target);
    Remora__V1__Entity *entity = malloc(sizeof *entity);
    remora__v1__target__init(target);
    remora__v1__entity__init(entity);
    entity->kind = REMORA__V1__ENTITY_KIND__ENTITY_KIND_POD;
    entity->namespace_ = strdup(parts[0]);
    entity->name = strdup(parts[1]);
    target->entity = entity;
    target->node = strdup("node-1");
    target->state = REMORA__V1__TARGET_STATE__TARGET_STATE_CAPTURED;
    target->packets = 12345;
    return target;
}

/* "dns:///a+b" stands for the nodes "a" and "b". */
char **collector_endpoint_nodes(const char *endpoint, bool insecure, uint64_t timeout_ns,
                                GError **error)
{
    if (!g_str_has_prefix(endpoint, "dns:///"))
        return g_strdupv((char *[]){(char *)endpoint, NULL});
    if (!strstr(endpoint, "fake:")) {
        g_set_error(error, COLLECTOR_ERROR, ENOENT, "%s: not known", endpoint);
        return NULL;
    }
    return g_strsplit(endpoint + strlen("dns:///"), "+", -1);
}

Remora__V1__ListTargetsResponse *collector_list_targets(const char *endpoint, bool insecure,
                                                        uint64_t timeout_ns, GError **error)
{
    g_auto(GStrv) words = split(endpoint, error);
    if (!words)
        return NULL;
    if (word(words, "mute")) {
        g_usleep(timeout_ns / 1000);
        g_set_error(error, COLLECTOR_ERROR, ETIMEDOUT, "%s: no answer in time", endpoint);
        return NULL;
    }
    /* Freed by protobuf-c, hence malloc(). */
    Remora__V1__ListTargetsResponse *response = malloc(sizeof *response);
    remora__v1__list_targets_response__init(response);
    response->targets = malloc(g_strv_length(words) * sizeof(void *) + 1);
    for (char **w = words; *w; w++) {
        if (g_str_has_prefix(*w, "pod="))
            response->targets[response->n_targets++] = make_target(*w + strlen("pod="));
    }
    return response;
}

Remora__V1__GetStatusResponse *collector_get_status(const char *endpoint, bool insecure,
                                                    uint64_t timeout_ns, GError **error)
{
    g_auto(GStrv) words = split(endpoint, error);
    if (!words)
        return NULL;
    Remora__V1__GetStatusResponse *response = malloc(sizeof *response);
    remora__v1__get_status_response__init(response);
    response->node = strdup("node-1");
    response->time_unix_ns = 60000000000u;
    return response;
}

/* Packets are neither read nor written: the tests of the collector do that. */
bool collector_annotate_file(const char *in_path, const char *out_path, const Inventory *inventory,
                             const char *cluster, bool comments, CollectorAnnotateStats *ret,
                             GError **error)
{
    *ret = (CollectorAnnotateStats){0};
    return true;
}

bool collector_keys_first(const char *in_path, const char *out_path, CollectorKeysFirstStats *ret,
                          GError **error)
{
    *ret = (CollectorKeysFirstStats){0};
    return true;
}

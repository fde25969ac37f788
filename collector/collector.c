// SPDX-License-Identifier: GPL-2.0-or-later
/* Life and loop of the collector, and the way of a packet through its parts. One thread does all of
 * it; the threads of common/rpc only put events into a queue. */
#include "collector/collector.h"

#include <errno.h>
#include <string.h>

#include "collector/collector-private.h"
#include "common/clock.h"
#include "common/pcapng/packet.h"
#include "common/seeded-hash.h"

#define DEFAULT_MAX_WAIT_NS        (1000u * 1000000u)
#define DEFAULT_MEMORY_LIMIT       (256u * 1024u * 1024u)
#define DEFAULT_CONNECT_TIMEOUT_NS (5u * 1000000000ull)
#define TICK_US                    20000 /* the loop turns at least so often: for the sake of what only waits */
#define EVENTS_PER_TURN            256
#define NAMES_KEPT_NS              (600u * 1000000000ull) /* of what is gone, behind the newest packet */
#define FORGET_INTERVAL_NS         (60u * 1000000000ull)

GQuark collector_error_quark(void)
{
    return g_quark_from_static_string("remora-collector-error");
}

/* ---- Life ------------------------------------------------------------------------------------*/

static void point_free(gpointer data)
{
    CapturePoint *point = data;
    g_free((char *)point->cluster);
    g_free((char *)point->node);
    g_free((char *)point->device);
    g_free((char *)point->target_uid);
    g_free(point);
}

static void add_known_entity(const Entity *entity, void *userdata)
{
    inventory_add(userdata, entity);
}

Collector *collector_new(const CollectorConfig *config, const CollectorSink *sink, void *userdata,
                         GError **error)
{
    if (!config->endpoints || !config->endpoints[0]) {
        g_set_error_literal(error, COLLECTOR_ERROR, COLLECTOR_ERROR_CONFIG,
                            "No endpoint is given: name at least one remora-node as HOST:PORT");
        return NULL;
    }
    Collector *collector = g_new0(Collector, 1);
    collector->sink = *sink;
    collector->userdata = userdata;
    collector->vantage_mode = config->vantage;
    collector->cluster = config->cluster && *config->cluster ? g_strdup(config->cluster) : NULL;
    collector->comments = config->comments;
    collector->max_wait_ns = config->max_wait_ns ? config->max_wait_ns : DEFAULT_MAX_WAIT_NS;
    collector->secrets_wait_ns =
        config->tls == COLLECTOR_TLS_KEYS || config->tls == COLLECTOR_TLS_AUTO
            ? MIN(COLLECTOR_SECRETS_WAIT_NS, collector->max_wait_ns / 2)
            : 0;
    collector->memory_limit = config->memory_limit ? config->memory_limit : DEFAULT_MEMORY_LIMIT;
    collector->connect_timeout_ns =
        config->connect_timeout_ns ? config->connect_timeout_ns : DEFAULT_CONNECT_TIMEOUT_NS;
    g_mutex_init(&collector->lock);
    collector->client = rpc_client_new();
    collector->events = g_async_queue_new();
    collector->points = g_hash_table_new_full(seeded_str_hash, g_str_equal, g_free, point_free);
    collector->fragments = g_new0(PacketFragments, 1);
    collector->inventory = inventory_new();
    collector->translations = translations_new();
    collector->owners = socket_table_new(0);
    if (config->inventory)
        inventory_foreach(config->inventory, 0, add_known_entity, collector->inventory);
    if (!collector_members_new(collector, config, error))
        return collector_free(collector);
    return collector;
}

Collector *collector_free(Collector *collector)
{
    if (!collector)
        return NULL;
    translations_free(collector->translations); /* gives back what the nodes were charged */
    collector_members_free(collector);
    rpc_client_free(collector->client);
    g_async_queue_unref(collector->events);
    g_hash_table_unref(collector->points);
    inventory_free(collector->inventory);
    socket_table_free(collector->owners);
    g_free(collector->fragments);
    g_free(collector->cluster);
    g_mutex_clear(&collector->lock);
    g_free(collector);
    return NULL;
}

void collector_stop(Collector *collector)
{
    g_atomic_int_set(&collector->stop, 1);
}

void collector_stats(const Collector *collector, CollectorStats *ret)
{
    Collector *c = (Collector *)collector;
    g_mutex_lock(&c->lock);
    *ret = c->stats;
    g_mutex_unlock(&c->lock);
}

static void publish_stats(Collector *c)
{
    VantageStats vantage;
    vantage_stats(c->vantage, &vantage);
    c->counting.other_vantage = vantage.other_vantage;
    c->counting.packets_written = output_packets(c->output);
    c->counting.bytes_written = output_bytes(c->output);
    c->counting.nodes = c->counting.nodes_connected = 0;
    for (guint i = 0; i < c->nodes->len; i++) {
        const NodeStream *node = c->nodes->pdata[i];
        c->counting.nodes += !node->is_superseded;
        c->counting.nodes_connected += node->state == NODE_STREAM_LIVE;
    }
    g_mutex_lock(&c->lock);
    c->stats = c->counting;
    g_mutex_unlock(&c->lock);
}

/* ---- The way of a packet ---------------------------------------------------------------------*/

static int sink_write(const uint8_t *bytes, size_t length, void *userdata)
{
    Collector *c = userdata;
    uint64_t start_ns = clock_monotonic_ns();
    int r = c->sink.write(bytes, length, c->userdata);
    c->blocked_ns += clock_monotonic_ns() - start_ns;
    return r;
}

static int sink_write_pieces(const CollectorBytes *pieces, size_t n_pieces, void *userdata)
{
    Collector *c = userdata;
    uint64_t start_ns = clock_monotonic_ns();
    int r = c->sink.write_pieces(pieces, n_pieces, c->userdata);
    c->blocked_ns += clock_monotonic_ns() - start_ns;
    return r;
}

static void write_packet(const VantagePacket *packet, const Annotation *names, void *userdata)
{
    Collector *c = userdata;
    const MergePacket *p = &packet->packet;
    c->counting.unnamed += names->unnamed;
    c->newest_time_ns = MAX(c->newest_time_ns, p->time_ns);
    OutputPacket out = {
        .block = p->block,
        .buffer = p->buffer,
        .length = p->length,
        .interface = packet->point->output,
        .time_ns = p->time_ns,
        .options = names->options,
        .options_length = names->length,
    };
    int r = output_packet(c->output, &out);
    if (r && !c->write_error)
        c->write_error = r;
}

static void write_decided(Collector *c, uint64_t frontier_ns)
{
    VantagePacket packet;
    while (vantage_pop(c->vantage, frontier_ns, &packet))
        namer_push(c->namer, &packet);
}

/* A packet whose turn has come in the merge. */
static void take_packet(Collector *c, const MergePacket *merged)
{
    VantagePacket packet = {.packet = *merged};
    PcapngPacket parsed;
    const uint8_t *options;
    uint32_t options_length;
    pcapng_packet_fields(merged->block, &parsed, &options, &options_length);
    packet.point = interface_map_get(merged->buffer->context, parsed.interface_id);
    packet.direction = packet_direction(options, options_length);
    packet_parse(packet.point->link_type, parsed.data, parsed.captured_length, &packet.info);
    packet_fragments_resolve(c->fragments, packet.point->id, &packet.info);
    c->counting.late += merged->late;
    vantage_push(c->vantage, &packet);
    /* What follows in this turn is not earlier than this, and that is all that is known as yet. */
    write_decided(c, MIN(merged->time_ns, merge_frontier(c->merge)));
}

static void flush(Collector *c)
{
    int r = output_flush(c->output);
    if (r && !c->write_error)
        c->write_error = r;
}

/* Nodes that have just begun to hold the others back for too long. */
static void tell_stalled(Collector *c, uint64_t now_ns)
{
    for (guint i = 0; i < c->nodes->len; i++) {
        NodeStream *node = c->nodes->pdata[i];
        uint64_t stalls = merge_stalls(c->merge, node->index);
        if (stalls != node->stalls && node->state == NODE_STREAM_LIVE) {
            c->counting.stalls++;
            notes_say(c->notes, now_ns, COLLECTOR_WARNING,
                      "%s has told nothing for more than %.1f s: the others no longer wait for it, "
                      "so names that it knows may be missing, and its packets may come late",
                      node_stream_name(node), (double)c->max_wait_ns / 1e9);
        }
        node->stalls = stalls;
    }
}

/* Whether the packet that is held still has to wait; all that comes after it waits with it. */
static bool must_wait(Collector *c, uint64_t now_ns)
{
    if (key_wait_is_over(c->key_wait))
        return false;
    if (now_ns < c->held.buffer->arrived_ns + KEY_WAIT_NS && !merge_over_limit(c->merge))
        return true;
    key_wait_give_up(c->key_wait);
    return false;
}

static void take_held(Collector *c)
{
    if (c->is_held) {
        c->is_held = false;
        take_packet(c, &c->held);
    }
}

/* True: it is held. */
static bool hold_for_secrets(Collector *c, const MergePacket *packet, uint64_t now_ns)
{
    PcapngPacket parsed;
    const uint8_t *options;
    uint32_t options_length;
    if (!c->key_wait)
        return false;
    pcapng_packet_fields(packet->block, &parsed, &options, &options_length);
    const CapturePoint *point = interface_map_get(packet->buffer->context, parsed.interface_id);
    if (!key_wait_packet(c->key_wait, point->link_type, parsed.data, parsed.captured_length))
        return false;
    c->held = *packet;
    c->is_held = must_wait(c, now_ns);
    return c->is_held;
}

/* Those whose turn has come, up to one that has to wait. */
static void take_due(Collector *c, uint64_t now_ns)
{
    MergePacket packet;
    if (c->is_held && must_wait(c, now_ns))
        return;
    take_held(c);
    while (!c->write_error && merge_pop(c->merge, &packet)) {
        if (hold_for_secrets(c, &packet, now_ns))
            return;
        take_packet(c, &packet);
    }
}

/* Nothing that is not out yet is earlier than this. */
static uint64_t frontier(const Collector *c)
{
    uint64_t merged_ns = merge_frontier(c->merge);
    return c->is_held ? MIN(merged_ns, c->held.time_ns) : merged_ns;
}

/* All packets that may go out. */
static void pump(Collector *c, uint64_t now_ns)
{
    MergePacket packet;
    if (merge_advance(c->merge, now_ns - c->blocked_ns))
        tell_stalled(c, now_ns);
    take_due(c, now_ns - c->blocked_ns);
    if (merge_over_limit(c->merge))
        take_held(c);
    /* Out of memory: out of order is better than lost. */
    while (!c->write_error && merge_over_limit(c->merge)) {
        if (merge_pop_forced(c->merge, &packet))
            take_packet(c, &packet);
        else if (!vantage_waiting(c->vantage))
            break;
        write_decided(c, UINT64_MAX);
        namer_flush(c->namer);
    }
    write_decided(c, frontier(c));
    namer_flush(c->namer);
    /* Not a byte before a node has answered: Wireshark takes a section header for a capture that
     * works, and hides the error that follows behind "no packets captured". */
    if (c->was_connected)
        flush(c);
}

static void flush_notes(Collector *c, uint64_t now_ns, bool all)
{
    notes_flush(c->notes, now_ns, all);
    notices_flush(c->notices, now_ns, all);
}

static void say_notice(const char *sentence, void *userdata)
{
    Collector *c = userdata;
    if (c->sink.note)
        c->sink.note(COLLECTOR_WARNING, sentence, c->userdata);
}

static void pump_all(Collector *c)
{
    MergePacket packet;
    take_held(c);
    while (merge_pop_forced(c->merge, &packet)) {
        packet.forced = false;
        take_packet(c, &packet);
    }
    write_decided(c, UINT64_MAX);
    namer_flush(c->namer);
    collector_tell_of_absent(c);
    flush_notes(c, clock_monotonic_ns(), true);
    early_losses_finish(c->early_losses, c->output);
    output_statistics(c->output, c->newest_time_ns ? c->newest_time_ns : clock_unix_ns());
    flush(c);
}

/* ---- The loop --------------------------------------------------------------------------------*/

static void on_closed(Collector *c, const NodeEvent *event, uint64_t now_ns)
{
    NodeStream *node = event->node;
    bool was_live = node->state == NODE_STREAM_LIVE, had_refused = node->refusal;
    bool stopping = g_atomic_int_get(&c->stop);
    if (!stopping)
        collector_node_gone(c, node, now_ns);
    node_stream_closed(node, event->status, event->text, g_random_double(), now_ns);
    bool asks_for_less = !had_refused && node->refusal;
    if (stopping || asks_for_less || !collector_member_closed(c, node, was_live, now_ns) ||
        (!was_live && !c->was_connected && node->state != NODE_STREAM_OVER))
        return; /* if none answers at all, that is the error of the run */
    const char *advice = was_live ? "" : node_stream_advice(event->status);
    notes_say(c->notes, now_ns, COLLECTOR_WARNING, "%s %s: %s.%s%s%s",
              was_live ? "Lost the connection to" : "Cannot reach", node_stream_name(node),
              node->problem, *advice ? " " : "", advice,
              node->state == NODE_STREAM_OVER ? "" : " Trying again.");
}

static void on_event(Collector *c, NodeEvent *event, uint64_t now_ns)
{
    if (event->buffer)
        collector_message(c, event->node, g_steal_pointer(&event->buffer), now_ns);
    else
        on_closed(c, event, now_ns);
    node_event_free(event);
}

static void handle_events(Collector *c)
{
    NodeEvent *event = g_async_queue_timeout_pop(c->events, TICK_US);
    for (int i = 0; event; i++) {
        on_event(c, event, clock_monotonic_ns());
        event = i < EVENTS_PER_TURN ? g_async_queue_try_pop(c->events) : NULL;
    }
}

/* Names of what was gone long before the newest packet. */
static void forget_old_names(Collector *c, uint64_t now_ns)
{
    if (now_ns < c->forgotten_at_ns + FORGET_INTERVAL_NS || c->newest_time_ns < NAMES_KEPT_NS)
        return;
    c->forgotten_at_ns = now_ns;
    uint64_t now_unix_ns = clock_unix_ns(); /* a clock far ahead must not make all names old */
    uint64_t before_ns = MIN(c->newest_time_ns, now_unix_ns) - NAMES_KEPT_NS;
    inventory_forget(c->inventory, before_ns);
    annotator_forget(c->annotator, before_ns);
    translations_forget(c->translations, before_ns);
    socket_table_forget(c->owners, MIN(c->newest_time_ns, now_unix_ns));
    for (guint i = 0; i < c->nodes->len; i++) {
        NodeStream *node = c->nodes->pdata[i];
        node_quota_recount(node->quota, c->inventory);
        node->told_of_quota = false;
        node->told_of_facts = false;
    }
}

/* Ends all streams and waits until the last callback has been. */
static void close_streams(Collector *c)
{
    g_atomic_int_set(&c->stop, 1);
    NodeEvent *event;
    while ((event = g_async_queue_try_pop(c->events))) /* what has come already counts */
        on_event(c, event, clock_monotonic_ns());
    guint open = 0;
    for (guint i = 0; i < c->nodes->len; i++) {
        NodeStream *node = c->nodes->pdata[i];
        open += node->stream != NULL;
        node_stream_cancel(node, NULL);
    }
    while (open) {
        event = g_async_queue_pop(c->events);
        open -= event->buffer == NULL;
        on_event(c, event, clock_monotonic_ns());
    }
}

static void run_begin(Collector *c)
{
    static const CollectorSink timed = {.write = sink_write};
    static const CollectorSink timed_pieces = {.write = sink_write,
                                               .write_pieces = sink_write_pieces};
    c->output = output_new(c->sink.write_pieces ? &timed_pieces : &timed, c);
    c->early_losses = early_losses_new();
    c->key_wait = c->secrets_wait_ns ? key_wait_new() : NULL;
    c->merge = merge_new(0, c->max_wait_ns, c->memory_limit);
    c->vantage =
        vantage_new(c->inventory, c->translations, 0, c->vantage_mode == COLLECTOR_VANTAGE_ALL);
    c->annotator = annotator_new(c->inventory, c->cluster, c->comments);
    annotator_set_owners(c->annotator, c->owners);
    annotator_set_secrets_asked(c->annotator, c->secrets_wait_ns > 0);
    c->namer = namer_new(c->annotator, write_packet, c);
    c->notes = notes_new(&c->sink, c->userdata);
    c->notices = notices_new(say_notice, c);
    c->known = known_nodes_new();
    collector_members_begin(c, clock_monotonic_ns());
}

static void run_end(Collector *c)
{
    publish_stats(c);
    if (c->is_held) /* after a write error */
        merge_buffer_unref(c->held.buffer);
    c->is_held = false;
    c->key_wait = key_wait_free(c->key_wait);
    c->namer = namer_free(c->namer);
    c->output = output_free(c->output);
    c->vantage = vantage_free(c->vantage);
    c->merge = merge_free(c->merge);
    c->annotator = annotator_free(c->annotator);
    c->notes = notes_free(c->notes);
    c->notices = notices_free(c->notices);
    c->known = known_nodes_free(c->known);
    c->early_losses = early_losses_free(c->early_losses);
}

bool collector_run(Collector *collector, GError **error)
{
    Collector *c = collector;
    bool hopeless = false;
    run_begin(c);
    const uint64_t start_ns = clock_monotonic_ns();
    c->forgotten_at_ns = start_ns;
    while (!c->write_error && !hopeless && !g_atomic_int_get(&c->stop)) {
        collector_members_tend(c, clock_monotonic_ns());
        handle_events(c);
        uint64_t now_ns = clock_monotonic_ns();
        pump(c, now_ns);
        flush_notes(c, now_ns, false);
        forget_old_names(c, now_ns);
        publish_stats(c);
        hopeless = collector_members_hopeless(c, now_ns - start_ns, error);
    }
    close_streams(c);
    /* What was there before this run is not given up for a file without a packet. */
    if (c->was_connected)
        pump_all(c);
    else if (!hopeless)
        flush_notes(c, clock_monotonic_ns(), true);
    run_end(c);
    if (hopeless)
        return false;
    if (c->write_error && c->write_error != -EPIPE) {
        g_set_error(error, COLLECTOR_ERROR, COLLECTOR_ERROR_WRITE, "Cannot write the packets: %s",
                    g_strerror(-c->write_error));
        return false;
    }
    return true;
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* What nodes say, checked. The order of messages and their limits are in proto/README.md. */
#include "collector/collector-private.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "common/clock.h"
#include "common/pcapng/pcapng.h"

#define INTERFACES_MAX 65536u
#define NAME_MAX_BYTES 1024u
#define SKEW_WARN_NS   (50 * 1000000ll)

typedef struct Message {
    Collector *collector;
    NodeStream *node;
    uint64_t now_ns;
    size_t length; /* bytes */
} Message;

static void break_off(const Message *m, const char *problem)
{
    node_stream_cancel(m->node, problem);
}

static bool is_name(const char *text)
{
    return strlen(text) <= NAME_MAX_BYTES;
}

/* ---- Hello -----------------------------------------------------------------------------------*/

static const char *format_time(uint64_t unix_ns, char out[32])
{
    g_autoptr(GDateTime) time = g_date_time_new_from_unix_utc((gint64)(unix_ns / 1000000000u));
    g_autofree char *text = time ? g_date_time_format(time, "%H:%M:%S") : NULL;
    g_snprintf(out, 32, "%s.%03u", text ? text : "?", (unsigned)(unix_ns / 1000000u % 1000u));
    return out;
}

/* Says on the next packet of each of the node's interfaces what is missing before it. If it has
 * none yet, on its first one. */
static void mark_loss(Collector *c, const char *cluster, const char *node, OutputLossStage stage,
                      uint64_t packets, uint64_t from_ns, const char *text)
{
    GHashTableIter iter;
    gpointer value;
    g_autoptr(GHashTable) marked = g_hash_table_new(NULL, NULL);
    g_hash_table_iter_init(&iter, c->points);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const CapturePoint *point = value;
        if (strcmp(point->node, node) != 0 ||
            !g_hash_table_add(marked, GUINT_TO_POINTER(point->output)))
            continue;
        output_loss(c->output, point->output, stage, packets, from_ns, text);
        packets = 0; /* counted once */
    }
    if (!g_hash_table_size(marked))
        early_losses_add(c->early_losses, cluster, node, stage, packets, from_ns, text);
}

static void mark_gap(const Message *m, KnownNode *known, bool restarted)
{
    Collector *c = m->collector;
    uint64_t away_ns = clock_unix_ns() - known->gone_unix_ns;
    char since[32];
    g_autofree char *text = g_strdup_printf(
        "Remora: %s was away from %s UTC on for %.1f s%s; packets of that time are missing",
        node_stream_name(m->node), format_time(known->gone_unix_ns, since), (double)away_ns / 1e9,
        restarted ? " (restarted)" : "");
    mark_loss(c, known->cluster, node_stream_name(m->node), OUTPUT_LOST_ELSEWHERE, 0,
              known->watermark_ns, text);
    notes_say(c->notes, m->now_ns, COLLECTOR_INFO, "%s is back after %.1f s%s",
              node_stream_name(m->node), (double)away_ns / 1e9, restarted ? ", restarted" : "");
    known->gone_unix_ns = 0;
}

static void mark_absent(KnownNode *known, void *userdata)
{
    if (!known->gone_unix_ns)
        return;
    char since[32];
    g_autofree char *text = g_strdup_printf(
        "Remora: %s was away from %s UTC on until the end; packets of that time are missing",
        known->name, format_time(known->gone_unix_ns, since));
    mark_loss(userdata, known->cluster, known->name, OUTPUT_LOST_ELSEWHERE, 0, known->watermark_ns,
              text);
}

void collector_tell_of_absent(Collector *collector)
{
    known_nodes_foreach(collector->known, mark_absent, collector);
}

/* The node is here from now on; says so where it was not. */
static void welcome(const Message *m)
{
    Collector *c = m->collector;
    NodeStream *node = m->node;
    KnownNode *known = known_nodes_get(c->known, node->cluster, node_stream_name(node));
    bool restarted = known->boot_id && strcmp(known->boot_id, node->boot_id) != 0;
    if (known->gone_unix_ns)
        mark_gap(m, known, restarted);
    else if (known->live && node->origin)
        notes_say(c->notes, m->now_ns, COLLECTOR_INFO, "%s is at %s now%s", node_stream_name(node),
                  node->endpoint, restarted ? ", restarted" : "");
    else if (node->joined_later)
        notes_say(c->notes, m->now_ns, COLLECTOR_INFO, "%s has joined, at %s",
                  node_stream_name(node), node->endpoint);
    else
        notes_say(c->notes, m->now_ns, COLLECTOR_INFO, "Connected to %s", node_stream_name(node));
    g_free(known->boot_id);
    known->boot_id = g_strdup(node->boot_id);
    known->live++;
    node->known = known;
}

static void tell_of_less(const Message *m)
{
    g_autofree char *text = g_strdup_printf(
        "no plaintext of TLS connections whose secrets cannot be had, as it refuses that: %s",
        m->node->refusal);
    notices_add(m->collector->notices, NULL, m->now_ns, node_stream_name(m->node), text);
}

static void check_clock(const Message *m, const Remora__V1__Hello *hello)
{
    int64_t skew_ns = (int64_t)(hello->time_unix_ns - clock_unix_ns());
    int64_t trip_ns = (int64_t)(m->now_ns - m->node->opened_ns);
    if (!hello->time_unix_ns || llabs(skew_ns) <= SKEW_WARN_NS + trip_ns)
        return;
    notes_say(m->collector->notes, m->now_ns, COLLECTOR_WARNING,
              "The clock of %s is %.3f s %s this machine's: packets of different nodes may be in "
              "the wrong order. Synchronise the clocks.",
              node_stream_name(m->node), (double)llabs(skew_ns) / 1e9,
              skew_ns > 0 ? "ahead of" : "behind");
}

static void on_hello(const Message *m, const Remora__V1__Hello *hello)
{
    Collector *c = m->collector;
    NodeStream *node = m->node;
    if (hello->protocol_version < 1 || hello->protocol_version > REMORA_PROTOCOL_VERSION) {
        node->is_final = true;
        break_off(m, "it speaks another version of the protocol; use the same version of Remora");
        return;
    }
    if (!is_name(hello->node) || !is_name(hello->cluster) || !is_name(hello->boot_id)) {
        break_off(m, "its name is too long");
        return;
    }
    g_free(node->name);
    g_free(node->cluster);
    g_free(node->boot_id);
    node->name = g_strdup(hello->node);
    node->cluster = g_strdup(c->cluster ? c->cluster : hello->cluster);
    node->boot_id = g_strdup(hello->boot_id);
    node->heartbeat_ns = (uint64_t)MIN(hello->heartbeat_interval_ms, 60000u) * 1000000u;
    if (!collector_member_hello(c, node, m->now_ns))
        return;
    node->state = NODE_STREAM_LIVE;
    node->live_ns = m->now_ns;
    c->was_connected = true;
    welcome(m);
    if (node->refusal)
        tell_of_less(m);
    node->watermark_ns = 0;
    merge_open(c->merge, node->index, m->now_ns - c->blocked_ns);
    check_clock(m, hello);
}

/* ---- Interface -------------------------------------------------------------------------------*/

/* NULL: one more than are kept of a node. */
static CapturePoint *find_point(const Message *m, const Remora__V1__Interface *interface)
{
    Collector *c = m->collector;
    const char *node = *interface->node ? interface->node : node_stream_name(m->node);
    g_autofree char *identity = g_strdup_printf(
        "%s\n%s\n%s\n%s\n%u\n%d%d", m->node->cluster, node, interface->device,
        interface->target_uid, interface->link_type, interface->loopback, interface->plaintext);
    CapturePoint *point = g_hash_table_lookup(c->points, identity);
    if (point)
        return point;
    if (!node_quota_point(m->node->quota, 2 * strlen(identity)))
        return NULL;
    point = g_new0(CapturePoint, 1);
    point->id = g_hash_table_size(c->points) + 1;
    point->cluster = g_strdup(m->node->cluster);
    point->node = g_strdup(node);
    point->device = g_strdup(interface->device);
    point->target_uid = g_strdup(interface->target_uid);
    point->link_type = (uint16_t)interface->link_type;
    point->loopback = interface->loopback;
    point->plaintext = interface->plaintext;
    g_hash_table_insert(c->points, g_steal_pointer(&identity), point);
    return point;
}

static void on_interface(const Message *m, const Remora__V1__Interface *interface)
{
    Collector *c = m->collector;
    InterfaceMap *map = m->node->map;
    if (!is_name(interface->node) || !is_name(interface->device) ||
        !is_name(interface->target_uid) || !is_name(interface->hardware) ||
        !is_name(interface->os) || strlen(interface->filter) > 4 * NAME_MAX_BYTES ||
        interface->link_type > UINT16_MAX) {
        break_off(m, "it described an interface beyond the limits");
        return;
    }
    if (g_hash_table_size(map->points) >= INTERFACES_MAX || interface_map_get(map, interface->id)) {
        break_off(m, "it used an interface id twice, or too many of them");
        return;
    }
    CapturePoint *point = find_point(m, interface);
    if (!point) {
        break_off(m, "it described more capture points than are kept of one node");
        return;
    }
    point->output = output_interface(c->output, point, interface->snap_length, interface->filter,
                                     interface->hardware, interface->os);
    early_losses_take(c->early_losses, point->node, c->output, point->output);
    point->alive = true;
    point->streams++;
    vantage_point_changed(c->vantage, point);
    g_hash_table_insert(map->points, GUINT_TO_POINTER(interface->id), point);
    map->last = NULL;
}

/* ---- Packets ---------------------------------------------------------------------------------*/

static bool count_received(uint32_t interface_id, void *userdata)
{
    const Message *m = userdata;
    const CapturePoint *point = interface_map_get(m->node->map, interface_id);
    if (!point)
        return false;
    output_received(m->collector->output, point->output, 1);
    return true;
}

static void raise_watermark(const Message *m, uint64_t watermark_ns)
{
    m->node->watermark_ns = MAX(m->node->watermark_ns, watermark_ns);
    uint64_t wait_ns = m->collector->secrets_wait_ns;
    merge_watermark(m->collector->merge, m->node->index,
                    watermark_ns > wait_ns ? watermark_ns - wait_ns : 0,
                    m->now_ns - m->collector->blocked_ns);
}

static void on_packets(const Message *m, MergeBuffer *buffer, const StreamPackets *packets)
{
    Collector *c = m->collector;
    StreamPackets told = *packets; /* the buffer may be gone after the push */
    size_t offset = packets->blocks ? (size_t)(packets->blocks - buffer->data) : 0;
    buffer->context = interface_map_ref(m->node->map);
    buffer->release = interface_map_unref;
    int error;
    uint32_t taken = merge_push(c->merge, m->node->index, buffer, offset, told.blocks_length,
                                count_received, (void *)m, m->now_ns - c->blocked_ns, &error);
    c->counting.packets_received += taken;
    if (error) {
        /* The count is the peer's own word: no more than there was room for. */
        uint64_t room = told.blocks_length / (PCAPNG_EPB_FIXED + 4);
        uint64_t claimed = MIN(told.count, room);
        uint64_t lost = claimed > taken ? claimed - taken : 1;
        c->counting.lost_invalid += lost;
        notes_loss(c->notes, node_stream_name(m->node), REMORA__V1__LOSS_STAGE__LOSS_STAGE_INVALID,
                   lost, false);
        mark_loss(c, m->node->cluster, node_stream_name(m->node), OUTPUT_LOST_ELSEWHERE, lost,
                  told.first_unix_ns, "Remora: packets lost here were no valid packets");
        break_off(m, error == -ENOENT ? "it sent a packet of an interface that it never described"
                                      : "it sent what is no valid packet");
        return;
    }
    raise_watermark(m, told.watermark_unix_ns);
}

/* ---- The others ------------------------------------------------------------------------------*/

static uint64_t *loss_counter(Collector *c, Remora__V1__LossStage stage)
{
    switch (stage) {
    case REMORA__V1__LOSS_STAGE__LOSS_STAGE_SUBSCRIBER_QUEUE:
        return &c->counting.lost_queue;
    case REMORA__V1__LOSS_STAGE__LOSS_STAGE_COLLECTOR:
        return &c->counting.lost_collector;
    case REMORA__V1__LOSS_STAGE__LOSS_STAGE_INVALID:
        return &c->counting.lost_invalid;
    case REMORA__V1__LOSS_STAGE__LOSS_STAGE_TLS_HOOKS:
    case REMORA__V1__LOSS_STAGE__LOSS_STAGE_TLS_PLAINTEXT:
        return &c->counting.lost_plaintext;
    default:
        return &c->counting.lost_ring;
    }
}

static char *loss_text(const Remora__V1__Loss *loss, const char *node)
{
    char from[32], to[32];
    g_autofree char *count =
        loss->unknown && !loss->packets
            ? g_strdup("an unknown number of")
            : g_strdup_printf("%s%" PRIu64, loss->unknown ? "at least " : "", loss->packets);
    g_autofree char *when =
        loss->from_unix_ns
            ? g_strdup_printf(" between %s and %s UTC", format_time(loss->from_unix_ns, from),
                              format_time(loss->to_unix_ns, to))
            : g_strdup("");
    return g_strdup_printf("Remora: %s packets lost on %s%s: %s", count, node, when,
                           notes_stage(loss->stage));
}

static void on_loss(const Message *m, const Remora__V1__Loss *loss)
{
    Collector *c = m->collector;
    if (!is_name(loss->node) || !is_name(loss->detail)) {
        break_off(m, "it told of a loss beyond the limits");
        return;
    }
    const char *node = *loss->node ? loss->node : node_stream_name(m->node);
    if (loss->stage == REMORA__V1__LOSS_STAGE__LOSS_STAGE_NODE_GAP)
        c->counting.gaps++;
    else
        *loss_counter(c, loss->stage) += loss->packets;
    notes_loss(c->notes, node, loss->stage, loss->packets, loss->unknown);

    OutputLossStage stage = loss->stage == REMORA__V1__LOSS_STAGE__LOSS_STAGE_KERNEL_RING
                                ? OUTPUT_LOST_BY_OS
                                : OUTPUT_LOST_ELSEWHERE;
    g_autofree char *text = loss_text(loss, node);
    const CapturePoint *point =
        loss->has_interface ? interface_map_get(m->node->map, loss->interface_id) : NULL;
    if (point)
        output_loss(c->output, point->output, stage, loss->packets, loss->from_unix_ns, text);
    else
        mark_loss(c, m->node->cluster, node, stage, loss->packets, loss->from_unix_ns, text);
}

static void on_identity(const Message *m, const Remora__V1__IdentityEvent *event)
{
    Collector *c = m->collector;
    NodeStream *node = m->node;
    const Remora__V1__Entity *entity = event->deleted ? NULL : event->entity;
    uint64_t cost = entity ? node_quota_entity_cost(entity, m->length) : 0;
    if (entity && !node_quota_entity_fits(node->quota, cost)) {
        if (!node->told_of_quota)
            notes_say(c->notes, m->now_ns, COLLECTOR_WARNING,
                      "%s told of more pods, services and the like than are kept of one node: the "
                      "further ones stay without names",
                      node_stream_name(node));
        node->told_of_quota = true;
        return;
    }
    const char *problem;
    uint64_t generation = inventory_generation(c->inventory);
    if (inventory_apply(c->inventory, event, &problem) < 0)
        notes_say(c->notes, m->now_ns, COLLECTOR_WARNING,
                  "%s told of something that is left out: %s", node_stream_name(node), problem);
    else if (entity && inventory_generation(c->inventory) != generation)
        node_quota_entity_charge(node->quota, (EntityKind)entity->kind, entity->uid, cost);
}

static void on_end(const Message *m, const Remora__V1__End *end)
{
    m->node->is_final |= !end->retry;
    if (is_name(end->reason)) {
        g_free(m->node->problem);
        m->node->problem = g_strdup(*end->reason ? end->reason : "it ended the stream");
    }
}

static void on_secrets(const Message *m, const ProtobufCBinaryData *key_log)
{
    Collector *c = m->collector;
    output_secrets(c->output, key_log->data, key_log->len);
    if (c->key_wait)
        key_wait_secrets(c->key_wait, key_log->data, key_log->len);
}

static void on_notice(const Message *m, const Remora__V1__Notice *notice)
{
    Collector *c = m->collector;
    NodeStream *node = m->node;
    if (notices_add(c->notices, node->quota, m->now_ns, notice->subject, notice->message) ||
        node->told_of_notices)
        return;
    node->told_of_notices = true;
    notes_say(c->notes, m->now_ns, COLLECTOR_WARNING,
              "%s gives more reasons why something will not come than are told of one node: the "
              "further ones are left out",
              node_stream_name(node));
}

static void on_facts(const Message *m, const StreamMessage *message)
{
    Remora__V1__Fact fact;
    for (size_t i = 0; stream_message_fact(message, i, &fact); i++) {
        switch (fact.body_case) {
        case REMORA__V1__FACT__BODY_TLS_SECRETS:
            on_secrets(m, &fact.tls_secrets->key_log);
            break;
        case REMORA__V1__FACT__BODY_NOTICE:
            on_notice(m, fact.notice);
            break;
        default:
            collector_fact(m->collector, m->node, &fact, m->now_ns);
            break;
        }
    }
}

static void on_body(const Message *m, const StreamMessage *message)
{
    const Remora__V1__StreamResponse *response = message->response;
    switch (message->type) {
    case STREAM_HELLO:
        on_hello(m, response->hello);
        break;
    case STREAM_INTERFACE:
        on_interface(m, response->interface);
        break;
    case STREAM_IDENTITY:
        on_identity(m, response->identity);
        break;
    case STREAM_TLS_SECRETS:
    case STREAM_TRANSLATION:
    case STREAM_SOCKET_OWNER:
    case STREAM_NOTICE:
    case STREAM_FACTS:
        on_facts(m, message);
        break;
    case STREAM_LOSS:
        on_loss(m, response->loss);
        break;
    case STREAM_HEARTBEAT:
        raise_watermark(m, response->heartbeat->watermark_unix_ns);
        break;
    case STREAM_END:
        on_end(m, response->end);
        break;
    default: /* of a later version */
        break;
    }
}

void collector_message(Collector *collector, NodeStream *node, MergeBuffer *buffer, uint64_t now_ns)
{
    Message m = {collector, node, now_ns, buffer->length};
    node->wants_read = true;
    StreamMessage message;
    if (node->cancelled) {
        merge_buffer_unref(buffer);
        return;
    }
    if (stream_message_decode(buffer->data, buffer->length, &message) < 0) {
        break_off(&m, "it sent what is no message of Remora's protocol");
        merge_buffer_unref(buffer);
        return;
    }
    bool is_first = node->sequence == 0;
    if (message.sequence != ++node->sequence)
        break_off(&m, "it left out a message of its stream");
    else if (is_first != (message.type == STREAM_HELLO))
        break_off(&m, "it said hello late or twice");
    else if (message.type == STREAM_PACKETS)
        on_packets(&m, g_steal_pointer(&buffer), &message.packets);
    else
        on_body(&m, &message);
    stream_message_clear(&message);
    merge_buffer_unref(buffer);
}

void collector_node_gone(Collector *collector, NodeStream *node, uint64_t now_ns)
{
    merge_close(collector->merge, node->index);
    socket_table_node_gone(collector->owners, node->index, clock_unix_ns());
    if (node->map) {
        GHashTableIter iter;
        gpointer value;
        g_hash_table_iter_init(&iter, node->map->points);
        while (g_hash_table_iter_next(&iter, NULL, &value)) {
            CapturePoint *point = value;
            point->alive = --point->streams > 0;
            vantage_point_changed(collector->vantage, point);
        }
    }
    if (node->state != NODE_STREAM_LIVE)
        return;
    translations_end(collector->translations, node->quota, clock_unix_ns());
    KnownNode *known = g_steal_pointer(&node->known);
    if (--known->live)
        return;
    collector->counting.gaps++;
    known->gone_unix_ns = clock_unix_ns();
    known->watermark_ns = node->watermark_ns;
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/server/queue.h"

#include <string.h>

#include "common/pcapng/pcapng.h"
#include "node-capture/server/queue-step.h"

/* Batches below this are copied: sharing them would cost more (a slice in the transport, memory for
 * the room they do not use). */
#define SHARE_BYTES (16u * 1024u)
#define COPY_BYTES  (64u * 1024u) /* memory for copies is taken in such pieces */

struct Queue {
    GQueue steps;            /* of QueueStep *, at least one */
    GQueue facts;            /* of Fact * */
    size_t facts_bytes;      /* of their messages */
    unsigned facts_run;      /* sent one behind the other */
    unsigned facts_together; /* at most, in one message */
    uint64_t facts_due_ns;   /* monotonic: facts are gathered up to here */
    Batch *filling; /* batch of the step before the last, if it is ours alone and may still grow */
    Filter *filter;
    uint32_t snap_length;
    uint64_t limit_bytes;
    GHashTable *interfaces; /* id -> NodeInterface */
    NodeInterface *latest;  /* the one that was looked up last */
    size_t waiting_blocks;  /* bytes of blocks */
    size_t n_events;
    uint64_t packets_due_ns; /* monotonic: packets wait to be joined up to here */
    uint64_t told_ns;        /* monotonic: when a watermark was sent last */
    uint64_t told_watermark_ns;
    bool finishing;
    QueueStats stats;
};

/* ---- Steps -----------------------------------------------------------------------------------*/

static QueueStep *last_step(const Queue *queue)
{
    return queue->steps.tail->data;
}

static void push_step(Queue *queue)
{
    g_queue_push_tail(&queue->steps, g_slice_new0(QueueStep));
}

static uint64_t batch_memory(const Batch *batch)
{
    return sizeof(*batch) + batch->capacity;
}

static void count_in(Queue *queue, const Batch *batch)
{
    queue->stats.waiting_bytes += batch_memory(batch);
    queue->stats.waiting += batch->count;
    queue->waiting_blocks += batch->length;
}

static void count_out(Queue *queue, const Batch *batch)
{
    queue->stats.waiting_bytes -= batch_memory(batch);
    queue->stats.waiting -= batch->count;
    queue->waiting_blocks -= batch->length;
}

static void append_batch(Queue *queue, Batch *batch)
{
    last_step(queue)->batch = batch;
    push_step(queue);
}

/* ---- Losses ----------------------------------------------------------------------------------*/

static NodeInterface *find_interface(Queue *queue, uint32_t id)
{
    if (!queue->latest || queue->latest->id != id) {
        queue->latest = g_hash_table_lookup(queue->interfaces, GUINT_TO_POINTER(id));
    }
    return queue->latest;
}

/* Tells the packets of a batch as dropped, by interface. Those of one interface mostly stand
 * together, and are added together: many pods may have lost packets in this step. */
static void lose_batch(Queue *queue, QueueStep *step, const Batch *batch)
{
    const Remora__V1__LossStage stage = REMORA__V1__LOSS_STAGE__LOSS_STAGE_SUBSCRIBER_QUEUE;
    PcapngPacket packet;
    const uint8_t *options;
    uint32_t options_length;
    size_t offset = 0;
    uint32_t count = batch->count;
    QueueLoss loss = {.stage = stage};
    for (; count > 0; count--) {
        int length = pcapng_packet_parse(batch->data + offset, batch->length - offset, &packet,
                                         &options, &options_length);
        if (length < 0) {
            break;
        }
        NodeInterface *interface = find_interface(queue, packet.interface_id);
        if (loss.packets > 0 && interface != loss.interface) {
            queue_step_add_loss(step, &loss);
            loss.packets = 0;
        }
        loss.interface = interface;
        loss.from_ns = loss.packets == 0 ? packet.time_ns : MIN(loss.from_ns, packet.time_ns);
        loss.to_ns = loss.packets == 0 ? packet.time_ns : MAX(loss.to_ns, packet.time_ns);
        loss.packets++;
        offset += (size_t)length;
    }
    if (loss.packets > 0) {
        queue_step_add_loss(step, &loss);
    }
    if (count > 0) {
        loss = (QueueLoss){
            .stage = stage, .packets = count, .from_ns = batch->first_ns, .to_ns = batch->last_ns};
        queue_step_add_loss(step, &loss);
    }
}

static bool drop_oldest(Queue *queue)
{
    QueueStep *step = queue->steps.head->data;
    if (!step->batch) {
        return false;
    }
    queue->stats.dropped += step->batch->count;
    lose_batch(queue, step, step->batch);
    count_out(queue, step->batch);
    if (step->batch == queue->filling) {
        queue->filling = NULL;
    }
    g_queue_pop_head(&queue->steps);
    queue_step_merge(step, queue->steps.head->data);
    queue_step_free(step);
    return true;
}

/* ---- Packets ---------------------------------------------------------------------------------*/

/* Room for one more block in a batch of our own. */
static Batch *batch_with_room(Queue *queue, size_t needed)
{
    if (!queue->filling || queue->filling->capacity - queue->filling->length < needed) {
        queue->filling = batch_new(MAX(COPY_BYTES, needed));
        count_in(queue, queue->filling);
        append_batch(queue, queue->filling);
    }
    return queue->filling;
}

static bool build_copy(PcapngBuilder *builder, const uint8_t *block, uint32_t block_length,
                       const PcapngPacket *packet, uint32_t captured_length, const uint8_t *options,
                       uint32_t options_length)
{
    if (captured_length == packet->captured_length) {
        return pcapng_build_packet_copy(builder, block, block_length, packet->interface_id, NULL,
                                        0) >= 0;
    }
    pcapng_build_packet(builder, packet->interface_id, packet->time_ns, packet->data,
                        captured_length, packet->original_length);
    const PcapngBlock view = {
        .type = PCAPNG_PACKET, .options = options, .options_length = options_length};
    const uint8_t *cursor = options;
    PcapngOption option;
    while (options && pcapng_option_next(&view, &cursor, &option) > 0) {
        pcapng_build_option(builder, option.code, option.value, option.length);
    }
    return pcapng_build_end(builder) >= 0;
}

static void copy_packet(Queue *queue, const uint8_t *block, uint32_t block_length,
                        const PcapngPacket *packet, const uint8_t *options, uint32_t options_length)
{
    uint32_t captured_length = MIN(packet->captured_length, queue->snap_length);
    /* Padding may grow by 3 bytes where the packet is cut. */
    Batch *batch =
        batch_with_room(queue, block_length - (packet->captured_length - captured_length) + 3);
    PcapngBuilder builder;
    pcapng_builder_init(&builder, batch->data + batch->length, batch->capacity - batch->length);
    if (!build_copy(&builder, block, block_length, packet, captured_length, options,
                    options_length)) {
        QueueLoss loss = {.stage = REMORA__V1__LOSS_STAGE__LOSS_STAGE_INVALID,
                          .interface = find_interface(queue, packet->interface_id),
                          .packets = 1,
                          .from_ns = packet->time_ns,
                          .to_ns = packet->time_ns};
        queue_loss(queue, &loss);
        return;
    }
    batch->first_ns = batch->count == 0 ? packet->time_ns : MIN(batch->first_ns, packet->time_ns);
    batch->last_ns = MAX(batch->last_ns, packet->time_ns);
    batch->length += builder.length;
    batch->bytes += captured_length;
    batch->count++;
    queue->waiting_blocks += builder.length;
    queue->stats.waiting++;
}

static bool packet_wanted(Queue *queue, const PcapngPacket *packet)
{
    if (!queue->filter) {
        return true;
    }
    const NodeInterface *interface = find_interface(queue, packet->interface_id);
    return interface && filter_accepts(queue->filter, interface->link_type, packet->data,
                                       packet->captured_length, packet->original_length);
}

static void copy_packets(Queue *queue, const Batch *batch)
{
    size_t offset = 0;
    for (uint32_t done = 0; done < batch->count; done++) {
        PcapngPacket packet;
        const uint8_t *options;
        uint32_t options_length;
        const uint8_t *block = batch->data + offset;
        int length =
            pcapng_packet_parse(block, batch->length - offset, &packet, &options, &options_length);
        if (length < 0) {
            QueueLoss loss = {.stage = REMORA__V1__LOSS_STAGE__LOSS_STAGE_INVALID,
                              .packets = batch->count - done,
                              .from_ns = batch->first_ns,
                              .to_ns = batch->last_ns};
            queue_loss(queue, &loss);
            return;
        }
        if (packet_wanted(queue, &packet)) {
            copy_packet(queue, block, (uint32_t)length, &packet, options, options_length);
        } else {
            queue->stats.filtered++;
        }
        offset += (size_t)length;
    }
}

/* Whether no packet is longer than the subscriber wants: the kernel may have cut them already. */
static bool batch_fits(const Queue *queue, const Batch *batch)
{
    if (queue->snap_length >= PCAPNG_PACKET_MAX) {
        return true;
    }
    PcapngPacket packet;
    const uint8_t *options;
    uint32_t options_length;
    for (size_t offset = 0; offset < batch->length;) {
        int length = pcapng_packet_parse(batch->data + offset, batch->length - offset, &packet,
                                         &options, &options_length);
        if (length < 0 || packet.captured_length > queue->snap_length) {
            return false;
        }
        offset += (size_t)length;
    }
    return true;
}

void queue_packets(Queue *queue, Batch *batch)
{
    queue->stats.offered += batch->count;
    bool sparse = batch->length < SHARE_BYTES || batch->length < batch->capacity / 4;
    if (queue->filter || sparse || !batch_fits(queue, batch)) {
        copy_packets(queue, batch);
    } else {
        queue->filling = NULL;
        count_in(queue, batch);
        append_batch(queue, batch_ref(batch));
    }
    while (queue->stats.waiting_bytes > queue->limit_bytes && drop_oldest(queue)) {
    }
}

static void release_fact(void *fact)
{
    fact_unref(fact);
}

/* ---- Everything else -------------------------------------------------------------------------*/

Queue *queue_new(uint64_t limit_bytes, uint32_t snap_length, Filter *filter)
{
    Queue *queue = g_new0(Queue, 1);
    queue->limit_bytes = limit_bytes;
    queue->snap_length = snap_length;
    queue->filter = filter;
    queue->facts_together = QUEUE_FACTS_TOGETHER;
    queue->interfaces = g_hash_table_new_full(NULL, NULL, NULL,
                                              (GDestroyNotify)(void (*)(void))node_interface_unref);
    push_step(queue);
    return queue;
}

void queue_facts_apart(Queue *queue)
{
    queue->facts_together = 1;
}

Queue *queue_free(Queue *queue)
{
    if (queue) {
        g_queue_clear_full(&queue->steps, queue_step_free);
        g_queue_clear_full(&queue->facts, release_fact);
        g_hash_table_unref(queue->interfaces);
        filter_free(queue->filter);
        g_free(queue);
    }
    return NULL;
}

static void push_event(Queue *queue, QueueEvent event)
{
    queue->filling = NULL; /* packets that come later stay behind the event */
    queue->n_events++;
    g_queue_push_tail(&last_step(queue)->events, g_slice_dup(QueueEvent, &event));
}

void queue_interface(Queue *queue, NodeInterface *interface)
{
    g_hash_table_insert(queue->interfaces, GUINT_TO_POINTER(interface->id),
                        node_interface_ref(interface));
    queue->latest = NULL;
    push_event(queue, (QueueEvent){.interface = node_interface_ref(interface)});
}

bool queue_has_interface(const Queue *queue, uint32_t id)
{
    return g_hash_table_contains(queue->interfaces, GUINT_TO_POINTER(id));
}

void queue_identity(Queue *queue, const Entity *entity, uint64_t deleted_ns)
{
    push_event(queue, (QueueEvent){.entity = entity_ref(entity), .deleted_ns = deleted_ns});
}

void queue_synced(Queue *queue)
{
    push_event(queue, (QueueEvent){0});
}

void queue_fact(Queue *queue, Fact *fact)
{
    if (queue->facts.length >= QUEUE_FACTS_MAX ||
        queue->facts_bytes + fact->length > QUEUE_FACTS_BYTES_MAX) {
        queue->stats.facts_dropped++;
        return;
    }
    queue->facts_bytes += fact->length;
    g_queue_push_tail(&queue->facts, fact_ref(fact));
}

void queue_loss(Queue *queue, const QueueLoss *loss)
{
    queue->filling = NULL;
    if (loss->stage == REMORA__V1__LOSS_STAGE__LOSS_STAGE_INVALID) {
        queue->stats.invalid += loss->packets;
    } else if (loss->stage == REMORA__V1__LOSS_STAGE__LOSS_STAGE_KERNEL_RING) {
        queue->stats.kernel_lost += loss->packets;
    } else if (loss->stage == REMORA__V1__LOSS_STAGE__LOSS_STAGE_CAPTURE_START) {
        queue->stats.start_losses++;
    }
    queue_step_add_loss(last_step(queue), loss);
}

void queue_watermark(Queue *queue, uint64_t unix_ns)
{
    QueueStep *step = last_step(queue);
    step->watermark_ns = MAX(step->watermark_ns, unix_ns);
}

void queue_finish(Queue *queue)
{
    queue->finishing = true;
}

void queue_drop_all(Queue *queue)
{
    while (drop_oldest(queue)) {
    }
    g_queue_clear_full(&queue->facts, release_fact);
    queue->facts_bytes = 0;
}

static void pop_event(Queue *queue, QueueStep *step, QueueMessage *ret)
{
    QueueEvent *event = g_queue_pop_head(&step->events);
    queue->n_events--;
    ret->type = event->interface ? QUEUE_INTERFACE : event->entity ? QUEUE_IDENTITY : QUEUE_SYNCED;
    ret->interface = g_steal_pointer(&event->interface);
    ret->entity = g_steal_pointer(&event->entity);
    ret->deleted_ns = event->deleted_ns;
    queue_event_free(event);
}

static void pop_loss(QueueStep *step, QueueMessage *ret)
{
    ret->type = QUEUE_LOSS;
    ret->loss = queue_loss_ref(&g_array_index(step->losses, QueueLoss, 0));
    g_array_remove_index(step->losses, 0);
    if (step->losses->len == 0) {
        g_clear_pointer(&step->losses, g_array_unref);
    }
}

static bool step_is_quiet(const QueueStep *step)
{
    return step->events.length == 0 && !step->losses;
}

/* Takes batches up to the next event or loss, about STREAM_BATCH_BYTES of them. */
static void pop_packets(Queue *queue, QueueMessage *ret)
{
    StreamPackets *packets = &ret->packets;
    QueueStep *step;
    while ((step = queue->steps.head->data)->batch && step_is_quiet(step) &&
           ret->n_batches < QUEUE_BATCHES_MAX) {
        Batch *batch = step->batch;
        if (ret->n_batches > 0 && packets->blocks_length + batch->length > STREAM_BATCH_BYTES) {
            break;
        }
        packets->first_unix_ns =
            ret->n_batches == 0 ? batch->first_ns : MIN(packets->first_unix_ns, batch->first_ns);
        packets->last_unix_ns = MAX(packets->last_unix_ns, batch->last_ns);
        packets->count += batch->count;
        packets->blocks_length += batch->length;
        ret->batches[ret->n_batches++] = g_steal_pointer(&step->batch);
        count_out(queue, batch);
        if (batch == queue->filling) {
            queue->filling = NULL;
        }
        queue->told_watermark_ns = MAX(queue->told_watermark_ns, step->watermark_ns);
        queue_step_free(g_queue_pop_head(&queue->steps));
    }
    /* What stands behind the last batch taken holds as well: everything that was given before it is
     * told or sent now. */
    queue->told_watermark_ns = MAX(queue->told_watermark_ns, step->watermark_ns);
    packets->watermark_unix_ns = queue->told_watermark_ns;
    ret->type = QUEUE_PACKETS;
    queue->stats.sent += packets->count;
    queue->stats.bytes_sent += packets->blocks_length;
}

static bool packets_are_due(const Queue *queue, uint64_t now_ns)
{
    return queue->finishing || queue->waiting_blocks >= STREAM_BATCH_BYTES ||
           now_ns >= queue->packets_due_ns;
}

static uint64_t heartbeat_due_ns(const Queue *queue)
{
    return queue->told_ns + QUEUE_HEARTBEAT_NS;
}

/* When they go, though further ones may come. What else is due may not overtake them. */
static uint64_t facts_due_ns(const Queue *queue, const QueueStep *step)
{
    bool enough = queue->facts_together == 1 || queue->facts.length >= queue->facts_together ||
                  queue->facts_bytes >= QUEUE_FACTS_JOINED;
    if (enough || queue->finishing) {
        return 0;
    }
    uint64_t next_ns = step->batch ? queue->packets_due_ns : heartbeat_due_ns(queue);
    return MIN(queue->facts_due_ns, next_ns);
}

/* Whether the next facts go first. */
static bool facts_are_due(const Queue *queue, const QueueStep *step, uint64_t now_ns)
{
    bool packets = step->batch && packets_are_due(queue, now_ns);
    if (queue->facts.length == 0 || (packets && queue->facts_run >= QUEUE_FACTS_RUN)) {
        return false;
    }
    return packets || now_ns >= facts_due_ns(queue, step);
}

static void pop_facts(Queue *queue, uint64_t now_ns, QueueMessage *ret)
{
    const Fact *next;
    ret->type = QUEUE_FACTS;
    do {
        Fact *fact = g_queue_pop_head(&queue->facts);
        queue->facts_bytes -= fact->length;
        queue->facts_run++;
        ret->facts_bytes += fact->length;
        ret->facts[ret->n_facts++] = fact;
        next = g_queue_peek_head(&queue->facts);
    } while (next && ret->n_facts < queue->facts_together &&
             ret->facts_bytes + next->length <= QUEUE_FACTS_JOINED);
    queue->facts_due_ns = now_ns + QUEUE_FACTS_GATHER_NS;
}

void queue_next(Queue *queue, uint64_t now_ns, QueueMessage *ret)
{
    *ret = (QueueMessage){.type = QUEUE_NOTHING};
    QueueStep *step = queue->steps.head->data;
    if (!g_queue_is_empty(&step->events)) {
        pop_event(queue, step, ret);
    } else if (step->losses) {
        pop_loss(step, ret);
    } else if (facts_are_due(queue, step, now_ns)) {
        pop_facts(queue, now_ns, ret);
    } else if (step->batch) {
        if (packets_are_due(queue, now_ns)) {
            pop_packets(queue, ret);
            queue->facts_run = 0;
            queue->packets_due_ns = now_ns + STREAM_BATCH_NS;
            queue->told_ns = now_ns;
        }
    } else if (!queue->finishing && now_ns >= heartbeat_due_ns(queue)) {
        queue->told_watermark_ns = MAX(queue->told_watermark_ns, step->watermark_ns);
        ret->type = QUEUE_HEARTBEAT;
        ret->packets.watermark_unix_ns = queue->told_watermark_ns;
        queue->told_ns = now_ns;
    }
}

uint64_t queue_due_ns(const Queue *queue)
{
    const QueueStep *step = queue->steps.head->data;
    if (!step_is_quiet(step) || (step->batch && packets_are_due(queue, 0))) {
        return 0;
    }
    if (queue->facts.length > 0) {
        return facts_due_ns(queue, step);
    }
    if (step->batch) {
        return queue->packets_due_ns;
    }
    return queue->finishing ? UINT64_MAX : heartbeat_due_ns(queue);
}

void queue_message_clear(QueueMessage *message)
{
    node_interface_unref(message->interface);
    entity_unref(message->entity);
    for (size_t i = 0; i < message->n_facts; i++) {
        fact_unref(message->facts[i]);
    }
    queue_loss_clear(&message->loss);
    for (size_t i = 0; i < message->n_batches; i++) {
        if (message->batches[i]) {
            batch_unref(message->batches[i]);
        }
    }
    *message = (QueueMessage){.type = QUEUE_NOTHING};
}

bool queue_is_empty(const Queue *queue)
{
    const QueueStep *step = queue->steps.head->data;
    return step_is_quiet(step) && !step->batch && queue->facts.length == 0;
}

size_t queue_events(const Queue *queue)
{
    return queue->n_events;
}

void queue_stats(const Queue *queue, QueueStats *ret)
{
    *ret = queue->stats;
}

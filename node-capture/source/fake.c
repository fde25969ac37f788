// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/source/fake.h"

#include <errno.h>

#include <glib.h>

#include "common/clock.h"
#include "node-capture/source/epb.h"

typedef enum EventKind {
    EVENT_WAKE,
    EVENT_INTERFACE,
    EVENT_PACKETS,
    EVENT_LOST,
    EVENT_WATERMARK,
    EVENT_ENDED,
} EventKind;

/* Something to tell. */
typedef struct Event {
    EventKind kind;
    uint32_t target_id;
    SourceInterface interface;
    char *text; /* device or message */
    Batch *batch;
    uint64_t packets, from_ns, to_ns;
    bool unknown;
    int error;
} Event;

typedef struct Fake {
    Source source;
    SourceCallbacks callbacks;
    void *userdata;
    GAsyncQueue *events;
    GMutex lock;         /* for what follows */
    GHashTable *targets; /* id -> SourceTargetStats */
    GHashTable *kept;    /* id -> Batch: for remove() */
    uint32_t snap_length;
    int add_error;
    const char *add_message;
} Fake;

static inline Fake *fake(const Source *source)
{
    return (Fake *)source;
}

static void event_free(void *data)
{
    Event *event = data;
    batch_unref(event->batch);
    g_free(event->text);
    g_free(event);
}

static void push(Source *source, const Event *event)
{
    g_async_queue_push(fake(source)->events, g_memdup2(event, sizeof *event));
}

void source_fake_interface(Source *source, const SourceInterface *interface)
{
    push(source, &(Event){.kind = EVENT_INTERFACE,
                          .interface = *interface,
                          .text = g_strdup(interface->device)});
}

void source_fake_packets(Source *source, uint32_t target_id, Batch *batch)
{
    push(source, &(Event){.kind = EVENT_PACKETS, .target_id = target_id, .batch = batch});
}

void source_fake_packet(Source *source, uint32_t target_id, uint32_t interface_id, uint64_t time_ns,
                        const void *data, uint32_t captured_length, uint32_t original_length)
{
    const EpbPacket packet = {
        .interface_id = interface_id,
        .time_ns = time_ns,
        .captured_length = captured_length,
        .original_length = original_length,
        .flags = PCAPNG_DIRECTION_INBOUND,
        .data = data,
    };
    Batch *batch = batch_new(epb_room(captured_length));
    batch->length = epb_write(batch->data, &packet);
    batch->count = 1;
    batch->bytes = captured_length;
    batch->first_ns = batch->last_ns = time_ns;
    source_fake_packets(source, target_id, batch);
}

void source_fake_lost(Source *source, uint32_t target_id, uint64_t packets, uint64_t from_ns,
                      uint64_t to_ns, bool unknown)
{
    push(source, &(Event){.kind = EVENT_LOST,
                          .target_id = target_id,
                          .packets = packets,
                          .from_ns = from_ns,
                          .to_ns = to_ns,
                          .unknown = unknown});
}

void source_fake_watermark(Source *source, uint64_t unix_ns)
{
    push(source, &(Event){.kind = EVENT_WATERMARK, .to_ns = unix_ns});
}

void source_fake_ended(Source *source, uint32_t target_id, int error, const char *message)
{
    push(source, &(Event){.kind = EVENT_ENDED,
                          .target_id = target_id,
                          .error = error,
                          .text = g_strdup(message)});
}

static void batch_release(void *batch)
{
    batch_unref(batch);
}

void source_fake_packets_at_remove(Source *source, uint32_t target_id, Batch *batch)
{
    Fake *self = fake(source);
    g_mutex_lock(&self->lock);
    g_hash_table_replace(self->kept, GUINT_TO_POINTER(target_id), batch);
    g_mutex_unlock(&self->lock);
}

void source_fake_fail_add(Source *source, int error, const char *message)
{
    Fake *self = fake(source);
    g_mutex_lock(&self->lock);
    self->add_error = error;
    self->add_message = message;
    g_mutex_unlock(&self->lock);
}

bool source_fake_has_target(const Source *source, uint32_t target_id)
{
    Fake *self = fake(source);
    g_mutex_lock(&self->lock);
    bool has = g_hash_table_contains(self->targets, GUINT_TO_POINTER(target_id));
    g_mutex_unlock(&self->lock);
    return has;
}

unsigned source_fake_targets(const Source *source)
{
    Fake *self = fake(source);
    g_mutex_lock(&self->lock);
    unsigned count = g_hash_table_size(self->targets);
    g_mutex_unlock(&self->lock);
    return count;
}

uint32_t source_fake_snap_length(const Source *source)
{
    Fake *self = fake(source);
    g_mutex_lock(&self->lock);
    uint32_t snap_length = self->snap_length;
    g_mutex_unlock(&self->lock);
    return snap_length;
}

/* ---- The vtable ---------------------------------------------------------------------------- */

static int fake_add(Source *source, const CaptureTarget *target, const char **ret_message)
{
    Fake *self = fake(source);
    g_mutex_lock(&self->lock);
    int error = self->add_error;
    if (error)
        *ret_message = self->add_message;
    else if (!g_hash_table_insert(self->targets, GUINT_TO_POINTER(target->id),
                                  g_new0(SourceTargetStats, 1))) {
        error = -EEXIST;
        *ret_message = "the target is there already";
    }
    g_mutex_unlock(&self->lock);
    return error;
}

static int fake_set_snap_length(Source *source, uint32_t bytes)
{
    Fake *self = fake(source);
    g_mutex_lock(&self->lock);
    self->snap_length = bytes;
    g_mutex_unlock(&self->lock);
    return 0;
}

static void count(Fake *self, const Event *event)
{
    g_mutex_lock(&self->lock);
    SourceTargetStats *stats =
        g_hash_table_lookup(self->targets, GUINT_TO_POINTER(event->target_id));
    if (stats && event->batch) {
        stats->packets += event->batch->count;
        stats->bytes += event->batch->bytes;
    }
    if (stats && event->kind == EVENT_LOST)
        stats->lost += event->packets;
    g_mutex_unlock(&self->lock);
}

static void fake_stats(const Source *source, uint32_t target_id, SourceTargetStats *ret)
{
    Fake *self = fake(source);
    g_mutex_lock(&self->lock);
    const SourceTargetStats *stats =
        g_hash_table_lookup(self->targets, GUINT_TO_POINTER(target_id));
    *ret = stats ? *stats : (SourceTargetStats){0};
    g_mutex_unlock(&self->lock);
}

static Batch *take_kept(Fake *self, uint32_t target_id)
{
    void *batch = NULL;
    g_mutex_lock(&self->lock);
    if (g_hash_table_contains(self->targets, GUINT_TO_POINTER(target_id)))
        g_hash_table_steal_extended(self->kept, GUINT_TO_POINTER(target_id), NULL, &batch);
    g_mutex_unlock(&self->lock);
    return batch;
}

static void fake_remove(Source *source, uint32_t target_id, SourceTargetStats *ret_stats)
{
    Fake *self = fake(source);
    Batch *batch = take_kept(self, target_id);
    if (batch) {
        count(self, &(Event){.kind = EVENT_PACKETS, .target_id = target_id, .batch = batch});
        self->callbacks.packets(target_id, batch, self->userdata);
        batch_unref(batch);
    }
    if (ret_stats)
        fake_stats(source, target_id, ret_stats);
    g_mutex_lock(&self->lock);
    g_hash_table_remove(self->targets, GUINT_TO_POINTER(target_id));
    g_mutex_unlock(&self->lock);
}

static void tell(Fake *self, Event *event)
{
    const SourceCallbacks *callbacks = &self->callbacks;
    switch (event->kind) {
    case EVENT_INTERFACE:
        event->interface.device = event->text;
        callbacks->interface(&event->interface, self->userdata);
        break;
    case EVENT_PACKETS:
        callbacks->packets(event->target_id, event->batch, self->userdata);
        break;
    case EVENT_LOST:
        callbacks->lost(event->target_id, event->packets, event->from_ns, event->to_ns,
                        event->unknown, self->userdata);
        break;
    case EVENT_WATERMARK:
        callbacks->watermark(event->to_ns, self->userdata);
        break;
    case EVENT_ENDED:
        callbacks->ended(event->target_id, event->error, event->text, self->userdata);
        break;
    case EVENT_WAKE:
        break;
    }
}

/* The next event, waiting for it until `deadline` at most. */
static Event *pop(Fake *self, uint64_t deadline)
{
    uint64_t now = clock_monotonic_ns();
    if (now >= deadline)
        return g_async_queue_try_pop(self->events);
    return g_async_queue_timeout_pop(self->events, (deadline - now) / 1000);
}

static int fake_run(Source *source, int timeout_ms)
{
    Fake *self = fake(source);
    uint64_t now = clock_monotonic_ns();
    uint64_t deadline = timeout_ms < 0 ? now + G_MAXINT64 : now + (uint64_t)timeout_ms * 1000000u;
    Event *event;
    while ((event = pop(self, deadline))) {
        bool wake = event->kind == EVENT_WAKE;
        count(self, event);
        tell(self, event);
        event_free(event);
        if (wake)
            return -EINTR;
    }
    return 0;
}

static void fake_wake(Source *source)
{
    push(source, &(Event){.kind = EVENT_WAKE});
}

static uint64_t fake_ring_bytes(const Source *source)
{
    return 0;
}

static void fake_free(Source *source)
{
    Fake *self = fake(source);
    if (!self)
        return;
    g_async_queue_unref(self->events);
    g_hash_table_unref(self->targets);
    g_hash_table_unref(self->kept);
    g_mutex_clear(&self->lock);
    g_free(self);
}

static const SourceOps fake_ops = {
    .name = "fake",
    .free = fake_free,
    .add = fake_add,
    .remove = fake_remove,
    .set_snap_length = fake_set_snap_length,
    .run = fake_run,
    .wake = fake_wake,
    .stats = fake_stats,
    .ring_bytes = fake_ring_bytes,
};

Source *source_fake_new(const SourceCallbacks *callbacks, void *userdata)
{
    Fake *self = g_new0(Fake, 1);
    self->source.ops = &fake_ops;
    self->callbacks = *callbacks;
    self->userdata = userdata;
    self->events = g_async_queue_new_full(event_free);
    self->targets = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    self->kept = g_hash_table_new_full(NULL, NULL, NULL, batch_release);
    g_mutex_init(&self->lock);
    return &self->source;
}

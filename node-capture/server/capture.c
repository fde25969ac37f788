// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/server/capture.h"

#include <errno.h>
#include <fcntl.h>

#include "common/clock.h"
#include "common/log.h"

#define NS_PER_MS 1000000u
#define RETRY_NS \
    1000000000u /* between attempts to open a pod that somebody wants and that failed */
/* A pod is often known a moment before its namespace is there, and still known a while after. */
#define SETTLE_NS 2000000000u

typedef struct EndedTarget {
    uint32_t target_id;
    int error;
    char *message;
} EndedTarget;

struct Capture {
    Source *source;
    const Selector *allowed;
    GHashTable *pods;   /* uid -> Pod */
    GHashTable *open;   /* target id -> Pod */
    GPtrArray *streams; /* of Stream * */
    GArray *ended;      /* of EndedTarget: told inside run(), closed after it */
    uint32_t last_target_id;
    uint32_t kernel_snap_length;
    uint64_t retry_ns; /* monotonic */
    uint64_t wishes;
    CaptureStats stats;
    void (*before_packets)(void *userdata);
    void *before_userdata;
    CaptureWatch watch; /* or NULL */
    void *watch_userdata;
};

/* ---- Pods ------------------------------------------------------------------------------------*/

static void pod_open(Capture *capture, Pod *pod)
{
    g_autofree char *label = pod_label(pod);
    CaptureTarget target = {++capture->last_target_id, pod->entity->uid, label, pod->netns_fd};
    pod->target_id = target.id;
    g_hash_table_insert(capture->open, GUINT_TO_POINTER(target.id), pod);

    const char *message = NULL;
    int error = capture->source->ops->add(capture->source, &target, &message);
    if (error == 0) {
        capture->stats.opened++;
        pod->told = false;
        pod_set_reason(pod, NULL);
        log_debug("pod %s: captured", label);
        return;
    }
    g_hash_table_remove(capture->open, GUINT_TO_POINTER(target.id));
    pod->target_id = 0;
    g_ptr_array_set_size(pod->interfaces, 0);
    capture->stats.open_failures++;
    g_autofree char *reason = g_strdup_printf("cannot be captured: %s: %s",
                                              message ? message : "opening it", g_strerror(-error));
    pod_set_reason(pod, reason);
    pod_tell_missing(pod);
}

static void pod_close(Capture *capture, Pod *pod)
{
    if (pod->target_id == 0) {
        return;
    }
    SourceTargetStats final;
    capture->source->ops->remove(capture->source, pod->target_id, &final);
    pod->past.packets += final.packets;
    pod->past.bytes += final.bytes;
    pod->past.lost += final.lost;
    g_hash_table_remove(capture->open, GUINT_TO_POINTER(pod->target_id));
    g_ptr_array_set_size(pod->interfaces, 0);
    pod->target_id = 0;
}

/* ---- Who wants what --------------------------------------------------------------------------*/

static bool pod_wanted_by(const Pod *pod, const Stream *stream)
{
    return !pod->excluded && selector_matches(stream_wish(stream)->selector, pod->entity);
}

/* Before anything is told of it: once a stream has its initial state, all that it asked for is
 * being captured. */
static void pod_open_once(Capture *capture, Pod *pod)
{
    if (pod->target_id == 0 && pod->netns_fd >= 0) {
        pod_open(capture, pod);
    }
}

static void subscribe(Capture *capture, Pod *pod, Stream *stream)
{
    capture->wishes++;
    pod_subscribe(pod, stream);
}

static void pod_unsubscribe(Capture *capture, Pod *pod, Stream *stream)
{
    capture->wishes++;
    if (g_ptr_array_remove_fast(pod->streams, stream) && pod->streams->len == 0) {
        pod_close(capture, pod);
    }
}

/* The kernel copies what the most demanding stream wants. */
static void update_snap_length(Capture *capture)
{
    uint32_t snap_length = 0;
    for (guint i = 0; i < capture->streams->len; i++) {
        snap_length =
            MAX(snap_length, stream_wish(g_ptr_array_index(capture->streams, i))->snap_length);
    }
    if (snap_length > 0 && snap_length != capture->kernel_snap_length) {
        int error = capture->source->ops->set_snap_length(capture->source, snap_length);
        if (error < 0) {
            log_warning("snap length %u cannot be set: %s", snap_length, g_strerror(-error));
        } else {
            capture->kernel_snap_length = snap_length;
        }
    }
}

void capture_add_stream(Capture *capture, Stream *stream)
{
    g_ptr_array_add(capture->streams, stream_ref(stream));
    stream_join(stream);
    update_snap_length(capture);
    GHashTableIter iter;
    Pod *pod;
    g_hash_table_iter_init(&iter, capture->pods);
    while (g_hash_table_iter_next(&iter, NULL, (void **)&pod)) {
        if (pod_wanted_by(pod, stream)) {
            pod_open_once(capture, pod);
        }
    }
}

void capture_begin_stream(Capture *capture, Stream *stream)
{
    GHashTableIter iter;
    Pod *pod;
    g_hash_table_iter_init(&iter, capture->pods);
    while (g_hash_table_iter_next(&iter, NULL, (void **)&pod)) {
        if (pod_wanted_by(pod, stream)) {
            subscribe(capture, pod, stream);
        }
    }
}

static void add_stream_stats(StreamStats *sum, const StreamStats *stats)
{
    sum->messages_sent += stats->messages_sent;
    sum->queue.offered += stats->queue.offered;
    sum->queue.sent += stats->queue.sent;
    sum->queue.filtered += stats->queue.filtered;
    sum->queue.dropped += stats->queue.dropped;
    sum->queue.invalid += stats->queue.invalid;
    sum->queue.facts_dropped += stats->queue.facts_dropped;
    sum->queue.kernel_lost += stats->queue.kernel_lost;
    sum->queue.start_losses += stats->queue.start_losses;
    sum->queue.bytes_sent += stats->queue.bytes_sent;
    sum->queue.waiting += stats->queue.waiting;
}

bool capture_remove_stream(Capture *capture, Stream *stream)
{
    if (!g_ptr_array_find(capture->streams, stream, NULL)) {
        return false;
    }
    GHashTableIter iter;
    Pod *pod;
    g_hash_table_iter_init(&iter, capture->pods);
    while (g_hash_table_iter_next(&iter, NULL, (void **)&pod)) {
        pod_unsubscribe(capture, pod, stream);
    }
    StreamStats stats;
    stream_stats(stream, &stats);
    add_stream_stats(&capture->stats.closed_streams, &stats);
    g_ptr_array_remove(capture->streams, stream);
    update_snap_length(capture);
    return true;
}

const GPtrArray *capture_streams(const Capture *capture)
{
    return capture->streams;
}

/* ---- Pods come and go ------------------------------------------------------------------------*/

static Pod *add_pod(Capture *capture, const Entity *entity, int netns_fd)
{
    Pod *pod = pod_new(entity, netns_fd);
    pod->excluded = !selector_matches(capture->allowed, entity);
    g_hash_table_insert(capture->pods, g_strdup(entity->uid), pod);
    return pod;
}

/* Opens the pod, or closes it, as the streams and the configuration want it now. Who gets it only
 * now misses what passed from `since_ns` on. */
static void pod_match_streams(Capture *capture, Pod *pod, uint64_t since_ns)
{
    for (guint i = 0; i < capture->streams->len; i++) {
        Stream *stream = g_ptr_array_index(capture->streams, i);
        bool has = g_ptr_array_find(pod->streams, stream, NULL);
        bool wants = pod_wanted_by(pod, stream);
        if (wants && !has) {
            pod_open_once(capture, pod);
            subscribe(capture, pod, stream);
            if (pod->target_id != 0) {
                pod_tell_late(pod, stream, since_ns);
            }
        } else if (!wants && has) {
            pod_unsubscribe(capture, pod, stream);
        }
    }
}

/* A pod that was left out so far has counts to keep. */
void capture_pod_appeared(Capture *capture, const Entity *entity, int netns_fd, uint64_t since_ns)
{
    SourceTargetStats past = {0};
    Pod *pod = g_hash_table_lookup(capture->pods, entity->uid);
    if (pod && pod->left_out) {
        past = pod->past;
    }
    capture_pod_vanished(capture, entity->uid);
    pod = add_pod(capture, entity, fcntl(netns_fd, F_DUPFD_CLOEXEC, 0));
    pod->past = past;
    if (pod->netns_fd < 0) {
        pod_set_reason(pod, "no file descriptor is left for its network namespace");
    }
    pod_match_streams(capture, pod, since_ns);
}

void capture_pod_vanished(Capture *capture, const char *uid)
{
    Pod *pod = g_hash_table_lookup(capture->pods, uid);
    if (pod) {
        pod_close(capture, pod);
        capture->wishes++;
        g_hash_table_remove(capture->pods, uid);
    }
}

void capture_pod_failed(Capture *capture, const Entity *entity, const char *reason)
{
    Pod *pod = g_hash_table_lookup(capture->pods, entity->uid);
    bool is_new = !pod;
    if (is_new) {
        pod = add_pod(capture, entity, -1);
    }
    pod->left_out = NULL;
    pod_set_reason(pod, reason);
    if (is_new) {
        pod->settle_ns = clock_monotonic_ns() + SETTLE_NS;
        pod_match_streams(capture, pod, TARGETS_AT_ONCE);
    }
}

void capture_pod_left_out(Capture *capture, const Entity *entity, bool excluded, const char *reason)
{
    Pod *pod = g_hash_table_lookup(capture->pods, entity->uid);
    if (!pod) {
        pod = add_pod(capture, entity, -1);
    }
    pod_close(capture, pod);
    if (pod->netns_fd >= 0) {
        close(pod->netns_fd);
        pod->netns_fd = -1;
        pod->netns_inode = 0;
        capture->wishes++;
    }
    pod_set_reason(pod, NULL);
    pod->left_out = reason;
    pod->absent = !excluded;
}

void capture_pod_changed(Capture *capture, const Entity *entity)
{
    Pod *pod = g_hash_table_lookup(capture->pods, entity->uid);
    if (pod) {
        /* Who did not want it by its uid alone may want it by its name and labels. */
        uint64_t since_ns =
            entity_is_provisional(pod->entity) ? pod->entity->from_ns : TARGETS_AT_ONCE;
        entity_unref(pod->entity);
        pod->entity = entity_ref(entity);
        pod->excluded = !selector_matches(capture->allowed, entity);
        pod_match_streams(capture, pod, since_ns);
    }
}

/* ---- What the source tells -------------------------------------------------------------------*/

static void on_interface(const SourceInterface *told, void *userdata)
{
    Capture *capture = userdata;
    Pod *pod = g_hash_table_lookup(capture->open, GUINT_TO_POINTER(told->target_id));
    if (!pod) {
        return;
    }
    g_autofree char *label = pod_label(pod);
    NodeInterface *interface = node_interface_new(told, pod->entity->uid, label);
    g_ptr_array_add(pod->interfaces, interface);
    for (guint i = 0; i < pod->streams->len; i++) {
        Stream *stream = g_ptr_array_index(pod->streams, i);
        queue_interface(stream_lock(stream), interface);
        stream_unlock(stream);
    }
}

static void tell_before(const Capture *capture)
{
    if (capture->before_packets) {
        capture->before_packets(capture->before_userdata);
    }
}

static void watch(const Capture *capture, const Pod *pod, const Batch *batch, uint64_t time_ns)
{
    if (capture->watch) {
        capture->watch(pod, batch, time_ns, capture->watch_userdata);
    }
}

static void on_packets(uint32_t target_id, Batch *batch, void *userdata)
{
    Capture *capture = userdata;
    const Pod *pod = g_hash_table_lookup(capture->open, GUINT_TO_POINTER(target_id));
    if (!pod) {
        return;
    }
    tell_before(capture);
    watch(capture, pod, batch, batch->first_ns);
    capture->stats.packets += batch->count;
    capture->stats.bytes += batch->bytes;
    for (guint i = 0; i < pod->streams->len; i++) {
        Stream *stream = g_ptr_array_index(pod->streams, i);
        queue_packets(stream_lock(stream), batch);
        stream_unlock(stream);
    }
}

/* A ring serves all devices of a pod: its losses are told on the device that carries most, the
 * first that is no loopback. */
static NodeInterface *main_interface(const Pod *pod)
{
    for (guint i = 0; i < pod->interfaces->len; i++) {
        NodeInterface *interface = g_ptr_array_index(pod->interfaces, i);
        if (!interface->loopback) {
            return interface;
        }
    }
    return pod->interfaces->len > 0 ? g_ptr_array_index(pod->interfaces, 0) : NULL;
}

static void on_lost(uint32_t target_id, uint64_t packets, uint64_t from_ns, uint64_t to_ns,
                    bool unknown, void *userdata)
{
    Capture *capture = userdata;
    const Pod *pod = g_hash_table_lookup(capture->open, GUINT_TO_POINTER(target_id));
    if (!pod) {
        return;
    }
    capture->stats.kernel_lost += packets;
    watch(capture, pod, NULL, to_ns);
    QueueLoss loss = {.stage = REMORA__V1__LOSS_STAGE__LOSS_STAGE_KERNEL_RING,
                      .interface = main_interface(pod),
                      .packets = packets,
                      .from_ns = from_ns,
                      .to_ns = to_ns,
                      .unknown = unknown};
    for (guint i = 0; i < pod->streams->len; i++) {
        Stream *stream = g_ptr_array_index(pod->streams, i);
        queue_loss(stream_lock(stream), &loss);
        stream_unlock(stream);
    }
}

static void on_watermark(uint64_t unix_ns, void *userdata)
{
    Capture *capture = userdata;
    tell_before(capture);
    for (guint i = 0; i < capture->streams->len; i++) {
        Stream *stream = g_ptr_array_index(capture->streams, i);
        queue_watermark(stream_lock(stream), unix_ns - MIN(unix_ns, stream_delay_ns(stream)));
        stream_unlock(stream);
    }
}

/* The source is in the middle of its work: the target is closed after that. */
static void on_ended(uint32_t target_id, int error, const char *message, void *userdata)
{
    Capture *capture = userdata;
    EndedTarget ended = {target_id, error, g_strdup(message)};
    g_array_append_val(capture->ended, ended);
}

const SourceCallbacks capture_source_callbacks = {
    .interface = on_interface,
    .packets = on_packets,
    .lost = on_lost,
    .watermark = on_watermark,
    .ended = on_ended,
};

/* ---- Work ------------------------------------------------------------------------------------*/

static void ended_clear(void *data)
{
    g_free(((EndedTarget *)data)->message);
}

static void close_ended(Capture *capture)
{
    for (guint i = 0; i < capture->ended->len; i++) {
        const EndedTarget *ended = &g_array_index(capture->ended, EndedTarget, i);
        Pod *pod = g_hash_table_lookup(capture->open, GUINT_TO_POINTER(ended->target_id));
        if (!pod) {
            continue;
        }
        pod_close(capture, pod);
        g_autofree char *reason =
            ended->error == 0 ? g_strdup("its network namespace is gone")
                              : g_strdup_printf("can no longer be captured: %s: %s",
                                                ended->message ? ended->message : "its socket",
                                                g_strerror(ABS(ended->error)));
        pod_set_reason(pod, reason);
        if (ended->error != 0) {
            pod_tell_missing(pod);
        }
    }
    g_array_set_size(capture->ended, 0);
}

/* It is of no use to wait any longer for the namespace. */
static void pod_settle(Pod *pod)
{
    pod->settle_ns = 0;
    if (pod_is_missing(pod)) {
        pod_tell_missing(pod);
    }
}

static void retry_failed(Capture *capture)
{
    uint64_t now_ns = clock_monotonic_ns();
    if (now_ns < capture->retry_ns) {
        return;
    }
    capture->retry_ns = now_ns + RETRY_NS;
    GHashTableIter iter;
    Pod *pod;
    g_hash_table_iter_init(&iter, capture->pods);
    while (g_hash_table_iter_next(&iter, NULL, (void **)&pod)) {
        if (pod->streams->len > 0 && pod->target_id == 0 && pod->netns_fd >= 0) {
            pod_open(capture, pod);
        }
        if (pod->settle_ns != 0 && now_ns >= pod->settle_ns) {
            pod_settle(pod);
        }
    }
}

/* Milliseconds until something is due for a stream, but at most `most_ms`. */
static int serve_streams(const Capture *capture, int most_ms)
{
    uint64_t due_ns = UINT64_MAX;
    for (guint i = 0; i < capture->streams->len; i++) {
        uint64_t stream_due_ns = stream_serve(g_ptr_array_index(capture->streams, i));
        due_ns = MIN(due_ns, stream_due_ns);
    }
    uint64_t now_ns = clock_monotonic_ns();
    uint64_t wait_ms = due_ns > now_ns ? (due_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS : 0;
    return (int)MIN(wait_ms, (uint64_t)most_ms);
}

void capture_run(Capture *capture, int timeout_ms)
{
    int wait_ms = serve_streams(capture, timeout_ms);
    capture->source->ops->run(capture->source, wait_ms);
    close_ended(capture);
    retry_failed(capture);
}

uint64_t capture_wishes(const Capture *capture)
{
    return capture->wishes;
}

void capture_wake(Capture *capture)
{
    capture->source->ops->wake(capture->source);
}

void capture_stats(const Capture *capture, CaptureStats *ret)
{
    *ret = capture->stats;
}

uint64_t capture_ring_bytes(const Capture *capture)
{
    return capture->source->ops->ring_bytes(capture->source);
}

GHashTable *capture_pods(const Capture *capture)
{
    return capture->pods;
}

void capture_pod_stats(const Capture *capture, const Pod *pod, SourceTargetStats *ret)
{
    SourceTargetStats now = {0};
    if (pod->target_id) {
        capture->source->ops->stats(capture->source, pod->target_id, &now);
    }
    ret->packets = pod->past.packets + now.packets;
    ret->bytes = pod->past.bytes + now.bytes;
    ret->lost = pod->past.lost + now.lost;
    ret->ring_bytes = now.ring_bytes;
}

Capture *capture_new(const Selector *allowed)
{
    Capture *capture = g_new0(Capture, 1);
    capture->allowed = allowed;
    capture->pods = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, pod_free);
    capture->open = g_hash_table_new(NULL, NULL);
    capture->streams = g_ptr_array_new_with_free_func((GDestroyNotify)(void (*)(void))stream_unref);
    capture->ended = g_array_new(FALSE, FALSE, sizeof(EndedTarget));
    g_array_set_clear_func(capture->ended, ended_clear);
    return capture;
}

void capture_close_pods(Capture *capture)
{
    GHashTableIter iter;
    Pod *pod;
    g_hash_table_iter_init(&iter, capture->pods);
    while (g_hash_table_iter_next(&iter, NULL, (void **)&pod)) {
        pod_close(capture, pod);
    }
}

Capture *capture_free(Capture *capture)
{
    capture_close_pods(capture);
    if (capture->source) {
        capture->source->ops->free(capture->source);
    }
    g_hash_table_unref(capture->open);
    g_hash_table_unref(capture->pods);
    g_ptr_array_unref(capture->streams);
    g_array_unref(capture->ended);
    g_free(capture);
    return NULL;
}

void capture_set_source(Capture *capture, Source *source)
{
    capture->source = source;
}

void capture_set_before_packets(Capture *capture, void (*before)(void *userdata), void *userdata)
{
    capture->before_packets = before;
    capture->before_userdata = userdata;
}

void capture_set_watch(Capture *capture, CaptureWatch callback, void *userdata)
{
    capture->watch = callback;
    capture->watch_userdata = userdata;
}

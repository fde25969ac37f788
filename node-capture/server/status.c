// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/server/status.h"

#include "common/clock.h"

#define COUNTERS_MAX 32u

typedef struct CounterList {
    Remora__V1__Counter counters[COUNTERS_MAX];
    Remora__V1__Counter *pointers[COUNTERS_MAX];
    size_t n;
} CounterList;

/* protobuf-c has no const strings; it only reads them here. */
static char *text(const char *constant)
{
    return (char *)(uintptr_t)constant;
}

static void answer(RpcCall *call, const ProtobufCMessage *message)
{
    size_t length = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = g_malloc(MAX(length, 1));
    protobuf_c_message_pack(message, bytes);
    RpcBytes piece = {bytes, length, g_free, bytes};
    int error = rpc_call_send(call, &piece, 1);
    rpc_call_finish(call, error, error < 0 ? "the answer is too long for a message" : NULL);
}

static void add(CounterList *list, const char *name, uint64_t value, const char *help)
{
    g_assert(list->n < COUNTERS_MAX);
    Remora__V1__Counter *counter = &list->counters[list->n];
    remora__v1__counter__init(counter);
    counter->name = text(name);
    counter->value = value;
    counter->help = text(help);
    list->pointers[list->n++] = counter;
}

static void sum_streams(const Capture *capture, const CaptureStats *stats, StreamStats *ret,
                        uint64_t *ret_waiting, uint64_t *ret_waiting_bytes)
{
    *ret = stats->closed_streams;
    *ret_waiting = 0;
    *ret_waiting_bytes = 0;
    const GPtrArray *streams = capture_streams(capture);
    for (guint i = 0; i < streams->len; i++) {
        StreamStats one;
        stream_stats(g_ptr_array_index(streams, i), &one);
        ret->messages_sent += one.messages_sent;
        ret->queue.offered += one.queue.offered;
        ret->queue.sent += one.queue.sent;
        ret->queue.bytes_sent += one.queue.bytes_sent;
        ret->queue.filtered += one.queue.filtered;
        ret->queue.dropped += one.queue.dropped;
        ret->queue.invalid += one.queue.invalid;
        *ret_waiting += one.queue.waiting;
        *ret_waiting_bytes += one.queue.waiting_bytes;
    }
}

static void add_counters(CounterList *list, const Capture *capture, const NodeCounters *counters)
{
    CaptureStats stats;
    StreamStats streams;
    uint64_t waiting, waiting_bytes;
    capture_stats(capture, &stats);
    sum_streams(capture, &stats, &streams, &waiting, &waiting_bytes);

    add(list, "packets_captured_total", stats.packets, "Packets taken from the kernel");
    add(list, "bytes_captured_total", stats.bytes,
        "Bytes of these packets, as far as they were copied");
    add(list, "packets_lost_kernel_total", stats.kernel_lost,
        "Packets that the capture rings had no room for");
    add(list, "packets_offered_total", streams.queue.offered,
        "Packets that streams were to get, counted once for each stream: the sum of the next six");
    add(list, "packets_sent_total", streams.queue.sent, "Packets given to the transport");
    add(list, "packets_filtered_total", streams.queue.filtered,
        "Packets that a stream's own filter left out");
    add(list, "packets_lost_queue_total", streams.queue.dropped,
        "Packets dropped, oldest first, because a reader was too slow");
    add(list, "packets_invalid_total", streams.queue.invalid, "Packets that could not be encoded");
    add(list, "packets_abandoned_total", stats.closed_streams.queue.waiting,
        "Packets that waited for a reader when it went away");
    add(list, "packets_waiting", waiting, "Packets in the queues of open streams now");
    add(list, "bytes_waiting", waiting_bytes, "Memory that these hold");
    add(list, "bytes_sent_total", streams.queue.bytes_sent,
        "Bytes of packet blocks given to the transport");
    add(list, "messages_sent_total", streams.messages_sent, "Messages of all kinds in streams");
    add(list, "streams_opened_total", counters->streams_opened, "Streams that were opened");
    add(list, "streams_refused_total", counters->streams_refused,
        "Streams refused: bad requests, or too many");
    add(list, "identity_events_total", counters->identity_events,
        "Changes to what is known of the cluster");
    add(list, "targets_opened_total", stats.opened, "Times a pod was opened for capture");
    add(list, "targets_failed_total", stats.open_failures, "Times opening a pod failed");
}

static Remora__V1__Problem *problem_new(const char *subject, const char *message)
{
    Remora__V1__Problem *problem = g_new0(Remora__V1__Problem, 1);
    remora__v1__problem__init(problem);
    problem->subject = g_strdup(subject);
    problem->message = g_strdup(message);
    return problem;
}

static void problem_free(void *data)
{
    Remora__V1__Problem *problem = data;
    g_free(problem->subject);
    g_free(problem->message);
    g_free(problem);
}

static GPtrArray *list_problems(const Capture *capture, GHashTable *problems)
{
    GPtrArray *list = g_ptr_array_new_with_free_func(problem_free);
    GHashTableIter iter;
    const char *subject, *message;
    g_hash_table_iter_init(&iter, problems);
    while (g_hash_table_iter_next(&iter, (void **)&subject, (void **)&message)) {
        g_ptr_array_add(list, problem_new(subject, message));
    }
    Pod *pod;
    g_hash_table_iter_init(&iter, capture_pods(capture));
    while (g_hash_table_iter_next(&iter, NULL, (void **)&pod)) {
        if (pod_state(pod) == REMORA__V1__TARGET_STATE__TARGET_STATE_FAILED) {
            g_autofree char *label =
                g_strdup_printf("pod %s/%s", pod->entity->namespace_name, pod->entity->name);
            g_ptr_array_add(list, problem_new(label, pod->reason));
        }
    }
    return list;
}

static uint32_t count_captured(const Capture *capture)
{
    uint32_t captured = 0;
    GHashTableIter iter;
    Pod *pod;
    g_hash_table_iter_init(&iter, capture_pods(capture));
    while (g_hash_table_iter_next(&iter, NULL, (void **)&pod)) {
        captured += pod->target_id != 0;
    }
    return captured;
}

void status_answer(RpcCall *call, const NodeInfo *info, const Capture *capture,
                   const NodeCounters *counters, GHashTable *problems)
{
    CounterList list = {.n = 0};
    add_counters(&list, capture, counters);
    GPtrArray *problem_list = list_problems(capture, problems);

    Remora__V1__GetStatusResponse status = REMORA__V1__GET_STATUS_RESPONSE__INIT;
    status.role = REMORA__V1__ROLE__ROLE_NODE;
    status.cluster = text(info->cluster);
    status.node = text(info->node);
    status.boot_id = text(info->boot_id);
    status.version = text(info->version);
    status.start_unix_ns = info->start_unix_ns;
    status.time_unix_ns = clock_unix_ns();
    status.subscribers = capture_streams(capture)->len;
    status.targets_known = g_hash_table_size(capture_pods(capture));
    status.targets_captured = count_captured(capture);
    status.ring_bytes = capture_ring_bytes(capture);
    status.n_counters = list.n;
    status.counters = list.pointers;
    status.n_problems = problem_list->len;
    status.problems = (Remora__V1__Problem **)problem_list->pdata;
    answer(call, &status.base);
    g_ptr_array_unref(problem_list);
}

static Remora__V1__Target *target_new(const NodeInfo *info, const Capture *capture, const Pod *pod)
{
    Remora__V1__Target *target = g_new0(Remora__V1__Target, 1);
    remora__v1__target__init(target);
    SourceTargetStats stats;
    capture_pod_stats(capture, pod, &stats);
    target->entity = entity_to_proto(pod->entity);
    target->state = pod_state(pod);
    if (pod->excluded) {
        target->reason = text("left out by --namespaces, --pods or --selector of remora-node");
    } else if (pod->reason) {
        target->reason = pod->reason;
    }
    target->n_devices = pod->interfaces->len;
    target->devices = g_new(char *, MAX(pod->interfaces->len, 1));
    for (guint i = 0; i < pod->interfaces->len; i++) {
        target->devices[i] = ((NodeInterface *)g_ptr_array_index(pod->interfaces, i))->device;
    }
    target->packets = stats.packets;
    target->bytes = stats.bytes;
    target->lost = stats.lost;
    target->ring_bytes = stats.ring_bytes;
    target->node = text(info->node);
    return target;
}

/* What target_new() borrowed stays. */
static void target_free(void *data)
{
    Remora__V1__Target *target = data;
    entity_proto_free(target->entity);
    g_free(target->devices);
    g_free(target);
}

void status_answer_targets(RpcCall *call, const NodeInfo *info, const Capture *capture,
                           const Selector *selector)
{
    GPtrArray *targets = g_ptr_array_new_with_free_func(target_free);
    GHashTableIter iter;
    Pod *pod;
    g_hash_table_iter_init(&iter, capture_pods(capture));
    while (g_hash_table_iter_next(&iter, NULL, (void **)&pod)) {
        if (selector_matches(selector, pod->entity)) {
            g_ptr_array_add(targets, target_new(info, capture, pod));
        }
    }
    Remora__V1__ListTargetsResponse response = REMORA__V1__LIST_TARGETS_RESPONSE__INIT;
    response.n_targets = targets->len;
    response.targets = (Remora__V1__Target **)targets->pdata;
    answer(call, &response.base);
    g_ptr_array_unref(targets);
}

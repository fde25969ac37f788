// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/server/status.h"

#include "common/clock.h"
#include "node-capture/server/tls-target.h"

typedef struct CounterList {
    Remora__V1__Counter counters[SNAPSHOT_COUNTERS_MAX];
    Remora__V1__Counter *pointers[SNAPSHOT_COUNTERS_MAX];
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

static void list_counters(const Snapshot *snapshot, CounterList *ret)
{
    for (size_t i = 0; i < snapshot->n_counters; i++) {
        Remora__V1__Counter *counter = &ret->counters[i];
        remora__v1__counter__init(counter);
        counter->name = text(snapshot->counters[i].name);
        counter->value = snapshot->counters[i].value;
        counter->help = text(snapshot->counters[i].help);
        ret->pointers[i] = counter;
    }
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

void status_answer(RpcCall *call, const NodeInfo *info, const Capture *capture,
                   const NodeCounters *counters, GHashTable *problems)
{
    Snapshot snapshot;
    snapshot_take(capture, counters, &snapshot);
    CounterList list;
    list_counters(&snapshot, &list);
    GPtrArray *problem_list = list_problems(capture, problems);

    Remora__V1__GetStatusResponse status = REMORA__V1__GET_STATUS_RESPONSE__INIT;
    status.role = REMORA__V1__ROLE__ROLE_NODE;
    status.cluster = text(info->cluster);
    status.node = text(info->node);
    status.boot_id = text(info->boot_id);
    status.version = text(info->version);
    status.start_unix_ns = info->start_unix_ns;
    status.time_unix_ns = clock_unix_ns();
    status.subscribers = snapshot.subscribers;
    status.targets_known = snapshot.targets_known;
    status.targets_captured = snapshot.targets_captured;
    status.ring_bytes = snapshot.ring_bytes;
    status.n_counters = snapshot.n_counters;
    status.counters = list.pointers;
    status.n_problems = problem_list->len;
    status.problems = (Remora__V1__Problem **)problem_list->pdata;
    answer(call, &status.base);
    g_ptr_array_unref(problem_list);
}

/* Fits a message (RPC_MESSAGE_MAX), and a reader's memory when it is unpacked. */
#define ANSWER_MAX (2u << 20)
/* Of these, without programs with TLS: those have all that is left. */
#define TARGETS_MAX (ANSWER_MAX / 2)
#define FIELD_BYTES 64u /* of what is set in a target last, and its own tag and length */

/* A target in an answer. */
typedef struct Listed {
    Remora__V1__Target *target;
    const Pod *pod;
    size_t size; /* bytes of the message */
} Listed;

static Remora__V1__Target *target_new(const NodeInfo *info, const Capture *capture, const Pod *pod)
{
    Remora__V1__Target *target = g_new0(Remora__V1__Target, 1);
    remora__v1__target__init(target);
    SourceTargetStats stats;
    capture_pod_stats(capture, pod, &stats);
    target->entity = entity_to_proto(pod->entity);
    target->state = pod_state(pod);
    if (pod->left_out) {
        target->reason = text(pod->left_out);
    } else if (pod->excluded) {
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
static void listed_clear(void *data)
{
    Remora__V1__Target *target = ((Listed *)data)->target;
    entity_proto_free(target->entity);
    tls_target_clear(target);
    g_free(target->devices);
    g_free(target);
}

static gint by_size(gconstpointer a, gconstpointer b)
{
    const Listed *x = a, *y = b;
    return (x->size > y->size) - (x->size < y->size);
}

/* Returns how many found no room: the largest. */
static guint leave_out(GArray *all)
{
    size_t size = 0;
    guint kept = 0, before = all->len;
    g_array_sort(all, by_size);
    while (kept < all->len && size + g_array_index(all, Listed, kept).size <= TARGETS_MAX) {
        size += g_array_index(all, Listed, kept++).size;
    }
    g_array_set_size(all, kept);
    return before - kept;
}

/* Each gets as much of the room as the others; what it does not need, those behind it do. */
static void add_programs(GArray *all, TlsPrograms *programs)
{
    size_t room = ANSWER_MAX - TARGETS_MAX;
    for (guint i = 0; i < all->len; i++) {
        const Listed *one = &g_array_index(all, Listed, i);
        room -= tls_target_set(one->target, programs, one->pod, room / (all->len - i));
    }
}

void status_answer_targets(RpcCall *call, const NodeInfo *info, const Capture *capture,
                           const Selector *selector, TlsPrograms *programs)
{
    GArray *all = g_array_new(FALSE, FALSE, sizeof(Listed));
    g_array_set_clear_func(all, listed_clear);
    GHashTableIter iter;
    Pod *pod;
    g_hash_table_iter_init(&iter, capture_pods(capture));
    while (g_hash_table_iter_next(&iter, NULL, (void **)&pod)) {
        if (selector_matches(selector, pod->entity)) {
            Listed one = {target_new(info, capture, pod), pod, 0};
            one.size = remora__v1__target__get_packed_size(one.target) + FIELD_BYTES;
            g_array_append_val(all, one);
        }
    }
    Remora__V1__ListTargetsResponse response = REMORA__V1__LIST_TARGETS_RESPONSE__INIT;
    response.targets_left_out = leave_out(all);
    add_programs(all, programs);
    response.n_targets = all->len;
    response.targets = g_new(Remora__V1__Target *, MAX(all->len, 1));
    for (guint i = 0; i < all->len; i++) {
        response.targets[i] = g_array_index(all, Listed, i).target;
    }
    answer(call, &response.base);
    g_free(response.targets);
    g_array_unref(all);
}

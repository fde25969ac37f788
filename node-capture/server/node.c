// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/server/node.h"

#include <errno.h>
#include <inttypes.h>

#include "common/clock.h"
#include "common/log.h"
#include "node-capture/server/connections.h"
#include "node-capture/server/fact-feed.h"
#include "node-capture/server/known.h"
#include "node-capture/server/questions.h"
#include "node-capture/server/status.h"
#include "node-capture/server/tls-notices.h"
#include "node-capture/server/wire-watch.h"

#define IDLE_MS  1000
#define DRAIN_NS (200u * 1000000u) /* at the end: for readers to take what waits ... */
#define STOP_NS  (400u * 1000000u) /* ... and to take the rest: losses and End */

typedef enum CommandKind {
    COMMAND_ADD,
    COMMAND_REMOVE,
    COMMAND_STATUS,
    COMMAND_TARGETS,
    COMMAND_REFUSED,
    COMMAND_PROBLEM
} CommandKind;

typedef struct Command {
    CommandKind kind;
    Stream *stream;
    int status;
    RpcCall *call;
    Selector *selector;
    char *subject, *message;
} Command;

struct Node {
    const NodeInfo *info;
    Selector *allowed;
    Capture *capture;
    Targets *targets;
    Known *known;
    FactFeed *facts;
    Owners *owners;
    Secrets *secrets;
    TlsNotices *tls_notices;
    Connections *connections;
    ConntrackSource *conntrack; /* until the start */
    bool owners_wanted;
    GHashTable *problems; /* subject -> message, as the targets told */
    NodeCounters counters;
    bool synced;
    GThread *thread;
    char *stop_reason;

    GAsyncQueue *commands;       /* of Command * */
    Questions *questions;        /* answered also before `synced` */
    int targets_ready, stopping; /* atomic */
};

/* ---- Commands --------------------------------------------------------------------------------*/

static void command_free(void *data)
{
    Command *command = data;
    stream_unref(command->stream);
    rpc_call_unref(command->call);
    selector_free(command->selector);
    g_free(command->subject);
    g_free(command->message);
    g_free(command);
}

static void push_command(Node *node, Command command)
{
    g_async_queue_push(node->commands, g_memdup2(&command, sizeof(command)));
    capture_wake(node->capture);
}

void node_add_stream(Node *node, Stream *stream)
{
    push_command(node, (Command){.kind = COMMAND_ADD, .stream = stream_ref(stream)});
}

void node_remove_stream(Node *node, Stream *stream, int status)
{
    push_command(node,
                 (Command){.kind = COMMAND_REMOVE, .stream = stream_ref(stream), .status = status});
}

void node_stream_refused(Node *node)
{
    push_command(node, (Command){.kind = COMMAND_REFUSED});
}

void node_answer_status(Node *node, RpcCall *call)
{
    push_command(node, (Command){.kind = COMMAND_STATUS, .call = rpc_call_ref(call)});
}

void node_answer_targets(Node *node, RpcCall *call, Selector *selector)
{
    push_command(
        node, (Command){.kind = COMMAND_TARGETS, .call = rpc_call_ref(call), .selector = selector});
}

void node_tell_problem(Node *node, const char *subject, const char *message)
{
    push_command(node, (Command){.kind = COMMAND_PROBLEM,
                                 .subject = g_strdup(subject),
                                 .message = g_strdup(message)});
}

void node_tell_fact(Node *node, Fact *fact)
{
    fact_feed_push(node->facts, fact);
}

static void add_stream(Node *node, Stream *stream)
{
    if (stream_is_closed(stream)) {
        return;
    }
    node->counters.streams_opened++;
    log_info("stream %" PRIu64 " opened by %s: %s", stream_id(stream), stream_peer(stream),
             stream_wish(stream)->summary);
    known_add_stream(node->known, stream);
}

/* It has been told all that is known. */
static void begin_stream(Node *node, Stream *stream)
{
    capture_add_stream(node->capture, stream);
    Queue *queue = stream_lock(stream);
    queue_synced(queue);
    fact_feed_tell_all(node->facts, queue);
    stream_unlock(stream);
    capture_begin_stream(node->capture, stream);
    if (node_is_stopping(node)) {
        stream_end(stream, node->stop_reason);
    }
}

static void tell_known(Node *node)
{
    Stream *stream = known_tell(node->known);
    if (stream) {
        begin_stream(node, stream);
        stream_unref(stream);
    }
}

static void remove_stream(Node *node, Stream *stream, int status)
{
    if (!known_remove_stream(node->known, stream) &&
        !capture_remove_stream(node->capture, stream)) {
        return;
    }
    StreamStats stats;
    stream_stats(stream, &stats);
    log_info("stream %" PRIu64 " closed by %s after %.1f s (%s): %" PRIu64 " packets sent, %" PRIu64
             " filtered, lost %" PRIu64 " in the kernel and %" PRIu64 " in its queue, %" PRIu64
             " not taken",
             stream_id(stream), stream_peer(stream), (double)stream_age_ns(stream) / 1e9,
             stream_closing_reason(status), stats.queue.sent, stats.queue.filtered,
             stats.queue.kernel_lost, stats.queue.dropped + stats.queue.invalid,
             stats.queue.waiting);
}

/* Something is wrong, or well again (message NULL). */
static void set_problem(Node *node, const char *subject, const char *message)
{
    if (message) {
        log_warning("%s: %s", subject, message);
        g_hash_table_replace(node->problems, g_strdup(subject), g_strdup(message));
    } else {
        log_info("%s: well again", subject);
        g_hash_table_remove(node->problems, subject);
    }
}

/* Those that others count. */
static void collect_counters(Node *node)
{
    fact_feed_stats(node->facts, &node->counters.facts);
    owners_stats(node->owners, &node->counters.sockets);
    connections_stats(node->connections, &node->counters.connections);
    secrets_stats(node->secrets, &node->counters.secrets);
    if (node->targets->ops->stats) {
        node->targets->ops->stats(node->targets, &node->counters.targets);
    }
}

/* NULL: nobody may ask for secrets here. */
static TlsPrograms *tls_programs(const Node *node)
{
    const TlsKeys *source = secrets_source(node->secrets);
    return source ? source->programs : NULL;
}

static void tell_tls_notices(Node *node)
{
    if (tls_programs(node)) {
        tls_notices_run(node->tls_notices, tls_programs(node), node->capture,
                        g_hash_table_lookup(node->problems, TLS_KEYS_SUBJECT));
    }
}

static void run_command(Node *node, const Command *command)
{
    switch (command->kind) {
    case COMMAND_ADD:
        add_stream(node, command->stream);
        break;
    case COMMAND_REMOVE:
        remove_stream(node, command->stream, command->status);
        break;
    case COMMAND_STATUS:
        collect_counters(node);
        status_answer(command->call, node->info, node->capture, &node->counters, node->problems);
        break;
    case COMMAND_TARGETS:
        status_answer_targets(command->call, node->info, node->capture, command->selector,
                              tls_programs(node));
        break;
    case COMMAND_REFUSED:
        node->counters.streams_refused++;
        break;
    case COMMAND_PROBLEM:
        set_problem(node, command->subject, command->message);
        break;
    }
}

static void run_commands(Node *node)
{
    Command *command;
    while ((command = g_async_queue_try_pop(node->commands))) {
        run_command(node, command);
        command_free(command);
    }
}

/* ---- Questions -------------------------------------------------------------------------------*/

static void wake_capture(void *node)
{
    capture_wake(((Node *)node)->capture);
}

int node_snapshot(Node *node, uint64_t timeout_ns, Snapshot *ret)
{
    return questions_ask(node->questions, wake_capture, node, timeout_ns, ret);
}

static void take_snapshot(Snapshot *ret, void *userdata)
{
    Node *node = userdata;
    collect_counters(node);
    snapshot_take(node->capture, &node->counters, ret);
    ret->synced = node->synced;
}

/* ---- Owners of sockets -----------------------------------------------------------------------*/

static void on_fact(Fact *fact, void *userdata)
{
    node_tell_fact(userdata, fact);
}

static const Entity *find_pod(const char *uid, void *userdata)
{
    const Node *node = userdata;
    uint64_t key = entity_key(ENTITY_POD, uid);
    return known_find(node->known, key);
}

static char *no_secrets(uint64_t netns_inode, pid_t pid, void *userdata)
{
    TlsPrograms *programs = tls_programs(userdata);
    return programs ? tls_programs_why_none(programs, netns_inode, pid) : NULL;
}

static const OwnersCallbacks owners_callbacks = {on_fact, find_pod, no_secrets};

/* Nobody follows the sockets while there is no stream: what is known of them then is of no use to
 * the next one, which is told of all that are there. */
static void run_owners(Node *node)
{
    bool wanted = capture_streams(node->capture)->len > 0;
    owners_run(node->owners, wanted);
    if (node->owners_wanted && !wanted) {
        fact_feed_clear(node->facts, FACT_SOCKET_OWNER);
    }
    node->owners_wanted = wanted;
}

/* A connection's owner is told ahead of its first packet. */
static void before_packets(void *userdata)
{
    Node *node = userdata;
    secrets_run(node->secrets, node->capture);
    if (owners_run(node->owners, node->owners_wanted)) {
        fact_feed_run(node->facts, capture_streams(node->capture), clock_monotonic_ns());
    }
}

static void on_watch(const Pod *pod, const Batch *batch, uint64_t time_ns, void *userdata)
{
    const Node *node = userdata;
    if (secrets_are_wanted(node->secrets, pod)) {
        wire_watch(secrets_source(node->secrets), pod, batch, time_ns);
    }
}

Owners *node_owners(Node *node)
{
    return node->owners;
}

void node_set_socket_owners(Node *node, SocketOwners *sockets)
{
    owners_set_sockets(node->owners, sockets);
}

static void tell_problem(const char *subject, const char *message, void *userdata)
{
    node_tell_problem(userdata, subject, message);
}

Secrets *node_secrets(Node *node)
{
    return node->secrets;
}

static const ConnectionsCallbacks connections_callbacks = {on_fact, tell_problem};

void node_set_connections(Node *node, ConntrackSource *source)
{
    node->conntrack = source;
}

/* ---- What the targets tell -------------------------------------------------------------------*/

static void on_appeared(const Entity *pod, int netns_fd, uint64_t since_ns, void *userdata)
{
    Node *node = userdata;
    owners_pod_appeared(node->owners, pod->uid, netns_fd);
    capture_pod_appeared(node->capture, pod, netns_fd, since_ns);
}

static void on_vanished(const char *pod_uid, void *userdata)
{
    Node *node = userdata;
    owners_pod_vanished(node->owners, pod_uid);
    capture_pod_vanished(node->capture, pod_uid);
}

static void on_failed(const Entity *pod, const char *reason, void *userdata)
{
    capture_pod_failed(((Node *)userdata)->capture, pod, reason);
}

static void on_left_out(const Entity *pod, bool excluded, const char *reason, void *userdata)
{
    capture_pod_left_out(((Node *)userdata)->capture, pod, excluded, reason);
}

static void on_identity(const Entity *entity, uint64_t deleted_ns, void *userdata)
{
    Node *node = userdata;
    node->counters.identity_events++;
    const GPtrArray *streams = capture_streams(node->capture);
    for (guint i = 0; i < streams->len; i++) {
        Stream *stream = g_ptr_array_index(streams, i);
        queue_identity(stream_lock(stream), entity, deleted_ns);
        stream_unlock(stream);
    }
    known_apply(node->known, entity, deleted_ns);
    if (entity->kind == ENTITY_POD) {
        owners_pod_known(node->owners, entity, deleted_ns != 0);
    }
    connections_identity(node->connections, entity, deleted_ns != 0, clock_monotonic_ns());
    if (deleted_ns == 0) {
        capture_pod_changed(node->capture, entity);
    }
}

static void on_synced(void *userdata)
{
    ((Node *)userdata)->synced = true;
}

static void on_problem(const char *subject, const char *message, void *userdata)
{
    set_problem(userdata, subject, message);
}

const TargetsCallbacks node_targets_callbacks = {
    .appeared = on_appeared,
    .vanished = on_vanished,
    .failed = on_failed,
    .left_out = on_left_out,
    .identity = on_identity,
    .synced = on_synced,
    .problem = on_problem,
};

void node_targets_ready(Node *node)
{
    g_atomic_int_set(&node->targets_ready, 1);
    capture_wake(node->capture);
}

/* ---- The thread ------------------------------------------------------------------------------*/

/* Streams begin with the whole state, so they wait for it. */
static void one_pass(Node *node, int timeout_ms)
{
    secrets_run(node->secrets, node->capture); /* before pods go that they are of */
    if (g_atomic_int_compare_and_exchange(&node->targets_ready, 1, 0)) {
        node->targets->ops->dispatch(node->targets);
    }
    if (node->synced) {
        run_commands(node);
    }
    tell_known(node);
    questions_answer(node->questions, take_snapshot, node);
    run_owners(node);
    secrets_run(node->secrets, node->capture);
    tell_tls_notices(node);
    fact_feed_run(node->facts, capture_streams(node->capture), clock_monotonic_ns());
    capture_run(node->capture, known_has_streams(node->known) ? 0 : timeout_ms);
}

static void for_streams(const Node *node, void (*function)(Stream *stream, const Node *node))
{
    const GPtrArray *streams = capture_streams(node->capture);
    for (guint i = 0; i < streams->len; i++) {
        function(g_ptr_array_index(streams, i), node);
    }
}

static void end_stream(Stream *stream, const Node *node)
{
    stream_end(stream, node->stop_reason);
}

static void drop_waiting(Stream *stream, const Node *node)
{
    queue_drop_all(stream_lock(stream));
    stream_unlock(stream);
}

/* At the end nobody is held up by it. */
static void tell_known_to_all(Node *node)
{
    while (known_has_streams(node->known)) {
        tell_known(node);
    }
}

/* Until all streams are closed or the time is over. */
static void await_streams(Node *node, uint64_t deadline_ns)
{
    uint64_t now_ns;
    while (capture_streams(node->capture)->len > 0 &&
           (now_ns = clock_monotonic_ns()) < deadline_ns) {
        Command *command =
            g_async_queue_timeout_pop(node->commands, (deadline_ns - now_ns) / 1000u + 1);
        if (command) {
            run_command(node, command);
            command_free(command);
            tell_known_to_all(node);
        }
    }
}

static void end_streams(Node *node)
{
    uint64_t now_ns = clock_monotonic_ns();
    one_pass(node, 0);
    tell_known_to_all(node);
    capture_close_pods(node->capture);
    for_streams(node, end_stream);
    await_streams(node, now_ns + DRAIN_NS);
    for_streams(node, drop_waiting);
    await_streams(node, now_ns + STOP_NS);
}

static void *node_thread(void *data)
{
    Node *node = data;
    while (!node_is_stopping(node)) {
        one_pass(node, IDLE_MS);
    }
    end_streams(node);
    return NULL;
}

static void wake(void *node)
{
    capture_wake(((Node *)node)->capture);
}

static const SecretsCallbacks secrets_callbacks = {wake, tell_problem};

Node *node_new(const NodeInfo *info, Selector *allowed)
{
    Node *node = g_new0(Node, 1);
    node->info = info;
    node->allowed = allowed;
    node->capture = capture_new(allowed);
    node->known = known_new();
    node->facts = fact_feed_new(wake, node);
    node->owners = owners_new(&owners_callbacks, node);
    node->connections = connections_new(info->node, &connections_callbacks, node);
    node->secrets = secrets_new(&secrets_callbacks, node);
    node->tls_notices = tls_notices_new(info->node);
    capture_set_before_packets(node->capture, before_packets, node);
    capture_set_watch(node->capture, on_watch, node);
    node->problems = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    node->commands = g_async_queue_new_full(command_free);
    node->questions = questions_new();
    return node;
}

Capture *node_capture(Node *node)
{
    return node->capture;
}

void node_start(Node *node, Source *source, Targets *targets)
{
    capture_set_source(node->capture, source);
    node->targets = targets;
    if (node->conntrack) {
        connections_follow(node->connections, g_steal_pointer(&node->conntrack));
    }
    node->thread = g_thread_new("capture", node_thread, node);
}

void node_stop(Node *node, const char *reason)
{
    if (node->thread) {
        node->stop_reason = g_strdup(reason);
        g_atomic_int_set(&node->stopping, 1);
        capture_wake(node->capture);
        g_thread_join(g_steal_pointer(&node->thread));
    }
}

bool node_is_stopping(Node *node)
{
    return g_atomic_int_get(&node->stopping);
}

Node *node_free(Node *node)
{
    if (node) {
        node_stop(node, "remora-node ends");
        secrets_free(node->secrets);
        tls_notices_free(node->tls_notices);
        connections_free(node->connections);
        if (node->conntrack) {
            node->conntrack->ops->free(node->conntrack);
        }
        if (node->targets) {
            node->targets->ops->free(node->targets);
        }
        owners_free(node->owners);
        fact_feed_free(node->facts);
        capture_free(node->capture);
        g_async_queue_unref(node->commands);
        questions_free(node->questions);
        known_free(node->known);
        g_hash_table_unref(node->problems);
        selector_free(node->allowed);
        g_free(node->stop_reason);
        g_free(node);
    }
    return NULL;
}

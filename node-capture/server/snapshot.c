// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/server/snapshot.h"

static void add_with_kind(Snapshot *snapshot, const char *name, uint64_t value, const char *help,
                          bool gauge)
{
    g_assert(snapshot->n_counters < SNAPSHOT_COUNTERS_MAX);
    snapshot->counters[snapshot->n_counters++] = (SnapshotCounter){name, help, value, gauge};
}

static void add(Snapshot *snapshot, const char *name, uint64_t value, const char *help)
{
    add_with_kind(snapshot, name, value, help, false);
}

static void add_gauge(Snapshot *snapshot, const char *name, uint64_t value, const char *help)
{
    add_with_kind(snapshot, name, value, help, true);
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
        ret->queue.start_losses += one.queue.start_losses;
        ret->queue.invalid += one.queue.invalid;
        ret->queue.facts_dropped += one.queue.facts_dropped;
        *ret_waiting += one.queue.waiting;
        *ret_waiting_bytes += one.queue.waiting_bytes;
    }
}

static void add_fact_counters(Snapshot *snapshot, const FactFeedStats *facts,
                              uint64_t facts_dropped)
{
    add_gauge(snapshot, "translations", facts->kept.count[FACT_TRANSLATION],
              "Connections whose addresses this node rewrites, those that ended lately included");
    add_gauge(snapshot, "socket_owners", facts->kept.count[FACT_SOCKET_OWNER],
              "Sockets whose container and process are known, those that ended lately included");
    add(snapshot, "facts_evicted_total",
        facts->kept.evicted[FACT_TRANSLATION] + facts->kept.evicted[FACT_SOCKET_OWNER],
        "Translations and socket owners forgotten before their time because there were too many");
    add(snapshot, "facts_lost_total", facts->lost,
        "Translations and socket owners lost because the capture thread was too busy");
    add(snapshot, "facts_dropped_total", facts_dropped,
        "Translations and socket owners that a stream was not told of, because its reader was too "
        "slow");
}

static void add_targets_counters(Snapshot *snapshot, const TargetsStats *targets)
{
    add(snapshot, "api_lists_total", targets->api_lists, "Lists asked of the API server");
    add(snapshot, "api_watches_total", targets->api_watches, "Watches asked of the API server");
    add(snapshot, "api_events_total", targets->api_events, "Changes that watches told");
    add(snapshot, "api_errors_total", targets->api_errors,
        "Times the API server gave no answer, or none that helps");
    add(snapshot, "api_expired_total", targets->api_expired,
        "Times the API server no longer knew what a watch or list was to go on from (410 Gone), so "
        "that all was listed anew");
    add(snapshot, "process_events_total", targets->process_events,
        "Programs started, moves and ends of processes of pods that the kernel told");
    add(snapshot, "process_events_skipped_total", targets->process_events_skipped,
        "Of processes outside of pods: not told");
    add(snapshot, "process_events_lost_total", targets->process_events_lost,
        "Of processes of pods, lost because the node was too slow; /proc was looked through again");
}

static void add_connection_counters(Snapshot *snapshot, const ConntrackCounters *connections)
{
    add(snapshot, "connection_events_total", connections->events,
        "What the kernel told of connections whose addresses it rewrites, in events and lists");
    add(snapshot, "connection_overruns_total", connections->overruns,
        "Times that the kernel had more events of connections than remora-node could take; all "
        "were listed again");
    add(snapshot, "connection_events_invalid_total", connections->invalid,
        "Events of connections that could not be read");
    add(snapshot, "connections_left_out_total", connections->left_out,
        "Connections of pods that were not followed because there were too many");
    add(snapshot, "connections_unwanted_total", connections->unwanted,
        "Connections that were not told of because no pod was at either end");
}

static void add_tls_counters(Snapshot *snapshot, const SecretsStats *secrets)
{
    const PlaintextStats *plaintext = &secrets->plaintext;
    const TlsKeysStats *source = &secrets->source;
    add(snapshot, "tls_secrets_total", secrets->lines,
        "Lines of TLS secrets that streams were given");
    add(snapshot, "tls_secrets_lost_total", secrets->lost,
        "Lines of TLS secrets that found no room, or no stream any more");
    add(snapshot, "tls_plaintext_packets_total", plaintext->flow.packets,
        "Packets that were made of plaintext of TLS");
    add(snapshot, "tls_plaintext_bytes_total", plaintext->flow.bytes, "Bytes of plaintext in them");
    add(snapshot, "tls_plaintext_lost_total", plaintext->lost,
        "Of these packets, those that found no room");
    add(snapshot, "tls_plaintext_missing_bytes_total", plaintext->flow.missing,
        "Bytes of plaintext that the hooks lost");
    add(snapshot, "tls_plaintext_other_end_bytes_total", plaintext->flow.other_end,
        "Bytes of plaintext left out because the other end of the connection, in the same pod, "
        "told them");
    add_gauge(snapshot, "tls_plaintext_connections", plaintext->flow.connections,
              "Connections whose plaintext is followed");
    add(snapshot, "tls_plaintext_forgotten_total", plaintext->flow.forgotten,
        "Such connections forgotten before their end because there were too many");
    add(snapshot, "tls_hook_taken_total", source->taken,
        "Secrets that hooks took, those that were taken twice included");
    add(snapshot, "tls_hook_lost_total", source->lost,
        "Secrets that hooks found no room for, because remora-node was too slow");
    add(snapshot, "tls_hook_passed_total", source->passed,
        "Times a hook was met by a process of no pod whose secrets are wanted");
    add(snapshot, "tls_hook_unreadable_total", source->unreadable,
        "Times a hook could not read what it should have met");
    add(snapshot, "tls_plaintext_hook_taken_bytes_total", source->plaintext_taken,
        "Bytes of plaintext that hooks took");
    add(snapshot, "tls_plaintext_hook_lost_bytes_total", source->plaintext_lost,
        "Bytes of plaintext that hooks found no room for, because remora-node was too slow");
    add(snapshot, "tls_plaintext_hook_unreadable_bytes_total", source->plaintext_unreadable,
        "Bytes of plaintext that hooks could not read");
    add(snapshot, "tls_plaintext_hook_passed_total", source->plaintext_passed,
        "Times a hook of plaintext was met by a process of no pod whose plaintext is wanted");
    add(snapshot, "tls_plaintext_unknown_sockets_total", source->plaintext_unknown,
        "Connections whose plaintext was told without addresses, as their socket was not found");
    add(snapshot, "tls_mappings_lost_total", source->mappings_lost,
        "Files that processes began to run, lost because remora-node was too slow; all processes "
        "were looked through again");
    add_gauge(snapshot, "tls_hooked_files", source->hooked_files,
              "Programs and libraries that are hooked now");
    add(snapshot, "tls_hooks_withdrawn_total", source->withdrawn,
        "Programs and libraries whose hooks were taken out, because the client randoms that they "
        "gave were never seen on the wire");
}

static void add_counters(Snapshot *snapshot, const Capture *capture, const NodeCounters *counters)
{
    CaptureStats stats;
    StreamStats streams;
    uint64_t waiting, waiting_bytes;
    capture_stats(capture, &stats);
    sum_streams(capture, &stats, &streams, &waiting, &waiting_bytes);

    add(snapshot, "packets_captured_total", stats.packets, "Packets taken from the kernel");
    add(snapshot, "bytes_captured_total", stats.bytes,
        "Bytes of these packets, as far as they were copied");
    add(snapshot, "packets_lost_kernel_total", stats.kernel_lost,
        "Packets that the capture rings had no room for");
    add(snapshot, "packets_offered_total", streams.queue.offered,
        "Packets that streams were to get, counted once for each stream: the sum of the next six");
    add(snapshot, "packets_sent_total", streams.queue.sent, "Packets given to the transport");
    add(snapshot, "packets_filtered_total", streams.queue.filtered,
        "Packets that a stream's own filter left out");
    add(snapshot, "packets_lost_queue_total", streams.queue.dropped,
        "Packets dropped, oldest first, because a reader was too slow");
    add(snapshot, "packets_invalid_total", streams.queue.invalid,
        "Packets that could not be encoded");
    add(snapshot, "packets_abandoned_total", stats.closed_streams.queue.waiting,
        "Packets that waited for a reader when it went away");
    add_gauge(snapshot, "packets_waiting", waiting, "Packets in the queues of open streams now");
    add_gauge(snapshot, "bytes_waiting", waiting_bytes, "Memory that these hold");
    add(snapshot, "capture_start_losses_total", streams.queue.start_losses,
        "Times a stream was told that packets of a pod are missing, how many is not known: it was "
        "noticed late or could not be opened");
    add(snapshot, "bytes_sent_total", streams.queue.bytes_sent,
        "Bytes of packet blocks given to the transport");
    add(snapshot, "messages_sent_total", streams.messages_sent, "Messages of all kinds in streams");
    add(snapshot, "streams_opened_total", counters->streams_opened, "Streams that were opened");
    add(snapshot, "streams_refused_total", counters->streams_refused,
        "Streams refused: bad requests, or too many");
    add(snapshot, "identity_events_total", counters->identity_events,
        "Changes to what is known of the cluster");
    add_connection_counters(snapshot, &counters->connections);
    add_tls_counters(snapshot, &counters->secrets);
    add(snapshot, "socket_events_total", counters->sockets.events,
        "What the kernel told of sockets and their owners");
    add(snapshot, "socket_events_lost_total", counters->sockets.lost,
        "Sockets whose owner was not told because remora-node was too slow; all sockets were "
        "looked "
        "through again");
    add_targets_counters(snapshot, &counters->targets);
    add_fact_counters(snapshot, &counters->facts, streams.queue.facts_dropped);
    add(snapshot, "targets_opened_total", stats.opened, "Times a pod was opened for capture");
    add(snapshot, "targets_failed_total", stats.open_failures, "Times opening a pod failed");
}

static void count_pods(const Capture *capture, Snapshot *snapshot)
{
    GHashTableIter iter;
    Pod *pod;
    g_hash_table_iter_init(&iter, capture_pods(capture));
    while (g_hash_table_iter_next(&iter, NULL, (void **)&pod)) {
        snapshot->targets_known++;
        snapshot->targets_captured += pod->target_id != 0;
        snapshot->targets_failing +=
            pod_state(pod) == REMORA__V1__TARGET_STATE__TARGET_STATE_FAILED;
    }
}

void snapshot_take(const Capture *capture, const NodeCounters *counters, Snapshot *ret)
{
    *ret = (Snapshot){0};
    add_counters(ret, capture, counters);
    count_pods(capture, ret);
    ret->subscribers = capture_streams(capture)->len;
    ret->ring_bytes = capture_ring_bytes(capture);
}

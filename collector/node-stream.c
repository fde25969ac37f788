// SPDX-License-Identifier: GPL-2.0-or-later
#include "collector/node-stream.h"

#include <errno.h>

#define BACKOFF_FIRST_NS (100u * 1000000ull)
#define BACKOFF_LAST_NS  (5u * 1000000000ull)
#define OPEN_TIMEOUT_NS  (10u * 1000000000ull)
#define SILENCE_MIN_NS   (10u * 1000000000ull)
#define SILENCE_BEATS    20u                  /* heartbeats that may be missing */
#define STABLE_NS        (5u * 1000000000ull) /* a connection that lasts so long counts as success */

/* ---- Interface ids ---------------------------------------------------------------------------*/

InterfaceMap *interface_map_new(void)
{
    InterfaceMap *map = g_new0(InterfaceMap, 1);
    map->refs = 1;
    map->points = g_hash_table_new(NULL, NULL);
    return map;
}

InterfaceMap *interface_map_ref(InterfaceMap *map)
{
    map->refs++;
    return map;
}

void interface_map_unref(void *data)
{
    InterfaceMap *map = data;
    if (!map || --map->refs)
        return;
    g_hash_table_unref(map->points);
    g_free(map);
}

CapturePoint *interface_map_get(InterfaceMap *map, uint32_t id)
{
    if (!map->last || map->last_id != id) {
        map->last_id = id;
        map->last = g_hash_table_lookup(map->points, GUINT_TO_POINTER(id));
    }
    return map->last;
}

/* ---- Callbacks, on the thread of common/rpc --------------------------------------------------*/

static uint8_t *on_room(size_t length, void *userdata)
{
    NodeStream *node = userdata;
    node->incoming = merge_buffer_room(length);
    return node->incoming->data;
}

static void on_message(RpcStream *stream, const uint8_t *data, size_t length, void *userdata)
{
    NodeStream *node = userdata;
    NodeEvent *event = g_new0(NodeEvent, 1);
    event->node = node;
    event->buffer = g_steal_pointer(&node->incoming);
    g_async_queue_push(node->events, event);
}

static void on_closed(RpcStream *stream, int status, const char *text, void *userdata)
{
    NodeStream *node = userdata;
    NodeEvent *event = g_new0(NodeEvent, 1);
    event->node = node;
    event->status = status;
    event->text = g_strdup(text);
    g_async_queue_push(node->events, event);
}

static const RpcStreamHandlers handlers = {
    .room = on_room, .message = on_message, .closed = on_closed};

void node_event_free(NodeEvent *event)
{
    merge_buffer_unref(event->buffer);
    g_free(event->text);
    g_free(event);
}

/* ---- Life ------------------------------------------------------------------------------------*/

NodeStream *node_stream_new(RpcClient *client, const char *endpoint, bool insecure, GBytes *request,
                            GAsyncQueue *events, GError **error)
{
    RpcChannel *channel = rpc_channel_new(client, endpoint, insecure, error);
    if (!channel)
        return NULL;
    NodeStream *node = g_new0(NodeStream, 1);
    node->endpoint = g_strdup(endpoint);
    node->events = g_async_queue_ref(events);
    node->channel = channel;
    node->request = g_bytes_ref(request);
    return node;
}

NodeStream *node_stream_free(NodeStream *node)
{
    if (!node)
        return NULL;
    rpc_channel_free(node->channel);
    interface_map_unref(node->map);
    node_quota_free(node->quota);
    g_bytes_unref(node->request);
    if (node->lesser_request)
        g_bytes_unref(node->lesser_request);
    g_free(node->refusal);
    g_async_queue_unref(node->events);
    g_free(node->endpoint);
    g_free(node->problem);
    g_free(node->name);
    g_free(node->cluster);
    g_free(node->boot_id);
    g_free(node);
    return NULL;
}

void node_stream_set_lesser(NodeStream *node, GBytes *request)
{
    node->lesser_request = g_bytes_ref(request);
}

const char *node_stream_name(const NodeStream *node)
{
    return node->name && *node->name ? node->name : node->endpoint;
}

const char *node_stream_advice(int status)
{
    switch (status) {
    case -ECONNREFUSED:
        return "Is remora-node running there, and is the port the right one?";
    case -ETIMEDOUT:
        return "Is the address right, and does a firewall let the connection through?";
    case -EACCES:
        return "Ask for the right to capture there.";
    case -ENOSYS:
        return "Something else than Remora answers there; check the port.";
    case -EINVAL:
        return "Correct the capture filter or the selection of pods.";
    case -EMSGSIZE:
        return "End another capture there, or try later.";
    default:
        return "";
    }
}

bool node_stream_open_if_due(NodeStream *node, uint64_t now_ns, uint64_t waits_ns)
{
    if (node->state != NODE_STREAM_WAITING || now_ns < node->retry_ns)
        return false;
    node->state = NODE_STREAM_OPENING;
    node->opened_ns = now_ns;
    node->asked_ns = waits_ns;
    node->sequence = 0;
    node->watermark_ns = 0;
    node->wants_read = node->cancelled = false;
    g_clear_pointer(&node->problem, g_free);
    node->map = interface_map_new();
    gsize length;
    const void *request =
        g_bytes_get_data(node->refusal ? node->lesser_request : node->request, &length);
    node->stream =
        rpc_stream_open(node->channel, REMORA_METHOD_STREAM, request, length, &handlers, node);
    return true;
}

void node_stream_cancel(NodeStream *node, const char *problem)
{
    if (!node->stream || node->cancelled)
        return;
    node->cancelled = true;
    g_free(node->problem);
    node->problem = g_strdup(problem);
    rpc_stream_cancel(node->stream);
}

void node_stream_check_silence(NodeStream *node, uint64_t waits_ns)
{
    if (node->state == NODE_STREAM_OPENING && waits_ns > node->asked_ns + OPEN_TIMEOUT_NS)
        node_stream_cancel(node, "no answer");
    uint64_t silence_ns = MAX(SILENCE_MIN_NS, SILENCE_BEATS * node->heartbeat_ns);
    /* Nothing comes while nothing is asked for. */
    if (node->state == NODE_STREAM_LIVE && !node->wants_read &&
        waits_ns > node->asked_ns + silence_ns)
        node_stream_cancel(node, "nothing was heard for too long");
}

void node_stream_read(NodeStream *node, uint64_t waits_ns)
{
    node->asked_ns = waits_ns;
    node->wants_read = false;
    rpc_stream_read(node->stream);
}

/* Trying again helps against what is broken, not against a refusal. */
static bool is_refusal(int status)
{
    return status == -EINVAL || status == -EACCES || status == -EPERM || status == -ENOSYS;
}

/* Of what a node of an earlier version does not know, or one may not give. */
static bool asks_for_less(NodeStream *node)
{
    if (node->cancelled || node->refusal || !node->lesser_request ||
        (node->status != -EINVAL && node->status != -EACCES))
        return false;
    node->refusal = g_strdup(node->problem);
    return true;
}

uint64_t node_stream_pause(unsigned attempts, double random)
{
    uint64_t pause = MIN(BACKOFF_LAST_NS, BACKOFF_FIRST_NS << MIN(attempts, 10u));
    return (uint64_t)((double)pause * (0.5 + random / 2));
}

void node_stream_closed(NodeStream *node, int status, const char *text, double random,
                        uint64_t now_ns)
{
    node->stream = rpc_stream_free(node->stream);
    node->status = status;
    node->wants_read = false;
    if (!node->problem)
        node->problem = g_strdup(text && *text ? text : g_strerror(-status));
    bool was_live = node->state == NODE_STREAM_LIVE;
    bool again = !was_live && asks_for_less(node);
    if (!node->cancelled && !again)
        node->is_final |= is_refusal(status);
    if (was_live && now_ns > node->live_ns + STABLE_NS)
        node->attempts = 0;
    if (was_live)
        g_clear_pointer(&node->refusal, g_free);
    node->retry_ns = again ? now_ns : now_ns + node_stream_pause(node->attempts++, random);
    node->state = node->is_final ? NODE_STREAM_OVER : NODE_STREAM_WAITING;
    g_clear_pointer(&node->map, interface_map_unref);
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include "fake-node.h"

#include <arpa/inet.h>
#include <errno.h>

#include "common/clock.h"
#include "common/rpc/rpc.h"

typedef struct Said {
    GBytes *bytes;
    bool raw;
} Said;

typedef struct Session {
    FakeNode *node;
    RpcCall *call;
    guint next; /* of what was said */
    uint64_t sequence;
    bool busy;
} Session;

struct FakeNode {
    GMutex lock;
    RpcServer *server;
    RpcMethod methods[2];
    GArray *said;
    GPtrArray *sessions;
    unsigned calls;
    bool always_finish;
    int status;
    char *text;
    Remora__V1__TlsMode refused_mode; /* if there is a refusal */
    int refusal_status;
    char *refusal;
};

static void said_clear(gpointer data)
{
    g_bytes_unref(((Said *)data)->bytes);
}

static void bytes_release(void *bytes)
{
    g_bytes_unref(bytes);
}

/* Under the lock. */
static void send_next(Session *session)
{
    FakeNode *node = session->node;
    if (session->busy || session->next >= node->said->len)
        return;
    const Said *said = &g_array_index(node->said, Said, session->next++);
    uint8_t number[11] = {0x08}; /* field 1 */
    size_t length = 1;
    if (!said->raw) {
        uint64_t value = ++session->sequence;
        for (; value >= 0x80; value >>= 7)
            number[length++] = (uint8_t)(value | 0x80);
        number[length++] = (uint8_t)value;
    }
    gsize body;
    const void *data = g_bytes_get_data(said->bytes, &body);
    const RpcBytes pieces[] = {{number, said->raw ? 0 : length, NULL, NULL},
                               {data, body, bytes_release, g_bytes_ref(said->bytes)}};
    session->busy = rpc_call_send(session->call, pieces, 2) == 0;
}

static void on_ready(RpcCall *call, void *userdata)
{
    Session *session = userdata;
    g_mutex_lock(&session->node->lock);
    session->busy = false;
    send_next(session);
    g_mutex_unlock(&session->node->lock);
}

static void on_closed(RpcCall *call, int status, void *userdata)
{
    Session *session = userdata;
    FakeNode *node = session->node;
    g_mutex_lock(&node->lock);
    g_ptr_array_remove_fast(node->sessions, session);
    g_mutex_unlock(&node->lock);
    rpc_call_unref(call);
    g_free(session);
}

static void on_start(RpcCall *call, const uint8_t *request, size_t length, void *userdata)
{
    static const RpcCallHandlers handlers = {on_ready, on_closed};
    FakeNode *node = userdata;
    Session *session = g_new0(Session, 1);
    session->node = node;
    session->call = rpc_call_ref(call);
    rpc_call_set_handlers(call, &handlers, session);
    g_mutex_lock(&node->lock);
    node->calls++;
    g_ptr_array_add(node->sessions, session);
    Remora__V1__StreamRequest *asked = remora__v1__stream_request__unpack(NULL, length, request);
    if (node->always_finish)
        rpc_call_finish(call, node->status, node->text);
    else if (node->refusal && asked->tls == node->refused_mode)
        rpc_call_finish(call, node->refusal_status, node->refusal);
    else
        send_next(session);
    remora__v1__stream_request__free_unpacked(asked, NULL);
    g_mutex_unlock(&node->lock);
}

FakeNode *fake_node_new_at(const char *endpoint)
{
    FakeNode *node = g_new0(FakeNode, 1);
    g_mutex_init(&node->lock);
    node->said = g_array_new(FALSE, FALSE, sizeof(Said));
    g_array_set_clear_func(node->said, said_clear);
    node->sessions = g_ptr_array_new();
    node->methods[0] = (RpcMethod){REMORA_METHOD_STREAM, on_start};
    node->server =
        rpc_server_new((const char *[]){endpoint, NULL}, false, node->methods, node, NULL);
    return node->server ? node : fake_node_free(node);
}

FakeNode *fake_node_new(const char *path)
{
    g_autofree char *endpoint = g_strconcat("unix:", path, NULL);
    FakeNode *node = fake_node_new_at(endpoint);
    g_assert_nonnull(node);
    return node;
}

unsigned fake_node_port(const FakeNode *node)
{
    return rpc_server_port(node->server, 0);
}

FakeNode *fake_node_free(FakeNode *node)
{
    if (!node)
        return NULL;
    rpc_server_free(node->server);
    g_array_unref(node->said);
    g_ptr_array_unref(node->sessions);
    g_mutex_clear(&node->lock);
    g_free(node->text);
    g_free(node->refusal);
    g_free(node);
    return NULL;
}

static void say(FakeNode *node, GBytes *bytes, bool raw)
{
    Said said = {bytes, raw};
    g_mutex_lock(&node->lock);
    g_array_append_val(node->said, said);
    for (guint i = 0; i < node->sessions->len; i++)
        send_next(node->sessions->pdata[i]);
    g_mutex_unlock(&node->lock);
}

void fake_node_say(FakeNode *node, Remora__V1__StreamResponse *response)
{
    uint8_t *bytes;
    size_t length;
    stream_response_encode(response, 0, &bytes, &length); /* 0 is not written */
    say(node, g_bytes_new_take(bytes, length), false);
}

void fake_node_say_packets(FakeNode *node, const PcapngBuilder *blocks, uint32_t count,
                           uint64_t watermark_ns)
{
    uint8_t header[STREAM_HEADER_MAX];
    StreamPackets packets = {.count = count,
                             .watermark_unix_ns = watermark_ns,
                             .blocks = blocks->data,
                             .blocks_length = blocks->length};
    size_t length = stream_packets_header(header, 0, &packets);
    GByteArray *bytes = g_byte_array_new();
    g_byte_array_append(bytes, header, (guint)length);
    g_byte_array_append(bytes, blocks->data, (guint)blocks->length);
    say(node, g_byte_array_free_to_bytes(bytes), false);
}

void fake_node_say_raw(FakeNode *node, const void *bytes, size_t length)
{
    say(node, g_bytes_new(bytes, length), true);
}

void fake_node_skip_sequence(FakeNode *node)
{
    g_mutex_lock(&node->lock);
    for (guint i = 0; i < node->sessions->len; i++)
        ((Session *)node->sessions->pdata[i])->sequence++;
    g_mutex_unlock(&node->lock);
}

void fake_node_finish(FakeNode *node, int status, const char *text, bool always)
{
    g_mutex_lock(&node->lock);
    node->always_finish = always;
    node->status = status;
    g_free(node->text);
    node->text = g_strdup(text);
    for (guint i = 0; i < node->sessions->len; i++)
        rpc_call_finish(((Session *)node->sessions->pdata[i])->call, status, text);
    g_mutex_unlock(&node->lock);
}

void fake_node_refuse_mode(FakeNode *node, Remora__V1__TlsMode mode, int status, const char *text)
{
    g_mutex_lock(&node->lock);
    node->refused_mode = mode;
    node->refusal_status = status;
    node->refusal = g_strdup(text);
    g_mutex_unlock(&node->lock);
}

void fake_node_forget(FakeNode *node)
{
    g_mutex_lock(&node->lock);
    g_array_set_size(node->said, 0);
    for (guint i = 0; i < node->sessions->len; i++)
        ((Session *)node->sessions->pdata[i])->next = 0;
    g_mutex_unlock(&node->lock);
}

unsigned fake_node_calls(FakeNode *node)
{
    g_mutex_lock(&node->lock);
    unsigned calls = node->calls;
    g_mutex_unlock(&node->lock);
    return calls;
}

/* ---- The usual messages ----------------------------------------------------------------------*/

void fake_node_hello(FakeNode *node, const char *name, const char *boot_id)
{
    Remora__V1__Hello hello = REMORA__V1__HELLO__INIT;
    hello.protocol_version = REMORA_PROTOCOL_VERSION;
    hello.role = REMORA__V1__ROLE__ROLE_NODE;
    hello.cluster = (char *)"east";
    hello.node = (char *)name;
    hello.boot_id = (char *)boot_id;
    hello.time_unix_ns = clock_unix_ns();
    hello.heartbeat_interval_ms = 100;
    Remora__V1__StreamResponse response = REMORA__V1__STREAM_RESPONSE__INIT;
    response.body_case = REMORA__V1__STREAM_RESPONSE__BODY_HELLO;
    response.hello = &hello;
    fake_node_say(node, &response);
}

void fake_node_interface(FakeNode *node, uint32_t id, const char *uid, const char *device)
{
    Remora__V1__Interface interface = REMORA__V1__INTERFACE__INIT;
    interface.id = id;
    interface.device = (char *)device;
    interface.link_type = 1;
    interface.snap_length = 262144;
    interface.target_uid = (char *)uid;
    Remora__V1__StreamResponse response = REMORA__V1__STREAM_RESPONSE__INIT;
    response.body_case = REMORA__V1__STREAM_RESPONSE__BODY_INTERFACE;
    response.interface = &interface;
    fake_node_say(node, &response);
}

void fake_node_pod(FakeNode *node, const char *name, const char *address)
{
    struct in_addr memory;
    g_assert_cmpint(inet_pton(AF_INET, address, &memory), ==, 1);
    ProtobufCBinaryData addresses = {4, (uint8_t *)&memory};
    g_autofree char *uid = g_strdup_printf("uid-%s", name);
    Remora__V1__Entity pod = REMORA__V1__ENTITY__INIT;
    pod.kind = REMORA__V1__ENTITY_KIND__ENTITY_KIND_POD;
    pod.uid = uid;
    pod.namespace_ = (char *)"shop";
    pod.name = (char *)name;
    pod.addresses = &addresses;
    pod.n_addresses = 1;
    Remora__V1__IdentityEvent event = REMORA__V1__IDENTITY_EVENT__INIT;
    event.entity = &pod;
    Remora__V1__StreamResponse response = REMORA__V1__STREAM_RESPONSE__INIT;
    response.body_case = REMORA__V1__STREAM_RESPONSE__BODY_IDENTITY;
    response.identity = &event;
    fake_node_say(node, &response);
}

void fake_node_heartbeat(FakeNode *node, uint64_t watermark_ns)
{
    Remora__V1__Heartbeat heartbeat = REMORA__V1__HEARTBEAT__INIT;
    heartbeat.watermark_unix_ns = watermark_ns;
    Remora__V1__StreamResponse response = REMORA__V1__STREAM_RESPONSE__INIT;
    response.body_case = REMORA__V1__STREAM_RESPONSE__BODY_HEARTBEAT;
    response.heartbeat = &heartbeat;
    fake_node_say(node, &response);
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/server/service.h"

#include <errno.h>
#include <string.h>

#include "common/log.h"
#include "common/rpc/rpc.h"
#include "proto/stream.h"

#define CLIENT_MAX 1024u
#define COMPILERS  2 /* threads that compile filters */

struct Service {
    RpcServer *server;
    Node *node;
    const NodeInfo *info;
    ServiceConfig config;
    GThreadPool *compilers; /* libpcap looks up host names in filters, which may take long: never on
                               the RPC thread */
    uint64_t last_stream_id;
    int streams; /* atomic: calls that are not over */
};

/* What came from outside, fit for a line of the log. */
static char *printable(const char *text)
{
    return g_strescape(text, NULL);
}

static void log_refused(Service *service, const char *peer, const char *message)
{
    g_autofree char *shown = printable(message);
    log_info("request from %s refused: %s", peer, shown);
    node_stream_refused(service->node);
}

static void refuse(Service *service, RpcCall *call, int status, const char *message)
{
    log_refused(service, rpc_call_peer(call), message);
    rpc_call_finish(call, status, message);
}

/* The request, or NULL with the call refused. */
static ProtobufCMessage *unpack(Service *service, RpcCall *call,
                                const ProtobufCMessageDescriptor *type, const uint8_t *bytes,
                                size_t length)
{
    ProtobufCMessage *request = NULL;
    int error = stream_unpack(type, bytes, length, &request);
    if (error < 0) {
        g_autofree char *message =
            error == -EMSGSIZE
                ? g_strdup_printf("the request takes more than %u bytes when unpacked",
                                  STREAM_UNPACKED_MAX)
                : g_strdup_printf("the request is no %s", type->name);
        refuse(service, call, error == -EMSGSIZE ? error : -EINVAL, message);
    }
    return request;
}

/* ---- Stream ----------------------------------------------------------------------------------*/

static char *join(char *const *names, size_t n_names)
{
    GString *joined = g_string_new(NULL);
    for (size_t i = 0; i < n_names && joined->len < 256; i++) {
        g_string_append_printf(joined, "%s%s", i > 0 ? "," : "", names[i]);
    }
    return g_string_free(joined, FALSE);
}

/* What a reader may ask for of TLS. */
typedef struct TlsChoice {
    Remora__V1__TlsMode mode;
    const char *name;
    unsigned take;
} TlsChoice;

static const TlsChoice *find_tls_choice(Remora__V1__TlsMode mode)
{
    static const TlsChoice choices[] = {
        {REMORA__V1__TLS_MODE__TLS_MODE_OFF, "off", 0},
        {REMORA__V1__TLS_MODE__TLS_MODE_KEYS, "keys", TLS_TAKE_KEYS},
        {REMORA__V1__TLS_MODE__TLS_MODE_AUTO, "auto", TLS_TAKE_KEYS | TLS_TAKE_PLAINTEXT_REST},
        {REMORA__V1__TLS_MODE__TLS_MODE_PLAINTEXT, "plaintext", TLS_TAKE_PLAINTEXT_EVERY},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(choices); i++) {
        if (choices[i].mode == mode) {
            return &choices[i];
        }
    }
    return NULL;
}

static char *summarize(const Remora__V1__StreamRequest *request, uint32_t snap_length)
{
    static const Remora__V1__TargetSelector all = REMORA__V1__TARGET_SELECTOR__INIT;
    const Remora__V1__TargetSelector *targets = request->targets ? request->targets : &all;
    g_autofree char *namespaces = join(targets->namespaces, targets->n_namespaces);
    g_autofree char *pods = join(targets->pods, targets->n_pods);
    g_autofree char *text = g_strdup_printf(
        "client [%s], namespaces [%s], pods [%s], selector [%s], filter [%s], snap length %u, TLS "
        "%s",
        request->client, namespaces, pods, targets->label_selector, request->filter, snap_length,
        find_tls_choice(request->tls)->name);
    return printable(text);
}

static bool check_tls(const Service *service, Remora__V1__TlsMode mode, GError **error)
{
    const TlsChoice *choice = find_tls_choice(mode);
    if (!choice) {
        g_set_error(error, RPC_ERROR, EINVAL, "TLS mode %d is not known here", (int)mode);
        return false;
    }
    unsigned given =
        (service->config.tls_keys ? TLS_TAKE_KEYS : 0) |
        (service->config.tls_plaintext ? TLS_TAKE_PLAINTEXT_REST | TLS_TAKE_PLAINTEXT_EVERY : 0);
    if (choice->take & ~given & TLS_TAKE_KEYS) {
        g_set_error(error, RPC_ERROR, EACCES,
                    "this node gives no TLS secrets (it runs with --tls off); ask without them");
        return false;
    }
    if (choice->take & ~given) {
        g_set_error(error, RPC_ERROR, EACCES,
                    "this node gives no plaintext of TLS (it runs with --tls %s); ask without it",
                    service->config.tls_keys ? "keys" : "off");
        return false;
    }
    return true;
}

static bool read_wish(const Service *service, const Remora__V1__StreamRequest *request,
                      StreamWish *ret, GError **error)
{
    if (strlen(request->filter) > FILTER_MAX || strlen(request->client) > CLIENT_MAX) {
        g_set_error(error, RPC_ERROR, EINVAL,
                    "the filter may have %u bytes and the client's name %u; these have %zu and %zu",
                    FILTER_MAX, CLIENT_MAX, strlen(request->filter), strlen(request->client));
        return false;
    }
    if (!check_tls(service, request->tls, error)) {
        return false;
    }
    Selector *selector = selector_new(request->targets, error);
    if (!selector) {
        return false;
    }
    uint32_t wanted = request->snap_length ? request->snap_length : service->config.snap_length;
    *ret = (StreamWish){
        .protocol_version = CLAMP(request->protocol_version, 1, REMORA_PROTOCOL_VERSION),
        .selector = selector,
        .snap_length = MIN(wanted, service->config.snap_length),
        .tls = find_tls_choice(request->tls)->take,
        .filter = g_strdup(request->filter),
        .client = printable(request->client),
    };
    ret->summary = summarize(request, ret->snap_length);
    return true;
}

static void on_opened(Stream *stream, void *userdata)
{
    node_add_stream(((Service *)userdata)->node, stream);
}

static void on_refused(Stream *stream, const char *reason, void *userdata)
{
    log_refused(userdata, stream_peer(stream), reason);
}

static void on_given_up(Stream *stream, int status, void *userdata)
{
    node_remove_stream(((Service *)userdata)->node, stream, status);
}

static void on_closed(Stream *stream, int status, void *userdata)
{
    Service *service = userdata;
    g_atomic_int_add(&service->streams, -1);
    node_remove_stream(service->node, stream, status);
}

static const StreamCallbacks stream_callbacks = {on_opened, on_refused, on_given_up, on_closed};

/* On a thread of the pool, which may outlast the service: the call is over by then, and
 * stream_open() calls nothing. */
static void open_stream(void *stream, void *userdata)
{
    stream_open(stream);
    stream_unref(stream);
}

static void start_stream(RpcCall *call, const uint8_t *bytes, size_t length, void *userdata)
{
    Service *service = userdata;
    if (node_is_stopping(service->node)) {
        rpc_call_finish(call, -ECONNREFUSED, "remora-node is going down; come back");
        return;
    }
    Remora__V1__StreamRequest *request = (Remora__V1__StreamRequest *)unpack(
        service, call, &remora__v1__stream_request__descriptor, bytes, length);
    if (!request) {
        return;
    }
    g_autoptr(GError) error = NULL;
    StreamWish wish;
    if (!read_wish(service, request, &wish, &error)) {
        bool denied = error->domain == RPC_ERROR && error->code == EACCES;
        refuse(service, call, denied ? -EACCES : -EINVAL, error->message);
    } else if (g_atomic_int_add(&service->streams, 1) >= (int)service->config.max_streams) {
        g_atomic_int_add(&service->streams, -1);
        refuse(service, call, -EMSGSIZE,
               "too many streams are open (--max-streams); close one of them");
        stream_wish_clear(&wish);
    } else {
        Stream *stream = stream_new(call, ++service->last_stream_id, service->info, &wish,
                                    service->config.queue_bytes, &stream_callbacks, service);
        g_thread_pool_push(service->compilers, stream, NULL);
    }
    remora__v1__stream_request__free_unpacked(request, NULL);
}

/* ---- The others ------------------------------------------------------------------------------*/

static void start_status(RpcCall *call, const uint8_t *bytes, size_t length, void *userdata)
{
    node_answer_status(((Service *)userdata)->node, call);
}

static void start_targets(RpcCall *call, const uint8_t *bytes, size_t length, void *userdata)
{
    Service *service = userdata;
    g_autoptr(GError) error = NULL;
    Remora__V1__ListTargetsRequest *request = (Remora__V1__ListTargetsRequest *)unpack(
        service, call, &remora__v1__list_targets_request__descriptor, bytes, length);
    if (!request) {
        return;
    }
    Selector *selector = selector_new(request->targets, &error);
    if (selector) {
        node_answer_targets(service->node, call, selector);
    } else {
        refuse(service, call, -EINVAL, error->message);
    }
    remora__v1__list_targets_request__free_unpacked(request, NULL);
}

static const RpcMethod methods[] = {
    {REMORA_METHOD_STREAM, start_stream},
    {REMORA_METHOD_GET_STATUS, start_status},
    {REMORA_METHOD_LIST_TARGETS, start_targets},
    {NULL, NULL},
};

/* Endpoints come in last: calls may come from then on. */
Service *service_new(Node *node, const NodeInfo *info, const ServiceConfig *config, GError **error)
{
    Service *service = g_new0(Service, 1);
    service->node = node;
    service->info = info;
    service->config = *config;
    service->config.endpoints = NULL;
    service->compilers = g_thread_pool_new(open_stream, NULL, COMPILERS, FALSE, NULL);
    service->server = rpc_server_new(config->endpoints, config->insecure, methods, service, error);
    return service->server ? service : service_free(service);
}

Service *service_free(Service *service)
{
    if (service) {
        rpc_server_free(service->server);
        g_thread_pool_free(service->compilers, FALSE, FALSE);
        g_free(service);
    }
    return NULL;
}

unsigned service_port(const Service *service, unsigned index)
{
    return rpc_server_port(service->server, index);
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* Each connection has a thread of its own, for a request may wait for the capture thread; how many
 * there are is limited. */
#include "node-capture/server/http.h"

#include <errno.h>
#include <gio/gio.h>
#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node-capture/server/metrics.h"

#define ANSWER_NS         (UINT64_C(2) * 1000000000u) /* for the capture thread */
#define CONNECTIONS       64u
#define CONNECTIONS_OF_IP 32u
#define IDLE_S            10u
#define CONNECTION_BYTES  (16u << 10) /* request line and headers must fit */
#define BACKLOG           64

struct Http {
    Node *node;
    const NodeInfo *info;
    unsigned port;
    struct MHD_Daemon *daemon;
};

/* ---- Answers ---------------------------------------------------------------------------------*/

/* Takes over `body`. */
static enum MHD_Result answer(struct MHD_Connection *connection, unsigned status, const char *type,
                              char *body)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(strlen(body), body, MHD_RESPMEM_MUST_COPY);
    g_free(body);
    if (!response) {
        return MHD_NO;
    }
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED) {
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    }
    enum MHD_Result result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result answer_line(struct MHD_Connection *connection, unsigned status,
                                   const char *line)
{
    return answer(connection, status, "text/plain; charset=utf-8", g_strconcat(line, "\n", NULL));
}

static enum MHD_Result answer_metrics(struct MHD_Connection *connection, const Http *http,
                                      const Snapshot *snapshot)
{
    return answer(connection, MHD_HTTP_OK, METRICS_TYPE, metrics_text(http->info, snapshot));
}

static enum MHD_Result answer_health(struct MHD_Connection *connection, const Http *http,
                                     const Snapshot *snapshot)
{
    return answer_line(connection, MHD_HTTP_OK, "ok");
}

static enum MHD_Result answer_ready(struct MHD_Connection *connection, const Http *http,
                                    const Snapshot *snapshot)
{
    return snapshot->synced ? answer_line(connection, MHD_HTTP_OK, "ok")
                            : answer_line(connection, MHD_HTTP_SERVICE_UNAVAILABLE,
                                          "the first inventory is not known yet");
}

static const struct Page {
    const char *path;
    enum MHD_Result (*answer)(struct MHD_Connection *connection, const Http *http,
                              const Snapshot *snapshot);
} pages[] = {
    {"/metrics", answer_metrics},
    {"/healthz", answer_health},
    {"/readyz", answer_ready},
};

static const struct Page *find_page(const char *path)
{
    for (size_t i = 0; i < G_N_ELEMENTS(pages); i++) {
        if (strcmp(pages[i].path, path) == 0) {
            return &pages[i];
        }
    }
    return NULL;
}

static enum MHD_Result on_request(void *userdata, struct MHD_Connection *connection,
                                  const char *path, const char *method, const char *version,
                                  const char *upload, size_t *upload_length, void **state)
{
    const Http *http = userdata;
    const struct Page *page = find_page(path);
    if (!page) {
        return answer_line(connection, MHD_HTTP_NOT_FOUND, "there are /metrics, /healthz, /readyz");
    }
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
        return answer_line(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD");
    }
    /* The first call comes when the headers are there, the second when the request is complete. */
    if (!*state) {
        *state = userdata;
        return MHD_YES;
    }
    *upload_length = 0;
    Snapshot snapshot;
    if (node_snapshot(http->node, ANSWER_NS, &snapshot) < 0) {
        return answer_line(connection, MHD_HTTP_SERVICE_UNAVAILABLE,
                           "the capture thread does not answer");
    }
    return page->answer(connection, http, &snapshot);
}

/* ---- Listening -------------------------------------------------------------------------------*/

static int listen_on(const struct addrinfo *address)
{
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    int yes = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    if (bind(fd, address->ai_addr, address->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0) {
        int error = -errno;
        close(fd);
        return error;
    }
    return fd;
}

/* The first of the name's addresses that can be had. Returns a descriptor, or -1 with error. */
static int listen_at(const char *text, GError **error)
{
    g_autoptr(GSocketConnectable) address = NULL;
    bool has_port = strchr(text, ':') && !g_str_has_suffix(text, "]");
    if (has_port) {
        address = g_network_address_parse(text, 0, NULL);
    }
    if (!address) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                    "--metrics %s: expected HOST:PORT or [IPv6]:PORT", text);
        return -1;
    }
    GNetworkAddress *parsed = G_NETWORK_ADDRESS(address);
    g_autofree char *port = g_strdup_printf("%u", g_network_address_get_port(parsed));
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *addresses;
    int r = getaddrinfo(g_network_address_get_hostname(parsed), port, &hints, &addresses);
    if (r != 0) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_FAILED, "--metrics %s: %s", text,
                    gai_strerror(r));
        return -1;
    }
    int fd = -EADDRNOTAVAIL;
    for (const struct addrinfo *at = addresses; at && fd < 0; at = at->ai_next) {
        fd = listen_on(at);
    }
    freeaddrinfo(addresses);
    if (fd < 0) {
        g_set_error(error, G_IO_ERROR, g_io_error_from_errno(-fd), "--metrics %s: %s", text,
                    fd == -EADDRINUSE ? "another program listens there" : g_strerror(-fd));
        return -1;
    }
    return fd;
}

static unsigned port_of(int fd)
{
    struct sockaddr_storage address = {0};
    socklen_t length = sizeof(address);
    getsockname(fd, (struct sockaddr *)&address, &length);
    return ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                                               : ((struct sockaddr_in *)&address)->sin_port);
}

Http *http_new(const char *address, Node *node, const NodeInfo *info, GError **error)
{
    int fd = listen_at(address, error);
    if (fd < 0) {
        return NULL;
    }
    Http *http = g_new0(Http, 1);
    http->node = node;
    http->info = info;
    http->port = port_of(fd);
    http->daemon = MHD_start_daemon(
        MHD_USE_POLL_INTERNAL_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_ITC, 0, NULL, NULL,
        on_request, http, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS,
        MHD_OPTION_PER_IP_CONNECTION_LIMIT, CONNECTIONS_OF_IP, MHD_OPTION_CONNECTION_TIMEOUT,
        IDLE_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_BYTES, MHD_OPTION_END);
    if (!http->daemon) {
        close(fd);
        g_free(http);
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_FAILED,
                    "--metrics %s: the HTTP server does not start", address);
        return NULL;
    }
    return http;
}

Http *http_free(Http *http)
{
    if (http) {
        MHD_stop_daemon(http->daemon);
        g_free(http);
    }
    return NULL;
}

unsigned http_port(const Http *http)
{
    return http->port;
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include "common/rpc/core.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/un.h>

#define NAME_PREFIX "dns:///"

static bool host_is_local(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, host, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    if (inet_pton(AF_INET6, host, &v6) == 1)
        return IN6_IS_ADDR_LOOPBACK(&v6);
    return !g_ascii_strcasecmp(host, "localhost");
}

static bool parse_unix(const char *text, const char *path, RpcEndpoint *ret, GError **error)
{
    /* unix:///path is the URI's form of unix:/path. */
    if (g_str_has_prefix(path, "//"))
        path += 2;
    if (!*path || strlen(path) >= sizeof((struct sockaddr_un *)0)->sun_path) {
        g_set_error(error, RPC_ERROR, EINVAL, "%s: the path of a unix socket has 1 to %zu bytes",
                    text, sizeof((struct sockaddr_un *)0)->sun_path - 1);
        return false;
    }
    *ret = (RpcEndpoint){
        .path = g_strdup(path), .target = g_strconcat("unix:", path, NULL), .local = true};
    return true;
}

/* "HOST:PORT" or "[IPv6]:PORT" to host and port. */
static bool split_host_port(const char *text, char **ret_host, uint16_t *ret_port)
{
    const char *start = text, *end, *colon;
    if (*text == '[') {
        start = text + 1;
        end = strchr(text, ']');
        colon = end ? end + 1 : NULL;
    } else {
        end = colon = strchr(text, ':');
    }
    guint64 port;
    if (!colon || *colon != ':' || end == start ||
        !g_ascii_string_to_unsigned(colon + 1, 10, 0, UINT16_MAX, &port, NULL))
        return false;
    g_autofree char *host = g_strndup(start, (size_t)(end - start));
    struct in6_addr v6;
    /* Whatever else a resolver would take to pieces (schemes, queries, spaces) is no name. */
    bool fine = *text == '[' ? inet_pton(AF_INET6, host, &v6) == 1
                             : strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                            "0123456789.-_") == strlen(host);
    if (!fine)
        return false;
    *ret_host = g_steal_pointer(&host);
    *ret_port = (uint16_t)port;
    return true;
}

bool rpc_endpoint_is_name(const char *endpoint)
{
    return g_str_has_prefix(endpoint, NAME_PREFIX);
}

char *rpc_endpoint_format(const char *address, uint16_t port)
{
    return g_strdup_printf(strchr(address, ':') ? "[%s]:%u" : "%s:%u", address, port);
}

bool rpc_name_parse(const char *text, uint16_t default_port, bool insecure, char **ret_name,
                    uint16_t *ret_port, GError **error)
{
    const char *name = text + strlen(NAME_PREFIX);
    bool has_port = *name == '[' ? strstr(name, "]:") != NULL : strchr(name, ':') != NULL;
    g_autofree char *full =
        has_port ? g_strdup(text) : g_strdup_printf("%s:%u", text, default_port);
    RpcEndpoint endpoint;
    if (!rpc_endpoint_parse(full, &endpoint, NULL)) {
        g_set_error(error, RPC_ERROR, EINVAL, "\"%s\" is no endpoint: expected dns:///NAME[:PORT]",
                    text);
        return false;
    }
    bool allowed = rpc_endpoint_check_plain(&endpoint, text, insecure, error);
    if (allowed) {
        *ret_name = g_steal_pointer(&endpoint.host);
        *ret_port = endpoint.port;
    }
    rpc_endpoint_clear(&endpoint);
    return allowed;
}

bool rpc_endpoint_parse(const char *text, RpcEndpoint *ret, GError **error)
{
    if (g_str_has_prefix(text, "unix:"))
        return parse_unix(text, text + strlen("unix:"), ret, error);
    const char *address = text + (rpc_endpoint_is_name(text) ? strlen(NAME_PREFIX) : 0);
    char *host;
    uint16_t port;
    if (!split_host_port(address, &host, &port)) {
        g_set_error(error, RPC_ERROR, EINVAL,
                    "\"%s\" is no endpoint: expected HOST:PORT, [IPv6]:PORT, "
                    "unix:/path or dns:///NAME[:PORT]",
                    text);
        return false;
    }
    *ret = (RpcEndpoint){
        .host = host,
        .port = port,
        .target = rpc_endpoint_format(host, port),
        .local = host_is_local(host),
    };
    return true;
}

void rpc_endpoint_clear(RpcEndpoint *endpoint)
{
    g_free(endpoint->host);
    g_free(endpoint->path);
    g_free(endpoint->target);
    *endpoint = (RpcEndpoint){0};
}

bool rpc_endpoint_check_plain(const RpcEndpoint *endpoint, const char *text, bool insecure,
                              GError **error)
{
    if (endpoint->local || insecure)
        return true;
    g_set_error(error, RPC_ERROR, EPERM,
                "%s: packets would cross the network unencrypted; without --insecure only loopback "
                "addresses and unix sockets are allowed",
                text);
    return false;
}

bool rpc_endpoint_is_local(const char *text)
{
    RpcEndpoint endpoint;
    if (!rpc_endpoint_parse(text, &endpoint, NULL))
        return false;
    bool local = endpoint.local;
    rpc_endpoint_clear(&endpoint);
    return local;
}

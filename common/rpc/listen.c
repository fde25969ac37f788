// SPDX-License-Identifier: GPL-2.0-or-later
/* gRPC tells nothing but "no" when it cannot listen, takes over a unix socket that another server
 * still serves, and is content if one of a name's addresses is free. So each address is tried here
 * first. */
#include "common/rpc/core.h"

#include <grpc/grpc_security.h>
#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static bool fail(GError **error, int code, const char *text, const char *reason)
{
    g_set_error(error, RPC_ERROR, code, "cannot listen on %s: %s", text, reason);
    return false;
}

static int try_bind(const struct addrinfo *address)
{
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int yes = 1;
    /* As gRPC does: addresses of closed connections are free, those of listeners are not. */
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    int r = bind(fd, address->ai_addr, address->ai_addrlen) < 0 ? -errno : 0;
    close(fd);
    return r;
}

static bool check_tcp(const RpcEndpoint *endpoint, const char *text, GError **error)
{
    char port[8];
    g_snprintf(port, sizeof port, "%u", endpoint->port);
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *addresses;
    int r = getaddrinfo(endpoint->host, port, &hints, &addresses);
    if (r != 0)
        return fail(error, EADDRNOTAVAIL, text, gai_strerror(r));
    int failure = 0;
    bool any = false;
    for (const struct addrinfo *at = addresses; at; at = at->ai_next) {
        r = try_bind(at);
        any = any || r == 0;
        /* A machine without IPv6 still has a localhost. */
        if (r < 0 && (failure == 0 || (r != -EADDRNOTAVAIL && r != -EAFNOSUPPORT)))
            failure = r;
    }
    freeaddrinfo(addresses);
    if (failure == 0 || (any && (failure == -EADDRNOTAVAIL || failure == -EAFNOSUPPORT)))
        return true;
    return fail(error, -failure, text,
                failure == -EADDRINUSE ? "another program listens there" : g_strerror(-failure));
}

/* Whether somebody serves the socket: 0 no, 1 yes, or -errno. */
static int probe_unix(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    int r = connect(fd, (const struct sockaddr *)address, sizeof *address) < 0 ? -errno : 1;
    close(fd);
    if (r == -EAGAIN)
        return 1; /* served, with a full queue */
    return r == -ECONNREFUSED ? 0 : r;
}

static bool check_unix(const RpcEndpoint *endpoint, const char *text, GError **error)
{
    struct stat st;
    if (lstat(endpoint->path, &st) == 0) {
        if (!S_ISSOCK(st.st_mode))
            return fail(error, EEXIST, text, "the file exists and is no socket");
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        g_strlcpy(address.sun_path, endpoint->path, sizeof address.sun_path);
        int r = probe_unix(&address);
        if (r == 1)
            return fail(error, EADDRINUSE, text, "another program listens there");
        if (r < 0)
            return fail(error, -r, text, g_strerror(-r));
        if (unlink(endpoint->path) < 0)
            return fail(error, errno, text, g_strerror(errno));
    } else if (errno != ENOENT) {
        return fail(error, errno, text, g_strerror(errno));
    }
    g_autofree char *folder = g_path_get_dirname(endpoint->path);
    if (access(folder, W_OK | X_OK) < 0)
        return fail(error, errno, text, g_strerror(errno));
    return true;
}

bool rpc_listen(grpc_server *server, const RpcEndpoint *endpoint, const char *text,
                unsigned *ret_port, GError **error)
{
    if (endpoint->path ? !check_unix(endpoint, text, error) : !check_tcp(endpoint, text, error))
        return false;
    grpc_server_credentials *credentials = grpc_insecure_server_credentials_create();
    /* A chmod() afterwards would leave a moment in which anyone may connect. */
    mode_t old = endpoint->path ? umask(0177) : 0;
    int port = grpc_server_add_http2_port(server, endpoint->target, credentials);
    if (endpoint->path)
        umask(old);
    grpc_server_credentials_release(credentials);
    if (port <= 0)
        return fail(error, EADDRNOTAVAIL, text, "gRPC does not say why");
    *ret_port = endpoint->path ? 0 : (unsigned)port;
    return true;
}

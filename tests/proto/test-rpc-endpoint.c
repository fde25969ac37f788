// SPDX-License-Identifier: GPL-2.0-or-later
/* Endpoints: what is one, what is local, listening and connecting, and what a person reads when
 * that fails. */
#include "tests/proto/rpc-fixture.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static const RpcMethod NO_METHODS[] = {{NULL, NULL}};

static void test_local(void)
{
    static const char *const local[] = {
        "127.0.0.1:1",    "127.255.3.4:65535",  "localhost:80",       "LocalHost:80",
        "[::1]:5000",     "unix:/run/x",        "unix:///run/x",      "unix:x",
        "dns:///[::1]:1", "dns:///127.0.0.1:1", "dns:///localhost:1",
    };
    static const char *const foreign[] = {
        "128.0.0.1:1",         "0.0.0.0:1",       "[::]:1",          "[2001:db8::1]:1",
        "localhost.example:1", "127.0.0.1.nip:1", "127.1:1",         "2130706433:1",
        "[::ffff:10.0.0.1]:1", "node-a:1",        "dns:///node-a:1",
    };
    static const char *const none[] = {
        "",
        "localhost",
        "127.0.0.1",
        ":80",
        "[::1]",
        "::1:80",
        "[::1:80",
        "[127.0.0.1]:80",
        "a:b",
        "a:70000",
        "a:-1",
        "a:1 ",
        "unix:",
        "unix://",
        "dns://8.8.8.8/localhost:1",
        "xds:///a:1",
        "ipv4:127.0.0.1:1",
        "localhost:1/x",
        "a b:1",
        "localhost%00:1",
    };
    for (size_t i = 0; i < G_N_ELEMENTS(local); i++)
        if (!rpc_endpoint_is_local(local[i]))
            g_error("%s is local", local[i]);
    for (size_t i = 0; i < G_N_ELEMENTS(foreign); i++)
        if (rpc_endpoint_is_local(foreign[i]))
            g_error("%s is not local", foreign[i]);
    RpcClient *client = rpc_client_new();
    for (size_t i = 0; i < G_N_ELEMENTS(none); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_false(rpc_endpoint_is_local(none[i]));
        if (rpc_channel_new(client, none[i], true, &error))
            g_error("\"%s\" was taken for an endpoint", none[i]);
        g_assert_error(error, RPC_ERROR, EINVAL);
    }
    rpc_client_free(client);
}

static void test_insecure(void)
{
    RpcClient *client = rpc_client_new();
    g_autoptr(GError) error = NULL;
    g_assert_null(rpc_channel_new(client, "10.1.2.3:5000", false, &error));
    g_assert_error(error, RPC_ERROR, EPERM);
    g_assert_nonnull(strstr(error->message, "10.1.2.3:5000"));
    g_assert_nonnull(strstr(error->message, "--insecure"));
    RpcChannel *channel = rpc_channel_new(client, "10.1.2.3:5000", true, NULL);
    g_assert_nonnull(channel);
    rpc_channel_free(channel);
    rpc_client_free(client);

    g_clear_error(&error);
    const char *endpoints[] = {"127.0.0.1:0", "0.0.0.0:0", NULL};
    g_assert_null(rpc_server_new(endpoints, false, NO_METHODS, NULL, &error));
    g_assert_error(error, RPC_ERROR, EPERM);
    g_assert_nonnull(strstr(error->message, "0.0.0.0:0"));
    RpcServer *server = rpc_server_new(endpoints, true, NO_METHODS, NULL, NULL);
    g_assert_nonnull(server);
    g_assert_cmpuint(rpc_server_port(server, 0), >, 0);
    g_assert_cmpuint(rpc_server_port(server, 1), >, 0);
    g_assert_cmpuint(rpc_server_port(server, 0), !=, rpc_server_port(server, 1));
    g_assert_cmpuint(rpc_server_port(server, 2), ==, 0);
    rpc_server_free(server);
}

static void check_refusal(const char *endpoint, int code, const char *reason)
{
    g_autoptr(GError) error = NULL;
    const char *endpoints[] = {endpoint, NULL};
    g_assert_null(rpc_server_new(endpoints, false, NO_METHODS, NULL, &error));
    g_assert_error(error, RPC_ERROR, code);
    g_autofree char *expected = g_strdup_printf("cannot listen on %s: %s", endpoint, reason);
    g_assert_cmpstr(error->message, ==, expected);
}

static void test_port_in_use(void)
{
    g_autofree char *endpoint = NULL;
    Service *service = service_new_tcp(&endpoint);
    check_refusal(endpoint, EADDRINUSE, "another program listens there");
    /* A name with several addresses, of which one is taken. */
    g_autofree char *name = g_strdup_printf("localhost:%u", rpc_server_port(service->server, 0));
    check_refusal(name, EADDRINUSE, "another program listens there");
    service_free(service);
    /* The port is free again at once. */
    service_free(service_new(endpoint));
}

static void call_at(const char *endpoint)
{
    RpcClient *client = rpc_client_new();
    g_autoptr(GError) error = NULL;
    RpcChannel *channel = rpc_channel_new(client, endpoint, false, &error);
    g_assert_no_error(error);
    call_echo(channel, endpoint);
    rpc_channel_free(channel);
    rpc_client_free(client);
}

static void test_spellings(void)
{
    g_autofree char *endpoint = NULL;
    Service *service = service_new_tcp(&endpoint);
    unsigned port = rpc_server_port(service->server, 0);
    call_at(endpoint);
    g_autofree char *name = g_strdup_printf("localhost:%u", port);
    call_at(name);
    g_autofree char *dns = g_strdup_printf("dns:///localhost:%u", port);
    call_at(dns);
    service_free(service);
}

static void test_ipv6(void)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool there = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0;
    if (fd >= 0)
        close(fd);
    if (!there) {
        g_test_skip("this machine has no IPv6");
        return;
    }
    Service *service = service_new("[::1]:0");
    g_autofree char *endpoint = g_strdup_printf("[::1]:%u", rpc_server_port(service->server, 0));
    call_at(endpoint);
    check_refusal(endpoint, EADDRINUSE, "another program listens there");
    service_free(service);
}

/* ---- Unix sockets ----------------------------------------------------------------------------*/

typedef struct Folder {
    char *path, *socket, *endpoint;
} Folder;

static void folder_make(Folder *folder, const void *userdata)
{
    folder->path = g_dir_make_tmp("remora-XXXXXX", NULL);
    g_assert_nonnull(folder->path);
    folder->socket = g_build_filename(folder->path, "socket", NULL);
    folder->endpoint = g_strconcat("unix:", folder->socket, NULL);
}

static void folder_remove(Folder *folder, const void *userdata)
{
    g_unlink(folder->socket);
    g_assert_cmpint(g_rmdir(folder->path), ==, 0);
    g_free(folder->path);
    g_free(folder->socket);
    g_free(folder->endpoint);
}

static void test_unix(Folder *folder, const void *userdata)
{
    mode_t old = umask(0);
    Service *service = service_new(folder->endpoint);
    g_assert_cmpuint(umask(old), ==, 0); /* as it was */
    struct stat st;
    g_assert_cmpint(stat(folder->socket, &st), ==, 0);
    g_assert_true(S_ISSOCK(st.st_mode));
    g_assert_cmpuint(st.st_mode & 07777, ==, 0600);
    g_assert_cmpuint(rpc_server_port(service->server, 0), ==, 0);
    call_at(folder->endpoint);
    g_autofree char *uri = g_strconcat("unix://", folder->socket, NULL);
    call_at(uri);
    service_free(service);
    g_assert_cmpint(stat(folder->socket, &st), ==, -1);
    g_assert_cmpint(errno, ==, ENOENT);
}

static void test_unix_live(Folder *folder, const void *userdata)
{
    Service *service = service_new(folder->endpoint);
    check_refusal(folder->endpoint, EADDRINUSE, "another program listens there");
    /* It has done no harm to the first. */
    call_at(folder->endpoint);
    service_free(service);
}

static void test_unix_stale(Folder *folder, const void *userdata)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    g_strlcpy(address.sun_path, folder->socket, sizeof address.sun_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(bind(fd, (struct sockaddr *)&address, sizeof address), ==, 0);
    close(fd);
    g_assert_true(g_file_test(folder->socket, G_FILE_TEST_EXISTS));
    Service *service = service_new(folder->endpoint);
    call_at(folder->endpoint);
    service_free(service);
}

static void test_unix_file(Folder *folder, const void *userdata)
{
    g_assert_true(g_file_set_contents(folder->socket, "precious", -1, NULL));
    check_refusal(folder->endpoint, EEXIST, "the file exists and is no socket");
    g_autofree char *contents = NULL;
    g_assert_true(g_file_get_contents(folder->socket, &contents, NULL, NULL));
    g_assert_cmpstr(contents, ==, "precious");
}

static void test_unix_no_folder(Folder *folder, const void *userdata)
{
    g_autofree char *endpoint = g_strconcat(folder->endpoint, "/nowhere/socket", NULL);
    check_refusal(endpoint, ENOENT, g_strerror(ENOENT));
}

static void test_unix_long(Folder *folder, const void *userdata)
{
    char path[200] = "unix:/";
    memset(path + 6, 'x', sizeof path - 7);
    g_autoptr(GError) error = NULL;
    const char *endpoints[] = {path, NULL};
    g_assert_null(rpc_server_new(endpoints, false, NO_METHODS, NULL, &error));
    g_assert_error(error, RPC_ERROR, EINVAL);
}

/* ---- Nobody there ----------------------------------------------------------------------------*/

static void check_unreachable(const char *endpoint, const char *text)
{
    RpcClient *client = rpc_client_new();
    RpcChannel *channel = rpc_channel_new(client, endpoint, true, NULL);
    Reader *reader = reader_open(channel, MUTE, "", 0);
    reader_wait_closed(reader);
    g_assert_cmpint(reader->status, ==, -ECONNREFUSED);
    g_assert_cmpstr(reader->text, ==, text);
    reader_free(reader);

    g_autoptr(GError) error = NULL;
    uint8_t *answer;
    size_t length;
    int r = rpc_channel_call(channel, ECHO, "", 0, UINT64_MAX, &answer, &length, &error);
    g_assert_cmpint(r, ==, -ECONNREFUSED);
    g_autofree char *expected = g_strdup_printf("%s: %s", endpoint, text);
    g_assert_cmpstr(error->message, ==, expected);
    rpc_channel_free(channel);
    rpc_client_free(client);
}

static void test_unreachable(Folder *folder, const void *userdata)
{
    g_autofree char *endpoint = free_endpoint();
    check_unreachable(endpoint, "connection refused");
    check_unreachable(folder->endpoint, "no such file");
    g_assert_true(g_file_set_contents(folder->socket, "", -1, NULL));
    check_unreachable(folder->endpoint, "connection refused");
}

/* The next attempt is a new one, not gRPC's memory of the last. */
static void test_comes_up(Folder *folder, const void *userdata)
{
    RpcClient *client = rpc_client_new();
    RpcChannel *channel = rpc_channel_new(client, folder->endpoint, false, NULL);
    for (int i = 0; i < 3; i++) {
        Reader *reader = reader_open(channel, MUTE, "", 0);
        reader_wait_closed(reader);
        g_assert_cmpint(reader->status, ==, -ECONNREFUSED);
        reader_free(reader);
        Service *service = service_new(folder->endpoint);
        call_echo(channel, "at once");
        service_free(service);
    }
    rpc_channel_free(channel);
    rpc_client_free(client);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/rpc/endpoint/local", test_local);
    g_test_add_func("/rpc/endpoint/insecure", test_insecure);
    g_test_add_func("/rpc/endpoint/port-in-use", test_port_in_use);
    g_test_add_func("/rpc/endpoint/spellings", test_spellings);
    g_test_add_func("/rpc/endpoint/ipv6", test_ipv6);
    static const struct {
        const char *name;
        void (*run)(Folder *folder, const void *userdata);
    } tests[] = {
        {"/rpc/unix/works", test_unix},
        {"/rpc/unix/live", test_unix_live},
        {"/rpc/unix/stale", test_unix_stale},
        {"/rpc/unix/file", test_unix_file},
        {"/rpc/unix/no-folder", test_unix_no_folder},
        {"/rpc/unix/long", test_unix_long},
        {"/rpc/unreachable/texts", test_unreachable},
        {"/rpc/unreachable/comes-up", test_comes_up},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(tests); i++)
        g_test_add(tests[i].name, Folder, NULL, folder_make, tests[i].run, folder_remove);
    return g_test_run();
}

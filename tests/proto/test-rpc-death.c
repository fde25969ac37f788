// SPDX-License-Identifier: GPL-2.0-or-later
/* Peers that die or fall silent. They are processes of their own: this program with "serve
 * ENDPOINT" or "read ENDPOINT", which say a line when they are at work and end with their standard
 * input. */
#include "tests/proto/rpc-fixture.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *program;

typedef struct Peer {
    GPid pid;
    int stdin_fd;
} Peer;

static void say_and_wait(void)
{
    char byte;
    g_assert_cmpint(write(STDOUT_FILENO, "\n", 1), ==, 1);
    while (read(STDIN_FILENO, &byte, 1) > 0)
        ;
}

static int serve(const char *endpoint)
{
    Service *service = service_new(endpoint);
    say_and_wait();
    service_free(service);
    return 0;
}

static int read_stream(const char *endpoint)
{
    RpcClient *client = rpc_client_new();
    RpcChannel *channel = rpc_channel_new(client, endpoint, false, NULL);
    Reader *reader = reader_open(channel, MUTE, "", 0);
    say_and_wait();
    rpc_stream_cancel(reader->stream);
    reader_free(reader);
    rpc_channel_free(channel);
    rpc_client_free(client);
    return 0;
}

static Peer peer_start(const char *role, const char *endpoint)
{
    const char *argv[] = {program, role, endpoint, NULL};
    Peer peer;
    int out;
    g_autoptr(GError) error = NULL;
    g_spawn_async_with_pipes(NULL, (char **)argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL,
                             &peer.pid, &peer.stdin_fd, &out, NULL, &error);
    g_assert_no_error(error);
    char line;
    g_assert_cmpint(read(out, &line, 1), ==, 1);
    close(out);
    return peer;
}

/* Ends it as it should, if `sig` is 0. */
static void peer_end(Peer *peer, int sig)
{
    if (sig)
        g_assert_cmpint(kill(peer->pid, sig), ==, 0);
    close(peer->stdin_fd);
    int status;
    g_assert_cmpint(waitpid(peer->pid, &status, 0), ==, peer->pid);
    g_assert_cmpint(WIFSIGNALED(status) ? WTERMSIG(status) : 0, ==, sig);
    g_assert_true(sig || WEXITSTATUS(status) == 0);
}

static char *socket_in(const char *dir)
{
    return g_strdup_printf("unix:%s/socket", dir);
}

static void test_killed(void)
{
    g_autofree char *dir = g_dir_make_tmp("remora-XXXXXX", NULL);
    g_autofree char *endpoint = socket_in(dir);
    RpcClient *client = rpc_client_new();
    RpcChannel *channel = rpc_channel_new(client, endpoint, false, NULL);
    for (int i = 0; i < 3; i++) {
        /* From the second time on it finds the socket of the one before, and the reader gets
         * through at the first attempt. */
        Peer peer = peer_start("serve", endpoint);
        const CountRequest request = {UINT32_MAX, 5000};
        Reader *busy = reader_open(channel, COUNT, &request, sizeof request);
        Reader *mute = reader_open(channel, MUTE, "", 0);
        reader_wait_messages(busy, 100);
        peer_end(&peer, SIGKILL);
        Reader *readers[] = {busy, mute};
        for (size_t j = 0; j < G_N_ELEMENTS(readers); j++) {
            reader_wait_closed(readers[j]);
            g_assert_cmpint(readers[j]->status, ==, -ECONNREFUSED);
            g_assert_nonnull(strstr(readers[j]->text, "by the peer"));
            reader_free(readers[j]);
        }
    }
    Reader *late = reader_open(channel, MUTE, "", 0);
    reader_wait_closed(late);
    g_assert_cmpstr(late->text, ==, "connection refused"); /* the file is still there */
    reader_free(late);
    rpc_channel_free(channel);
    rpc_client_free(client);
    g_autofree char *path = g_build_filename(dir, "socket", NULL);
    g_assert_cmpint(g_unlink(path), ==, 0);
    g_assert_cmpint(g_rmdir(dir), ==, 0);
}

static void test_reader_killed(void)
{
    g_autofree char *endpoint = NULL;
    Service *service = service_new_tcp(&endpoint);
    Peer peer = peer_start("read", endpoint);
    service_wait(service, &service->opened, 1);
    peer_end(&peer, SIGKILL);
    service_wait(service, &service->closed, 1);
    g_assert_cmpint(service->closed_status, ==, -ECANCELED);
    service_free(service);
}

/* A stopped process is to its peer what one behind a broken link is: nothing comes any more. Both
 * directions at once, as it takes 20 s. */
static void test_silent(void)
{
    g_autofree char *dir = g_dir_make_tmp("remora-XXXXXX", NULL);
    g_autofree char *their_endpoint = socket_in(dir), *our_endpoint = NULL;
    Service *service = service_new_tcp(&our_endpoint);
    Peer their_reader = peer_start("read", our_endpoint);
    Peer their_server = peer_start("serve", their_endpoint);
    RpcClient *client = rpc_client_new();
    RpcChannel *channel = rpc_channel_new(client, their_endpoint, false, NULL);
    call_echo(channel, "here");
    Reader *reader = reader_open(channel, MUTE, "", 0);
    service_wait(service, &service->opened, 1);

    gint64 start = g_get_monotonic_time();
    g_assert_cmpint(kill(their_reader.pid, SIGSTOP), ==, 0);
    g_assert_cmpint(kill(their_server.pid, SIGSTOP), ==, 0);
    reader_wait_closed(reader);
    g_assert_cmpint(reader->status, ==, -ECONNREFUSED);
    g_assert_cmpstr(reader->text, ==, "the peer does not answer any more");
    service_wait(service, &service->closed, 1);
    gint64 seconds = (g_get_monotonic_time() - start) / G_USEC_PER_SEC;
    g_test_message("noticed after %d s", (int)seconds);
    g_assert_cmpint(seconds, <=, 25);

    reader_free(reader);
    rpc_channel_free(channel);
    rpc_client_free(client);
    service_free(service);
    peer_end(&their_reader, SIGKILL);
    peer_end(&their_server, SIGKILL);
    g_autofree char *path = g_build_filename(dir, "socket", NULL);
    g_unlink(path);
    g_assert_cmpint(g_rmdir(dir), ==, 0);
}

/* A stream on which nothing is said is no reason to end it: the pings go through, and the server
 * does not take them for an attack. */
static void test_quiet(void)
{
    g_autofree char *endpoint = NULL;
    Service *service = service_new_tcp(&endpoint);
    RpcClient *client = rpc_client_new();
    RpcChannel *channel = rpc_channel_new(client, endpoint, false, NULL);
    Reader *reader = reader_open(channel, MUTE, "", 0);
    service_wait(service, &service->opened, 1);
    g_usleep(65 * G_USEC_PER_SEC);
    g_mutex_lock(&reader->lock);
    g_assert_cmpuint(reader->closed, ==, 0);
    g_mutex_unlock(&reader->lock);
    rpc_stream_cancel(reader->stream);
    reader_free(reader);
    rpc_channel_free(channel);
    rpc_client_free(client);
    service_free(service);
}

int main(int argc, char **argv)
{
    program = argv[0];
    if (argc == 3 && !strcmp(argv[1], "serve"))
        return serve(argv[2]);
    if (argc == 3 && !strcmp(argv[1], "read"))
        return read_stream(argv[2]);
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/rpc/death/server-killed", test_killed);
    g_test_add_func("/rpc/death/reader-killed", test_reader_killed);
    g_test_add_func("/rpc/death/silent", test_silent);
    /* The time is what it tests, so only with -m slow. */
    if (g_test_slow())
        g_test_add_func("/rpc/death/quiet", test_quiet);
    return g_test_run();
}

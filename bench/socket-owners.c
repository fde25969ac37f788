// SPDX-License-Identifier: GPL-2.0-or-later
/* What it costs the processes of pods that their sockets are followed: short connections, and small
 * messages over TCP and UDP, over the loopback of a network namespace of its own. Blocks of both
 * kinds in turn A B B A; prints the median of the ratios of CPU time. Needs root. */
#include <glib.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "node-capture/targets/socket-owners.h"

#define CONNECTIONS 20000
#define MESSAGES    200000
#define PAIRS_MAX   100

static uint64_t told;

static void on_owner(const SocketNews *news, void *unused)
{
    told++;
}

static void require(bool ok, const char *what)
{
    if (!ok) {
        perror(what);
        exit(EXIT_FAILURE);
    }
}

static struct sockaddr_in loopback(void)
{
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static int bound_socket(int type, struct sockaddr_in *ret_address)
{
    socklen_t length = sizeof(*ret_address);
    int fd = socket(AF_INET, type, 0);
    *ret_address = loopback();
    require(fd >= 0 && bind(fd, (struct sockaddr *)ret_address, sizeof(*ret_address)) == 0, "bind");
    require(type != SOCK_STREAM || listen(fd, 128) == 0, "listen");
    require(getsockname(fd, (struct sockaddr *)ret_address, &length) == 0, "getsockname");
    return fd;
}

static int connected(int type, const struct sockaddr_in *address)
{
    int fd = socket(AF_INET, type, 0);
    require(fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0,
            "connect");
    return fd;
}

/* Connect, accept, one message, close: all of a short connection's life, in one process. */
static void connections(void)
{
    struct sockaddr_in address;
    int listener = bound_socket(SOCK_STREAM, &address);
    struct linger reset = {1, 0}; /* no TIME_WAIT */
    char byte = 'x';
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        int fd = connected(SOCK_STREAM, &address), peer = accept(listener, NULL, NULL);
        require(send(fd, &byte, 1, 0) == 1 && recv(peer, &byte, 1, 0) == 1, "message");
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
        close(fd);
        close(peer);
    }
    close(listener);
}

static void messages(int fd, int peer)
{
    char bytes[64] = "x";
    for (unsigned i = 0; i < MESSAGES; i++) {
        require(send(fd, bytes, sizeof(bytes), 0) == sizeof(bytes) &&
                    recv(peer, bytes, sizeof(bytes), 0) == sizeof(bytes),
                "message");
    }
    close(fd);
    close(peer);
}

static void tcp_messages(void)
{
    struct sockaddr_in address;
    int listener = bound_socket(SOCK_STREAM, &address);
    int fd = connected(SOCK_STREAM, &address);
    messages(fd, accept(listener, NULL, NULL));
    close(listener);
}

static void udp_messages(void)
{
    struct sockaddr_in address;
    int peer = bound_socket(SOCK_DGRAM, &address);
    messages(connected(SOCK_DGRAM, &address), peer);
}

/* A process of its own, so that what its kernel part costs is counted to it and nothing else is. */
static double cpu_of(void (*work)(void), SocketOwners *owners)
{
    pid_t pid = fork();
    require(pid >= 0, "fork");
    if (pid == 0) {
        work();
        _exit(0);
    }
    int status = 0;
    struct rusage usage = {0};
    while (wait4(pid, &status, WNOHANG, &usage) == 0) {
        owners->ops->dispatch(owners);
        g_usleep(5000);
    }
    require(status == 0, "work");
    owners->ops->dispatch(owners);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void measure(const char *name, void (*work)(void), unsigned count, SocketOwners *owners,
                    unsigned pairs)
{
    double ratios[PAIRS_MAX], off = 0, on = 0;
    uint64_t before = told;
    for (unsigned i = 0; i < pairs; i++) {
        double times[2] = {0};
        for (unsigned j = 0; j < 4; j++) { /* off on on off */
            bool wanted = j == 1 || j == 2;
            owners->ops->want(owners, wanted);
            times[wanted] += cpu_of(work, owners);
        }
        ratios[i] = times[1] / times[0];
        off += times[0];
        on += times[1];
    }
    qsort(ratios, pairs, sizeof(ratios[0]), compare);
    double each = 1e6 / (2.0 * pairs * count);
    printf("%-12s %6.2f us -> %6.2f us CPU each, ratio %.3f (%.3f-%.3f), %.2f events each\n", name,
           off * each, on * each, ratios[pairs / 2], ratios[0], ratios[pairs - 1],
           (double)(told - before) / (2.0 * pairs * count));
}

int main(int argc, char **argv)
{
    unsigned pairs = argc > 1 ? (unsigned)atoi(argv[1]) : 7;
    require(pairs > 0 && pairs <= PAIRS_MAX, "usage: socket-owners-bench [PAIRS]");
    static const SocketOwnersCallbacks callbacks = {on_owner};
    const SocketOwnersOptions options = {0};
    SocketOwners *owners;
    g_autofree char *message = NULL;
    int error = socket_owners_kernel_new(&options, &callbacks, NULL, &owners, &message);
    if (message) {
        fprintf(stderr, "%s\n", message);
    }
    if (error) {
        return EXIT_FAILURE;
    }
    require(unshare(CLONE_NEWNET) == 0, "unshare");
    require(system("ip link set lo up") == 0, "lo"); // NOLINT: a fixed command
    measure("connections", connections, CONNECTIONS, owners, pairs);
    measure("tcp-messages", tcp_messages, MESSAGES, owners, pairs);
    measure("udp-messages", udp_messages, MESSAGES, owners, pairs);
    SocketOwnersStats stats;
    owners->ops->stats(owners, &stats);
    printf("events lost: %" G_GUINT64_FORMAT "\n", stats.lost);
    socket_owners_free(owners);
    return EXIT_SUCCESS;
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* What it costs the processes of pods that their sockets are followed: short connections, and small
 * messages over TCP and UDP, over the loopback of a network namespace of its own. Runs without,
 * idle and followed in turn and back; prints the median of the ratios of CPU time. Needs root. */
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

static uint64_t told, lost;

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

/* Without programs; with programs that nobody wants to tell anything; with programs that tell. */
typedef enum Mode { MODE_NONE, MODE_IDLE, MODE_FOLLOWED, MODES } Mode;

static SocketOwners *begin(Mode mode)
{
    static const SocketOwnersCallbacks callbacks = {on_owner};
    const SocketOwnersOptions options = {0};
    SocketOwners *owners = NULL;
    g_autofree char *message = NULL;
    if (mode == MODE_NONE) {
        return NULL;
    }
    int error = socket_owners_kernel_new(&options, &callbacks, NULL, &owners, &message);
    if (message) {
        fprintf(stderr, "%s\n", message);
        exit(EXIT_FAILURE);
    }
    require(error == 0, "socket owners");
    owners->ops->want(owners, mode == MODE_FOLLOWED);
    return owners;
}

/* A process of its own, so that what its kernel part costs is counted to it and nothing else is. */
static double cpu_of(void (*work)(void), Mode mode)
{
    SocketOwners *owners = begin(mode);
    pid_t pid = fork();
    require(pid >= 0, "fork");
    if (pid == 0) { /* in a namespace of its own, as that of this program is the host's */
        require(unshare(CLONE_NEWNET) == 0 && system("ip link set lo up") == 0, "namespace");
        work();
        _exit(0);
    }
    int status = 0;
    struct rusage usage = {0};
    while (wait4(pid, &status, WNOHANG, &usage) == 0) {
        if (owners) {
            owners->ops->dispatch(owners);
        }
        g_usleep(5000);
    }
    require(status == 0, "work");
    if (owners) {
        SocketOwnersStats stats;
        owners->ops->dispatch(owners);
        owners->ops->stats(owners, &stats);
        lost += stats.lost;
    }
    socket_owners_free(owners);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void print_ratios(const char *what, double *ratios, unsigned pairs)
{
    qsort(ratios, pairs, sizeof(ratios[0]), compare);
    printf(", %s %.3f (%.3f-%.3f)", what, ratios[pairs / 2], ratios[0], ratios[pairs - 1]);
}

static void measure(const char *name, void (*work)(void), unsigned count, unsigned pairs)
{
    static const Mode order[] = {MODE_NONE,     MODE_IDLE, MODE_FOLLOWED,
                                 MODE_FOLLOWED, MODE_IDLE, MODE_NONE};
    double idle[PAIRS_MAX], followed[PAIRS_MAX], none = 0;
    told = lost = 0;
    for (unsigned i = 0; i < pairs; i++) {
        double times[MODES] = {0};
        for (unsigned j = 0; j < G_N_ELEMENTS(order); j++) {
            times[order[j]] += cpu_of(work, order[j]);
        }
        idle[i] = times[MODE_IDLE] / times[MODE_NONE];
        followed[i] = times[MODE_FOLLOWED] / times[MODE_NONE];
        none += times[MODE_NONE];
    }
    double each = 2.0 * pairs * count;
    printf("%-12s %.2f us of CPU each without", name, 1e6 * none / each);
    print_ratios("idle", idle, pairs);
    print_ratios("followed", followed, pairs);
    printf(", %.2f events each, %" G_GUINT64_FORMAT " lost\n", (double)told / each, lost);
}

int main(int argc, char **argv)
{
    unsigned pairs = argc > 1 ? (unsigned)atoi(argv[1]) : 7;
    require(pairs > 0 && pairs <= PAIRS_MAX, "usage: socket-owners-bench [PAIRS]");
    measure("connections", connections, CONNECTIONS, pairs);
    measure("tcp-messages", tcp_messages, MESSAGES, pairs);
    measure("udp-messages", udp_messages, MESSAGES, pairs);
    return EXIT_SUCCESS;
}

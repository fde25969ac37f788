// SPDX-License-Identifier: GPL-2.0-or-later
/* remora-newborn PROCS_FILE NUMBER MS: a pod's first process as a runtime makes it. It enters the
 * control group, takes a network namespace of its own, and becomes a program: one that sends
 * datagrams over the loopback for MS milliseconds from when that is up, four a millisecond at most,
 * and then ends; or, with MS 0, one that prints a line and waits to be killed. A datagram has
 * NUMBER, its own number (0 is the first), and the Unix time at which the namespace was there, in
 * ns: 32, 32 and 64 bits in host order. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"

#define INTERVAL_NS 250000
#define PORT        9999

static void require(int ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "remora-newborn: %s: %s\n", what, strerror(errno));
        exit(EXIT_FAILURE);
    }
}

static void enter_group(const char *procs_file)
{
    int fd = open(procs_file, O_WRONLY | O_CLOEXEC);
    require(fd >= 0 && write(fd, "0", 1) == 1, procs_file);
    close(fd);
}

static void raise_loopback(int fd)
{
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    require(ioctl(fd, SIOCSIFFLAGS, &request) == 0, "lo");
}

static void send_for(uint64_t duration_ns, uint32_t number, uint64_t born_ns)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct timespec pause = {.tv_nsec = INTERVAL_NS};
    struct {
        uint32_t number, serial;
        uint64_t born_ns;
    } payload = {.number = number, .born_ns = born_ns};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    require(fd >= 0, "socket");
    raise_loopback(fd);
    uint64_t end_ns = clock_monotonic_ns() + duration_ns;
    for (; clock_monotonic_ns() < end_ns; payload.serial++) {
        sendto(fd, &payload, sizeof payload, 0, (struct sockaddr *)&to, sizeof to);
        nanosleep(&pause, NULL);
    }
}

int main(int argc, char **argv)
{
    if (argc == 5) { /* what it became */
        uint64_t duration_ns = strtoull(argv[3], NULL, 10) * 1000000u;
        if (duration_ns) {
            send_for(duration_ns, (uint32_t)strtoul(argv[2], NULL, 10),
                     strtoull(argv[4], NULL, 10));
            return 0;
        }
        require(puts("ready") >= 0 && fflush(stdout) == 0, "stdout");
        for (;;)
            pause();
    }
    if (argc != 4) {
        fprintf(stderr, "usage: remora-newborn PROCS_FILE NUMBER MS\n");
        return 2;
    }
    char born_ns[24];
    enter_group(argv[1]);
    require(unshare(CLONE_NEWNET) == 0, "unshare");
    snprintf(born_ns, sizeof born_ns, "%llu", (unsigned long long)clock_unix_ns());
    execl("/proc/self/exe", "remora-newborn", argv[1], argv[2], argv[3], born_ns, (char *)NULL);
    require(0, "exec");
}

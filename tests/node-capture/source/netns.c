// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/node-capture/source/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <net/if.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct Call {
    int netns_fd;
    void (*function)(void *data);
    void *data;
} Call;

static void quiet(void *data)
{
    g_assert_cmpint(
        system("ip link set lo up && echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6 && "
               "echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6"),
        ==, 0);
}

bool netns_enter_own(void)
{
    if (unshare(CLONE_NEWNET) < 0) {
        printf("1..0 # SKIP cannot make network namespaces: %s (root is needed)\n",
               strerror(errno));
        return false;
    }
    quiet(NULL);
    return true;
}

static void *make(void *data)
{
    g_assert_cmpint(unshare(CLONE_NEWNET), ==, 0);
    quiet(NULL);
    int *fd = data;
    *fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    return NULL;
}

int netns_new(void)
{
    int fd = -1;
    g_thread_join(g_thread_new("netns", make, &fd));
    g_assert_cmpint(fd, >=, 0);
    return fd;
}

static void *call(void *data)
{
    Call *call = data;
    g_assert_cmpint(setns(call->netns_fd, CLONE_NEWNET), ==, 0);
    call->function(call->data);
    return NULL;
}

void netns_run(int netns_fd, void (*function)(void *data), void *data)
{
    Call what = {netns_fd, function, data};
    g_thread_join(g_thread_new("in-netns", call, &what));
}

static void shell(void *command)
{
    int status = system(command);
    if (status)
        g_error("failed: %s", (char *)command);
}

void netns_shell(int netns_fd, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    g_autofree char *command = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    if (netns_fd >= 0)
        netns_run(netns_fd, shell, command);
    else
        shell(command);
}

void netns_await_gone(const char *device)
{
    gint64 deadline = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;
    while (if_nametoindex(device) && g_get_monotonic_time() < deadline)
        g_usleep(1000);
    g_assert_cmpuint(if_nametoindex(device), ==, 0);
}

void netns_veth(int netns_fd, const char *outside, const char *inside)
{
    netns_await_gone(outside);
    netns_shell(-1, "ip link add %s type veth peer name %s netns /proc/%d/fd/%d", outside, inside,
                (int)getpid(), netns_fd);
    netns_shell(-1, "ip link set %s up", outside);
    netns_shell(netns_fd, "ip link set %s up", inside);
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/targets/netns-addresses.h"

#include <errno.h>
#include <glib.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* The kernel fills datagrams of a dump up to this much if the reader has shown such a buffer. */
#define DATAGRAM_BYTES 32768
/* Per dispatch, so that a namespace whose addresses change without end does not hold the others. */
#define DATAGRAMS_MAX 64

struct NetnsAddresses {
    int fd;
    uint32_t sequence;
    bool dumping, stale, known, changed;
    GArray *list, *next; /* of NetnsAddress: what is known, and the dump that is coming in */
};

typedef struct Opening {
    int netns_fd;
    int fd; /* or -errno */
} Opening;

/* A thread of its own, which ends here, so that no thread of ours can ever be left in a foreign
 * namespace. */
static void *open_in_namespace(void *data)
{
    Opening *opening = data;
    if (setns(opening->netns_fd, CLONE_NEWNET) < 0) {
        opening->fd = -errno;
        return NULL;
    }
    opening->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
    if (opening->fd < 0) {
        opening->fd = -errno;
    }
    return NULL;
}

static int open_socket(int netns_fd)
{
    Opening opening = {.netns_fd = netns_fd};
    GThread *thread = g_thread_try_new("netns", open_in_namespace, &opening, NULL);
    if (!thread) {
        return -EAGAIN;
    }
    g_thread_join(thread);
    return opening.fd;
}

static int request_dump(NetnsAddresses *addresses)
{
    struct {
        struct nlmsghdr header;
        struct ifaddrmsg message;
    } request = {
        .header = {.nlmsg_len = sizeof(request),
                   .nlmsg_type = RTM_GETADDR,
                   .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
                   .nlmsg_seq = ++addresses->sequence},
    };
    g_array_set_size(addresses->next, 0);
    addresses->stale = false;
    if (send(addresses->fd, &request, sizeof(request), 0) < 0) {
        return -errno;
    }
    addresses->dumping = true;
    return 0;
}

int netns_addresses_new(int netns_fd, NetnsAddresses **ret)
{
    int fd = open_socket(netns_fd);
    if (fd < 0) {
        return fd;
    }
    struct sockaddr_nl address = {.nl_family = AF_NETLINK,
                                  .nl_groups = RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR};
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        int error = -errno;
        close(fd);
        return error;
    }
    NetnsAddresses *addresses = g_new0(NetnsAddresses, 1);
    addresses->fd = fd;
    addresses->list = g_array_new(FALSE, TRUE, sizeof(NetnsAddress));
    addresses->next = g_array_new(FALSE, TRUE, sizeof(NetnsAddress));
    int error = request_dump(addresses);
    if (error) {
        netns_addresses_free(addresses);
        return error;
    }
    *ret = addresses;
    return 0;
}

NetnsAddresses *netns_addresses_free(NetnsAddresses *addresses)
{
    if (addresses) {
        close(addresses->fd);
        g_array_unref(addresses->list);
        g_array_unref(addresses->next);
        g_free(addresses);
    }
    return NULL;
}

int netns_addresses_fd(const NetnsAddresses *addresses)
{
    return addresses->fd;
}

static void on_address(const NetnsAddress *address, void *userdata)
{
    NetnsAddresses *addresses = userdata;
    NetnsAddress named = *address;
    struct ifreq request = {.ifr_ifindex = (int)address->ifindex};
    if (ioctl(addresses->fd, SIOCGIFNAME, &request) == 0) {
        g_strlcpy(named.device, request.ifr_name, sizeof(named.device));
    }
    g_array_append_val(addresses->next, named);
}

static void on_changed(void *userdata)
{
    ((NetnsAddresses *)userdata)->stale = true;
}

static void on_done(void *userdata)
{
    NetnsAddresses *addresses = userdata;
    GArray *list = addresses->list, *next = addresses->next;
    addresses->dumping = false;
    if (!addresses->known || list->len != next->len ||
        memcmp(list->data, next->data, list->len * sizeof(NetnsAddress)) != 0) {
        addresses->known = addresses->changed = true;
        addresses->list = next;
        addresses->next = list;
    }
}

int netns_addresses_dispatch(NetnsAddresses *addresses, bool *ret_changed)
{
    static const AddressDumpEvents events = {on_address, on_changed, on_done};
    uint8_t buffer[DATAGRAM_BYTES];
    int error = 0;
    addresses->changed = false;
    for (unsigned i = 0; i < DATAGRAMS_MAX && !error; i++) {
        struct sockaddr_nl sender;
        socklen_t size = sizeof(sender);
        ssize_t length =
            recvfrom(addresses->fd, buffer, sizeof(buffer), 0, (struct sockaddr *)&sender, &size);
        if (length < 0 && errno == ENOBUFS) { /* some were lost: the next dump tells what is so */
            addresses->stale = true;
        } else if (length < 0) {
            error = errno == EAGAIN || errno == EINTR ? 0 : -errno;
            break;
        } else if (sender.nl_pid == 0) { /* from the kernel */
            error =
                address_dump_read(buffer, (size_t)length, addresses->sequence, &events, addresses);
        }
        if (!error && addresses->stale && !addresses->dumping) {
            error = request_dump(addresses);
        }
    }
    *ret_changed = addresses->changed;
    return error;
}

const NetnsAddress *netns_addresses_list(const NetnsAddresses *addresses, size_t *ret_count)
{
    *ret_count = addresses->list->len;
    return (const NetnsAddress *)addresses->list->data;
}

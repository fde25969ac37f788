// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/connections/conntrack-socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/filter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <sched.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

#define RECEIVE_BYTES (8 * 1024 * 1024) /* about 10,000 events; taken only while they wait */

typedef struct Socket {
    ConntrackSource source;
    char *netns;
    int fd;
    uint32_t sequence;
} Socket;

static int enter(const char *netns)
{
    int fd = open(netns, O_RDONLY | O_CLOEXEC);
    int error = fd < 0 || setns(fd, CLONE_NEWNET) < 0 ? -errno : 0;
    if (fd >= 0) {
        close(fd);
    }
    return error;
}

/* Events of connections that are not rewritten stay in the kernel: they are the most. Whatever is
 * no event (parts of dumps, errors) passes. SKF_AD_NLATTR finds an attribute behind the two
 * headers. */
static int keep_rewritten(int fd)
{
    static const uint32_t rewritten = IPS_SRC_NAT | IPS_DST_NAT;
    const struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, offsetof(struct nlmsghdr, nlmsg_flags)),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, htons(NLM_F_MULTI), 10, 0),
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, offsetof(struct nlmsghdr, nlmsg_type)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(NLMSG_ERROR), 8, 0),
        BPF_STMT(BPF_LD | BPF_IMM, NLMSG_LENGTH(sizeof(struct nfgenmsg))),
        BPF_STMT(BPF_LDX | BPF_IMM, CTA_STATUS),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_NLATTR)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 4, 0),
        BPF_STMT(BPF_MISC | BPF_TAX, 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_IND, sizeof(struct nlattr)),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, rewritten, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
    };
    const struct sock_fprog program = {G_N_ELEMENTS(code), (struct sock_filter *)(uintptr_t)code};
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0 ? -errno : 0;
}

/* Updates are not listened to: how a connection is rewritten is settled with its first packet. */
static int listen_to_events(int fd)
{
    static const int groups[] = {NFNLGRP_CONNTRACK_NEW, NFNLGRP_CONNTRACK_DESTROY};
    for (size_t i = 0; i < G_N_ELEMENTS(groups); i++) {
        if (setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &groups[i], sizeof(groups[i])) <
            0) {
            return -errno;
        }
    }
    return 0;
}

static int socket_open(ConntrackSource *source)
{
    Socket *s = (Socket *)source;
    int error = s->netns ? enter(s->netns) : 0;
    if (error) {
        return error;
    }
    s->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER);
    if (s->fd < 0) {
        return -errno;
    }
    int bytes = RECEIVE_BYTES;
    if (setsockopt(s->fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) < 0) {
        setsockopt(s->fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
    }
    const struct sockaddr_nl address = {.nl_family = AF_NETLINK};
    if (bind(s->fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
        return -errno;
    }
    error = keep_rewritten(s->fd);
    return error ? error : listen_to_events(s->fd);
}

static int socket_fd(const ConntrackSource *source)
{
    return ((const Socket *)source)->fd;
}

static int socket_request_dump(ConntrackSource *source)
{
    Socket *s = (Socket *)source;
    const struct {
        struct nlmsghdr header;
        struct nfgenmsg message;
    } request = {
        .header = {.nlmsg_len = sizeof(request),
                   .nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET,
                   .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
                   .nlmsg_seq = ++s->sequence},
        .message = {.nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0},
    };
    return send(s->fd, &request, sizeof(request), 0) < 0 ? -errno : 0;
}

static ssize_t socket_receive(ConntrackSource *source, void *buffer, size_t size)
{
    struct sockaddr_nl sender;
    socklen_t length = sizeof(sender);
    ssize_t r =
        recvfrom(((Socket *)source)->fd, buffer, size, 0, (struct sockaddr *)&sender, &length);
    if (r < 0) {
        return -errno;
    }
    return sender.nl_pid == 0 ? r : 0; /* only the kernel's word counts */
}

static void socket_free(ConntrackSource *source)
{
    Socket *s = (Socket *)source;
    if (s->fd >= 0) {
        close(s->fd);
    }
    g_free(s->netns);
    g_free(s);
}

ConntrackSource *conntrack_socket_new(const char *netns)
{
    static const ConntrackSourceOps ops = {socket_open, socket_fd, socket_request_dump,
                                           socket_receive, socket_free};
    Socket *s = g_new0(Socket, 1);
    s->source.ops = &ops;
    s->netns = g_strdup(netns);
    s->fd = -1;
    return &s->source;
}

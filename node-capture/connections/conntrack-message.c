// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/connections/conntrack-message.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libnetfilter_conntrack/libnetfilter_conntrack.h>
#include <linux/netfilter/nfnetlink.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

static bool read_address(const struct nf_conntrack *ct, enum nf_conntrack_attr v4,
                         enum nf_conntrack_attr v6, IpAddress *ret)
{
    if (nfct_attr_is_set(ct, v4) > 0) {
        return ip_address_from_bytes(ret, nfct_get_attr(ct, v4), 4);
    }
    return nfct_attr_is_set(ct, v6) > 0 && ip_address_from_bytes(ret, nfct_get_attr(ct, v6), 16);
}

static bool read_ends(const struct nf_conntrack *ct, ConntrackEntry *entry)
{
    ConntrackTuple *tuple = &entry->tuple;
    if (!read_address(ct, ATTR_ORIG_IPV4_SRC, ATTR_ORIG_IPV6_SRC, &tuple->client.address) ||
        !read_address(ct, ATTR_ORIG_IPV4_DST, ATTR_ORIG_IPV6_DST, &tuple->service.address) ||
        !read_address(ct, ATTR_REPL_IPV4_SRC, ATTR_REPL_IPV6_SRC, &entry->server.address) ||
        !read_address(ct, ATTR_REPL_IPV4_DST, ATTR_REPL_IPV6_DST, &entry->masked_client.address)) {
        return false;
    }
    tuple->client.port = ntohs(nfct_get_attr_u16(ct, ATTR_ORIG_PORT_SRC));
    tuple->service.port = ntohs(nfct_get_attr_u16(ct, ATTR_ORIG_PORT_DST));
    entry->server.port = ntohs(nfct_get_attr_u16(ct, ATTR_REPL_PORT_SRC));
    entry->masked_client.port = ntohs(nfct_get_attr_u16(ct, ATTR_REPL_PORT_DST));
    return true;
}

static bool same_end(const ConntrackEnd *a, const ConntrackEnd *b)
{
    return a->port == b->port && ip_address_equal(&a->address, &b->address);
}

static int read_entry(const struct nf_conntrack *ct, ConntrackEntry *entry)
{
    entry->tuple.protocol = nfct_get_attr_u8(ct, ATTR_ORIG_L4PROTO);
    if (entry->tuple.protocol != IPPROTO_TCP && entry->tuple.protocol != IPPROTO_UDP &&
        entry->tuple.protocol != IPPROTO_SCTP) {
        return 0;
    }
    if (!read_ends(ct, entry)) {
        return -EBADMSG;
    }
    entry->id = nfct_get_attr_u32(ct, ATTR_ID);
    entry->start_ns = nfct_get_attr_u64(ct, ATTR_TIMESTAMP_START);
    return !same_end(&entry->tuple.client, &entry->masked_client) ||
           !same_end(&entry->tuple.service, &entry->server);
}

int conntrack_message_read(const struct nlmsghdr *message, size_t length, ConntrackEntry *ret)
{
    if (length < NLMSG_HDRLEN || message->nlmsg_len > length ||
        message->nlmsg_len < NLMSG_LENGTH(sizeof(struct nfgenmsg))) {
        return -EBADMSG;
    }
    if (NFNL_SUBSYS_ID(message->nlmsg_type) != NFNL_SUBSYS_CTNETLINK) {
        return 0;
    }
    unsigned type = NFNL_MSG_TYPE(message->nlmsg_type);
    if (type != IPCTNL_MSG_CT_NEW && type != IPCTNL_MSG_CT_DELETE) {
        return 0;
    }
    struct nf_conntrack *ct = nfct_new();
    if (!ct) {
        return -ENOMEM;
    }
    ConntrackEntry entry = {.ended = type == IPCTNL_MSG_CT_DELETE};
    int r = nfct_nlmsg_parse(message, ct) < 0 ? -EBADMSG : read_entry(ct, &entry);
    nfct_destroy(ct);
    if (r > 0) {
        *ret = entry;
    }
    return r;
}

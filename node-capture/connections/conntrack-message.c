// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/connections/conntrack-message.h"

#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>
#include <string.h>

typedef struct Bytes {
    const uint8_t *at;
    size_t length;
} Bytes;

/* One direction. */
typedef struct Tuple {
    IpAddress src, dst;
    uint16_t src_port, dst_port;
    uint8_t protocol;
    bool has_src, has_dst;
} Tuple;

typedef struct Message {
    Tuple original, reply;
    uint32_t id;
    uint64_t start_ns;
} Message;

/* Takes the next attribute off: 1 with its type and value, 0 at the end, or -EBADMSG. */
static int next_attribute(Bytes *list, uint16_t *ret_type, Bytes *ret)
{
    struct nlattr header;
    if (list->length < sizeof(header)) {
        return list->length ? -EBADMSG : 0;
    }
    memcpy(&header, list->at, sizeof(header));
    if (header.nla_len < sizeof(header) || header.nla_len > list->length) {
        return -EBADMSG;
    }
    *ret_type = header.nla_type & NLA_TYPE_MASK;
    *ret = (Bytes){list->at + sizeof(header), header.nla_len - sizeof(header)};
    size_t step = NLA_ALIGN((size_t)header.nla_len);
    step = step < list->length ? step : list->length;
    *list = (Bytes){list->at + step, list->length - step};
    return 1;
}

/* Calls for each attribute until one is wrong. */
static int each(Bytes list, int (*take)(uint16_t type, Bytes value, void *userdata), void *userdata)
{
    uint16_t type;
    Bytes value;
    int r;
    while ((r = next_attribute(&list, &type, &value)) > 0) {
        r = take(type, value, userdata);
        if (r < 0) {
            return r;
        }
    }
    return r;
}

/* A number in network order, of as many bytes as it has. */
static int read_number(Bytes value, size_t length, uint64_t *ret)
{
    if (value.length != length) {
        return -EBADMSG;
    }
    *ret = 0;
    for (size_t i = 0; i < length; i++) {
        *ret = *ret << 8 | value.at[i];
    }
    return 0;
}

static int take_address(uint16_t type, Bytes value, void *userdata)
{
    Tuple *tuple = userdata;
    bool is_src = type == CTA_IP_V4_SRC || type == CTA_IP_V6_SRC;
    bool is_v4 = type == CTA_IP_V4_SRC || type == CTA_IP_V4_DST;
    if (!is_src && type != CTA_IP_V4_DST && type != CTA_IP_V6_DST) {
        return 0;
    }
    if (value.length != (is_v4 ? 4 : 16)) {
        return -EBADMSG;
    }
    *(is_src ? &tuple->has_src : &tuple->has_dst) = true;
    ip_address_from_bytes(is_src ? &tuple->src : &tuple->dst, value.at, value.length);
    return 0;
}

static int take_port(uint16_t type, Bytes value, void *userdata)
{
    Tuple *tuple = userdata;
    uint64_t number;
    int r = 0;
    if (type == CTA_PROTO_NUM && !(r = read_number(value, 1, &number))) {
        tuple->protocol = (uint8_t)number;
    } else if (type == CTA_PROTO_SRC_PORT && !(r = read_number(value, 2, &number))) {
        tuple->src_port = (uint16_t)number;
    } else if (type == CTA_PROTO_DST_PORT && !(r = read_number(value, 2, &number))) {
        tuple->dst_port = (uint16_t)number;
    }
    return r;
}

static int take_tuple(uint16_t type, Bytes value, void *userdata)
{
    switch (type) {
    case CTA_TUPLE_IP:
        return each(value, take_address, userdata);
    case CTA_TUPLE_PROTO:
        return each(value, take_port, userdata);
    default:
        return 0;
    }
}

static int take_timestamp(uint16_t type, Bytes value, void *userdata)
{
    return type == CTA_TIMESTAMP_START ? read_number(value, 8, userdata) : 0;
}

static int take_top(uint16_t type, Bytes value, void *userdata)
{
    Message *message = userdata;
    uint64_t number;
    int r = 0;
    switch (type) {
    case CTA_TUPLE_ORIG:
        return each(value, take_tuple, &message->original);
    case CTA_TUPLE_REPLY:
        return each(value, take_tuple, &message->reply);
    case CTA_TIMESTAMP:
        return each(value, take_timestamp, &message->start_ns);
    case CTA_ID:
        r = read_number(value, 4, &number);
        message->id = r ? 0 : (uint32_t)number;
        return r;
    default:
        return 0;
    }
}

static bool same_end(const ConntrackEnd *a, const ConntrackEnd *b)
{
    return a->port == b->port && ip_address_equal(&a->address, &b->address);
}

static int read_message(const Message *message, bool ended, ConntrackEntry *ret)
{
    const Tuple *original = &message->original, *reply = &message->reply;
    if (original->protocol != IPPROTO_TCP && original->protocol != IPPROTO_UDP &&
        original->protocol != IPPROTO_SCTP) {
        return 0;
    }
    if (!original->has_src || !original->has_dst || !reply->has_src || !reply->has_dst) {
        return -EBADMSG;
    }
    ConntrackEntry entry = {
        .tuple = {.client = {original->src, original->src_port},
                  .service = {original->dst, original->dst_port},
                  .protocol = original->protocol},
        .server = {reply->src, reply->src_port},
        .masked_client = {reply->dst, reply->dst_port},
        .id = message->id,
        .start_ns = message->start_ns,
        .ended = ended,
    };
    if (same_end(&entry.tuple.client, &entry.masked_client) &&
        same_end(&entry.tuple.service, &entry.server)) {
        return 0;
    }
    *ret = entry;
    return 1;
}

int conntrack_message_read(const struct nlmsghdr *message, size_t length, ConntrackEntry *ret)
{
    const size_t headers = NLMSG_LENGTH(sizeof(struct nfgenmsg));
    if (length < NLMSG_HDRLEN || message->nlmsg_len > length || message->nlmsg_len < headers) {
        return -EBADMSG;
    }
    if (NFNL_SUBSYS_ID(message->nlmsg_type) != NFNL_SUBSYS_CTNETLINK) {
        return 0;
    }
    unsigned type = NFNL_MSG_TYPE(message->nlmsg_type);
    if (type != IPCTNL_MSG_CT_NEW && type != IPCTNL_MSG_CT_DELETE) {
        return 0;
    }
    Message read = {0};
    const Bytes list = {(const uint8_t *)message + headers, message->nlmsg_len - headers};
    int r = each(list, take_top, &read);
    return r < 0 ? r : read_message(&read, type == IPCTNL_MSG_CT_DELETE, ret);
}

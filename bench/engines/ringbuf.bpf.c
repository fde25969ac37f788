/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* The engine that we measured and did not take: a filter on a packet socket in each network
 * namespace copies into one ring buffer and lets nothing through to the socket. Loaded once per
 * namespace, with its own `target`. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "ringbuf.h"

#define PACKET_OUTGOING  4
#define LOOPBACK_IFINDEX 1

struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 4096); /* the loader knows the size */
} packets SEC(".maps");

const volatile __u32 target = 0;
__u64 captured, dropped;

/* The verifier wants a constant size to reserve, so there are classes of them. */
static __always_inline int put(struct __sk_buff *skb, const __u32 room)
{
    struct ringbuf_packet *packet = bpf_ringbuf_reserve(&packets, sizeof *packet + room, 0);
    if (!packet) {
        __sync_fetch_and_add(&dropped, 1);
        return 0;
    }
    __u32 length = skb->len;
    packet->time_ns = bpf_ktime_get_tai_ns();
    packet->target = target;
    packet->ifindex = skb->ifindex;
    packet->original_length = length;
    packet->pkt_type = skb->pkt_type;
    packet->vlan = skb->vlan_present ? skb->vlan_proto << 16 | skb->vlan_tci : 0;
    if (length > room)
        length = room;
    asm volatile("" : "+r"(length)); /* the bounds below must be checked on this very register */
    packet->captured_length = length;
    if (length == 0 || length > room || bpf_skb_load_bytes(skb, 0, packet->data, length) < 0) {
        bpf_ringbuf_discard(packet, BPF_RB_NO_WAKEUP);
        __sync_fetch_and_add(&dropped, 1);
        return 0;
    }
    bpf_ringbuf_submit(packet, BPF_RB_NO_WAKEUP); /* user space looks every few milliseconds */
    __sync_fetch_and_add(&captured, 1);
    return 0;
}

SEC("socket")
int capture(struct __sk_buff *skb)
{
    if (skb->pkt_type == PACKET_OUTGOING && skb->ifindex == LOOPBACK_IFINDEX)
        return 0;
    if (skb->len <= 128)
        return put(skb, 128);
    if (skb->len <= 512)
        return put(skb, 512);
    if (skb->len <= 1536)
        return put(skb, 1536);
    if (skb->len <= 8192)
        return put(skb, 8192);
    return put(skb, 65536 + 64);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";

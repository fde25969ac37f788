/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* What the BPF program puts into the ring buffer for user space. */
#pragma once

struct ringbuf_packet {
    __u64 time_ns; /* CLOCK_TAI */
    __u32 target;
    __u32 ifindex;
    __u32 captured_length;
    __u32 original_length;
    __u32 pkt_type; /* PACKET_ */
    __u32 vlan;     /* tpid << 16 | tci; 0: none */
    __u8 data[];
};
_Static_assert(sizeof(struct ringbuf_packet) == 32, "packets follow at a multiple of 8");

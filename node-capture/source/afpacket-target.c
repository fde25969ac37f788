// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/source/afpacket-target.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <unistd.h>

#include "common/clock.h"
#include "node-capture/source/epb.h"

/* A pod that makes more devices than this has them told as lost packets: our memory is bounded. */
#define DEVICES_MAX 1024u
/* Attempts to find an instant for the cut at which the old ring does not overflow. */
#define CUT_ATTEMPTS 16

/* One visit: packets on their way from blocks to batches. */
typedef struct Visit {
    Target *target;
    TargetContext *context;
    Batch *batch;            /* or NULL */
    uint64_t from_ns, to_ns; /* only packets stamped in between; to_ns is not included */
    uint64_t inexpressible;  /* packets of devices whose link type we do not know */
} Visit;

int target_new(uint32_t id, int netns_fd, size_t ring_bytes, const TargetContext *context,
               Target **ret, const char **ret_message)
{
    Ring ring;
    int error = ring_open(&ring, netns_fd, ring_bytes, context->snap_length, ret_message);
    if (error)
        return error;
    error = ring_start(&ring);
    if (error) {
        *ret_message = "cannot bind the packet socket";
        ring_close(&ring);
        return error;
    }
    int own_fd = fcntl(netns_fd, F_DUPFD_CLOEXEC, 0);
    if (own_fd < 0) {
        error = -errno;
        *ret_message = "cannot keep the network namespace open";
        ring_close(&ring);
        return error;
    }
    Target *target = g_new(Target, 1);
    *target = (Target){
        .id = id,
        .netns_fd = own_fd,
        .ring = ring,
        .old = RING_CLOSED,
        .devices = g_array_new(FALSE, FALSE, sizeof(Device)),
        .served_ns = clock_unix_ns(),
    };
    *ret = target;
    return 0;
}

/* Waits for its thread. */
static void growth_free(Growth *growth)
{
    g_thread_join(growth->thread);
    ring_close(&growth->ring);
    close(growth->netns_fd);
    g_free(growth);
}

static void drop_growth(Target *target)
{
    growth_free(g_steal_pointer(&target->growth));
}

void target_reap(TargetContext *context, bool wait)
{
    for (guint i = context->abandoned->len; i > 0; i--) {
        Growth *growth = context->abandoned->pdata[i - 1];
        if (wait || g_atomic_int_get(&growth->done)) {
            g_ptr_array_remove_index_fast(context->abandoned, i - 1);
            growth_free(growth);
        }
    }
}

Target *target_free(Target *target)
{
    if (!target)
        return NULL;
    if (target->growth)
        drop_growth(target);
    ring_close(&target->ring);
    ring_close(&target->old);
    close(target->netns_fd);
    g_array_unref(target->devices);
    g_free(target);
    return NULL;
}

/* A device that is seen for the first time; tells it if it can be expressed. */
static const Device *add_device(Visit *visit, const struct sockaddr_ll *address)
{
    static const Device too_many = {.link_type = LINKTYPE_UNKNOWN};
    Target *target = visit->target;
    if (target->devices->len == DEVICES_MAX)
        return &too_many;
    Device device = {
        .index = address->sll_ifindex,
        .hatype = address->sll_hatype,
        .link_type = device_link_type(address->sll_hatype),
    };
    if (device.link_type != LINKTYPE_UNKNOWN) {
        device.id = visit->context->interfaces++;
        char name[DEVICE_NAME_MAX];
        device_name(target->ring.fd, device.index, name);
        const SourceInterface interface = {
            .id = device.id,
            .target_id = target->id,
            .device = name,
            .link_type = device.link_type,
            .loopback = device_is_loopback(device.hatype),
        };
        visit->context->callbacks.interface(&interface, visit->context->userdata);
    }
    target->device = target->devices->len;
    g_array_append_val(target->devices, device);
    return &g_array_index(target->devices, Device, target->device);
}

static inline bool is_device(const Device *device, const struct sockaddr_ll *address)
{
    return device->index == address->sll_ifindex && device->hatype == address->sll_hatype;
}

static const Device *find_device(Visit *visit, const struct sockaddr_ll *address)
{
    Target *target = visit->target;
    const Device *devices = (const Device *)target->devices->data;
    if (G_LIKELY(target->device < target->devices->len &&
                 is_device(&devices[target->device], address)))
        return &devices[target->device];
    for (guint i = 0; i < target->devices->len; i++)
        if (is_device(&devices[i], address)) {
            target->device = i;
            return &devices[i];
        }
    return add_device(visit, address);
}

static void flush(Visit *visit)
{
    Batch *batch = visit->batch;
    if (!batch)
        return;
    visit->batch = NULL;
    visit->target->stats.packets += batch->count;
    visit->target->stats.bytes += batch->bytes;
    visit->context->callbacks.packets(visit->target->id, batch, visit->context->userdata);
    batch_unref(batch);
}

/* Room for one more packet of at most `room` bytes encoded. `ahead`: bytes of ring that are ready,
 * this packet's included; encoded they take less, since the ring's header of a packet is longer
 * than the block around it. */
static inline uint8_t *reserve(Visit *visit, uint32_t room, size_t ahead)
{
    Batch *batch = visit->batch;
    if (G_UNLIKELY(!batch || batch->capacity - batch->length < room)) {
        flush(visit);
        batch = visit->batch = batch_new(MAX(room, MIN(ahead, BATCH_BYTES)));
    }
    return batch->data + batch->length;
}

/* The tag that the kernel took out of the frame comes back, within the snap length; a frame that is
 * cut within the tag ends before it. */
static void restore_vlan(const struct tpacket3_hdr *header, uint32_t snap_length, EpbPacket *packet)
{
    uint32_t with_tag = MIN(packet->captured_length + EPB_VLAN_LENGTH, snap_length);
    if (with_tag < EPB_VLAN_OFFSET + EPB_VLAN_LENGTH) {
        packet->captured_length = MIN(packet->captured_length, EPB_VLAN_OFFSET);
        packet->original_length += EPB_VLAN_LENGTH;
        return;
    }
    packet->captured_length = with_tag - EPB_VLAN_LENGTH;
    packet->has_vlan = true;
    packet->vlan_tci = (uint16_t)header->hv1.tp_vlan_tci;
    packet->vlan_tpid =
        header->tp_status & TP_STATUS_VLAN_TPID_VALID ? header->hv1.tp_vlan_tpid : ETH_P_8021Q;
}

static inline void take_packet(Visit *visit, const struct tpacket3_hdr *header, size_t ahead)
{
    uint64_t time_ns = (uint64_t)header->tp_sec * 1000000000u + header->tp_nsec;
    if (G_UNLIKELY(time_ns < visit->from_ns || time_ns >= visit->to_ns))
        return;
    const uint8_t *start = (const uint8_t *)header;
    const struct sockaddr_ll *address =
        (const struct sockaddr_ll *)(start + TPACKET_ALIGN(sizeof *header));
    const Device *device = find_device(visit, address);
    if (G_UNLIKELY(device->link_type == LINKTYPE_UNKNOWN)) {
        visit->inexpressible++;
        return;
    }
    uint32_t snap_length = visit->context->snap_length;
    EpbPacket packet = {
        .interface_id = device->id,
        .time_ns = time_ns,
        .captured_length = MIN(header->tp_snaplen, snap_length),
        .original_length = header->tp_len,
        .flags = address->sll_pkttype == PACKET_OUTGOING ? PCAPNG_DIRECTION_OUTBOUND
                                                         : PCAPNG_DIRECTION_INBOUND,
        .data = start + header->tp_mac,
    };
    if (G_UNLIKELY(header->tp_status & TP_STATUS_VLAN_VALID) &&
        device->link_type == LINKTYPE_ETHERNET)
        restore_vlan(header, snap_length, &packet);

    uint8_t *out = reserve(visit, epb_room(packet.captured_length), ahead);
    Batch *batch = visit->batch;
    batch->length += epb_write(out, &packet);
    batch->count++;
    batch->bytes += packet.captured_length + (packet.has_vlan ? EPB_VLAN_LENGTH : 0);
    batch->first_ns = MIN(batch->first_ns, time_ns);
    batch->last_ns = MAX(batch->last_ns, time_ns);
}

/* `more`: bytes that are ready behind it. */
static void take_block(Visit *visit, const struct tpacket_block_desc *block, size_t more)
{
    size_t offset = block->hdr.bh1.offset_to_first_pkt;
    for (uint32_t left = block->hdr.bh1.num_pkts; left; left--) {
        const struct tpacket3_hdr *header =
            (const struct tpacket3_hdr *)((const uint8_t *)block + offset);
        take_packet(visit, header, block->hdr.bh1.blk_len - offset + more);
        offset += header->tp_next_offset;
    }
}

/* Up to one whole round. Returns the number of blocks. */
static uint32_t take_ready(Visit *visit, Ring *ring, uint64_t from_ns, uint64_t to_ns)
{
    visit->from_ns = from_ns;
    visit->to_ns = to_ns;
    uint32_t blocks = 0;
    const struct tpacket_block_desc *block;
    while (blocks < ring->block_count && (block = ring_peek(ring))) {
        take_block(visit, block, ring_has_more(ring) ? BATCH_BYTES : 0);
        ring_release(ring);
        blocks++;
    }
    return blocks;
}

/* All that there will ever be. */
static void take_rest(Visit *visit, Ring *ring, uint64_t from_ns, uint64_t to_ns)
{
    int error = ring_stop(ring);
    take_ready(visit, ring, from_ns, to_ns);
    const struct tpacket_block_desc *open = error ? NULL : ring_peek_open(ring);
    if (open) {
        take_block(visit, open, 0);
        ring_release(ring);
    }
}

static void tell_lost(Target *target, TargetContext *context, uint64_t packets, uint64_t to_ns,
                      bool unknown)
{
    if (!packets && !unknown)
        return;
    target->stats.lost += packets;
    /* It began after the visit before: that one found room. */
    uint64_t from_ns = MIN(target->served_ns, to_ns);
    context->callbacks.lost(target->id, packets, from_ns, to_ns, unknown, context->userdata);
}

TargetLoad target_serve(Target *target, TargetContext *context)
{
    uint64_t now_ns = clock_unix_ns();
    Visit visit = {.target = target, .context = context};
    if (target_has_old(target))
        take_ready(&visit, &target->old, 0, target->cut_ns);
    uint32_t blocks = take_ready(&visit, &target->ring, target->cut_ns, UINT64_MAX);
    flush(&visit);

    /* A packet is dropped when all blocks wait for us, and these are taken in the rest of this
     * visit or in the next: one of the two takes half the ring or more. So the counter need not be
     * read after any other. */
    uint32_t all = target->ring.block_count;
    uint64_t dropped = blocks * 2 >= all ? ring_read_statistics(&target->ring) : 0;
    tell_lost(target, context, dropped + visit.inexpressible, clock_unix_ns(), false);
    target->served_ns = now_ns;
    if (dropped || blocks * 2 > all)
        return TARGET_BUSY;
    return blocks * 4 > all ? TARGET_LIVELY : TARGET_CALM;
}

void target_finish(Target *target, TargetContext *context)
{
    Visit visit = {.target = target, .context = context};
    bool has_old = target_has_old(target);
    if (has_old)
        take_rest(&visit, &target->old, 0, target->cut_ns);
    take_rest(&visit, &target->ring, target->cut_ns, UINT64_MAX);
    flush(&visit);
    /* What is then left in the ring, because it could not be stopped, is lost as well. */
    uint64_t lost = ring_read_statistics(&target->ring) + visit.inexpressible;
    uint64_t left = target->ring.arrived - target->ring.dropped - target->ring.taken;
    tell_lost(target, context, lost + left, clock_unix_ns(), left && has_old);
    if (target->growth)
        g_ptr_array_add(context->abandoned, g_steal_pointer(&target->growth));
    target_reap(context, false);
}

static void discard_ready(Ring *ring)
{
    for (uint32_t i = 0; i < ring->block_count && ring_peek(ring); i++)
        ring_release(ring);
}

/* Both rings see all packets, with the same stamps. What is stamped before the cut is taken from
 * the old one, the rest from the new one. So the old one must not overflow before the cut, nor the
 * new one after it, without being noticed: both are emptied first, and the old one's counter is
 * read on either side of the cut. */
static uint64_t cut(Target *target, TargetContext *context, Ring *larger, uint64_t *ret_dropped)
{
    Visit visit = {.target = target, .context = context};
    uint64_t cut_ns = 0, dropped = 0, late = 1;
    for (int i = 0; i < CUT_ATTEMPTS && late; i++) {
        take_ready(&visit, &target->ring, 0, UINT64_MAX);
        discard_ready(larger);
        dropped += ring_read_statistics(&target->ring);
        ring_read_statistics(larger);
        cut_ns = clock_unix_ns();
        late = ring_read_statistics(&target->ring);
        dropped += late;
    }
    flush(&visit);
    *ret_dropped = dropped + visit.inexpressible;
    return cut_ns;
}

static void *open_larger(void *data)
{
    Growth *growth = data;
    const char *message;
    growth->error = ring_open(&growth->ring, growth->netns_fd, growth->ring_bytes,
                              growth->snap_length, &message);
    g_atomic_int_set(&growth->done, 1);
    return NULL;
}

int target_grow(Target *target, size_t ring_bytes, const TargetContext *context)
{
    int netns_fd = fcntl(target->netns_fd, F_DUPFD_CLOEXEC, 0);
    if (netns_fd < 0)
        return -errno;
    Growth *growth = g_new(Growth, 1);
    *growth = (Growth){
        .netns_fd = netns_fd,
        .ring_bytes = ring_bytes,
        .snap_length = context->snap_length,
        .ring = RING_CLOSED,
    };
    growth->thread = g_thread_try_new("ring", open_larger, growth, NULL);
    if (!growth->thread) {
        close(netns_fd);
        g_free(growth);
        return -EAGAIN;
    }
    target->growth = growth;
    return 0;
}

int target_switch(Target *target, TargetContext *context)
{
    if (!g_atomic_int_get(&target->growth->done))
        return 0;
    Ring larger = target->growth->ring;
    int error = target->growth->error;
    target->growth->ring = RING_CLOSED;
    drop_growth(target);
    if (!error) /* it may have changed meanwhile */
        error = ring_set_snap_length(&larger, context->snap_length);
    if (!error)
        error = ring_start(&larger);
    if (error) {
        ring_close(&larger);
        return error;
    }
    uint64_t dropped;
    target->cut_ns = cut(target, context, &larger, &dropped);
    target->cut_monotonic_ns = clock_monotonic_ns();
    target->old = target->ring;
    target->ring = larger;
    tell_lost(target, context, dropped, target->cut_ns, false);
    return 1;
}

void target_close_old(Target *target)
{
    ring_close(&target->old);
    target->cut_ns = 0;
}

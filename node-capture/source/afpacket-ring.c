// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/source/afpacket-ring.h"

#include <arpa/inet.h>
#include <errno.h>
#include <glib.h>
#include <linux/filter.h>
#include <net/if_arp.h>
#include <linux/if_ether.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define PROTOCOL_OF_NOBODY 0x88b5 /* IEEE 802, for local experiments */

typedef struct Opening {
    int netns_fd;
    int fd; /* or -errno */
    const char *message;
} Opening;

/* A thread of its own, which ends here, so that no thread of ours can ever be left in a foreign
 * namespace. */
static void *open_in_namespace(void *data)
{
    Opening *opening = data;
    if (setns(opening->netns_fd, CLONE_NEWNET) < 0) {
        opening->fd = -errno;
        opening->message =
            errno == EPERM ? "cannot enter the network namespace: CAP_SYS_ADMIN is missing"
            : errno == EINVAL
                ? "cannot enter the network namespace: the file is not a network namespace"
                : "cannot enter the network namespace";
        return NULL;
    }
    /* Protocol 0: nothing arrives before bind(). */
    opening->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (opening->fd < 0) {
        opening->fd = -errno;
        opening->message = errno == EPERM ? "cannot open a packet socket: CAP_NET_RAW is missing"
                                          : "cannot open a packet socket";
    }
    return NULL;
}

static int open_socket(int netns_fd, const char **ret_message)
{
    Opening opening = {.netns_fd = netns_fd};
    GThread *thread = g_thread_try_new("netns", open_in_namespace, &opening, NULL);
    if (!thread) {
        *ret_message = "cannot start a thread to enter the network namespace";
        return -EAGAIN;
    }
    g_thread_join(thread);
    if (opening.fd < 0)
        *ret_message = opening.message;
    return opening.fd;
}

static int attach_filter(const Ring *ring, struct sock_filter *code, unsigned short length)
{
    struct sock_fprog program = {.len = length, .filter = code};
    return setsockopt(ring->fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) < 0 ? -errno
                                                                                            : 0;
}

int ring_set_snap_length(Ring *ring, uint32_t snap_length)
{
    /* What goes out on lo comes in on lo: the outgoing copy is left out here, before it takes room.
     */
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_OUTGOING, 0, 3),
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_HATYPE)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARPHRD_LOOPBACK, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, snap_length),
    };
    return attach_filter(ring, code, G_N_ELEMENTS(code));
}

static int map_ring(Ring *ring, size_t bytes)
{
    int version = TPACKET_V3;
    if (setsockopt(ring->fd, SOL_PACKET, PACKET_VERSION, &version, sizeof version) < 0)
        return -errno;
    uint32_t block_size = (uint32_t)CLAMP(bytes / 16, RING_BLOCK_MIN, RING_BLOCK_MAX);
    ring->retire_ms = bytes > RING_SMALLEST ? RING_RETIRE_MS : RING_RETIRE_SLOW_MS;
    const uint32_t frame_size = 2048; /* V3 packs packets; it only checks that the numbers agree */
    struct tpacket_req3 request = {
        .tp_block_size = block_size,
        .tp_block_nr = (uint32_t)(bytes / block_size),
        .tp_frame_size = frame_size,
        .tp_frame_nr = (uint32_t)(bytes / frame_size),
        .tp_retire_blk_tov = ring->retire_ms,
    };
    if (setsockopt(ring->fd, SOL_PACKET, PACKET_RX_RING, &request, sizeof request) < 0)
        return -errno;
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, 0);
    if (memory == MAP_FAILED)
        return -errno;
    ring->memory = memory;
    ring->length = bytes;
    ring->block_size = block_size;
    ring->block_count = request.tp_block_nr;
    return 0;
}

/* Stamps are taken as packets arrive, and two sockets see the same. */
static int stamp_on_arrival(int fd)
{
    int on = 1;
    return setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on) < 0 ? -errno : 0;
}

/* Interface index 0: every device of the namespace, also those that come later. */
static int bind_to_protocol(const Ring *ring, uint16_t protocol)
{
    struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(protocol)};
    return bind(ring->fd, (struct sockaddr *)&address, sizeof address) < 0 ? -errno : 0;
}

int ring_start(Ring *ring)
{
    return bind_to_protocol(ring, ETH_P_ALL);
}

/* A bind to another protocol waits until nobody writes for the one before (packet_do_bind() in the
 * kernel's net/packet/af_packet.c); the filter keeps that other protocol out. */
int ring_stop(Ring *ring)
{
    struct sock_filter nothing[] = {BPF_STMT(BPF_RET | BPF_K, 0)};
    int error = attach_filter(ring, nothing, G_N_ELEMENTS(nothing));
    return error ? error : bind_to_protocol(ring, PROTOCOL_OF_NOBODY);
}

int ring_open(Ring *ring, int netns_fd, size_t bytes, uint32_t snap_length,
              const char **ret_message)
{
    *ring = RING_CLOSED;
    ring->fd = open_socket(netns_fd, ret_message);
    if (ring->fd < 0)
        return ring->fd;
    int error = map_ring(ring, bytes);
    if (error)
        *ret_message = "cannot set up the packet socket's ring";
    if (!error && (error = ring_set_snap_length(ring, snap_length)))
        *ret_message = "cannot set the packet socket's filter";
    if (!error && (error = stamp_on_arrival(ring->fd)))
        *ret_message = "cannot have packets stamped on arrival";
    if (error)
        ring_close(ring);
    return error;
}

void ring_close(Ring *ring)
{
    if (ring->memory)
        munmap(ring->memory, ring->length);
    if (ring->fd >= 0)
        close(ring->fd);
    *ring = RING_CLOSED;
}

static struct tpacket_block_desc *block_at(const Ring *ring, uint32_t index)
{
    return (struct tpacket_block_desc *)(ring->memory + (size_t)index * ring->block_size);
}

static uint32_t after(const Ring *ring, uint32_t index)
{
    return index + 1 < ring->block_count ? index + 1 : 0;
}

static bool is_done(const struct tpacket_block_desc *block)
{
    return __atomic_load_n(&block->hdr.bh1.block_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER;
}

const struct tpacket_block_desc *ring_peek(const Ring *ring)
{
    const struct tpacket_block_desc *block = block_at(ring, ring->next);
    return is_done(block) ? block : NULL;
}

/* The kernel counts the packets of a block as it adds them, and a block that it has not begun has
 * the number of another. */
const struct tpacket_block_desc *ring_peek_open(const Ring *ring)
{
    const struct tpacket_block_desc *block = block_at(ring, ring->next);
    return block->hdr.bh1.seq_num == ring->sequence + 1 && block->hdr.bh1.num_pkts ? block : NULL;
}

bool ring_has_more(const Ring *ring)
{
    return is_done(block_at(ring, after(ring, ring->next)));
}

void ring_release(Ring *ring)
{
    struct tpacket_block_desc *block = block_at(ring, ring->next);
    ring->taken += block->hdr.bh1.num_pkts;
    ring->sequence = block->hdr.bh1.seq_num;
    __atomic_store_n(&block->hdr.bh1.block_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
    ring->next = after(ring, ring->next);
}

uint64_t ring_read_statistics(Ring *ring)
{
    struct tpacket_stats_v3 statistics; /* since the last call */
    socklen_t length = sizeof statistics;
    if (getsockopt(ring->fd, SOL_PACKET, PACKET_STATISTICS, &statistics, &length) < 0)
        return 0;
    ring->arrived += statistics.tp_packets;
    ring->dropped += statistics.tp_drops;
    return statistics.tp_drops;
}

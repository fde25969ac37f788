// SPDX-License-Identifier: GPL-2.0-or-later
/* The other engine into a file: one BPF ring buffer for all namespaces, filled by socket filters
 * (ringbuf.bpf.c). */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/types.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <glib.h>

#include "bench/engines/engine.h"
#include "bench/engines/ringbuf.h"
#include "bench/engines/ringbuf.skel.h"
#include "node-capture/source/epb.h"
#include "node-capture/source/source.h"

#define POLL_NS 5000000

typedef struct Engine {
    int output;
    Batch *batch;
    int64_t tai_offset_ns;
    uint64_t packets;
    GHashTable *interfaces; /* target << 32 | ifindex -> id + 1 */
    GPtrArray *programs;    /* struct ringbuf_bpf */
    GArray *sockets;
} Engine;

static void flush(Engine *engine)
{
    engine_write(engine->output, engine->batch->data, engine->batch->length);
    engine->batch->length = 0;
}

static uint32_t interface_id(Engine *engine, const struct ringbuf_packet *packet)
{
    void *key = GSIZE_TO_POINTER((gsize)packet->target << 32 | packet->ifindex);
    gsize id = GPOINTER_TO_SIZE(g_hash_table_lookup(engine->interfaces, key));
    if (!id) {
        id = g_hash_table_size(engine->interfaces) + 1;
        g_hash_table_insert(engine->interfaces, key, GSIZE_TO_POINTER(id));
        g_autofree char *name = g_strdup_printf("%u/if%u", packet->target, packet->ifindex);
        flush(engine);
        engine_write_interface(engine->output, name);
    }
    return (uint32_t)id - 1;
}

static int on_packet(void *userdata, void *data, size_t size)
{
    Engine *engine = userdata;
    const struct ringbuf_packet *packet = data;
    EpbPacket epb = {
        .interface_id = interface_id(engine, packet),
        .time_ns = packet->time_ns - (uint64_t)engine->tai_offset_ns,
        .captured_length = packet->captured_length,
        .original_length = packet->original_length,
        .flags = packet->pkt_type == PACKET_OUTGOING ? PCAPNG_DIRECTION_OUTBOUND
                                                     : PCAPNG_DIRECTION_INBOUND,
        .data = packet->data,
        .has_vlan = packet->vlan && packet->captured_length >= EPB_VLAN_OFFSET,
        .vlan_tpid = (uint16_t)(packet->vlan >> 16),
        .vlan_tci = (uint16_t)packet->vlan,
    };
    if (engine->batch->capacity - engine->batch->length < epb_room(epb.captured_length))
        flush(engine);
    engine->batch->length += epb_write(engine->batch->data + engine->batch->length, &epb);
    engine->packets++;
    return engine_stopping ? -EINTR : 0;
}

/* With the namespace changed for good: this program does nothing else in it. */
static int open_socket(int netns_fd, int program_fd)
{
    struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
    int fd;
    if (setns(netns_fd, CLONE_NEWNET) < 0 ||
        (fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0)) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_ATTACH_BPF, &program_fd, sizeof program_fd) < 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof address) < 0)
        g_error("packet socket: %s", g_strerror(errno));
    return fd;
}

/* Loads the program for one namespace; the first one makes the ring buffer that all share. */
static void add(Engine *engine, const char *name, const EngineValues *values)
{
    struct ringbuf_bpf *program = ringbuf_bpf__open();
    if (!program)
        g_error("cannot open the BPF program");
    program->rodata->target = engine->programs->len;
    if (engine->programs->len) {
        struct ringbuf_bpf *first = engine->programs->pdata[0];
        bpf_map__reuse_fd(program->maps.packets, bpf_map__fd(first->maps.packets));
    } else {
        bpf_map__set_max_entries(program->maps.packets, (uint32_t)values->ring_bytes);
    }
    if (ringbuf_bpf__load(program))
        g_error("cannot load the BPF program");
    g_ptr_array_add(engine->programs, program);
    int netns_fd = engine_open_namespace(name);
    int fd = open_socket(netns_fd, bpf_program__fd(program->progs.capture));
    close(netns_fd);
    g_array_append_val(engine->sockets, fd);
}

static void on_signal(int signal_number)
{
    engine_stopping = 1;
}

static int64_t tai_offset_ns(void)
{
    struct timespec tai, real;
    clock_gettime(CLOCK_TAI, &tai);
    clock_gettime(CLOCK_REALTIME, &real);
    return (int64_t)(tai.tv_sec - real.tv_sec) * 1000000000 + (tai.tv_nsec - real.tv_nsec);
}

int main(int argc, char **argv)
{
    EngineValues values;
    engine_options("capture-ringbuf", argc, argv, &values);
    Engine engine = {
        .output = engine_open_output(values.output),
        .batch = batch_new(BATCH_BYTES),
        .tai_offset_ns = tai_offset_ns(),
        .interfaces = g_hash_table_new(NULL, NULL),
        .programs = g_ptr_array_new(),
        .sockets = g_array_new(FALSE, FALSE, sizeof(int)),
    };
    for (char **name = values.namespaces; *name; name++)
        add(&engine, *name, &values);
    struct ringbuf_bpf *first = engine.programs->pdata[0];
    struct ring_buffer *ring =
        ring_buffer__new(bpf_map__fd(first->maps.packets), on_packet, &engine, NULL);
    if (!ring)
        g_error("cannot map the ring buffer");
    engine_ready(on_signal);
    while (!engine_stopping) {
        if (ring_buffer__consume(ring) <= 0)
            nanosleep(&(struct timespec){.tv_nsec = POLL_NS}, NULL);
    }
    flush(&engine);
    uint64_t dropped = 0;
    for (guint i = 0; i < engine.programs->len; i++)
        dropped += ((struct ringbuf_bpf *)engine.programs->pdata[i])->bss->dropped;
    close(engine.output);
    engine_report(engine.packets, dropped, values.ring_bytes);
    return 0;
}

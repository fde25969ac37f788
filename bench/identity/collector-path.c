// SPDX-License-Identifier: GPL-2.0-or-later
/* A node (a process of its own) tells the collector of a cluster, then sends packets; then packets
 * and changes. What the changes cost is the difference. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/identity/identity-bench.h"
#include "collector/collector.h"
#include "collector/packet.h"
#include "common/clock.h"
#include "common/pcapng/pcapng.h"
#include "tests/collector/fake-node.h"

#define PODS      50000u
#define SERVICES  5000u
#define ENDPOINTS (PODS / SERVICES)
#define PHASE_S   10u
#define TICK_MS   10u
#define TICK_FRAMES \
    10u /* 1,000 packets a second, so that what was known of addresses is asked for */
#define FRAME_BYTES 100u
#define MILLI_NS    UINT64_C(1000000)

/* What the node writes into the pipe when a phase begins. */
enum { MARK_TOLD = 'T', MARK_QUIET = 'Q', MARK_EVENTS = 'E', MARK_END = '.' };

/* ---- The node --------------------------------------------------------------------------------*/

static void say_entity(FakeNode *node, const Entity *entity, bool gone)
{
    Remora__V1__IdentityEvent event = REMORA__V1__IDENTITY_EVENT__INIT;
    event.entity = entity_to_proto(entity);
    event.deleted = gone;
    Remora__V1__StreamResponse response = REMORA__V1__STREAM_RESPONSE__INIT;
    response.body_case = REMORA__V1__STREAM_RESPONSE__BODY_IDENTITY;
    response.identity = &event;
    fake_node_say(node, &response);
    entity_proto_free(event.entity);
}

static void say_draft(FakeNode *node, const Entity *draft)
{
    const char *error = NULL;
    Entity *entity = entity_new(draft, &error);
    if (!entity)
        g_error("%s", error);
    say_entity(node, entity, false);
    entity_unref(entity);
}

static void say_service(FakeNode *node, uint32_t n)
{
    char uid[64], name[32], slice_uid[64], pod_uids[ENDPOINTS][64];
    g_snprintf(uid, sizeof uid, "service-%08x", n);
    g_snprintf(slice_uid, sizeof slice_uid, "slice-%08x", n);
    g_snprintf(name, sizeof name, "catalog-%u", n);
    const uint8_t bytes[] = {172, 20, (uint8_t)(n >> 8), (uint8_t)n};
    IpAddress address, pods[ENDPOINTS];
    ip_address_from_bytes(&address, bytes, sizeof bytes);
    const EntityPort port = {6, 80, 0, "http"}, target = {6, 8080, 0, "http"};
    EntityEndpoint endpoints[ENDPOINTS];
    for (uint32_t i = 0; i < ENDPOINTS; i++) {
        Entity *pod = bench_pod(n * ENDPOINTS + i, 0, BENCH_VERSION_NS);
        g_strlcpy(pod_uids[i], pod->uid, sizeof pod_uids[i]);
        pods[i] = pod->addresses[0];
        endpoints[i] = (EntityEndpoint){&pods[i], 1, pod_uids[i], ""};
        entity_unref(pod);
    }
    say_draft(node, &(Entity){.kind = ENTITY_SERVICE,
                              .uid = uid,
                              .namespace_name = "production",
                              .name = name,
                              .addresses = &address,
                              .n_addresses = 1,
                              .ports = &port,
                              .n_ports = 1,
                              .from_ns = BENCH_VERSION_NS});
    say_draft(node, &(Entity){.kind = ENTITY_ENDPOINT_SLICE,
                              .uid = slice_uid,
                              .namespace_name = "production",
                              .name = name,
                              .service_name = name,
                              .ports = &target,
                              .n_ports = 1,
                              .endpoints = endpoints,
                              .n_endpoints = ENDPOINTS,
                              .from_ns = BENCH_VERSION_NS});
}

/* From pod 0 to a service, each time another connection, for which the names are looked up. */
static void say_packets(FakeNode *node)
{
    static uint32_t serial;
    static uint8_t memory[TICK_FRAMES * (FRAME_BYTES + 64)];
    PcapngBuilder builder;
    pcapng_builder_init(&builder, memory, sizeof memory);
    uint64_t now_ns = clock_unix_ns();
    for (uint32_t i = 0; i < TICK_FRAMES; i++) {
        uint32_t service = serial % SERVICES, port = 20000 + serial++ / SERVICES;
        uint8_t frame[FRAME_BYTES] = {2, 0, 0, 0, 0, 1,    2, 0, 0,
                                      0, 0, 2, 8, 0, 0x45, 0, 0, FRAME_BYTES - 14};
        const uint8_t ends[] = {10,
                                0,
                                0,
                                0,
                                172,
                                20,
                                (uint8_t)(service >> 8),
                                (uint8_t)service,
                                (uint8_t)(port >> 8),
                                (uint8_t)port,
                                0,
                                80};
        frame[23] = 6;
        memcpy(frame + 26, ends, sizeof ends);
        frame[46] = 0x50;
        frame[47] = PACKET_TCP_ACK;
        pcapng_build_packet(&builder, 1, now_ns + i, frame, FRAME_BYTES, FRAME_BYTES);
        pcapng_build_option_u32(&builder, PCAPNG_EPB_FLAGS, PCAPNG_DIRECTION_OUTBOUND);
        pcapng_build_end(&builder);
    }
    fake_node_say_packets(node, &builder, TICK_FRAMES, now_ns + TICK_FRAMES);
}

static void mark(int fd, char what)
{
    if (write(fd, &what, 1) != 1)
        _exit(1);
}

/* Pods that nobody else has come and go. */
static void say_changes(FakeNode *node, uint32_t first, unsigned count)
{
    for (uint32_t i = first; i < first + count; i++) {
        Entity *pod =
            i % 2 ? bench_gone_pod(PODS + i / 2) : bench_pod(PODS + i / 2, 0, BENCH_VERSION_NS);
        say_entity(node, pod, i % 2);
        entity_unref(pod);
    }
}

static void run_phase(FakeNode *node, unsigned rate)
{
    uint64_t begin_ns = clock_monotonic_ns();
    uint32_t told = 0;
    for (uint32_t tick = 0; tick < PHASE_S * 1000 / TICK_MS; tick++) {
        say_packets(node);
        unsigned due = rate * (tick + 1) * TICK_MS / 1000;
        say_changes(node, told, due - told);
        told = due;
        uint64_t next_ns = begin_ns + (tick + 1) * TICK_MS * MILLI_NS;
        uint64_t now_ns = clock_monotonic_ns();
        if (now_ns < next_ns)
            g_usleep((gulong)((next_ns - now_ns) / 1000));
    }
}

static void run_node(const char *path, int fd, unsigned rate)
{
    FakeNode *node = fake_node_new(path);
    Entity *captured = bench_pod(0, 0, BENCH_VERSION_NS);
    fake_node_hello(node, "worker-0", "boot");
    fake_node_interface(node, 1, captured->uid, "eth0");
    entity_unref(captured);
    for (uint32_t i = 0; i < PODS; i++) {
        Entity *pod = bench_pod(i, 0, BENCH_VERSION_NS);
        say_entity(node, pod, false);
        entity_unref(pod);
    }
    for (uint32_t i = 0; i < SERVICES; i++)
        say_service(node, i);
    say_packets(node);
    mark(fd, MARK_TOLD);
    char go;
    if (read(fd, &go, 1) != 1)
        _exit(1);
    mark(fd, MARK_QUIET);
    run_phase(node, 0);
    mark(fd, MARK_EVENTS);
    run_phase(node, rate);
    mark(fd, MARK_END);
    if (read(fd, &go, 1) < 0)
        _exit(1);
    fake_node_free(node);
    _exit(0);
}

/* ---- The collector ---------------------------------------------------------------------------*/

static int take_bytes(const uint8_t *bytes, size_t length, void *userdata)
{
    return 0;
}

static void take_note(CollectorNoteLevel level, const char *text, void *userdata)
{
    fprintf(stderr, "identity-bench: %s\n", text);
}

static void *collect(void *data)
{
    g_autoptr(GError) error = NULL;
    if (!collector_run(data, &error))
        g_error("the collector: %s", error->message);
    return NULL;
}

static double cpu_until(int fd, char wanted)
{
    char got = 0;
    if (read(fd, &got, 1) != 1 || got != wanted)
        g_error("the node ended");
    return (double)bench_clock_ns(CLOCK_PROCESS_CPUTIME_ID) / 1e9;
}

/* Everything that the node had to tell has arrived: packets come after it. */
static void wait_told(Collector *collector)
{
    CollectorStats stats;
    do {
        g_usleep(50000);
        collector_stats(collector, &stats);
    } while (stats.packets_written == 0);
}

static void measure(Collector *collector, int fd, size_t resident)
{
    cpu_until(fd, MARK_TOLD);
    wait_told(collector);
    printf("cluster told: %.2f CPU s, %.0f bytes resident a pod\n",
           (double)bench_clock_ns(CLOCK_PROCESS_CPUTIME_ID) / 1e9,
           (double)(bench_resident_bytes() - resident) / PODS);
    mark(fd, MARK_TOLD);
    double quiet = cpu_until(fd, MARK_QUIET), events = cpu_until(fd, MARK_EVENTS);
    double end = cpu_until(fd, MARK_END);
    printf("without changes: %.2f %% of a core\n", (events - quiet) / PHASE_S * 100);
    printf("with changes: %.2f %% of a core\n", (end - events) / PHASE_S * 100);
}

int bench_collector(unsigned rate)
{
    static const CollectorSink sink = {.write = take_bytes, .note = take_note};
    char folder[] = "/tmp/remora-bench-XXXXXX";
    int pair[2];
    if (!mkdtemp(folder) || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
        g_error("no folder, or no sockets");
    g_autofree char *path = g_build_filename(folder, "node.sock", NULL);
    g_autofree char *endpoint = g_strconcat("unix:", path, NULL);
    pid_t child = fork(); /* before any thread is there */
    if (child == 0) {
        close(pair[0]);
        run_node(path, pair[1], rate);
    }
    close(pair[1]);
    g_autoptr(GError) error = NULL;
    size_t resident = bench_resident_bytes();
    CollectorConfig config = {.endpoints = (char *[]){endpoint, NULL},
                              .client = "identity-bench",
                              .connect_timeout_ns = 30000 * MILLI_NS};
    Collector *collector = collector_new(&config, &sink, NULL, &error);
    if (!collector)
        g_error("%s", error->message);
    GThread *thread = g_thread_new("collector", collect, collector);
    measure(collector, pair[0], resident);
    collector_stop(collector);
    g_thread_join(thread);
    collector_free(collector);
    close(pair[0]);
    waitpid(child, NULL, 0);
    unlink(path);
    rmdir(folder);
    return 0;
}

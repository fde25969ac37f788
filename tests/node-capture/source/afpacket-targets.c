// SPDX-License-Identifier: GPL-2.0-or-later
/* Many targets, rights, and what is left behind: memory, files, namespaces. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/node-capture/source/capture-log.h"
#include "tests/node-capture/source/netns.h"
#include "tests/node-capture/source/sender.h"

#define MANY   250u
#define BUDGET (256ull << 20)

static int stop_waking; /* atomic */

static void one_packet_on_lo(void *data)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    g_assert_cmpint(bind(fd, (struct sockaddr *)&address, length), ==, 0);
    g_assert_cmpint(getsockname(fd, (struct sockaddr *)&address, &length), ==, 0);
    g_assert_cmpint(sendto(fd, "x", 1, 0, (struct sockaddr *)&address, length), ==, 1);
    close(fd);
}

static uint64_t thread_cpu_ns(void)
{
    struct rusage usage;
    getrusage(RUSAGE_THREAD, &usage);
    return ((uint64_t)usage.ru_utime.tv_sec + (uint64_t)usage.ru_stime.tv_sec) * 1000000000u +
           ((uint64_t)usage.ru_utime.tv_usec + (uint64_t)usage.ru_stime.tv_usec) * 1000u;
}

static void test_many(void)
{
    int pods[MANY];
    CaptureLog log;
    capture_log_open(&log, BUDGET);
    for (uint32_t i = 0; i < MANY; i++) {
        pods[i] = netns_new();
        capture_log_add(&log, i, pods[i]);
    }
    uint64_t bytes = log.source->ops->ring_bytes(log.source), sum = 0;
    g_assert_cmpuint(bytes, <=, BUDGET);
    for (uint32_t i = 0; i < MANY; i++) {
        SourceTargetStats stats;
        log.source->ops->stats(log.source, i, &stats);
        g_assert_cmpuint(stats.ring_bytes, >=, 512u << 10);
        sum += stats.ring_bytes;
    }
    g_assert_cmpuint(bytes, ==, sum);

    for (uint32_t i = 0; i < MANY; i++)
        netns_run(pods[i], one_packet_on_lo, NULL);
    capture_log_settle(&log);
    g_assert_cmpuint(capture_log_count(&log), ==, MANY);
    gboolean seen[MANY] = {FALSE};
    for (uint32_t i = 0; i < MANY; i++) {
        uint32_t id = capture_log_packet(&log, i)->target_id;
        g_assert_false(seen[id]);
        seen[id] = TRUE;
    }

    /* Idle: a watermark at the end is all there is to do, whatever the time, but for a packet that
     * may come by itself. 5 % of a CPU is far more than that takes. */
    uint64_t cpu_ns = thread_cpu_ns();
    for (int time_ms = 10; time_ms <= 500; time_ms += 490) {
        unsigned watermarks = log.watermarks;
        g_assert_cmpint(log.source->ops->run(log.source, time_ms), ==, 0);
        g_assert_cmpuint(log.watermarks - watermarks, >=, 1);
        g_assert_cmpuint(log.watermarks - watermarks, <=, 5);
    }
    g_assert_cmpuint(thread_cpu_ns() - cpu_ns, <, 25000000u);

    /* One more than fits. */
    const char *message = NULL;
    int error = 0;
    for (uint32_t id = MANY; !error && id < 2 * 256 + 1; id++) {
        const CaptureTarget target = {
            .id = id, .uid = "uid", .label = "default/pod", .netns_fd = pods[0]};
        error = log.source->ops->add(log.source, &target, &message);
    }
    g_assert_cmpint(error, ==, -ENOBUFS);
    g_assert_nonnull(message);
    g_assert_cmpuint(log.source->ops->ring_bytes(log.source), <=, BUDGET);
    for (uint32_t i = 0; i < MANY; i++)
        close(pods[i]);
    capture_log_close(&log);
}

static unsigned open_files(void)
{
    DIR *directory = opendir("/proc/self/fd");
    unsigned count = 0;
    while (readdir(directory))
        count++;
    closedir(directory);
    return count;
}

static ino_t own_namespace(void)
{
    struct stat status;
    g_assert_cmpint(stat("/proc/thread-self/ns/net", &status), ==, 0);
    return status.st_ino;
}

static void test_leaves_nothing(void)
{
    ino_t namespace = own_namespace();
    unsigned files = open_files();
    for (int i = 0; i < 20; i++) {
        int pod = netns_new();
        netns_veth(pod, "veth0", "eth0");
        CaptureLog log;
        capture_log_open(&log, 8u << 20); /* a small ring, which then grows */
        capture_log_add(&log, 1, pod);
        Sender sender;
        sender_open(&sender, "veth0", 1400);
        sender_send(&sender, 300);
        capture_log_settle(&log);
        if (i % 2) {
            log.source->ops->remove(log.source, 1, NULL);
            log.source->ops->remove(log.source, 1, NULL); /* not there: nothing happens */
        }
        g_assert_cmpuint(own_namespace(), ==, namespace);
        close(pod);
        sender_close(&sender);
        capture_log_close(&log);

        /* The namespace goes once nobody holds it, and its end of the pair with it. */
        netns_await_gone("veth0");
    }
    g_assert_cmpuint(open_files(), ==, files);
}

static void drop_capability(cap_value_t capability)
{
    cap_t capabilities = cap_get_proc();
    g_assert_cmpint(cap_set_flag(capabilities, CAP_EFFECTIVE, 1, &capability, CAP_CLEAR), ==, 0);
    g_assert_cmpint(cap_set_proc(capabilities), ==, 0);
    cap_free(capabilities);
}

/* In a child: what add() says without the capability. Exit 0 if that is right. */
static int add_without(cap_value_t capability, const char *name, int pod)
{
    drop_capability(capability);
    CaptureLog log;
    capture_log_open(&log, BUDGET);
    const CaptureTarget target = {.id = 1, .uid = "uid", .label = "default/pod", .netns_fd = pod};
    const char *message = "";
    int error = log.source->ops->add(log.source, &target, &message);
    if (error != -EPERM || !strstr(message, name)) {
        fprintf(stderr, "without %s: %d %s\n", name, error, message);
        return 1;
    }
    return log.source->ops->ring_bytes(log.source) != 0;
}

static void check_without(cap_value_t capability, const char *name)
{
    int pod = netns_new();
    pid_t child = fork();
    g_assert_cmpint(child, >=, 0);
    if (child == 0)
        _exit(add_without(capability, name, pod));
    int status;
    g_assert_cmpint(waitpid(child, &status, 0), ==, child);
    g_assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    close(pod);
}

static void test_missing_capability(void)
{
    check_without(CAP_SYS_ADMIN, "CAP_SYS_ADMIN");
    check_without(CAP_NET_RAW, "CAP_NET_RAW");
}

static void test_bad_targets(void)
{
    CaptureLog log;
    capture_log_open(&log, BUDGET);
    const char *message = NULL;
    CaptureTarget target = {.id = 1, .uid = "uid", .label = "default/pod", .netns_fd = -1};
    g_assert_cmpint(log.source->ops->add(log.source, &target, &message), ==, -EBADF);
    g_assert_nonnull(message);
    target.netns_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    message = NULL;
    g_assert_cmpint(log.source->ops->add(log.source, &target, &message), ==, -EINVAL);
    g_assert_nonnull(strstr(message, "not a network namespace"));
    close(target.netns_fd);
    target.netns_fd = netns_new();
    capture_log_add(&log, 1, target.netns_fd);
    g_assert_cmpint(log.source->ops->add(log.source, &target, &message), ==, -EEXIST);
    close(target.netns_fd);
    capture_log_close(&log);
}

static void *wake(void *data)
{
    Source *source = data;
    source->ops->wake(source);
    return NULL;
}

static void *wake_often(void *data)
{
    CaptureLog *log = data;
    while (!g_atomic_int_get(&stop_waking)) {
        log->source->ops->wake(log->source);
        g_usleep(300);
    }
    return NULL;
}

/* A node with many facts to tell is woken before the end of each run: watermarks come all the same.
 */
static void test_woken_often(void)
{
    int pod = netns_new();
    CaptureLog log;
    capture_log_open(&log, BUDGET);
    capture_log_add(&log, 1, pod);
    GThread *thread = g_thread_new("waker", wake_often, &log);
    gint64 end = g_get_monotonic_time() + G_USEC_PER_SEC;
    while (g_get_monotonic_time() < end)
        log.source->ops->run(log.source, 50);
    g_atomic_int_set(&stop_waking, 1);
    g_thread_join(thread);
    g_assert_cmpuint(log.watermarks, >=,
                     10); /* a machine with other work has fewer than one each 25 ms */
    capture_log_close(&log);
    close(pod);
}

static void test_wake(void)
{
    CaptureLog log;
    capture_log_open(&log, BUDGET);
    GThread *thread = g_thread_new("waker", wake, log.source);
    g_assert_cmpint(log.source->ops->run(log.source, -1), ==, -EINTR);
    g_thread_join(thread);
    g_assert_cmpint(log.source->ops->run(log.source, 0), ==, 0);
    capture_log_close(&log);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (!netns_enter_own())
        return 77;
    g_test_add_func("/source/afpacket/missing-capability", test_missing_capability);
    g_test_add_func("/source/afpacket/bad-targets", test_bad_targets);
    g_test_add_func("/source/afpacket/wake", test_wake);
    g_test_add_func("/source/afpacket/woken-often", test_woken_often);
    g_test_add_func("/source/afpacket/leaves-nothing", test_leaves_nothing);
    g_test_add_func("/source/afpacket/many", test_many);
    return g_test_run();
}

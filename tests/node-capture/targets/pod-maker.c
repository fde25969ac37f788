// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/node-capture/targets/pod-maker.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "tests/node-capture/source/netns.h"

#define WAIT_US (10 * G_USEC_PER_SEC)

static char *root;           /* the folder */
static const char *relative; /* its path in the hierarchy */

/* "DEVICE POINT TYPE OPTIONS ..." */
static char *find_hierarchy(int version)
{
    g_autofree char *mounts = NULL;
    g_assert_true(g_file_get_contents("/proc/self/mounts", &mounts, NULL, NULL));
    g_auto(GStrv) lines = g_strsplit(mounts, "\n", -1);
    for (char **line = lines; *line; line++) {
        g_auto(GStrv) fields = g_strsplit(*line, " ", -1);
        if (g_strv_length(fields) < 4) {
            continue;
        }
        bool second = strcmp(fields[2], "cgroup2") == 0;
        bool first = strcmp(fields[2], "cgroup") == 0 && strstr(fields[3], "pids");
        if ((version == 2 ? second : first) && access(fields[1], W_OK) == 0) {
            return g_strdup(fields[1]);
        }
    }
    return NULL;
}

bool pod_maker_begin(int version, const char **ret_reason)
{
    g_autofree char *hierarchy = find_hierarchy(version);
    if (!hierarchy) {
        *ret_reason = "no writable control group hierarchy of this version";
        return false;
    }
    root = g_strdup_printf("%s/remora-test-%d", hierarchy, (int)getpid());
    relative = root + strlen(hierarchy);
    if (mkdir(root, 0755) < 0) {
        *ret_reason = "control groups cannot be made";
        g_clear_pointer(&root, g_free);
        return false;
    }
    return true;
}

static char *procs_file(const char *path)
{
    return g_strdup_printf("%s%s/cgroup.procs", root, path);
}

static int end_group(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
    if (type != FTW_DP) {
        return 0;
    }
    g_autofree char *procs = g_strdup_printf("%s/cgroup.procs", path);
    g_autofree char *text = NULL;
    if (g_file_get_contents(procs, &text, NULL, NULL)) {
        g_auto(GStrv) pids = g_strsplit(text, "\n", -1);
        for (char **pid = pids; *pid && **pid; pid++) {
            kill((pid_t)atoi(*pid), SIGKILL);
        }
    }
    gint64 deadline = g_get_monotonic_time() + WAIT_US;
    while (rmdir(path) < 0 && errno == EBUSY && g_get_monotonic_time() < deadline) {
        while (waitpid(-1, NULL, WNOHANG) > 0) {
        }
        g_usleep(1000);
    }
    return 0;
}

void pod_maker_end(void)
{
    nftw(root, end_group, 16, FTW_DEPTH | FTW_PHYS);
    g_assert_cmpint(access(root, F_OK), ==, -1);
    g_clear_pointer(&root, g_free);
}

static int run_version(int version, int argc, char **argv, char *(*missing)(void),
                       void (*add_tests)(int version))
{
    const char *reason;
    if (!pod_maker_begin(version, &reason)) {
        printf("# version %d left out: %s\n", version, reason);
        return 77;
    }
    fflush(stdout);
    pid_t child = fork();
    g_assert_cmpint(child, >=, 0);
    if (child == 0) {
        g_autofree char *why = missing ? missing() : NULL;
        if (why) {
            printf("1..0 # SKIP %s", why);
            fflush(stdout);
            _exit(77);
        }
        g_test_init(&argc, &argv, NULL);
        add_tests(version);
        int result = g_test_run();
        fflush(stdout);
        _exit(result);
    }
    int status;
    g_assert_cmpint(waitpid(child, &status, 0), ==, child);
    pod_maker_end();
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int pod_maker_main(int argc, char **argv, char *(*missing)(void), void (*add_tests)(int version))
{
    if (!netns_enter_own()) {
        return 77;
    }
    int second = run_version(2, argc, argv, missing, add_tests);
    int first = run_version(1, argc, argv, missing, add_tests);
    return first == 77 ? second : second == 77 ? first : first | second;
}

const char *pod_maker_root(void)
{
    return relative;
}

const char *pod_uid(unsigned n)
{
    static char uids[16][40];
    static unsigned next;
    char *uid = uids[next++ % 16];
    g_snprintf(uid, 40, "%08x-0000-4000-8000-00000000cafe", n);
    return uid;
}

const char *container_id(unsigned n)
{
    static char ids[16][72];
    static unsigned next;
    char *id = ids[next++ % 16];
    g_snprintf(id, 72, "%08x%056d", n, 0);
    return id;
}

void pod_maker_move(pid_t pid, const char *path)
{
    g_autofree char *folder = g_strconcat(root, path, NULL);
    g_autofree char *procs = procs_file(path);
    g_assert_cmpint(g_mkdir_with_parents(folder, 0755), ==, 0);
    int fd = open(procs, O_WRONLY | O_CLOEXEC);
    g_assert_cmpint(fd, >=, 0);
    char text[16];
    int length = g_snprintf(text, sizeof(text), "%d", (int)pid);
    g_assert_cmpint((int)write(fd, text, (size_t)length), ==, length);
    close(fd);
}

/* In the child: no allocation, as the parent may have threads. */
static _Noreturn void be_process(int go_fd, int netns, bool brief, volatile uint64_t *started_ns)
{
    char byte;
    if (read(go_fd, &byte, 1) != 1) {
        _exit(1);
    }
    if ((netns == NETNS_NEW && unshare(CLONE_NEWNET) < 0) ||
        (netns >= 0 && setns(netns, CLONE_NEWNET) < 0)) {
        _exit(2);
    }
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    *started_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    if (brief) {
        execl("/bin/true", "true", NULL);
    }
    execl("/bin/sleep", "sleep", "600", NULL);
    _exit(3);
}

pid_t pod_maker_run(const char *path, int netns, bool brief, uint64_t *ret_ns)
{
    int go[2];
    uint64_t *started_ns =
        mmap(NULL, sizeof(*started_ns), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    g_assert_true(started_ns != MAP_FAILED);
    g_assert_cmpint(pipe2(go, O_CLOEXEC), ==, 0);
    pid_t pid = fork();
    g_assert_cmpint(pid, >=, 0);
    if (pid == 0) {
        be_process(go[0], netns, brief, started_ns);
    }
    close(go[0]);
    pod_maker_move(pid, path);
    g_assert_cmpint((int)write(go[1], "", 1), ==, 1);
    close(go[1]);
    if (brief) {
        int status;
        g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
        g_assert_cmpint(status, ==, 0);
    }
    if (ret_ns) {
        while (!__atomic_load_n(started_ns, __ATOMIC_ACQUIRE)) {
            sched_yield();
        }
        *ret_ns = *started_ns;
    }
    munmap(started_ns, sizeof(*started_ns));
    return pid;
}

void pod_maker_kill(pid_t pid)
{
    kill(pid, SIGKILL);
    g_assert_cmpint(waitpid(pid, NULL, 0), ==, pid);
}

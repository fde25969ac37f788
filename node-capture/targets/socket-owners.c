// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/targets/socket-owners.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/magic.h>
#include <linux/types.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "common/clock.h"
#include "node-capture/bpf/sockets.skel.h"
#include "node-capture/targets/proc-process.h"
#include "node-capture/targets/socket-news.h"

/* PROC_PID_INIT_INO in the kernel's include/linux/proc_ns.h. */
#define FIRST_PID_NAMESPACE 0xEFFFFFFCu

/* The scan is slower than the ring is emptied, each 50 ms at least: so many sockets, then a pause.
 */
#define SCAN_SOCKETS  1024
#define SCAN_PAUSE_US 10000
#define RESCAN_NS     1000000000u /* at least between two scans because of losses */

#define STEP_NS 10000000 /* more is no delay between two looks at clocks: the clock was set */

/* A control group, by the id that the program gives it. */
typedef struct Group {
    uint64_t id;
    CgroupPod pod;
    char container[CONTAINER_NAME_SIZE];
    bool asked; /* for the name: not again */
} Group;

typedef struct KernelOwners {
    SocketOwners owners;
    const SocketOwnersCallbacks *callbacks;
    void *userdata;
    int proc_fd;
    struct sockets_bpf *program;
    GPtrArray *links; /* of struct bpf_link: to the root of all control groups */
    struct ring_buffer *ring;
    GThreadPool *scanner; /* one thread */
    int stopping;         /* atomic: a scan ends early */
    uint32_t period;
    bool wanted;
    GHashTable *groups; /* &group->id -> Group */
    uint64_t unix_offset_ns;
    uint64_t events, lost; /* lost: as of the last scan */
    uint64_t rescan_ns;    /* monotonic: not before */
} KernelOwners;

/* ---- Control groups --------------------------------------------------------------------------*/

/* The program tells the ids that user space has forgotten once more. */
static void forget_groups(KernelOwners *owners)
{
    int map = bpf_map__fd(owners->program->maps.groups);
    GHashTableIter iter;
    void *id;
    g_hash_table_iter_init(&iter, owners->groups);
    while (g_hash_table_iter_next(&iter, &id, NULL)) {
        bpf_map_delete_elem(map, id);
    }
    g_hash_table_remove_all(owners->groups);
}

static void on_group(KernelOwners *owners, const struct sockets_group *told)
{
    if (g_hash_table_size(owners->groups) >= SOCKETS_GROUPS) {
        forget_groups(owners);
    }
    Group *group = g_new0(Group, 1);
    group->id = told->group;
    socket_news_group(told, &group->pod);
    if (group->pod.uid[0] == '\0') {
        const uint8_t no_pod = SOCKETS_GROUP_NO_POD;
        bpf_map_update_elem(bpf_map__fd(owners->program->maps.groups), &group->id, &no_pod,
                            BPF_ANY);
    }
    g_hash_table_replace(owners->groups, &group->id, group);
}

/* By /proc where the program's word is missing: it was lost, or is not that of a container. */
static void find_pod(const KernelOwners *owners, SocketNews *news, uint64_t id)
{
    Group *group = g_hash_table_lookup(owners->groups, &id);
    if (!group) {
        bpf_map_delete_elem(bpf_map__fd(owners->program->maps.groups), &id);
        if (proc_process_pod(owners->proc_fd, news->pid, NULL, &news->pod) < 0) {
            news->pod = (CgroupPod){.uid = ""};
        }
        return;
    }
    news->pod = group->pod;
    if (group->pod.container[0] == '\0') {
        return;
    }
    if (!group->asked) {
        int error =
            proc_process_container(owners->proc_fd, news->pid, group->pod.uid, group->container);
        /* The process may have gone, but the group have others. */
        group->asked = error == 0 || error == -ENODATA;
    }
    memcpy(news->container, group->container, sizeof(news->container));
}

/* ---- Events ----------------------------------------------------------------------------------*/

static bool is_host(const KernelOwners *owners, uint32_t netns)
{
    const uint32_t *host = (const uint32_t *)owners->program->rodata->host_netns;
    return netns == host[0] || netns == host[1];
}

static int on_record(void *userdata, void *data, size_t size)
{
    KernelOwners *owners = userdata;
    const struct sockets_event *event = data;
    SocketNews news;
    owners->events++;
    if (event->kind == SOCKETS_GROUP) {
        on_group(owners, data);
    } else if (socket_news_from_event(data, size, owners->unix_offset_ns, &news)) {
        find_pod(owners, &news, event->owner.group);
        news.host_network = is_host(owners, event->owner.netns);
        if (!news.host_network || news.pod.uid[0]) {
            owners->callbacks->owner(&news, owners->userdata);
        }
    }
    return 0;
}

/* Waits where the ring is read, as that is done often. */
static void scan(void *iterator, void *userdata)
{
    const KernelOwners *owners = userdata;
    uint8_t told[SCAN_SOCKETS];
    int fd = GPOINTER_TO_INT(iterator);
    ssize_t count;
    while (!g_atomic_int_get(&owners->stopping) &&
           ((count = read(fd, told, sizeof(told))) > 0 || (count < 0 && errno == EAGAIN))) {
        g_usleep(SCAN_PAUSE_US);
    }
    close(fd);
}

static void begin_period(KernelOwners *owners)
{
    owners->period += owners->period == UINT32_MAX ? 2 : 1;
    __atomic_store_n(&owners->program->bss->enabled, owners->period, __ATOMIC_RELAXED);
    int fd = bpf_iter_create(bpf_link__fd(owners->program->links.on_file));
    if (fd >= 0) {
        g_thread_pool_push(owners->scanner, GINT_TO_POINTER(fd), NULL);
    }
}

static uint64_t count_lost(const KernelOwners *owners)
{
    return __atomic_load_n(&owners->program->bss->lost, __ATOMIC_RELAXED);
}

/* The same until the clock is set, so that what has ended has the beginning that was told. */
static void keep_offset(KernelOwners *owners)
{
    uint64_t offset_ns = clock_unix_ns() - clock_monotonic_ns();
    int64_t change_ns = (int64_t)(offset_ns - owners->unix_offset_ns);
    if (change_ns > STEP_NS || change_ns < -STEP_NS) {
        owners->unix_offset_ns = offset_ns;
    }
}

static void kernel_dispatch(SocketOwners *base)
{
    KernelOwners *owners = (KernelOwners *)base;
    keep_offset(owners);
    ring_buffer__consume(owners->ring);
    uint64_t lost = count_lost(owners), now_ns;
    if (lost != owners->lost && owners->wanted &&
        (now_ns = clock_monotonic_ns()) >= owners->rescan_ns) {
        owners->lost = lost;
        owners->rescan_ns = now_ns + RESCAN_NS;
        begin_period(owners);
    }
}

static void kernel_stats(const SocketOwners *base, SocketOwnersStats *ret)
{
    const KernelOwners *owners = (const KernelOwners *)base;
    *ret = (SocketOwnersStats){owners->events, count_lost(owners)};
}

/* ---- The object ------------------------------------------------------------------------------*/

static void kernel_free(SocketOwners *base)
{
    KernelOwners *owners = (KernelOwners *)base;
    g_atomic_int_set(&owners->stopping, 1);
    if (owners->scanner) {
        g_thread_pool_free(owners->scanner, FALSE, TRUE); /* each closes its descriptor */
    }
    ring_buffer__free(owners->ring);
    g_ptr_array_unref(owners->links);
    sockets_bpf__destroy(owners->program);
    g_hash_table_unref(owners->groups);
    if (owners->proc_fd >= 0) {
        close(owners->proc_fd);
    }
    g_free(owners);
}

static int open_version2(const char *path)
{
    struct statfs status;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0 && (fstatfs(fd, &status) < 0 || status.f_type != CGROUP2_SUPER_MAGIC)) {
        close(fd);
        return -1;
    }
    return fd;
}

/* The root of all control groups of version 2, as the first process has it: ours may be a
 * container's. Where nobody has mounted it, that does no harm. */
static int open_root_group(int proc_fd)
{
    static const char *const places[] = {"1/root/sys/fs/cgroup", "1/root/sys/fs/cgroup/unified"};
    for (size_t i = 0; i < G_N_ELEMENTS(places); i++) {
        g_autofree char *path = g_strdup_printf("/proc/self/fd/%d/%s", proc_fd, places[i]);
        int fd = open_version2(path);
        if (fd >= 0) {
            return fd;
        }
    }
    int filesystem = fsopen("cgroup2", FSOPEN_CLOEXEC);
    int fd = -1;
    if (filesystem >= 0) {
        if (fsconfig(filesystem, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0) {
            fd = fsmount(filesystem, FSMOUNT_CLOEXEC, 0);
        }
        close(filesystem);
    }
    return fd;
}

static void link_free(void *link)
{
    bpf_link__destroy(link);
}

static int attach_to_groups(KernelOwners *owners)
{
    int group_fd = open_root_group(owners->proc_fd);
    if (group_fd < 0) {
        return -ENOENT;
    }
    struct bpf_program *const programs[] = {
        owners->program->progs.on_sockops, owners->program->progs.on_create,
        owners->program->progs.on_bind4,   owners->program->progs.on_bind6,
        owners->program->progs.on_release,
    };
    int error = 0;
    for (size_t i = 0; i < G_N_ELEMENTS(programs) && !error; i++) {
        struct bpf_link *link = bpf_program__attach_cgroup(programs[i], group_fd);
        if (link) {
            g_ptr_array_add(owners->links, link);
        } else {
            error = -errno;
        }
    }
    close(group_fd);
    return error;
}

/* What is attached costs every send and receive on the machine something, also if it does nothing.
 */
static void detach(KernelOwners *owners)
{
    __atomic_store_n(&owners->program->bss->enabled, 0, __ATOMIC_RELAXED);
    g_ptr_array_set_size(owners->links, 0);
    sockets_bpf__detach(owners->program);
}

static void kernel_want(SocketOwners *base, bool wanted)
{
    KernelOwners *owners = (KernelOwners *)base;
    if (wanted == owners->wanted) {
        return;
    }
    owners->wanted = wanted;
    if (!wanted) {
        detach(owners);
    } else if (sockets_bpf__attach(owners->program) == 0) {
        /* Without these if they did not work at the start, which was told as a problem. */
        if (attach_to_groups(owners) < 0) {
            g_ptr_array_set_size(owners->links, 0);
        }
        begin_period(owners);
    }
}

static const SocketOwnersOps kernel_ops = {kernel_free, kernel_want, kernel_dispatch, kernel_stats};

static void set_host(KernelOwners *owners, const char *host_netns)
{
    struct stat status;
    /* Ours is taken for the host's if that cannot be read. */
    if (fstatat(owners->proc_fd, "1/ns/net", &status, 0) == 0 ||
        fstatat(owners->proc_fd, "self/ns/net", &status, 0) == 0) {
        owners->program->rodata->host_netns[0] = (__u32)status.st_ino;
    }
    if (host_netns && stat(host_netns, &status) == 0) {
        owners->program->rodata->host_netns[1] = (__u32)status.st_ino;
    }
}

/* Linux 6.3 and later; without it accepted sockets are told as their listener's, and those of UDP
 * when they are bound. */
static bool has_use_events(void)
{
    return libbpf_find_vmlinux_btf_id("sock_send_length", BPF_TRACE_RAW_TP) > 0;
}

static int load(KernelOwners *owners, const char *host_netns)
{
    owners->program = sockets_bpf__open();
    if (!owners->program) {
        return -errno;
    }
    set_host(owners, host_netns);
    if (!has_use_events()) {
        bpf_program__set_autoload(owners->program->progs.on_send, false);
        bpf_program__set_autoload(owners->program->progs.on_receive, false);
    }
    int error = sockets_bpf__load(owners->program);
    if (error) {
        return error;
    }
    owners->ring =
        ring_buffer__new(bpf_map__fd(owners->program->maps.events), on_record, owners, NULL);
    return owners->ring ? 0 : -errno;
}

static char *explain(int error)
{
    if (error == -EPERM || error == -EACCES) {
        return g_strdup("CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN (CAP_SYS_ADMIN before Linux 5.8) "
                        "are missing, or BPF programs are forbidden here: the processes behind "
                        "connections are not known");
    }
    return g_strdup_printf("BPF programs cannot be loaded: %s (a kernel with BTF, 5.13 or later, "
                           "is needed): the processes behind connections are not known",
                           g_strerror(-error));
}

static bool in_first_pid_namespace(int proc_fd)
{
    struct stat status;
    return fstatat(proc_fd, "self/ns/pid", &status, 0) == 0 && status.st_ino == FIRST_PID_NAMESPACE;
}

static int start(KernelOwners *owners, const SocketOwnersOptions *options, char **ret_message)
{
    owners->proc_fd =
        open(options->proc ? options->proc : "/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (owners->proc_fd < 0 || !in_first_pid_namespace(owners->proc_fd)) {
        *ret_message = g_strdup("this process is in a PID namespace of its own (hostPID: true is "
                                "needed): the processes behind connections are not known");
        return -ENOTSUP;
    }
    int error = load(owners, options->host_netns);
    error = error ? error : sockets_bpf__attach(owners->program); /* to see whether it works */
    if (error) {
        *ret_message = explain(error);
        return error;
    }
    error = attach_to_groups(owners);
    detach(owners);
    if (error) {
        *ret_message = g_strdup_printf(
            "programs cannot be attached to the root of control groups version 2: %s%s; UDP "
            "sockets made from now on have no process, and connections get theirs when they are "
            "answered",
            g_strerror(-error), error == -EPERM ? " (CAP_NET_ADMIN is missing)" : "");
    }
    return 0;
}

int socket_owners_kernel_new(const SocketOwnersOptions *options,
                             const SocketOwnersCallbacks *callbacks, void *userdata,
                             SocketOwners **ret, char **ret_message)
{
    KernelOwners *owners = g_new0(KernelOwners, 1);
    owners->owners.ops = &kernel_ops;
    owners->callbacks = callbacks;
    owners->userdata = userdata;
    owners->links = g_ptr_array_new_with_free_func(link_free);
    owners->groups = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
    *ret_message = NULL;
    /* What goes wrong is told by us, in one sentence. */
    libbpf_print_fn_t print = libbpf_set_print(NULL);
    int error = start(owners, options, ret_message);
    libbpf_set_print(print);
    if (error) {
        kernel_free(&owners->owners);
        return error;
    }
    owners->scanner = g_thread_pool_new(scan, owners, 1, FALSE, NULL);
    *ret = &owners->owners;
    return 0;
}

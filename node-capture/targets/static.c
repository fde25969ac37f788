// SPDX-License-Identifier: GPL-2.0-or-later
/* Targets from an inventory file. Changes are noticed without polling: of files by inotify on their
 * directories, of network namespaces also by the kernel's mount table (proc(5): it polls as
 * exceptional when something is mounted or unmounted), because mounting a namespace on a file is
 * nothing that inotify tells. */
#include "node-capture/targets/targets.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "k8s-enrich/inventory-file.h"
#include "node-capture/targets/inventory-reader.h"
#include "node-capture/targets/netns-file.h"

#define WATCH_EVENTS                                                                         \
    (IN_CREATE | IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_DELETE_SELF | \
     IN_MOVE_SELF)
#define FILE_EVENTS (IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE)

/* So many changes are told by one dispatch: the thread that calls it also captures. */
#define SLICE 200u

typedef struct StaticPod {
    Entity *entity;
    NetnsFile netns;   /* path NULL: the pod has none */
    char *reason;      /* told by failed(); NULL: captured */
    uint64_t since_ns; /* when it began, if that can be known; 0: it cannot */
    bool looked;       /* at its namespace: if that comes later, it is noticed at once */
} StaticPod;

typedef struct StaticTargets {
    Targets targets;
    const TargetsCallbacks *callbacks;
    void *userdata;
    char *path, *directory, *name, *node_name;
    int epoll_fd, inotify_fd, mounts_fd, start_fd;
    int directory_watch; /* of the inventory; -1: the directory is not there */
    GHashTable *watches; /* set of watch descriptors */
    GHashTable *pods;    /* uid -> StaticPod: those of this node */
    InventoryReader *reader;
    InventoryChanges *applying; /* or NULL */
    guint applied;              /* of these */
    bool synced;
    bool problem; /* told of the file */
} StaticTargets;

static void static_pod_free(void *data)
{
    StaticPod *pod = data;
    entity_unref(pod->entity);
    netns_file_clear(&pod->netns);
    g_free(pod->reason);
    g_free(pod);
}

/* ---- Watches ---------------------------------------------------------------------------------*/

/* Watches a directory or, while it does not exist, the nearest one above it. Returns the watch of
 * the directory itself. */
static int watch_directory(StaticTargets *targets, const char *directory, GHashTable *watches)
{
    int watch = inotify_add_watch(targets->inotify_fd, directory, WATCH_EVENTS | IN_ONLYDIR);
    if (watch < 0 && strcmp(directory, "/") != 0 && strcmp(directory, ".") != 0) {
        g_autofree char *parent = g_path_get_dirname(directory);
        watch_directory(targets, parent, watches);
        /* It may have come before the watch above was there. */
        watch = inotify_add_watch(targets->inotify_fd, directory, WATCH_EVENTS | IN_ONLYDIR);
    }
    if (watch >= 0) {
        g_hash_table_add(watches, GINT_TO_POINTER(watch));
    }
    return watch;
}

/* Returns whether the inventory's directory is another one than before. */
static bool refresh_watches(StaticTargets *targets)
{
    GHashTable *watches = g_hash_table_new(NULL, NULL);
    int watch = watch_directory(targets, targets->directory, watches);
    bool moved = watch != targets->directory_watch;
    targets->directory_watch = watch;

    GHashTableIter iter;
    StaticPod *pod;
    g_hash_table_iter_init(&iter, targets->pods);
    while (g_hash_table_iter_next(&iter, NULL, (void **)&pod)) {
        if (pod->netns.path) {
            g_autofree char *directory = g_path_get_dirname(pod->netns.path);
            watch_directory(targets, directory, watches);
        }
    }
    void *old;
    g_hash_table_iter_init(&iter, targets->watches);
    while (g_hash_table_iter_next(&iter, &old, NULL)) {
        if (!g_hash_table_contains(watches, old)) {
            inotify_rm_watch(targets->inotify_fd, GPOINTER_TO_INT(old));
        }
    }
    g_hash_table_unref(targets->watches);
    targets->watches = watches;
    return moved;
}

/* Whether this is the end of a write to the inventory. "..data" is the link that the kubelet moves
 * when a mounted ConfigMap changes. */
static bool event_is_inventory(const StaticTargets *targets, const struct inotify_event *event)
{
    if (event->mask & IN_Q_OVERFLOW) {
        return true;
    }
    return event->wd == targets->directory_watch && (event->mask & FILE_EVENTS) && event->len > 0 &&
           (strcmp(event->name, targets->name) == 0 || strcmp(event->name, "..data") == 0);
}

static bool read_events(StaticTargets *targets)
{
    char buffer[16 * 1024] __attribute__((aligned(__alignof__(struct inotify_event))));
    bool inventory = false;
    ssize_t length;
    while ((length = read(targets->inotify_fd, buffer, sizeof(buffer))) > 0) {
        for (ssize_t at = 0; at < length;) {
            const struct inotify_event *event = (const struct inotify_event *)(buffer + at);
            inventory = inventory || event_is_inventory(targets, event);
            at += (ssize_t)(sizeof(*event) + event->len);
        }
    }
    return inventory;
}

/* ---- Pods ------------------------------------------------------------------------------------*/

static void pod_failed(StaticTargets *targets, StaticPod *pod, const char *reason)
{
    if (g_strcmp0(pod->reason, reason) != 0) {
        g_free(pod->reason);
        pod->reason = g_strdup(reason);
        targets->callbacks->failed(pod->entity, reason, targets->userdata);
    }
}

static void pod_check(StaticTargets *targets, StaticPod *pod)
{
    if (!pod->netns.path) {
        pod_failed(targets, pod,
                   pod->entity->host_network
                       ? "is on the node's network and has no namespace of its own"
                       : "has no annotation " INVENTORY_NETNS_ANNOTATION
                         " with the path of its network namespace");
        return;
    }
    g_autofree char *reason = NULL;
    NetnsChange change = netns_file_check(&pod->netns, &reason);
    if (change == NETNS_VANISHED || change == NETNS_REPLACED) {
        targets->callbacks->vanished(pod->entity->uid, targets->userdata);
    }
    if (change == NETNS_APPEARED || change == NETNS_REPLACED) {
        g_clear_pointer(&pod->reason, g_free);
        uint64_t since_ns = pod->looked ? TARGETS_AT_ONCE : pod->since_ns;
        targets->callbacks->appeared(pod->entity, pod->netns.fd, since_ns, targets->userdata);
    }
    pod->looked = true;
    if (reason) {
        pod_failed(targets, pod, reason);
    }
}

static void check_pods(StaticTargets *targets)
{
    GHashTableIter iter;
    StaticPod *pod;
    g_hash_table_iter_init(&iter, targets->pods);
    while (g_hash_table_iter_next(&iter, NULL, (void **)&pod)) {
        pod_check(targets, pod);
    }
}

static void pod_gone(StaticTargets *targets, const char *uid)
{
    if (g_hash_table_contains(targets->pods, uid)) {
        targets->callbacks->vanished(uid, targets->userdata);
        g_hash_table_remove(targets->pods, uid);
    }
}

/* The namespace itself is looked at by check_pods(). */
static void pod_update(StaticTargets *targets, const Entity *entity, const char *path,
                       uint64_t since_ns)
{
    StaticPod *pod = g_hash_table_lookup(targets->pods, entity->uid);
    if (pod && g_strcmp0(pod->netns.path, path) != 0) {
        pod_gone(targets, entity->uid);
        pod = NULL;
    }
    if (!pod) {
        pod = g_new0(StaticPod, 1);
        netns_file_init(&pod->netns, g_strdup(path));
        pod->entity = entity_ref(entity);
        pod->since_ns = since_ns;
        g_hash_table_insert(targets->pods, g_strdup(entity->uid), pod);
    } else if (pod->entity != entity) {
        entity_unref(pod->entity);
        pod->entity = entity_ref(entity);
    }
}

/* ---- The file --------------------------------------------------------------------------------*/

static void tell_problem(StaticTargets *targets, const char *message)
{
    if (message || targets->problem) {
        targets->callbacks->problem(targets->path, message, targets->userdata);
    }
    targets->problem = message != NULL;
}

static void tell_outcome(StaticTargets *targets, const InventoryChanges *changes)
{
    g_autofree char *message = NULL;
    if (changes->error) {
        message =
            g_strdup_printf("%s; what the last good version said stays in force", changes->error);
    } else if (changes->warning) {
        message = g_strdup(changes->warning);
    } else if (g_hash_table_size(targets->pods) == 0) {
        message = g_strdup_printf("has no pod with spec.nodeName \"%s\"; check --node-name",
                                  targets->node_name);
    }
    tell_problem(targets, message);
}

static void apply_change(StaticTargets *targets, const InventoryChange *change)
{
    const Entity *entity = change->entity;
    if (change->deleted_ns != 0 && entity->kind == ENTITY_POD) {
        pod_gone(targets, entity->uid);
    }
    if (!change->same) {
        targets->callbacks->identity(entity, change->deleted_ns, targets->userdata);
    }
    if (change->deleted_ns == 0 && entity->kind == ENTITY_POD) {
        pod_update(targets, entity, change->netns, change->since_ns);
    }
}

/* Applies a slice of what was read. Returns false if there was nothing to apply. */
static bool apply_slice(StaticTargets *targets)
{
    if (!targets->applying) {
        targets->applying = inventory_reader_take(targets->reader);
        targets->applied = 0;
    }
    if (!targets->applying) {
        return false;
    }
    const GArray *changes = targets->applying->changes;
    guint end = MIN(changes->len, targets->applied + SLICE);
    for (; targets->applied < end; targets->applied++) {
        apply_change(targets, &g_array_index(changes, InventoryChange, targets->applied));
    }
    if (end == changes->len) {
        tell_outcome(targets, targets->applying);
        targets->applying = inventory_changes_free(targets->applying);
    }
    return true;
}

/* ---- The backend -----------------------------------------------------------------------------*/

static int static_fd(const Targets *base)
{
    return ((const StaticTargets *)base)->epoll_fd;
}

static void static_dispatch(Targets *base)
{
    StaticTargets *targets = (StaticTargets *)base;
    struct epoll_event events[4];
    /* Only to take back their readiness: what happened is looked up below. */
    epoll_wait(targets->epoll_fd, events, G_N_ELEMENTS(events), 0);
    eventfd_t count;
    eventfd_read(targets->start_fd, &count);

    if (read_events(targets)) {
        inventory_reader_request(targets->reader);
    }
    if (apply_slice(targets)) {
        /* There may be more, of this reading or of another. */
        eventfd_write(targets->start_fd, 1);
    }
    if (refresh_watches(targets)) {
        /* Another directory may hold another file. */
        inventory_reader_request(targets->reader);
    }
    check_pods(targets);
    if (!targets->synced && !targets->applying) {
        targets->synced = true;
        targets->callbacks->synced(targets->userdata);
    }
}

static void close_fd(int fd)
{
    if (fd >= 0) {
        close(fd);
    }
}

static void static_free(Targets *base)
{
    StaticTargets *targets = (StaticTargets *)base;
    inventory_reader_free(targets->reader); /* it writes to start_fd */
    inventory_changes_free(targets->applying);
    close_fd(targets->epoll_fd);
    close_fd(targets->inotify_fd);
    close_fd(targets->mounts_fd);
    close_fd(targets->start_fd);
    g_hash_table_unref(targets->watches);
    g_hash_table_unref(targets->pods);
    g_free(targets->path);
    g_free(targets->directory);
    g_free(targets->name);
    g_free(targets->node_name);
    g_free(targets);
}

static const TargetsOps static_ops = {"static", static_free, static_fd, static_dispatch, NULL};

static bool watch_fd(const StaticTargets *targets, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events};
    return fd >= 0 && epoll_ctl(targets->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

static bool open_fds(StaticTargets *targets, GError **error)
{
    targets->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    targets->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    targets->mounts_fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
    /* Set from the start: the first dispatch tells what the file says. */
    targets->start_fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
    if (watch_fd(targets, targets->inotify_fd, EPOLLIN) &&
        watch_fd(targets, targets->start_fd, EPOLLIN) &&
        watch_fd(targets, targets->mounts_fd, EPOLLPRI)) {
        return true;
    }
    g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(errno), "%s cannot be followed: %s",
                targets->path, g_strerror(errno));
    return false;
}

Targets *targets_static_new(const char *path, const char *node_name,
                            const TargetsCallbacks *callbacks, void *userdata, GError **error)
{
    StaticTargets *targets = g_new0(StaticTargets, 1);
    targets->targets.ops = &static_ops;
    targets->callbacks = callbacks;
    targets->userdata = userdata;
    targets->path = g_strdup(path);
    targets->directory = g_path_get_dirname(path);
    targets->name = g_path_get_basename(path);
    targets->node_name = g_strdup(node_name);
    targets->watches = g_hash_table_new(NULL, NULL);
    targets->pods = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, static_pod_free);
    if (!open_fds(targets, error)) {
        static_free(&targets->targets);
        return NULL;
    }
    /* Watched before it is read: a change in between is not missed. */
    targets->directory_watch = watch_directory(targets, targets->directory, targets->watches);
    targets->reader = inventory_reader_new(path, node_name, targets->start_fd, error);
    if (!targets->reader) {
        static_free(&targets->targets);
        return NULL;
    }
    return &targets->targets;
}

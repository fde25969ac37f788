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

#include "common/clock.h"
#include "k8s-enrich/inventory-file.h"
#include "node-capture/targets/netns-file.h"

#define WATCH_EVENTS                                                                         \
    (IN_CREATE | IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_DELETE_SELF | \
     IN_MOVE_SELF)
#define FILE_EVENTS (IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE)

/* An entity as it was told, with what the file said of it. */
typedef struct Known {
    Entity *entity;
    GBytes *form; /* packed, without times: equal if nothing changed */
    bool seen;    /* in the file that is being applied */
} Known;

typedef struct StaticPod {
    Entity *entity;
    NetnsFile netns; /* path NULL: the pod has none */
    char *reason;    /* told by failed(); NULL: captured */
} StaticPod;

typedef struct StaticTargets {
    Targets targets;
    const TargetsCallbacks *callbacks;
    void *userdata;
    char *path, *directory, *name, *node_name;
    int epoll_fd, inotify_fd, mounts_fd, start_fd;
    int directory_watch;    /* of the inventory; -1: the directory is not there */
    GHashTable *watches;    /* set of watch descriptors */
    GHashTable *known;      /* &entity->key -> Known */
    GHashTable *pods;       /* uid -> StaticPod: those of this node */
    InventoryFile *pending; /* read and to be applied at the next dispatch */
    bool synced;
    bool problem; /* told of the file */
} StaticTargets;

static void known_free(void *data)
{
    Known *known = data;
    entity_unref(known->entity);
    g_bytes_unref(known->form);
    g_free(known);
}

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
        targets->callbacks->appeared(pod->entity, pod->netns.fd, targets->userdata);
    }
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
static void pod_update(StaticTargets *targets, const Entity *entity, const char *path)
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
        g_hash_table_insert(targets->pods, g_strdup(entity->uid), pod);
    } else if (pod->entity != entity) {
        entity_unref(pod->entity);
        pod->entity = entity_ref(entity);
    }
}

/* ---- The file --------------------------------------------------------------------------------*/

static GBytes *entity_form(const Entity *entity)
{
    Remora__V1__Entity *proto = entity_to_proto(entity);
    proto->from_unix_ns = 0;
    proto->to_unix_ns = 0;
    size_t length = remora__v1__entity__get_packed_size(proto);
    uint8_t *packed = g_malloc(length);
    remora__v1__entity__pack(proto, packed);
    entity_proto_free(proto);
    return g_bytes_new_take(packed, length);
}

/* The same entity, valid from another time on. */
static Entity *entity_from_time(const Entity *entity, uint64_t from_ns)
{
    const char *error;
    Remora__V1__Entity *proto = entity_to_proto(entity);
    proto->from_unix_ns = from_ns;
    Entity *copy = entity_from_proto(proto, &error);
    entity_proto_free(proto);
    return copy ? copy : entity_ref(entity);
}

/* A change found at `now_ns` holds from then on; so does an entity that is new and does not say
 * since when it exists. */
static const Entity *apply_entity(StaticTargets *targets, const Entity *entity, uint64_t now_ns)
{
    Known *known = g_hash_table_lookup(targets->known, &entity->key);
    GBytes *form = entity_form(entity);
    if (known && g_bytes_equal(known->form, form)) {
        g_bytes_unref(form);
        known->seen = true;
        return known->entity;
    }
    bool from_now = known || (targets->synced && entity->from_ns == 0);
    Known *changed = g_new0(Known, 1);
    changed->entity = from_now ? entity_from_time(entity, now_ns) : entity_ref(entity);
    changed->form = form;
    changed->seen = true;
    g_hash_table_replace(targets->known, &changed->entity->key, changed);
    targets->callbacks->identity(changed->entity, 0, targets->userdata);
    return changed->entity;
}

/* No node tells of all pods: only of its own, but of everything else. */
static bool entity_is_ours(const StaticTargets *targets, const Entity *entity)
{
    return entity->kind != ENTITY_POD || strcmp(entity->node, targets->node_name) == 0;
}

static void forget_unseen(StaticTargets *targets, uint64_t now_ns)
{
    GHashTableIter iter;
    Known *known;
    g_hash_table_iter_init(&iter, targets->known);
    while (g_hash_table_iter_next(&iter, NULL, (void **)&known)) {
        if (!known->seen) {
            if (known->entity->kind == ENTITY_POD) {
                pod_gone(targets, known->entity->uid);
            }
            targets->callbacks->identity(known->entity, now_ns, targets->userdata);
            g_hash_table_iter_remove(&iter);
        }
    }
}

static void tell_problem(StaticTargets *targets, const char *message)
{
    if (message || targets->problem) {
        targets->callbacks->problem(targets->path, message, targets->userdata);
    }
    targets->problem = message != NULL;
}

static void tell_warnings(StaticTargets *targets, const InventoryFile *file)
{
    if (file->warnings->len > 0) {
        g_autofree char *message =
            g_strdup_printf("%u objects were left out, the first because: %s", file->warnings->len,
                            (const char *)g_ptr_array_index(file->warnings, 0));
        tell_problem(targets, message);
    } else if (g_hash_table_size(targets->pods) == 0) {
        g_autofree char *message = g_strdup_printf(
            "has no pod with spec.nodeName \"%s\"; check --node-name", targets->node_name);
        tell_problem(targets, message);
    } else {
        tell_problem(targets, NULL);
    }
}

static void apply_file(StaticTargets *targets, const InventoryFile *file)
{
    uint64_t now_ns = clock_unix_ns();
    GHashTableIter iter;
    Known *known;
    g_hash_table_iter_init(&iter, targets->known);
    while (g_hash_table_iter_next(&iter, NULL, (void **)&known)) {
        known->seen = false;
    }
    for (guint i = 0; i < file->entities->len; i++) {
        const Entity *entity = g_ptr_array_index(file->entities, i);
        if (entity_is_ours(targets, entity)) {
            const Entity *told = apply_entity(targets, entity, now_ns);
            if (told->kind == ENTITY_POD) {
                pod_update(targets, told, g_hash_table_lookup(file->netns, told->uid));
            }
        }
    }
    forget_unseen(targets, now_ns);
    tell_warnings(targets, file);
}

/* Opening a pipe would wait for a writer, and with it every capture. */
static InventoryFile *read_inventory(const char *path, GError **error)
{
    struct stat status;
    if (stat(path, &status) == 0 && !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode)) {
        g_set_error(error, INVENTORY_ERROR, INVENTORY_ERROR_READ,
                    "%s: is a pipe or device, expected a file, which can be followed", path);
        return NULL;
    }
    return inventory_file_read(path, error);
}

static void reload(StaticTargets *targets)
{
    g_autoptr(GError) error = NULL;
    InventoryFile *file = read_inventory(targets->path, &error);
    if (!file) {
        g_autofree char *message =
            g_strdup_printf("%s; what the last good version said stays in force", error->message);
        tell_problem(targets, message);
        return;
    }
    inventory_file_free(targets->pending);
    targets->pending = file;
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
        reload(targets);
    }
    if (targets->pending) {
        apply_file(targets, targets->pending);
        targets->pending = inventory_file_free(targets->pending);
    }
    if (refresh_watches(targets)) {
        /* Another directory may hold another file; it is read at the next dispatch. */
        reload(targets);
        eventfd_write(targets->start_fd, 1);
    }
    check_pods(targets);
    if (!targets->synced) {
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
    close_fd(targets->epoll_fd);
    close_fd(targets->inotify_fd);
    close_fd(targets->mounts_fd);
    close_fd(targets->start_fd);
    g_hash_table_unref(targets->watches);
    g_hash_table_unref(targets->pods);
    g_hash_table_unref(targets->known);
    inventory_file_free(targets->pending);
    g_free(targets->path);
    g_free(targets->directory);
    g_free(targets->name);
    g_free(targets->node_name);
    g_free(targets);
}

static const TargetsOps static_ops = {"static", static_free, static_fd, static_dispatch};

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
    targets->known = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, known_free);
    targets->pods = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, static_pod_free);
    if (!open_fds(targets, error)) {
        static_free(&targets->targets);
        return NULL;
    }
    /* Watched before it is read: a change in between is not missed. */
    targets->directory_watch = watch_directory(targets, targets->directory, targets->watches);
    targets->pending = read_inventory(path, error);
    if (!targets->pending) {
        static_free(&targets->targets);
        return NULL;
    }
    return &targets->targets;
}

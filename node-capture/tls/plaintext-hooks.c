// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/tls/plaintext-hooks.h"

#include <arpa/inet.h>
#include <errno.h>
#include <glib.h>
#include <linux/types.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/stat.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "common/clock.h"
#include "node-capture/bpf/plaintext.h"
#include "node-capture/bpf/plaintext.skel.h"
#include "node-capture/bpf/tls.h"
#include "node-capture/tls/listening.h"
#include "node-capture/tls/uprobes.h"

#define DISPATCH_BYTES (4u << 20)
#define ENOUGH         (-EAGAIN) /* for this time */
#define TOLD_MAX       (2u * PLAINTEXT_CONNECTIONS)
#define LIFE_SHIFT     40 /* numbers of connections are the program's, which begin again */

enum { ENTRIES, RETURNS, GO_POINTS, LINKS };

typedef struct Hook {
    uint64_t id;
    dev_t device;
    ino_t inode;
    Uprobes *probes[LINKS];
} Hook;

/* A connection of which something was told. */
typedef struct Told {
    uint64_t id;
    struct tls_session session;
    uint64_t netns_inode;
    bool asked_role, is_server; /* where the program does not know it */
    uint64_t secrets_ns;
} Told;

struct PlaintextHooks {
    PlaintextCallback callback;
    void *userdata;
    struct plaintext_bpf *program;
    struct ring_buffer *ring;
    GHashTable *hooks; /* &hook->id -> Hook */
    GHashTable *told;  /* &told->id -> Told */
    uint64_t last_id, life;
    uint64_t clock_ns; /* Unix time less monotonic time, of this dispatch */
    size_t dispatched; /* bytes */
};

static void hook_free(gpointer data)
{
    Hook *hook = data;
    /* What remembers goes last, so that nothing half-seen is told. */
    uprobes_free(hook->probes[RETURNS]);
    uprobes_free(hook->probes[GO_POINTS]);
    uprobes_free(hook->probes[ENTRIES]);
    g_free(hook);
}

/* ---- What is told --------------------------------------------------------------------------- */

static uint64_t unique(const PlaintextHooks *hooks, uint64_t connection)
{
    return hooks->life << LIFE_SHIFT | connection;
}

static void tell_end(PlaintextHooks *hooks, const Told *told, uint64_t time_ns)
{
    const TlsPlaintext end = {
        .connection = unique(hooks, told->id),
        .netns_inode = told->netns_inode,
        .pid = told->session.pid,
        .time_unix_ns = time_ns + hooks->clock_ns,
        .secrets_ns = told->secrets_ns,
        .end = true,
    };
    hooks->callback(hooks->userdata, &end);
}

/* The program forgets the longest unused by itself. */
static void drop_forgotten(PlaintextHooks *hooks, uint64_t time_ns)
{
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, hooks->told);
    while (g_hash_table_iter_next(&iter, &value, NULL)) {
        const Told *told = value;
        struct plaintext_connection now;
        if (bpf_map_lookup_elem(bpf_map__fd(hooks->program->maps.connections), &told->session,
                                &now) != 0 ||
            now.id != told->id) {
            tell_end(hooks, told, time_ns);
            g_hash_table_iter_remove(&iter);
        }
    }
}

static Told *told_of(PlaintextHooks *hooks, const struct plaintext_event *event)
{
    Told *told = g_hash_table_lookup(hooks->told, &event->connection);
    if (!told) {
        if (g_hash_table_size(hooks->told) >= TOLD_MAX) {
            drop_forgotten(hooks, event->time_ns);
        }
        told = g_new0(Told, 1);
        told->id = event->connection;
        told->session = (struct tls_session){.session = event->session, .pid = event->pid};
        told->netns_inode = event->netns;
        g_hash_table_add(hooks->told, told);
    }
    return told;
}

/* IPv4 on a socket of IPv6 is IPv4 on the wire. */
static uint8_t set_addresses(const struct plaintext_socket *socket, TlsPlaintext *plaintext)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    plaintext->local.port = socket->local_port;
    plaintext->remote.port = socket->remote_port;
    if (socket->family == AF_INET6 && memcmp(socket->remote, mapped, sizeof(mapped)) == 0) {
        memcpy(plaintext->local.bytes, socket->local + 12, 4);
        memcpy(plaintext->remote.bytes, socket->remote + 12, 4);
        return AF_INET;
    }
    memcpy(plaintext->local.bytes, socket->local, 16);
    memcpy(plaintext->remote.bytes, socket->remote, 16);
    return (uint8_t)socket->family;
}

static bool has_socket(const struct plaintext_event *event)
{
    return event->socket.family && event->socket.family != PLAINTEXT_BY_RANDOM;
}

static bool is_server(Told *told, const struct plaintext_event *event)
{
    if (event->flags & (PLAINTEXT_CLIENT | PLAINTEXT_SERVER) || !has_socket(event)) {
        return event->flags & PLAINTEXT_SERVER;
    }
    if (!told->asked_role) {
        told->asked_role = true;
        told->is_server = tls_is_listening(event->pid, event->socket.local_port);
    }
    return told->is_server;
}

static void on_data(PlaintextHooks *hooks, const struct plaintext_event *event)
{
    Told *told = told_of(hooks, event);
    told->secrets_ns = event->secrets_ns;
    TlsPlaintext plaintext = {
        .connection = unique(hooks, event->connection),
        .netns_inode = event->netns,
        .pid = event->pid,
        .time_unix_ns = event->time_ns + hooks->clock_ns,
        .direction = event->direction == PLAINTEXT_READ ? TLS_READ : TLS_WRITTEN,
        .secrets_ns = event->secrets_ns,
        .is_server = is_server(told, event),
        .has_role = event->flags & (PLAINTEXT_CLIENT | PLAINTEXT_SERVER),
        .offset = event->offset,
        .skipped = event->flags & PLAINTEXT_SKIPPED,
        .from_start = event->flags & PLAINTEXT_FROM_START,
        .data = event->data,
        .length = event->length,
    };
    if (has_socket(event)) {
        plaintext.family = set_addresses(&event->socket, &plaintext);
    } else if (event->socket.family == PLAINTEXT_BY_RANDOM) {
        plaintext.random = event->socket.random;
    }
    hooks->callback(hooks->userdata, &plaintext);
}

static void forget_connection(const PlaintextHooks *hooks, const Told *told)
{
    bpf_map_delete_elem(bpf_map__fd(hooks->program->maps.connections), &told->session);
}

static void on_process_gone(PlaintextHooks *hooks, const struct plaintext_event *event)
{
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, hooks->told);
    while (g_hash_table_iter_next(&iter, &value, NULL)) {
        const Told *told = value;
        if (told->session.pid == event->pid) {
            tell_end(hooks, told, event->time_ns);
            forget_connection(hooks, told);
            g_hash_table_iter_remove(&iter);
        }
    }
}

static int on_record(void *userdata, void *data, size_t size)
{
    PlaintextHooks *hooks = userdata;
    const struct plaintext_event *event = data;
    if (size < sizeof(*event) || event->length > size - sizeof(*event)) {
        return 0;
    }
    if (event->kind == PLAINTEXT_DATA) {
        on_data(hooks, event);
    } else if (event->kind == PLAINTEXT_EXIT) {
        on_process_gone(hooks, event);
    } else {
        const Told *told = g_hash_table_lookup(hooks->told, &event->connection);
        if (told) {
            tell_end(hooks, told, event->time_ns);
            g_hash_table_remove(hooks->told, &event->connection);
        }
    }
    hooks->dispatched += size;
    return hooks->dispatched < DISPATCH_BYTES ? 0 : ENOUGH;
}

int plaintext_hooks_fd(const PlaintextHooks *hooks)
{
    return ring_buffer__epoll_fd(hooks->ring);
}

void plaintext_hooks_dispatch(PlaintextHooks *hooks)
{
    hooks->dispatched = 0;
    hooks->clock_ns = clock_unix_ns() - clock_monotonic_ns();
    ring_buffer__consume(hooks->ring);
}

void plaintext_hooks_counters(const PlaintextHooks *hooks, PlaintextCounters *ret)
{
    *ret = (PlaintextCounters){
        .taken = hooks->program->bss->taken,
        .lost = hooks->program->bss->lost,
        .unreadable = hooks->program->bss->unreadable,
        .passed = hooks->program->bss->passed,
    };
}

/* ---- Whose ---------------------------------------------------------------------------------- */

/* Connections that go on without being hooked are others when they are seen again. */
static void forget_netns(PlaintextHooks *hooks, uint64_t inode)
{
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, hooks->told);
    while (g_hash_table_iter_next(&iter, &value, NULL)) {
        const Told *told = value;
        if (told->netns_inode == inode) {
            forget_connection(hooks, told);
            g_hash_table_iter_remove(&iter);
        }
    }
}

int plaintext_hooks_set_netns(PlaintextHooks *hooks, const TlsWanted *wanted)
{
    const uint64_t inode = wanted->netns_inode;
    const uint32_t key = (uint32_t)inode;
    const struct plaintext_wanted value = {
        .take = wanted->take & (TLS_TAKE_PLAINTEXT_REST | TLS_TAKE_PLAINTEXT_EVERY),
        .rest_since_ns = wanted->rest_since_ns};
    int map = bpf_map__fd(hooks->program->maps.namespaces);
    if (value.take) {
        return bpf_map_update_elem(map, &key, &value, BPF_ANY);
    }
    int error = bpf_map_delete_elem(map, &key);
    forget_netns(hooks, inode);
    return error == -ENOENT ? 0 : error;
}

/* ---- Attaching ------------------------------------------------------------------------------ */

static bool belongs(const TlsPoint *point, unsigned link)
{
    bool is_go = point->kind >= TLS_POINT_GO_CLIENT;
    return link == GO_POINTS ? is_go : link == RETURNS ? tls_point_returns(point->kind) : !is_go;
}

/* The way to the client random is left out where it does not fit in. */
static uint64_t cookie_of(const TlsPoint *point)
{
    uint64_t cookie = (uint64_t)point->kind | (point->on_stack ? PLAINTEXT_ON_STACK : 0) |
                      (point->by_descriptor ? PLAINTEXT_BY_DESCRIPTOR : 0);
    const TlsChain *way = &point->random;
    uint64_t offsets = 0;
    if (way->count > PLAINTEXT_STEPS_MAX) {
        return cookie;
    }
    for (unsigned i = 0; i < way->count; i++) {
        if (way->offsets[i] < 0 || way->offsets[i] >> PLAINTEXT_OFFSET_BITS) {
            return cookie;
        }
        offsets |= (uint64_t)way->offsets[i]
                   << (PLAINTEXT_OFFSET_SHIFT + PLAINTEXT_OFFSET_BITS * i);
    }
    return cookie | offsets | (uint64_t)way->count << PLAINTEXT_STEPS_SHIFT;
}

static int attach_link(PlaintextHooks *hooks, int fd, const TlsPoints *points, unsigned link,
                       Uprobes **ret)
{
    const struct plaintext_bpf *program = hooks->program;
    const struct bpf_program *multi[LINKS] = {
        program->progs.on_enter_multi, program->progs.on_leave_multi, program->progs.on_go_multi};
    const struct bpf_program *single[LINKS] = {program->progs.on_enter_single,
                                               program->progs.on_leave_single,
                                               program->progs.on_go_single};
    uint64_t offsets[TLS_POINTS_MAX], cookies[TLS_POINTS_MAX];
    UprobesAt at = {.fd = fd, .at_return = link == RETURNS, .offsets = offsets, .cookies = cookies};
    for (unsigned i = 0; i < points->count; i++) {
        const TlsPoint *point = &points->points[i];
        if (belongs(point, link)) {
            offsets[at.count] = point->offset;
            cookies[at.count++] = cookie_of(point);
        }
    }
    return at.count ? uprobes_attach(multi[link], single[link], &at, ret) : 0;
}

static const Hook *find_hook(const PlaintextHooks *hooks, const struct stat *status)
{
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, hooks->hooks);
    while (g_hash_table_iter_next(&iter, &value, NULL)) {
        const Hook *hook = value;
        if (hook->device == status->st_dev && hook->inode == status->st_ino) {
            return hook;
        }
    }
    return NULL;
}

int plaintext_hooks_attach(PlaintextHooks *hooks, int fd, const TlsPoints *points,
                           uint64_t *ret_hook)
{
    struct stat status;
    if (!points->count) {
        return -EINVAL;
    }
    if (fstat(fd, &status) < 0) {
        return -errno;
    }
    const Hook *known = find_hook(hooks, &status);
    if (known) {
        *ret_hook = known->id;
        return -EEXIST;
    }
    Hook *hook = g_new0(Hook, 1);
    *hook = (Hook){.id = ++hooks->last_id, .device = status.st_dev, .inode = status.st_ino};
    int error = 0;
    for (unsigned link = ENTRIES; link < LINKS && !error; link++) {
        error = attach_link(hooks, fd, points, link, &hook->probes[link]);
    }
    if (error) {
        hook_free(hook);
        return error;
    }
    *ret_hook = hook->id;
    g_hash_table_add(hooks->hooks, hook);
    return 0;
}

int plaintext_hooks_detach(PlaintextHooks *hooks, uint64_t hook)
{
    return g_hash_table_remove(hooks->hooks, &hook) ? 0 : -ENOENT;
}

/* ---- Life ----------------------------------------------------------------------------------- */

static int load(PlaintextHooks *hooks, const TlsHooks *keys)
{
    struct plaintext_bpf *program = hooks->program = plaintext_bpf__open();
    if (!program) {
        return -errno;
    }
    uprobes_prepare_multi(program->progs.on_enter_multi);
    uprobes_prepare_multi(program->progs.on_leave_multi);
    uprobes_prepare_multi(program->progs.on_go_multi);
    int error = bpf_map__reuse_fd(program->maps.told_sessions, tls_hooks_sessions_fd(keys));
    error =
        error ? error : bpf_map__reuse_fd(program->maps.handshakes, tls_hooks_handshakes_fd(keys));
    error = error ? error : plaintext_bpf__load(program);
    error = error ? error : plaintext_bpf__attach(program);
    if (error) {
        return error;
    }
    hooks->ring = ring_buffer__new(bpf_map__fd(program->maps.events), on_record, hooks, NULL);
    return hooks->ring ? 0 : -errno;
}

int plaintext_hooks_new(const TlsHooks *keys, PlaintextCallback callback, void *userdata,
                        PlaintextHooks **ret, char **ret_message)
{
    static gint lives;
    PlaintextHooks *hooks = g_new0(PlaintextHooks, 1);
    hooks->callback = callback;
    hooks->userdata = userdata;
    hooks->life = (uint64_t)g_atomic_int_add(&lives, 1) + 1;
    hooks->hooks = g_hash_table_new_full(g_int64_hash, g_int64_equal, hook_free, NULL);
    hooks->told = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
    int error = load(hooks, keys);
    if (error) {
        *ret_message = g_strdup_printf("the program that takes plaintext cannot be loaded: %s",
                                       g_strerror(-error));
        plaintext_hooks_free(hooks);
        return error;
    }
    *ret = hooks;
    return 0;
}

PlaintextHooks *plaintext_hooks_free(PlaintextHooks *hooks)
{
    if (hooks) {
        g_hash_table_unref(hooks->hooks);
        g_hash_table_unref(hooks->told);
        ring_buffer__free(hooks->ring);
        plaintext_bpf__destroy(hooks->program);
        g_free(hooks);
    }
    return NULL;
}

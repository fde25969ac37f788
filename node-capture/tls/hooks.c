// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/tls/hooks.h"

#include <errno.h>
#include <glib.h>
#include <linux/types.h>
#include <string.h>
#include <sys/stat.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "node-capture/bpf/tls.h"
#include "node-capture/bpf/tls.skel.h"
#include "node-capture/tls/uprobes.h"

typedef struct Hook {
    uint64_t id;
    dev_t device;
    ino_t inode;
    uint64_t offset;
    Uprobes *probes; /* one */
} Hook;

struct TlsHooks {
    TlsSecretCallback callback;
    void *userdata;
    struct tls_bpf *program;
    struct ring_buffer *ring;
    GHashTable *hooks; /* &hook->id -> Hook */
    uint64_t last_id;
    bool can_sleep; /* the programs that may are loaded */
};

static void hook_free(gpointer data)
{
    Hook *hook = data;
    uprobes_free(hook->probes);
    g_free(hook);
}

/* ---- Secrets -------------------------------------------------------------------------------- */

static int on_record(void *userdata, void *data, size_t size)
{
    TlsHooks *hooks = userdata;
    const struct tls_event *event = data;
    if (size < sizeof(*event) || event->label_length >= TLS_LABEL_SIZE ||
        event->secret_length > TLS_SECRET_BYTES) {
        return 0;
    }
    const TlsSecret secret = {
        .time_ns = event->time_ns,
        .netns_inode = event->netns,
        .pid = event->pid,
        .hook = event->probe,
        .label = event->label,
        .label_length = event->label_length,
        .random = event->random,
        .secret = event->secret,
        .secret_length = event->secret_length,
    };
    hooks->callback(hooks->userdata, &secret);
    return 0;
}

int tls_hooks_fd(const TlsHooks *hooks)
{
    return ring_buffer__epoll_fd(hooks->ring);
}

void tls_hooks_dispatch(TlsHooks *hooks)
{
    ring_buffer__consume(hooks->ring);
}

void tls_hooks_counters(const TlsHooks *hooks, TlsHooksCounters *ret)
{
    *ret = (TlsHooksCounters){
        .taken = hooks->program->bss->taken,
        .lost = hooks->program->bss->lost,
        .passed = hooks->program->bss->passed,
        .unreadable = hooks->program->bss->unreadable,
    };
}

/* ---- Whose ---------------------------------------------------------------------------------- */

/* The kernel numbers them in 32 bits. */
int tls_hooks_add_netns(TlsHooks *hooks, uint64_t inode)
{
    const uint32_t key = (uint32_t)inode;
    const uint8_t one = 1;
    return bpf_map_update_elem(bpf_map__fd(hooks->program->maps.namespaces), &key, &one, BPF_ANY);
}

/* Sessions that go on without being hooked are not known to have told their secrets later. */
static void forget_sessions(const TlsHooks *hooks, uint32_t netns)
{
    int map = tls_hooks_sessions_fd(hooks);
    struct tls_session key, next;
    struct tls_told told;
    for (int error = bpf_map_get_next_key(map, NULL, &next); !error;) {
        key = next;
        error = bpf_map_get_next_key(map, &key, &next);
        if (bpf_map_lookup_elem(map, &key, &told) == 0 && told.netns == netns) {
            bpf_map_delete_elem(map, &key);
        }
    }
}

int tls_hooks_sessions_fd(const TlsHooks *hooks)
{
    return bpf_map__fd(hooks->program->maps.told_sessions);
}

int tls_hooks_handshakes_fd(const TlsHooks *hooks)
{
    return bpf_map__fd(hooks->program->maps.handshakes);
}

int tls_hooks_remove_netns(TlsHooks *hooks, uint64_t inode)
{
    const uint32_t key = (uint32_t)inode;
    forget_sessions(hooks, key);
    return bpf_map_delete_elem(bpf_map__fd(hooks->program->maps.namespaces), &key);
}

/* ---- Attaching ------------------------------------------------------------------------------ */

static struct tls_value value_of(TlsArch arch, TlsPlace place)
{
    int offset = tls_place_pt_regs(arch, place);
    if (offset < 0) {
        return (struct tls_value){.kind = TLS_VALUE_NONE};
    }
    if (place.kind == TLS_STACK) {
        return (struct tls_value){.kind = TLS_VALUE_STACK, .offset = (__u16)place.number};
    }
    return (struct tls_value){.kind = TLS_VALUE_REGISTER, .offset = (__u16)offset};
}

static struct tls_probe probe_of(TlsArch arch, const TlsKeyLog *log)
{
    _Static_assert(TLS_WAY_MAX == TLS_CHAIN_MAX, "the finder's chains fit");
    const TlsProbe *at = &log->probe;
    const TlsPlace goroutine = {.kind = log->label.kind == TLS_GO_ARGUMENT ? TLS_GO_ROUTINE
                                                                           : TLS_NOWHERE};
    struct tls_probe probe = {
        .session = value_of(arch, at->session),
        .label = value_of(arch, at->label),
        .label_length = value_of(arch, at->label_length),
        .secret = value_of(arch, at->secret),
        .secret_length = value_of(arch, at->secret_length),
        .random = value_of(arch, at->random),
        .goroutine = value_of(arch, goroutine),
        .stack_pointer = (__u16)tls_place_pt_regs(arch, (TlsPlace){TLS_STACK, 0}),
        .steps = (__u16)log->random_chain.count,
    };
    memcpy(probe.way, log->random_chain.offsets, sizeof(probe.way));
    return probe;
}

static const Hook *find_hook(const TlsHooks *hooks, const Hook *like)
{
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, hooks->hooks);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const Hook *hook = value;
        if (hook->device == like->device && hook->inode == like->inode &&
            hook->offset == like->offset) {
            return hook;
        }
    }
    return NULL;
}

static int attach_probe(TlsHooks *hooks, int fd, const struct tls_probe *probe, Hook *hook)
{
    struct tls_bpf *program = hooks->program;
    const UprobesAt at = {.fd = fd, .count = 1, .offsets = &hook->offset, .cookies = &hook->id};
    int map = bpf_map__fd(hooks->program->maps.probes);
    int error = bpf_map_update_elem(map, &hook->id, probe, BPF_ANY);
    if (error) {
        return error == -E2BIG ? -ENOSPC : error;
    }
    error = hooks->can_sleep
                ? uprobes_attach(program->progs.on_key_log_multi, program->progs.on_key_log_single,
                                 &at, &hook->probes)
                : uprobes_attach(NULL, program->progs.on_key_log_plain, &at, &hook->probes);
    if (error) {
        bpf_map_delete_elem(map, &hook->id);
    }
    return error;
}

static int attach(TlsHooks *hooks, int fd, const struct tls_probe *probe, uint64_t offset,
                  uint64_t *ret_hook)
{
    struct stat status;
    if (fstat(fd, &status) < 0) {
        return -errno;
    }
    Hook *hook = g_new0(Hook, 1);
    *hook = (Hook){
        .id = ++hooks->last_id, .device = status.st_dev, .inode = status.st_ino, .offset = offset};
    const Hook *known = find_hook(hooks, hook);
    int error = known ? -EEXIST : attach_probe(hooks, fd, probe, hook);
    if (error) {
        if (known) {
            *ret_hook = known->id;
        }
        hook_free(hook);
        return error;
    }
    *ret_hook = hook->id;
    g_hash_table_add(hooks->hooks, hook);
    return 0;
}

int tls_hooks_attach(TlsHooks *hooks, int fd, TlsArch arch, const TlsImplementation *found,
                     uint64_t *ret_hook)
{
    const TlsKeyLog *log = &found->key_log;
    if (found->verdict != TLS_HOOKED || log->random_origin == TLS_RANDOM_ON_THE_WIRE) {
        return -EINVAL;
    }
    const struct tls_probe probe = probe_of(arch, log);
    return attach(hooks, fd, &probe, log->probe.offset, ret_hook);
}

int tls_hooks_attach_sampling(TlsHooks *hooks, int fd, TlsArch arch, const TlsImplementation *found,
                              unsigned place, uint64_t *ret_hook)
{
    _Static_assert(TLS_HOOKS_SAMPLING == TLS_SAMPLING, "as many functions");
    _Static_assert(TLS_HOOKS_SAMPLES_EACH == TLS_SAMPLES_EACH, "as many copies");
    const TlsKeyLog *log = &found->key_log;
    if (found->verdict != TLS_HOOKED || place >= TLS_HOOKS_SAMPLING) {
        return -EINVAL;
    }
    struct tls_probe probe = probe_of(arch, log);
    probe.sampling = place + 1;
    return attach(hooks, fd, &probe, log->probe.offset, ret_hook);
}

int tls_hooks_detach(TlsHooks *hooks, uint64_t id)
{
    if (!g_hash_table_remove(hooks->hooks, &id)) {
        return -ENOENT;
    }
    bpf_map_delete_elem(bpf_map__fd(hooks->program->maps.probes), &id);
    return 0;
}

/* ---- Copies of sessions --------------------------------------------------------------------- */

/* In memory that is shared with the program. */
static struct tls_sample *sample_at(TlsHooks *hooks, unsigned number)
{
    return &hooks->program->bss->samples[number];
}

bool tls_hooks_sample(TlsHooks *hooks, unsigned number, TlsSample *ret)
{
    const struct tls_sample *sample = sample_at(hooks, number);
    if (__atomic_load_n(&sample->state, __ATOMIC_ACQUIRE) != TLS_SAMPLE_FULL) {
        return false;
    }
    *ret = (TlsSample){.hook = sample->probe,
                       .netns_inode = sample->netns,
                       .time_ns = sample->time_ns,
                       .copy = {.object = sample->object,
                                .object_length = sizeof(sample->object),
                                .n_pointed = MIN(sample->n_pointers, TLS_POINTERS),
                                .places = sample->places,
                                .pointed = sample->pointed[0],
                                .pointed_length = sizeof(sample->pointed[0])}};
    return true;
}

void tls_hooks_wipe_sample(TlsHooks *hooks, unsigned number)
{
    struct tls_sample *sample = sample_at(hooks, number);
    explicit_bzero((uint8_t *)sample + sizeof(sample->state),
                   sizeof(*sample) - sizeof(sample->state));
    __atomic_store_n(&sample->state, TLS_SAMPLE_FREE, __ATOMIC_RELEASE);
}

bool tls_hooks_has_samples(TlsHooks *hooks)
{
    bool any = false;
    for (unsigned i = 0; i < TLS_HOOKS_SAMPLES; i++) {
        any |= __atomic_load_n(&sample_at(hooks, i)->state, __ATOMIC_RELAXED) != TLS_SAMPLE_FREE;
    }
    return any;
}

/* ---- Life ----------------------------------------------------------------------------------- */

static int load_program(TlsHooks *hooks, bool can_sleep)
{
    hooks->program = tls_bpf__open();
    if (!hooks->program) {
        return -errno;
    }
    uprobes_prepare_multi(hooks->program->progs.on_key_log_multi);
    bpf_program__set_autoload(hooks->program->progs.on_key_log_multi, can_sleep);
    bpf_program__set_autoload(hooks->program->progs.on_key_log_single, can_sleep);
    bpf_program__set_autoload(hooks->program->progs.on_key_log_plain, !can_sleep);
    int error = tls_bpf__load(hooks->program);
    if (error) {
        tls_bpf__destroy(hooks->program);
        hooks->program = NULL;
    }
    hooks->can_sleep = can_sleep;
    return error;
}

static int load(TlsHooks *hooks)
{
    int error = load_program(hooks, true);
    if (error && error != -EPERM) {
        error = load_program(hooks, false);
    }
    if (error) {
        return error;
    }
    hooks->ring =
        ring_buffer__new(bpf_map__fd(hooks->program->maps.events), on_record, hooks, NULL);
    return hooks->ring ? 0 : -errno;
}

int tls_hooks_new(TlsSecretCallback callback, void *userdata, TlsHooks **ret, char **ret_message)
{
    TlsHooks *hooks = g_new0(TlsHooks, 1);
    hooks->callback = callback;
    hooks->userdata = userdata;
    hooks->hooks = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, hook_free);
    int error = load(hooks);
    if (error) {
        *ret_message = g_strdup_printf("the program that takes TLS secrets cannot be loaded: %s",
                                       g_strerror(-error));
        tls_hooks_free(hooks);
        return error;
    }
    *ret = hooks;
    return 0;
}

void tls_hooks_free(TlsHooks *hooks)
{
    if (!hooks) {
        return;
    }
    g_hash_table_unref(hooks->hooks);
    for (unsigned i = 0; hooks->program && i < TLS_HOOKS_SAMPLES; i++) {
        tls_hooks_wipe_sample(hooks, i);
    }
    ring_buffer__free(hooks->ring);
    tls_bpf__destroy(hooks->program);
    g_free(hooks);
}

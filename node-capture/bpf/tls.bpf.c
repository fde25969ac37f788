/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* Takes the secrets of TLS connections at the entry of a library's key-log function. One program
 * for all libraries: the cookie of the probe says where its arguments stand. Nothing hangs on a
 * return: Go moves its stacks, and uretprobes are a system call that strict seccomp filters refuse.
 */
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>

#include "node-capture/bpf/kernel.bpf.h"
#include "node-capture/bpf/sessions.bpf.h"
#include "node-capture/bpf/tls.h"

#define PT_REGS_BYTES 512 /* more than any processor's */

struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, TLS_RING_BYTES);
} events SEC(".maps");

/* By cookie. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, TLS_PROBES);
    __type(key, __u64);
    __type(value, struct tls_probe);
} probes SEC(".maps");

/* Whose secrets may be taken. A probe is in a file and fires in every container that shares it. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, TLS_NAMESPACES);
    __type(key, __u32);
    __type(value, __u8);
} namespaces SEC(".maps");

__u64 taken = 0;      /* secrets */
__u64 passed = 0;     /* hits in network namespaces of no target */
__u64 lost = 0;       /* secrets that found no room */
__u64 unreadable = 0; /* hits where the arguments were not what the finder had said */

/* Offsets come from a map: read by the helper, as the context may only be read at constant ones. */
static __always_inline __u64 reg(void *context, __u16 offset)
{
    __u64 value = 0;
    if (offset < PT_REGS_BYTES) {
        bpf_probe_read_kernel(&value, sizeof(value), context + offset);
    }
    return value;
}

static __always_inline __u64 value_of(void *context, const struct tls_probe *probe,
                                      const struct tls_value *place)
{
    __u64 value = 0;
    if (place->kind == TLS_VALUE_REGISTER) {
        return reg(context, place->offset);
    }
    if (place->kind == TLS_VALUE_STACK) {
        bpf_probe_read_user(&value, sizeof(value),
                            (void *)(reg(context, probe->stack_pointer) + place->offset));
    }
    return value;
}

static __always_inline bool read_random(void *context, const struct tls_probe *probe,
                                        struct tls_event *event)
{
    __u64 at = value_of(context, probe, &probe->random);
    if (probe->random.kind == TLS_VALUE_NONE) {
        at = value_of(context, probe, &probe->session);
        for (int i = 0; i < TLS_WAY_MAX; i++) {
            if (i >= probe->steps) {
                break;
            }
            at += (__s64)probe->way[i];
            if (i + 1 < probe->steps && bpf_probe_read_user(&at, sizeof(at), (void *)at) < 0) {
                return false;
            }
        }
    }
    return bpf_probe_read_user(event->random, sizeof(event->random), (void *)at) == 0;
}

static __always_inline bool read_label(void *context, const struct tls_probe *probe,
                                       struct tls_event *event)
{
    void *at = (void *)value_of(context, probe, &probe->label);
    if (probe->label_length.kind == TLS_VALUE_NONE) {
        long length = bpf_probe_read_user_str(event->label, sizeof(event->label), at);
        event->label_length = (__u16)(length - 1);
        return length > 1;
    }
    __u64 length = value_of(context, probe, &probe->label_length);
    event->label_length = (__u16)length;
    if (length == 0 || length >= sizeof(event->label)) {
        return false;
    }
    return bpf_probe_read_user(event->label, (__u32)length & 63, at) == 0;
}

static __always_inline bool read_secret(void *context, const struct tls_probe *probe,
                                        struct tls_event *event)
{
    void *at = (void *)value_of(context, probe, &probe->secret);
    __u64 length = value_of(context, probe, &probe->secret_length);
    event->secret_length = (__u16)length;
    if (length == 0 || length > sizeof(event->secret)) {
        return false;
    }
    return bpf_probe_read_user(event->secret, (__u32)length & 127, at) == 0;
}

/* A label stands in a page that this process may not have touched yet: reads that must not sleep
 * would fail there. */
static __always_inline void fetch_label(void *context, const struct tls_probe *probe)
{
    char first;
    bpf_copy_from_user(&first, sizeof(first), (void *)value_of(context, probe, &probe->label));
}

#include "node-capture/bpf/tls-sample.bpf.h"

/* Of TLS 1.3, Wireshark needs those of the handshake, too: later ones alone are of no use. The
 * seventh letter tells CLIENT_RANDOM, and these, from all others. */
static __always_inline void remember_session(void *context, const struct tls_probe *probe,
                                             const struct tls_event *event)
{
    struct tls_session key = {.session = value_of(context, probe, &probe->session),
                              .pid = event->pid};
    if (event->label[7] != 'R' && event->label[7] != 'H') {
        return;
    }
    if (probe->goroutine.kind != TLS_VALUE_NONE) {
        key.session = value_of(context, probe, &probe->goroutine);
        const __u64 *connection = bpf_map_lookup_elem(&handshakes, &key);
        key.session = connection ? *connection : 0;
    }
    if (key.session) {
        const struct tls_told told = {.time_ns = event->time_ns, .netns = event->netns};
        bpf_map_update_elem(&told_sessions, &key, &told, BPF_ANY);
    }
}

static __always_inline int on_key_log(void *context, bool can_sleep)
{
    __u64 cookie = bpf_get_attach_cookie(context);
    const struct tls_probe *probe = bpf_map_lookup_elem(&probes, &cookie);
    if (!probe) {
        return 0;
    }
    struct task_struct *task = (struct task_struct *)bpf_get_current_task();
    __u32 netns = BPF_CORE_READ(task, nsproxy, net_ns, ns.inum);
    if (!bpf_map_lookup_elem(&namespaces, &netns)) {
        __sync_fetch_and_add(&passed, 1);
        return 0;
    }
    if (can_sleep) {
        fetch_label(context, probe);
    }
    if (probe->sampling) {
        sample(context, probe, cookie, netns);
        return 0;
    }
    struct tls_event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
    if (!event) {
        __sync_fetch_and_add(&lost, 1);
        return 0;
    }
    __builtin_memset(event, 0, sizeof(*event));
    event->time_ns = bpf_ktime_get_ns();
    event->netns = netns;
    event->probe = cookie;
    event->pid = (__u32)(bpf_get_current_pid_tgid() >> 32);
    if (!read_random(context, probe, event) || !read_label(context, probe, event) ||
        !read_secret(context, probe, event)) {
        __sync_fetch_and_add(&unreadable, 1);
        bpf_ringbuf_discard(event, 0);
        return 0;
    }
    remember_session(context, probe, event);
    __sync_fetch_and_add(&taken, 1);
    bpf_ringbuf_submit(event, 0);
    return 0;
}

/* What several probes hang on at once (Linux 6.6), what hangs on one (6.0), and what must not sleep
 * (before). */
SEC("uprobe.s")
int on_key_log_multi(void *context)
{
    return on_key_log(context, true);
}

SEC("uprobe.s")
int on_key_log_single(void *context)
{
    return on_key_log(context, true);
}

SEC("uprobe")
int on_key_log_plain(void *context)
{
    return on_key_log(context, false);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* Who owns a socket: the process that connected it, listens on it, or uses it. What is known of a
 * socket is kept beside it (socket storage), so that only news are told; an accepted socket
 * inherits that from the one it was accepted on. docs/socket-owners.md says why these hooks. */
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <stdbool.h>

#include "node-capture/bpf/groups.bpf.h"
#include "node-capture/bpf/kernel.bpf.h"
#include "node-capture/bpf/sockets.h"

#define FAMILY_IPV4  2
#define FAMILY_IPV6  10
#define PROTOCOL_TCP 6
#define PROTOCOL_UDP 17
#define TYPE_DGRAM   2

/* A socket that several processes use in turn is told of so often and no more. */
#define CHANGES_MAX 4

struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, SOCKETS_RING_BYTES);
} events SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_SK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
    __type(key, int);
    __type(value, struct sockets_owner);
} owners SEC(".maps");

/* Control groups that user space was told of: SOCKETS_GROUP_NAMED, or what it answered. */
struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, SOCKETS_GROUPS);
    __type(key, __u64);
    __type(value, __u8);
} groups SEC(".maps");

/* The network namespaces of the machine and of the node. Most sockets there are of no pod, and are
 * not followed. */
const volatile __u32 host_netns[2] = {};
__u32 enabled = 0; /* a number of its own for each time; 0: nobody wants to know */
__u64 lost = 0;    /* events that found no room */

/* ---- Control groups ------------------------------------------------------------------------- */

/* The process's group of version 2 or, where that hierarchy is not used, of version 1. */
static __always_inline struct cgroup *group_of(struct task_struct *task)
{
    struct css_set *set = BPF_CORE_READ(task, cgroups);
    struct cgroup *group = BPF_CORE_READ(set, dfl_cgrp);
    struct kernfs_node *node = BPF_CORE_READ(group, kn);
    if (group_parent(node) || !bpf_core_enum_value_exists(enum cgroup_subsys_id, pids_cgrp_id)) {
        return group;
    }
    struct cgroup_subsys_state *state = 0;
    __u64 index = bpf_core_enum_value(enum cgroup_subsys_id, pids_cgrp_id);
    bpf_probe_read_kernel(&state, sizeof(state),
                          (void *)set + bpf_core_field_offset(set->subsys) + index * sizeof(state));
    return BPF_CORE_READ(state, cgroup);
}

static __always_inline void tell_group(struct kernfs_node *node, __u64 id)
{
    struct sockets_group *told = bpf_ringbuf_reserve(&events, sizeof(*told), 0);
    if (!told) {
        __sync_fetch_and_add(&lost, 1);
        return;
    }
    told->kind = SOCKETS_GROUP;
    told->spare = 0;
    told->group = id;
    for (int i = 0; i < SOCKETS_GROUP_DEPTH; i++) {
        if (!node || group_name(node, told->names[i], sizeof(told->names[i])) < 0) {
            told->names[i][0] = '\0';
        }
        node = node ? group_parent(node) : 0;
    }
    bpf_ringbuf_submit(told, BPF_RB_NO_WAKEUP);
    __u8 value = SOCKETS_GROUP_NAMED;
    bpf_map_update_elem(&groups, &id, &value, BPF_ANY);
}

static __always_inline __u64 name_group(struct task_struct *task)
{
    struct cgroup *group = group_of(task);
    struct kernfs_node *node = BPF_CORE_READ(group, kn);
    if (!node) {
        return 0;
    }
    /* Each hierarchy counts by itself. */
    __u64 id = BPF_CORE_READ(node, id) ^ (__u64)BPF_CORE_READ(group, root, hierarchy_id) << 48;
    if (!bpf_map_lookup_elem(&groups, &id)) {
        tell_group(node, id);
    }
    return id;
}

/* A socket of the host's network is told only if it is a pod's, which user space says once of each
 * group. A few of another group may be told before it has. */
static __always_inline bool is_left_out(__u32 netns, __u64 group)
{
    if (netns != host_netns[0] && netns != host_netns[1]) {
        return false;
    }
    const __u8 *known = bpf_map_lookup_elem(&groups, &group);
    return known && *known == SOCKETS_GROUP_NO_POD;
}

/* ---- Sockets -------------------------------------------------------------------------------- */

static __always_inline void tell(__u32 kind, struct sockets_owner *owner)
{
    if (is_left_out(owner->netns, owner->group)) {
        return;
    }
    struct sockets_event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
    if (!event) {
        __sync_fetch_and_add(&lost, 1);
        return;
    }
    event->kind = kind;
    event->spare = 0;
    event->time_ns = bpf_ktime_get_ns();
    event->owner = *owner;
    bpf_ringbuf_submit(event, BPF_RB_NO_WAKEUP);
    if (kind == SOCKETS_OWNED) {
        owner->flags |= SOCKETS_TOLD;
    } else {
        owner->flags &= ~SOCKETS_TOLD;
    }
}

static __always_inline void set_process(struct sockets_owner *owner, struct task_struct *task,
                                        __u64 group)
{
    owner->pid = BPF_CORE_READ(task, tgid);
    BPF_CORE_READ_INTO(&owner->name, task, group_leader, comm);
    owner->group = group;
}

static __always_inline struct task_struct *current_task(void)
{
    return (struct task_struct *)bpf_get_current_task();
}

static __always_inline void set_addresses(struct sockets_owner *owner, struct sock *sk)
{
    struct sock_common *common = &sk->__sk_common;
    owner->is_v6 = BPF_CORE_READ(common, skc_family) == FAMILY_IPV6;
    if (owner->is_v6) {
        BPF_CORE_READ_INTO(&owner->local, common, skc_v6_rcv_saddr);
        BPF_CORE_READ_INTO(&owner->remote, common, skc_v6_daddr);
    } else {
        __builtin_memset(owner->local, 0, sizeof(owner->local));
        __builtin_memset(owner->remote, 0, sizeof(owner->remote));
        BPF_CORE_READ_INTO((__be32 *)owner->local, common, skc_rcv_saddr);
        BPF_CORE_READ_INTO((__be32 *)owner->remote, common, skc_daddr);
    }
    owner->remote_port = bpf_ntohs(BPF_CORE_READ(common, skc_dport));
    /* Not skc_num, which is gone when a socket is closed. */
    owner->local_port = bpf_ntohs(BPF_CORE_READ((struct inet_sock *)sk, inet_sport));
}

static __always_inline bool is_ip(const struct sock *sk)
{
    __u16 family = sk->__sk_common.skc_family;
    return family == FAMILY_IPV4 || family == FAMILY_IPV6;
}

/* connect() and listen() come through here in the process's own context, all else may not. A
 * socket that connects has no port yet. */
SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(on_state, struct sock *sk, int old_state, int state)
{
    if (!enabled || sk->sk_protocol != PROTOCOL_TCP || !is_ip(sk)) {
        return 0;
    }
    struct sockets_owner *owner;
    if (state == BPF_TCP_SYN_SENT || state == BPF_TCP_LISTEN) {
        __u32 netns = sk->__sk_common.skc_net.net->ns.inum;
        __u64 group = name_group(current_task());
        if (is_left_out(netns, group)) {
            return 0;
        }
        owner = bpf_sk_storage_get(&owners, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
        if (!owner) {
            __sync_fetch_and_add(&lost, 1);
            return 0;
        }
        owner->from_ns = bpf_ktime_get_ns();
        owner->netns = netns;
        owner->protocol = PROTOCOL_TCP;
        owner->period = enabled;
        owner->changes = 0;
        owner->flags = state == BPF_TCP_LISTEN ? SOCKETS_LISTENS : 0;
        set_process(owner, current_task(), group);
        if (state == BPF_TCP_SYN_SENT) {
            return 0;
        }
    } else {
        owner = bpf_sk_storage_get(&owners, sk, 0, 0);
        if (!owner) {
            return 0;
        }
    }
    if (state == BPF_TCP_SYN_RECV && (owner->flags & SOCKETS_LISTENS)) {
        /* Accepted: the listener's, until another process uses it. */
        owner->flags = SOCKETS_PASSIVE;
        owner->changes = 0;
        owner->from_ns = bpf_ktime_get_ns();
    } else if (state == BPF_TCP_LISTEN ||
               (old_state == BPF_TCP_SYN_SENT && !(owner->flags & SOCKETS_TOLD))) {
        set_addresses(owner, sk);
        tell(SOCKETS_OWNED, owner);
    }
    if (state == BPF_TCP_CLOSE && (owner->flags & SOCKETS_TOLD)) {
        tell(SOCKETS_ENDED, owner);
    }
    return 0;
}

/* Before the first SYN leaves, and with a port. */
SEC("sockops")
int on_sockops(struct bpf_sock_ops *ops)
{
    if (ops->op != BPF_SOCK_OPS_TCP_CONNECT_CB || !enabled) {
        return 1;
    }
    struct bpf_sock *sk = ops->sk;
    if (!sk) {
        return 1;
    }
    struct sockets_owner *owner = bpf_sk_storage_get(&owners, sk, 0, 0);
    if (!owner || (owner->flags & SOCKETS_TOLD)) {
        return 1;
    }
    struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);
    if (tcp) {
        set_addresses(owner, (struct sock *)tcp);
        tell(SOCKETS_OWNED, owner);
    }
    return 1;
}

/* UDP has no states: a socket's life is from socket() to close(). */
SEC("cgroup/sock_create")
int on_create(struct bpf_sock *sk)
{
    if (!enabled || sk->protocol != PROTOCOL_UDP || sk->type != TYPE_DGRAM) {
        return 1;
    }
    struct task_struct *task = current_task();
    __u32 netns = BPF_CORE_READ(task, nsproxy, net_ns, ns.inum);
    __u64 group = name_group(task);
    if (is_left_out(netns, group)) {
        return 1;
    }
    struct sockets_owner *owner = bpf_sk_storage_get(&owners, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
    if (owner) {
        owner->from_ns = bpf_ktime_get_ns();
        owner->netns = netns;
        owner->protocol = PROTOCOL_UDP;
        owner->period = enabled;
        set_process(owner, task, group);
    } else {
        __sync_fetch_and_add(&lost, 1);
    }
    return 1;
}

/* bind(): before anything can be received. */
static __always_inline struct sockets_owner *bound_owner(struct bpf_sock *sk)
{
    struct sockets_owner *owner = enabled ? bpf_sk_storage_get(&owners, sk, 0, 0) : 0;
    return owner && owner->protocol == PROTOCOL_UDP ? owner : 0;
}

SEC("cgroup/post_bind4")
int on_bind4(struct bpf_sock *sk)
{
    struct sockets_owner *owner = bound_owner(sk);
    if (owner) {
        owner->is_v6 = 0;
        owner->local_port = sk->src_port;
        *(__be32 *)owner->local = sk->src_ip4;
        tell(SOCKETS_OWNED, owner);
    }
    return 1;
}

SEC("cgroup/post_bind6")
int on_bind6(struct bpf_sock *sk)
{
    struct sockets_owner *owner = bound_owner(sk);
    if (owner) {
        owner->is_v6 = 1;
        owner->local_port = sk->src_port;
        ((__be32 *)owner->local)[0] = sk->src_ip6[0];
        ((__be32 *)owner->local)[1] = sk->src_ip6[1];
        ((__be32 *)owner->local)[2] = sk->src_ip6[2];
        ((__be32 *)owner->local)[3] = sk->src_ip6[3];
        tell(SOCKETS_OWNED, owner);
    }
    return 1;
}

SEC("cgroup/sock_release")
int on_release(struct bpf_sock *sk)
{
    struct sockets_owner *owner = enabled ? bpf_sk_storage_get(&owners, sk, 0, 0) : 0;
    if (owner && owner->protocol == PROTOCOL_UDP && (owner->flags & SOCKETS_TOLD)) {
        tell(SOCKETS_ENDED, owner);
    }
    return 1;
}

/* Each send and receive: what has not changed must cost next to nothing. */
static __always_inline int on_use(struct sock *sk)
{
    if (!enabled) {
        return 0;
    }
    __u16 protocol = sk->sk_protocol;
    if (protocol != PROTOCOL_TCP && protocol != PROTOCOL_UDP) {
        return 0;
    }
    struct sockets_owner *owner = bpf_sk_storage_get(&owners, sk, 0, 0);
    if (!owner) {
        return 0;
    }
    bool is_told = protocol == PROTOCOL_TCP || (owner->flags & SOCKETS_TOLD);
    bool is_same =
        owner->pid == (__u32)(bpf_get_current_pid_tgid() >> 32) &&
        (protocol == PROTOCOL_TCP || owner->remote_port == bpf_ntohs(sk->__sk_common.skc_dport));
    if ((is_told && is_same) || owner->changes >= CHANGES_MAX) {
        return 0;
    }
    if (!is_same) {
        if (owner->flags & SOCKETS_TOLD) {
            tell(SOCKETS_ENDED, owner);
        }
        owner->changes++;
        if (!(owner->flags & SOCKETS_PASSIVE)) {
            owner->from_ns = bpf_ktime_get_ns();
        }
        set_process(owner, current_task(), name_group(current_task()));
    }
    set_addresses(owner, sk);
    if (owner->local_port) {
        tell(SOCKETS_OWNED, owner);
    }
    return 0;
}

SEC("tp_btf/sock_send_length")
int BPF_PROG(on_send, struct sock *sk, int result, int flags)
{
    return on_use(sk);
}

SEC("tp_btf/sock_recv_length")
int BPF_PROG(on_receive, struct sock *sk, int result, int flags)
{
    return on_use(sk);
}

/* What was there before: every open file of every process. A byte for each socket that is told, so
 * that the reader sets the pace. */
SEC("iter/task_file")
int on_file(struct bpf_iter__task_file *context)
{
    struct task_struct *task = context->task;
    struct file *file = context->file;
    if (!task || !file) {
        return 0;
    }
    struct socket *socket = bpf_sock_from_file(file);
    struct sock *sk = socket ? socket->sk : 0;
    if (!sk || !is_ip(sk)) {
        return 0;
    }
    __u16 protocol = sk->sk_protocol;
    __u8 state = sk->__sk_common.skc_state;
    if ((protocol != PROTOCOL_TCP || state == BPF_TCP_CLOSE) &&
        (protocol != PROTOCOL_UDP || !sk->__sk_common.skc_num)) {
        return 0;
    }
    __u32 netns = sk->__sk_common.skc_net.net->ns.inum;
    __u64 group = name_group(task);
    if (is_left_out(netns, group)) {
        return 0;
    }
    struct sockets_owner *owner = bpf_sk_storage_get(&owners, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
    if (!owner) {
        __sync_fetch_and_add(&lost, 1);
        return 0;
    }
    /* Several processes may hold it: the first one is told. What is known by its own deeds was told
     * already, unless that was when somebody else wanted to know. */
    if (owner->period == enabled) {
        return 0;
    }
    if (!owner->pid) {
        owner->netns = netns;
        owner->protocol = protocol;
        owner->flags = protocol == PROTOCOL_TCP && state == BPF_TCP_LISTEN ? SOCKETS_LISTENS : 0;
        set_process(owner, task, group);
    }
    owner->period = enabled;
    set_addresses(owner, sk);
    tell(SOCKETS_OWNED, owner);
    __u8 told = 1;
    bpf_seq_write(context->meta->seq, &told, sizeof(told));
    return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";

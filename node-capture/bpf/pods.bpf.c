/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* Tells which processes are worth a look: user space asks /proc what they are. Those outside of
 * pods are not, and there may be many. */
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "node-capture/bpf/groups.bpf.h"
#include "node-capture/bpf/kernel.bpf.h"
#include "node-capture/bpf/pods.h"

#define NAME_SIZE   256 /* of a group, the longest a file can have, with its NUL */
#define DEPTH       32  /* groups above each other that are looked at */
#define HIERARCHIES 32  /* of control groups; version 1 has about one for each controller */

struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 256 * 1024);
} events SEC(".maps");

/* Processes of pods: their end is told, and when they leave their pod. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, PODS_PROCESSES);
    __type(key, __u32);
    __type(value, __u8);
} processes SEC(".maps");

struct path_event {
    struct pods_event event;
    char path[PODS_PATH_SIZE];
};

__u64 lost;    /* events that found no room */
__u64 skipped; /* programs, moves and empty groups outside of pods */

/* ---- What may be a pod's --------------------------------------------------------------------- */

/* The names that targets/cgroup-path.c takes for a pod's group all contain "pod". What cannot be
 * read, or goes on beyond our bounds, may be a pod's as well: then user space decides. These are
 * global functions so that the verifier takes each one by itself; there, pointers are numbers. */

__noinline int is_pod_name(__u64 node)
{
    char name[NAME_SIZE];
    if (group_name((struct kernfs_node *)node, name, sizeof(name)) < 0) {
        return 1;
    }
    for (int i = 0; i < NAME_SIZE - 3 && name[i]; i++) {
        if (name[i] == 'p' && name[i + 1] == 'o' && name[i + 2] == 'd') {
            return 1;
        }
    }
    return 0;
}

/* It, or a group above it. */
__noinline int is_pod_group(__u64 node)
{
    for (int i = 0; i < DEPTH; i++) {
        if (is_pod_name(node)) {
            return 1;
        }
        node = (__u64)group_parent((struct kernfs_node *)node);
        if (!node) {
            return 0;
        }
    }
    return 1;
}

/* As /proc/PID/cgroup, which is of the first thread, in any hierarchy, named ones included. */
static __always_inline int is_pod_task(struct task_struct *task)
{
    struct css_set *set = BPF_CORE_READ(task, group_leader, cgroups);
    struct list_head *head = (void *)set + bpf_core_field_offset(set->cgrp_links);
    struct list_head *item = BPF_CORE_READ(head, next);
    for (int i = 0; i < HIERARCHIES; i++) {
        if (item == head) {
            return 0;
        }
        struct cgrp_cset_link *link =
            (void *)item - bpf_core_field_offset(struct cgrp_cset_link, cgrp_link);
        if (is_pod_group((__u64)BPF_CORE_READ(link, cgrp, kn))) {
            return 1;
        }
        item = BPF_CORE_READ(item, next);
    }
    return 1;
}

/* ---- Events ---------------------------------------------------------------------------------- */

static __always_inline int skip(void)
{
    __sync_fetch_and_add(&skipped, 1);
    return 0;
}

static __always_inline int tell(__u32 kind, __u32 pid)
{
    struct pods_event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
    if (!event) {
        __sync_fetch_and_add(&lost, 1);
        return 0;
    }
    *event = (struct pods_event){.kind = kind, .pid = pid};
    bpf_ringbuf_submit(event, 0);
    return 0;
}

static __always_inline int tell_of_pods(__u32 kind, struct task_struct *task)
{
    __u32 pid = task->tgid;
    if (!bpf_map_lookup_elem(&processes, &pid) && !is_pod_task(task)) {
        return skip();
    }
    return tell(kind, pid);
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_exec, struct task_struct *task)
{
    return tell_of_pods(PODS_EXEC, task);
}

SEC("tp_btf/cgroup_attach_task")
int BPF_PROG(on_attach, struct cgroup *group, const char *path, struct task_struct *task)
{
    return tell_of_pods(PODS_ATTACHED, task);
}

/* The kernel counts `live` down before this; several threads may find it at 0, which tells the
 * same thing twice. */
SEC("tp_btf/sched_process_exit")
int BPF_PROG(on_exit, struct task_struct *task)
{
    __u32 pid = task->tgid;
    if (task->signal->live.counter != 0 || !bpf_map_lookup_elem(&processes, &pid)) {
        return 0;
    }
    bpf_map_delete_elem(&processes, &pid);
    return tell(PODS_EXIT, pid);
}

SEC("tp_btf/cgroup_notify_populated")
int BPF_PROG(on_populated, struct cgroup *group, const char *path, int populated)
{
    if (populated) {
        return 0;
    }
    if (!is_pod_group((__u64)BPF_CORE_READ(group, kn))) {
        return skip();
    }
    struct path_event *record = bpf_ringbuf_reserve(&events, sizeof(*record), 0);
    if (!record) {
        __sync_fetch_and_add(&lost, 1);
        return 0;
    }
    long length = bpf_probe_read_kernel_str(record->path, sizeof(record->path), path);
    record->event = (struct pods_event){
        .kind = PODS_EMPTY,
        .hierarchy = group->root->hierarchy_id,
        .path_length = length > 0 ? (__u32)length - 1 : 0,
    };
    bpf_ringbuf_submit(record, 0);
    return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";

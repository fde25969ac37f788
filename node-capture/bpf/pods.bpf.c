/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* Tells which processes are worth a look: user space asks /proc what they are. */
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "node-capture/bpf/kernel.bpf.h"
#include "node-capture/bpf/pods.h"

struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 256 * 1024);
} events SEC(".maps");

/* Processes of pods: only their end is told. */
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

__u64 lost; /* events that found no room */

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

SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_exec, struct task_struct *task)
{
    return tell(PODS_EXEC, task->tgid);
}

SEC("tp_btf/cgroup_attach_task")
int BPF_PROG(on_attach, struct cgroup *group, const char *path, struct task_struct *task)
{
    return tell(PODS_ATTACHED, task->tgid);
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

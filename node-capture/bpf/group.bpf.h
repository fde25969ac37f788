/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* The control group that says whose a process is, and its number. */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "node-capture/bpf/kernel.bpf.h"

static __always_inline struct kernfs_node *parent_of(struct kernfs_node *node)
{
    struct kernfs_node___before_rcu *old = (void *)node;
    if (bpf_core_field_exists(old->parent)) {
        return BPF_CORE_READ(old, parent);
    }
    return BPF_CORE_READ(node, __parent);
}

/* The process's group of version 2 or, where that hierarchy is not used, of version 1. */
static __always_inline struct cgroup *group_of(struct task_struct *task)
{
    struct css_set *set = BPF_CORE_READ(task, cgroups);
    struct cgroup *group = BPF_CORE_READ(set, dfl_cgrp);
    struct kernfs_node *node = BPF_CORE_READ(group, kn);
    if (parent_of(node) || !bpf_core_enum_value_exists(enum cgroup_subsys_id, pids_cgrp_id)) {
        return group;
    }
    struct cgroup_subsys_state *state = 0;
    __u64 index = bpf_core_enum_value(enum cgroup_subsys_id, pids_cgrp_id);
    bpf_probe_read_kernel(&state, sizeof(state),
                          (void *)set + bpf_core_field_offset(set->subsys) + index * sizeof(state));
    return BPF_CORE_READ(state, cgroup);
}

/* In version 2 the inode of its folder. Each hierarchy of version 1 counts by itself. */
static __always_inline __u64 group_id(struct cgroup *group)
{
    return BPF_CORE_READ(group, kn, id) ^ (__u64)BPF_CORE_READ(group, root, hierarchy_id) << 48;
}

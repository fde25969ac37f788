/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* Control groups by their nodes in kernfs: names, and those above. */
#pragma once

#include "node-capture/bpf/kernel.bpf.h"

/* 0: there is none, or it cannot be read. A function by itself, lest the member that this kernel
 * does not have be reached for in a loop around it, before it is asked whether there is one. */
static __noinline struct kernfs_node *group_parent(struct kernfs_node *node)
{
    struct kernfs_node___before_rcu *old = (void *)node;
    if (bpf_core_field_exists(old->parent)) {
        return BPF_CORE_READ(old, parent);
    }
    return BPF_CORE_READ(node, __parent);
}

/* Cut to `size` with its NUL, which the length that is returned counts; the root's is empty.
 * Negative if it cannot be read. */
static __always_inline long group_name(struct kernfs_node *node, char *ret_name, __u32 size)
{
    return bpf_probe_read_kernel_str(ret_name, size, BPF_CORE_READ(node, name));
}

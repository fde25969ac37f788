/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* The members of kernel structures that our programs read, found at load time by the kernel's BTF
 * (CO-RE), in whatever order and place they are. */
#pragma once

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
    int counter;
} atomic_t;

struct signal_struct {
    atomic_t live;
};

struct task_struct {
    int pid;
    int tgid;
    char comm[16];
    struct signal_struct *signal;
};

struct cgroup_root {
    int hierarchy_id;
};

struct cgroup {
    struct cgroup_root *root;
};

#pragma clang attribute pop

/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* What the BPF program that follows pods tells user space. */
#pragma once

#define PODS_PATH_SIZE 512 /* longest path of a control group that is told; longer ones are cut */
#define PODS_PROCESSES 65536

enum {
    PODS_EXEC,     /* a process has a new program */
    PODS_ATTACHED, /* a process was moved to another control group */
    PODS_EXIT,     /* the last thread of a process that user space had asked for has ended */
    PODS_EMPTY,    /* no process is left in a control group and those below; with its path */
};

struct pods_event {
    __u32 kind;
    __u32 pid;       /* thread group, in the first PID namespace */
    __s32 hierarchy; /* of PODS_EMPTY: as in /proc/PID/cgroup */
    __u32 path_length;
};
_Static_assert(sizeof(struct pods_event) == 16, "the path follows");

// SPDX-License-Identifier: GPL-2.0-or-later
/* What /proc tells of one process. `proc_fd` is that folder, opened. */
#pragma once

#include <sys/types.h>

#include "node-capture/targets/cgroup-path.h"
#include "node-capture/targets/container-name.h"

/* 0, -ENOENT (gone, or of no pod), or what reading failed with. */
int proc_process_pod(int proc_fd, pid_t pid, const char *prefix, CgroupPod *ret_pod);
/* The network namespace, to be closed by the caller. -errno: -EACCES means that CAP_SYS_PTRACE is
 * missing. */
int proc_process_netns(int proc_fd, pid_t pid, ino_t *ret_inode);
/* As above, without opening it. */
int proc_process_netns_inode(int proc_fd, pid_t pid, ino_t *ret_inode);
/* 0, or -errno. */
int proc_process_name(int proc_fd, pid_t pid, char *ret_name, size_t size);
/* The name of its container; `uid`: of its pod. 0, -ENODATA if its mounts do not tell, or -errno.
 */
int proc_process_container(int proc_fd, pid_t pid, const char *uid,
                           char ret_name[static CONTAINER_NAME_SIZE]);

// SPDX-License-Identifier: GPL-2.0-or-later
/* Pods without a kubelet: control groups named as a kubelet names them, network namespaces, and
 * processes in both. Needs root. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* A folder for groups of this test's own, in a writable hierarchy of version 2, or else of version
 * 1; all that is left in it is killed and removed by pod_maker_end(). False and *ret_reason
 * (static) if there is none. */
bool pod_maker_begin(int version, const char **ret_reason);
void pod_maker_end(void);
/* The main() of tests that need one: add_tests() and g_test_run() in a network namespace of their
 * own, once for each version that is there, each in a process of its own, so that a failed
 * assertion leaves nothing behind. missing() (or NULL) says why that cannot be here; NULL if it
 * can. Returns main()'s status: 77 if neither version ran. */
int pod_maker_main(int argc, char **argv, char *(*missing)(void), void (*add_tests)(int version));
/* The folder as /proc/PID/cgroup shows it: "/remora-test-PID". */
const char *pod_maker_root(void);

/* "UID number n", and ids of containers; of at most 16 calls one after the other. */
const char *pod_uid(unsigned n);
const char *container_id(unsigned n);

typedef enum PodNetns { NETNS_OURS = -1, NETNS_NEW = -2 } PodNetns; /* else a file descriptor */

/* A process in the group `path` below the root (made here), as a runtime makes it: it is moved
 * there by another one, enters its network namespace, and becomes a program: one that waits to be
 * killed or, if `brief`, ends at once. *ret_ns, if not NULL: the monotonic time at which it had its
 * network namespace. A brief one has ended when this returns. */
pid_t pod_maker_run(const char *path, int netns, bool brief, uint64_t *ret_ns);
void pod_maker_kill(pid_t pid); /* and waits for it */
void pod_maker_move(pid_t pid, const char *path);

// SPDX-License-Identifier: GPL-2.0-or-later
/* Which pod and container a control group belongs to, by its path alone. No I/O.
 *
 * Forms (UID: 8-4-4-4-12 hexadecimal digits, in slices with _ for -; or 32 digits, the hash of a
 * static pod; ID: 64 digits; anything may stand before):
 *
 *   cgroupfs driver   .../kubepods[/burstable|/besteffort]/podUID/ID
 *   systemd driver    .../[PREFIX-]kubepods[-burstable|-besteffort]-podUID.slice/NAME
 *   both mixed        .../kubepods-...-podUID.slice:cri-containerd:ID
 *
 * NAME is [RUNTIME-]ID[.scope], where the runtime is cri-containerd, crio, docker or libpod; the
 * monitors of CRI-O and Podman (crio-conmon-ID) are no containers. What is below a container's
 * group is the container's. Seen from within a cgroup namespace the path begins with "/..", and
 * "kubepods" may be missing. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define CGROUP_UID_SIZE       37 /* with the NUL */
#define CGROUP_CONTAINER_SIZE 65

typedef struct CgroupPod {
    char uid[CGROUP_UID_SIZE];             /* with dashes, or the 32 digits of a static pod */
    char container[CGROUP_CONTAINER_SIZE]; /* the runtime's id; empty: the pod's own group, or one
                                              beside the containers, such as a monitor's */
    bool below;    /* the path goes on below the pod's or the container's group */
    int hierarchy; /* of cgroup_file_pod(): first field of its line; 0: version 2 */
} CgroupPod;

/* A path of `length` bytes; hierarchy is not set. False if it is no pod's. Only paths at or below
 * `prefix` count ("/node2"; NULL or "": all). */
bool cgroup_path_pod(const char *path, size_t length, const char *prefix, CgroupPod *ret_pod);

/* Contents of /proc/PID/cgroup: the first line that names a container, else the first that names a
 * pod. False if there is none. */
bool cgroup_file_pod(const char *text, size_t length, const char *prefix, CgroupPod *ret_pod);

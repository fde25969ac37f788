// SPDX-License-Identifier: GPL-2.0-or-later
/* The name of a container by the mounts of its processes, before the API server tells it. No I/O.
 *
 * The kubelet mounts a file of its own into every container, for the message that it leaves when it
 * ends: in /proc/PID/mountinfo the root of that mount ends in pods/UID/containers/NAME/8
 * hexadecimal digits (kubelet: makeMounts() and GetPodContainerDir()). */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define CONTAINER_NAME_SIZE 64 /* a DNS label, with the NUL */

/* Contents of /proc/PID/mountinfo, which may be cut; `uid`: of the pod, or "" where not known.
 * False if no mount tells. */
bool container_name_find(const char *text, size_t length, const char *uid,
                         char ret_name[static CONTAINER_NAME_SIZE]);

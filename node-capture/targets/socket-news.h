// SPDX-License-Identifier: GPL-2.0-or-later
/* What the BPF program tells of sockets, made readable. No I/O, no clock. */
#pragma once

#include "node-capture/bpf/sockets.h"
#include "node-capture/targets/socket-owners.h"

/* `unix_offset_ns`: what the Unix time is ahead of the monotonic one. Pod and container are left
 * empty. False for what is no event. */
bool socket_news_from_event(const void *data, size_t size, uint64_t unix_offset_ns,
                            SocketNews *ret);
/* Whose control group it is; empty if it is none of a container. */
void socket_news_group(const struct sockets_group *group, CgroupPod *ret);

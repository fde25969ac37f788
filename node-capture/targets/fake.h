// SPDX-License-Identifier: GPL-2.0-or-later
/* Targets for tests: what they are told, they tell. Calls may come from any thread; callbacks come
 * in dispatch(), in order. */
#pragma once

#include "node-capture/targets/targets.h"

Targets *targets_fake_new(const TargetsCallbacks *callbacks, void *userdata);

/* identity() and then appeared(), with a duplicate of `netns_fd`; negative: a file that is no
 * namespace, for fake sources. */
void targets_fake_pod(Targets *targets, const Entity *pod, int netns_fd);
/* The same for a pod that was noticed late. */
void targets_fake_late_pod(Targets *targets, const Entity *pod, uint64_t since_ns);
void targets_fake_failed(Targets *targets, const Entity *pod, const char *reason);
/* vanished() and then identity() with deleted_ns; pods only vanished() if deleted_ns is 0. */
void targets_fake_gone(Targets *targets, const Entity *entity, uint64_t deleted_ns);
void targets_fake_identity(Targets *targets, const Entity *entity);
void targets_fake_synced(Targets *targets);
void targets_fake_problem(Targets *targets, const char *subject, const char *message);

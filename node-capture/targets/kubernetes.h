// SPDX-License-Identifier: GPL-2.0-or-later
/* Targets of a Kubernetes node: pods as the kernel has them (pods-kernel.h), named by the API
 * server (k8s-enrich/api/watch.h), joined by uid (pod-join.h). */
#pragma once

#include "k8s-enrich/api/config.h"
#include "node-capture/targets/pods-kernel.h"
#include "node-capture/targets/targets.h"

/* Nothing is asked here: kernel and API server tell by dispatch. synced() comes when both have told
 * what there is, or after three seconds without the API server: packets are captured all the same.
 * Options are copied, `config` is referenced; `callbacks` must outlive it. NULL with error if not
 * even /proc can be read, or the system refuses a thread or descriptor. */
Targets *targets_kubernetes_new(const ApiConfig *config, const PodWatchOptions *options,
                                const char *node_name, const TargetsCallbacks *callbacks,
                                void *userdata, GError **error);

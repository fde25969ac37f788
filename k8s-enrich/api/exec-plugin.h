// SPDX-License-Identifier: GPL-2.0-or-later
/* Runs credential plugins of kubeconfig files. */
#pragma once

#include "k8s-enrich/api/config.h"

/* What the plugin printed on success (NUL-terminated; the caller frees). NULL with
 * API_CONFIG_ERROR_PLUGIN if it cannot be started, fails, prints too much, takes longer than
 * `timeout_ms` or when `cancel_fd` becomes readable (-1: never); it has ended then in any case. */
char *exec_plugin_run(const ApiExec *exec, int timeout_ms, int cancel_fd, GError **error);

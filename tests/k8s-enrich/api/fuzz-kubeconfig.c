// SPDX-License-Identifier: GPL-2.0-or-later
/* Any bytes as a kubeconfig file. */
#include "k8s-enrich/api/config.h"

int LLVMFuzzerTestOneInput(const guint8 *data, size_t size);

int LLVMFuzzerTestOneInput(const guint8 *data, size_t size)
{
    GError *error = NULL;
    ApiConfig *config =
        api_config_parse((const char *)data, size, "fuzz", "/nowhere", NULL, &error);
    g_assert((config != NULL) != (error != NULL));
    if (config)
        g_assert(config->server && config->origin);
    g_clear_error(&error);
    api_config_unref(config);
    return 0;
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include "k8s-enrich/api/config.h"

#include <string.h>

#define SERVICE_ACCOUNT "/var/run/secrets/kubernetes.io/serviceaccount"

G_DEFINE_QUARK(remora - api - config - error - quark, api_config_error)

ApiConfig *api_config_ref(const ApiConfig *config)
{
    g_atomic_int_inc(&((ApiConfig *)config)->references);
    return (ApiConfig *)config;
}

static void exec_free(ApiExec *exec)
{
    if (!exec)
        return;
    g_strfreev(exec->argv);
    g_strfreev(exec->env);
    g_free(exec->api_version);
    g_free(exec->install_hint);
    g_free(exec->cluster_info);
    g_free(exec);
}

/* Secrets do not stay behind in freed memory. */
static void secret_free(char *secret)
{
    if (secret)
        explicit_bzero(secret, strlen(secret));
    g_free(secret);
}

ApiConfig *api_config_unref(ApiConfig *config)
{
    if (!config || !g_atomic_int_dec_and_test(&config->references))
        return NULL;
    g_free(config->origin);
    g_free(config->server);
    g_free(config->ca_path);
    g_clear_pointer(&config->ca_data, g_bytes_unref);
    g_free(config->tls_server_name);
    g_free(config->proxy_url);
    g_free(config->certificate_path);
    g_free(config->key_path);
    g_clear_pointer(&config->certificate_data, g_bytes_unref);
    g_clear_pointer(&config->key_data, g_bytes_unref);
    secret_free(config->token);
    g_free(config->token_path);
    g_free(config->username);
    secret_free(config->password);
    exec_free(config->exec);
    g_free(config->namespace_name);
    g_free(config);
    return NULL;
}

ApiConfig *api_config_in_cluster(const char *directory, GError **error)
{
    const char *host = g_getenv("KUBERNETES_SERVICE_HOST");
    const char *port = g_getenv("KUBERNETES_SERVICE_PORT");
    if (!host || !*host || !port || !*port) {
        g_set_error(error, API_CONFIG_ERROR, API_CONFIG_ERROR_MISSING,
                    "the variables KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not "
                    "both set: this is no pod; give a kubeconfig file");
        return NULL;
    }
    directory = directory ? directory : SERVICE_ACCOUNT;
    ApiConfig *config = g_new0(ApiConfig, 1);
    config->references = 1;
    config->origin = g_strdup_printf("service account in %s", directory);
    bool bare_ipv6 = strchr(host, ':') && *host != '[';
    config->server = g_strdup_printf("https://%s%s%s:%s", bare_ipv6 ? "[" : "", host,
                                     bare_ipv6 ? "]" : "", port);
    config->token_path = g_build_filename(directory, "token", NULL);
    config->ca_path = g_build_filename(directory, "ca.crt", NULL);

    const char *files[] = {config->token_path, config->ca_path};
    for (size_t i = 0; i < G_N_ELEMENTS(files); i++) {
        if (g_file_test(files[i], G_FILE_TEST_EXISTS))
            continue;
        g_set_error(error, API_CONFIG_ERROR, API_CONFIG_ERROR_READ,
                    "%s: does not exist; the pod needs a service account "
                    "(automountServiceAccountToken must not be false)",
                    files[i]);
        return api_config_unref(config);
    }
    g_autofree char *path = g_build_filename(directory, "namespace", NULL);
    if (g_file_get_contents(path, &config->namespace_name, NULL, NULL))
        g_strstrip(config->namespace_name);
    return config;
}

ApiConfig *api_config_default(GError **error)
{
    const char *host = g_getenv("KUBERNETES_SERVICE_HOST");
    return host && *host ? api_config_in_cluster(NULL, error)
                         : api_config_kubeconfig(NULL, NULL, error);
}

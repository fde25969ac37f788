// SPDX-License-Identifier: GPL-2.0-or-later
/* How to reach the API server and who we are there: from a pod's service account, or from a
 * kubeconfig file. Sources: Kubernetes documentation, "Accessing the API from a Pod", "Organizing
 * Cluster Access Using kubeconfig Files", client-authentication.k8s.io v1 and v1beta1. */
#pragma once

#include <glib.h>
#include <stdbool.h>

#define API_CONFIG_ERROR (api_config_error_quark())
GQuark api_config_error_quark(void);
enum {
    API_CONFIG_ERROR_MISSING, /* there is no configuration */
    API_CONFIG_ERROR_READ,
    API_CONFIG_ERROR_SYNTAX, /* no YAML or JSON */
    API_CONFIG_ERROR_FIELD,  /* a field is missing or wrong */
    API_CONFIG_ERROR_PLUGIN, /* a credential plugin failed */
};

/* A command that prints credentials. */
typedef struct ApiExec {
    char **argv; /* the command first; with a slash in it relative paths are made absolute */
    char **env;  /* "NAME=value", over our own environment */
    char *api_version;
    char *install_hint; /* told if the command is not there; or NULL */
    char *cluster_info; /* for KUBERNETES_EXEC_INFO, JSON; NULL unless provideClusterInfo */
} ApiExec;

/* Read only once it is made; may be shared between threads. Absent is NULL. */
typedef struct ApiConfig {
    gint references;
    char *origin; /* where it is from, for messages */
    char *server; /* "https://10.96.0.1:443", with a path perhaps, without a slash at the end */
    char *ca_path;
    GBytes *ca_data; /* PEM; comes before ca_path. Neither: the system's authorities */
    bool insecure_skip_verify;
    char *tls_server_name; /* the name in the server's certificate, where it is another */
    char *proxy_url;
    char *certificate_path, *key_path;
    GBytes *certificate_data, *key_data; /* PEM; come before the paths */
    char *token;
    char *token_path; /* read again and again; comes before `token` */
    char *username, *password;
    ApiExec *exec;
    char *namespace_name; /* the pod's own, or the context's */
} ApiConfig;

/* In the cluster if KUBERNETES_SERVICE_HOST is set, else kubeconfig. For all here: NULL with an
 * error that names file, line or field, and what to do. */
ApiConfig *api_config_default(GError **error);
/* From a pod's environment and the files token, ca.crt and namespace in `directory`; NULL:
 * /var/run/secrets/kubernetes.io/serviceaccount. */
ApiConfig *api_config_in_cluster(const char *directory, GError **error);
/* `path` NULL: $KUBECONFIG (a list of files, of which the first that says something wins; files
 * that do not exist are passed over), else ~/.kube/config. `context` NULL: the current one. */
ApiConfig *api_config_kubeconfig(const char *path, const char *context, GError **error);
/* The same from text; relative paths are relative to `directory`, `name` stands for the file. */
ApiConfig *api_config_parse(const char *text, size_t length, const char *name,
                            const char *directory, const char *context, GError **error);
ApiConfig *api_config_ref(const ApiConfig *config);
ApiConfig *api_config_unref(ApiConfig *config);

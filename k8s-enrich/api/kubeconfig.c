// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "k8s-enrich/api/config.h"
#include "k8s-enrich/api/yaml-tree.h"

#define FILE_MAX_BYTES (4u * 1024u * 1024u)

/* One of the files that are read together. */
typedef struct Source {
    YamlFile *file;
    char *directory;
} Source;

static void source_clear(void *data)
{
    Source *source = data;
    yaml_file_free(source->file);
    g_free(source->directory);
}

static GArray *sources_new(void)
{
    GArray *sources = g_array_new(FALSE, TRUE, sizeof(Source));
    g_array_set_clear_func(sources, source_clear);
    return sources;
}

/* An entry's content, and what its paths are relative to. */
typedef struct Entry {
    YamlNode node;
    const char *directory;
} Entry;

/* The content of the entry `name` of the list `list` ("users"), which stands under `key` ("user").
 */
static bool find_entry(const GArray *sources, const char *list, const char *key, const char *name,
                       Entry *ret, GError **error)
{
    for (guint i = 0; i < sources->len; i++) {
        const Source *source = &g_array_index(sources, Source, i);
        YamlNode entries;
        if (!yaml_member_sequence(yaml_file_root(source->file), list, &entries, error))
            return false;
        for (size_t j = 0; j < yaml_sequence_length(entries); j++) {
            YamlNode entry = yaml_sequence_at(entries, j);
            const char *found;
            if (!yaml_member_text(entry, "name", &found, error))
                return false;
            if (!found || !g_str_equal(found, name))
                continue;
            ret->directory = source->directory;
            return yaml_member_mapping(entry, key, &ret->node, error);
        }
    }
    yaml_fail(yaml_file_root(g_array_index(sources, Source, 0).file), error,
              "there is no \"%s\" in %s; kubectl config view shows what there is", name, list);
    return false;
}

static bool take_text(const Entry *entry, const char *key, char **ret, GError **error)
{
    const char *text;
    if (!yaml_member_text(entry->node, key, &text, error))
        return false;
    *ret = g_strdup(text);
    return true;
}

static bool take_path(const Entry *entry, const char *key, char **ret, GError **error)
{
    const char *text;
    if (!yaml_member_text(entry->node, key, &text, error))
        return false;
    if (text && *text)
        *ret = g_path_is_absolute(text) ? g_strdup(text)
                                        : g_build_filename(entry->directory, text, NULL);
    return true;
}

static bool take_data(const Entry *entry, const char *key, GBytes **ret, GError **error)
{
    const char *text;
    if (!yaml_member_text(entry->node, key, &text, error))
        return false;
    if (!text || !*text)
        return true;
    /* glib skips what is no base64 without a word. */
    size_t length;
    guchar *data = g_base64_decode(text, &length);
    bool is_pem = length > 10 && g_strstr_len((char *)data, (gssize)length, "-----BEGIN");
    if (is_pem)
        *ret = g_bytes_new_take(data, length);
    else
        g_free(data);
    if (!is_pem)
        yaml_fail(entry->node, error, "%s: is no base64 of a PEM file", key);
    return is_pem;
}

static bool read_cluster(ApiConfig *config, const Entry *cluster, GError **error)
{
    if (!take_text(cluster, "server", &config->server, error) ||
        !take_path(cluster, "certificate-authority", &config->ca_path, error) ||
        !take_data(cluster, "certificate-authority-data", &config->ca_data, error) ||
        !yaml_member_bool(cluster->node, "insecure-skip-tls-verify", &config->insecure_skip_verify,
                          error) ||
        !take_text(cluster, "tls-server-name", &config->tls_server_name, error) ||
        !take_text(cluster, "proxy-url", &config->proxy_url, error))
        return false;
    if (config->server && !strstr(config->server, "://")) {
        char *server = g_strconcat("https://", config->server, NULL);
        g_free(config->server);
        config->server = server;
    }
    if (!config->server || (!g_str_has_prefix(config->server, "https://") &&
                            !g_str_has_prefix(config->server, "http://"))) {
        yaml_fail(cluster->node, error, "server: expected https://HOST:PORT");
        return false;
    }
    while (g_str_has_suffix(config->server, "/"))
        config->server[strlen(config->server) - 1] = 0;
    return true;
}

static bool read_exec_env(YamlNode exec, ApiExec *ret, GError **error)
{
    YamlNode env;
    if (!yaml_member_sequence(exec, "env", &env, error))
        return false;
    GPtrArray *variables = g_ptr_array_new();
    bool ok = true;
    for (size_t i = 0; ok && i < yaml_sequence_length(env); i++) {
        const char *name = NULL, *value = NULL;
        YamlNode entry = yaml_sequence_at(env, i);
        ok = yaml_member_text(entry, "name", &name, error) &&
             yaml_member_text(entry, "value", &value, error);
        if (ok && name)
            g_ptr_array_add(variables, g_strconcat(name, "=", value ? value : "", NULL));
    }
    g_ptr_array_add(variables, NULL);
    ret->env = (char **)g_ptr_array_free(variables, FALSE);
    return ok;
}

static bool read_exec_command(const Entry *entry, ApiExec *ret, GError **error)
{
    const char *command;
    YamlNode args;
    if (!yaml_member_text(entry->node, "command", &command, error) ||
        !yaml_member_sequence(entry->node, "args", &args, error))
        return false;
    if (!command || !*command) {
        yaml_fail(entry->node, error, "exec.command: is missing");
        return false;
    }
    size_t n = yaml_sequence_length(args);
    ret->argv = g_new0(char *, n + 2);
    bool relative = strchr(command, '/') && !g_path_is_absolute(command);
    ret->argv[0] = relative ? g_build_filename(entry->directory, command, NULL) : g_strdup(command);
    for (size_t i = 0; i < n; i++) {
        const char *arg = yaml_scalar(yaml_sequence_at(args, i));
        if (!arg) {
            yaml_fail(args, error, "exec.args: expected texts");
            return false;
        }
        ret->argv[i + 1] = g_strdup(arg);
    }
    return true;
}

/* What of the cluster a plugin may ask for (spec.cluster of an ExecCredential). */
static char *cluster_info(const ApiConfig *config)
{
    json_t *cluster = json_pack("{s:s, s:b}", "server", config->server, "insecure-skip-tls-verify",
                                config->insecure_skip_verify);
    if (config->tls_server_name)
        json_object_set_new(cluster, "tls-server-name", json_string(config->tls_server_name));
    if (config->ca_data) {
        size_t length;
        const guchar *data = g_bytes_get_data(config->ca_data, &length);
        g_autofree char *text = g_base64_encode(data, length);
        json_object_set_new(cluster, "certificate-authority-data", json_string(text));
    }
    char *printed = json_dumps(cluster, JSON_COMPACT);
    char *info = g_strdup(printed);
    free(printed);
    json_decref(cluster);
    return info;
}

static bool read_exec(ApiConfig *config, const Entry *user, GError **error)
{
    Entry exec = *user;
    if (!yaml_member_mapping(user->node, "exec", &exec.node, error))
        return false;
    if (!exec.node.node)
        return true;
    config->exec = g_new0(ApiExec, 1);
    bool provide = false;
    if (!read_exec_command(&exec, config->exec, error) ||
        !read_exec_env(exec.node, config->exec, error) ||
        !take_text(&exec, "apiVersion", &config->exec->api_version, error) ||
        !take_text(&exec, "installHint", &config->exec->install_hint, error) ||
        !yaml_member_bool(exec.node, "provideClusterInfo", &provide, error))
        return false;
    const char *version = config->exec->api_version;
    if (!version || (!g_str_equal(version, "client.authentication.k8s.io/v1") &&
                     !g_str_equal(version, "client.authentication.k8s.io/v1beta1"))) {
        yaml_fail(exec.node, error,
                  "exec.apiVersion: expected client.authentication.k8s.io/v1 or "
                  "client.authentication.k8s.io/v1beta1; update the plugin's entry");
        return false;
    }
    if (provide)
        config->exec->cluster_info = cluster_info(config);
    return true;
}

/* Left out silently these would make us somebody else. */
static bool refuse(const Entry *user, GError **error)
{
    static const struct {
        const char *key, *advice;
    } refused[] = {
        {"as", "impersonation is not supported; use a context without it"},
        {"auth-provider", "is not supported any more; use an exec plugin in its place"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(refused); i++) {
        YamlNode ignored;
        const char *text;
        bool is_mapping = g_str_equal(refused[i].key, "auth-provider");
        if (is_mapping ? !yaml_member_mapping(user->node, refused[i].key, &ignored, error)
                       : !yaml_member_text(user->node, refused[i].key, &text, error))
            return false;
        if (is_mapping ? ignored.node != NULL : text != NULL) {
            yaml_fail(user->node, error, "%s: %s", refused[i].key, refused[i].advice);
            return false;
        }
    }
    return true;
}

static bool read_user(ApiConfig *config, const Entry *user, GError **error)
{
    if (!refuse(user, error) ||
        !take_path(user, "client-certificate", &config->certificate_path, error) ||
        !take_data(user, "client-certificate-data", &config->certificate_data, error) ||
        !take_path(user, "client-key", &config->key_path, error) ||
        !take_data(user, "client-key-data", &config->key_data, error) ||
        !take_text(user, "token", &config->token, error) ||
        !take_path(user, "tokenFile", &config->token_path, error) ||
        !take_text(user, "username", &config->username, error) ||
        !take_text(user, "password", &config->password, error) || !read_exec(config, user, error))
        return false;
    bool certificate = config->certificate_data || config->certificate_path;
    bool key = config->key_data || config->key_path;
    if (certificate != key)
        yaml_fail(user->node, error, "client-certificate and client-key: one is missing");
    return certificate == key;
}

static bool find_context(const GArray *sources, const char *wanted, Entry *ret, const char **name,
                         GError **error)
{
    *name = wanted;
    for (guint i = 0; !*name && i < sources->len; i++) {
        const Source *source = &g_array_index(sources, Source, i);
        const char *current;
        if (!yaml_member_text(yaml_file_root(source->file), "current-context", &current, error))
            return false;
        if (current && *current)
            *name = current;
    }
    if (*name)
        return find_entry(sources, "contexts", "context", *name, ret, error);
    yaml_fail(yaml_file_root(g_array_index(sources, Source, 0).file), error,
              "current-context: is not set; choose one (kubectl config use-context)");
    return false;
}

static bool read_sources(ApiConfig *config, const GArray *sources, const char *wanted,
                         const char *origin, GError **error)
{
    Entry context, cluster, user;
    const char *context_name, *cluster_name, *user_name;
    if (!find_context(sources, wanted, &context, &context_name, error) ||
        !yaml_member_text(context.node, "cluster", &cluster_name, error) ||
        !yaml_member_text(context.node, "user", &user_name, error) ||
        !take_text(&context, "namespace", &config->namespace_name, error))
        return false;
    config->origin = g_strdup_printf("%s, context %s", origin, context_name);
    if (!cluster_name || !*cluster_name) {
        yaml_fail(context.node, error, "context \"%s\": cluster: is missing", context_name);
        return false;
    }
    if (!find_entry(sources, "clusters", "cluster", cluster_name, &cluster, error) ||
        !read_cluster(config, &cluster, error))
        return false;
    if (!user_name || !*user_name)
        return true;
    return find_entry(sources, "users", "user", user_name, &user, error) &&
           read_user(config, &user, error);
}

static ApiConfig *config_from(const GArray *sources, const char *context, const char *origin,
                              GError **error)
{
    ApiConfig *config = g_new0(ApiConfig, 1);
    config->references = 1;
    return read_sources(config, sources, context, origin, error) ? config
                                                                 : api_config_unref(config);
}

static bool add_source(GArray *sources, const char *text, size_t length, const char *name,
                       const char *directory, GError **error)
{
    if (length > FILE_MAX_BYTES) {
        g_set_error(error, API_CONFIG_ERROR, API_CONFIG_ERROR_READ, "%s: larger than %u MiB", name,
                    FILE_MAX_BYTES >> 20);
        return false;
    }
    Source source = {yaml_file_parse(text, length, name, error), g_strdup(directory)};
    g_array_append_val(sources, source);
    return source.file != NULL;
}

ApiConfig *api_config_parse(const char *text, size_t length, const char *name,
                            const char *directory, const char *context, GError **error)
{
    g_autoptr(GArray) sources = sources_new();
    if (!add_source(sources, text, length, name, directory, error))
        return NULL;
    return config_from(sources, context, name, error);
}

/* A file that does not exist is passed over where it is one of several. */
static bool add_file(GArray *sources, const char *path, bool required, GError **error)
{
    g_autofree char *text = NULL;
    g_autoptr(GError) failure = NULL;
    gsize length;
    if (!g_file_get_contents(path, &text, &length, &failure)) {
        if (!required && g_error_matches(failure, G_FILE_ERROR, G_FILE_ERROR_NOENT))
            return true;
        g_set_error(error, API_CONFIG_ERROR, API_CONFIG_ERROR_READ, "%s: %s", path,
                    failure->message);
        return false;
    }
    g_autofree char *absolute = g_canonicalize_filename(path, NULL);
    g_autofree char *directory = g_path_get_dirname(absolute);
    return add_source(sources, text, length, path, directory, error);
}

ApiConfig *api_config_kubeconfig(const char *path, const char *context, GError **error)
{
    g_autoptr(GArray) sources = sources_new();
    const char *list = g_getenv("KUBECONFIG");
    if (path) {
        return add_file(sources, path, true, error) ? config_from(sources, context, path, error)
                                                    : NULL;
    }
    g_autofree char *home = g_build_filename(g_get_home_dir(), ".kube", "config", NULL);
    const char *origin = list && *list ? list : home;
    g_auto(GStrv) paths = list && *list ? g_strsplit(list, ":", -1) : g_strsplit(home, "\n", 1);
    for (size_t i = 0; paths[i]; i++)
        if (*paths[i] && !add_file(sources, paths[i], false, error))
            return NULL;
    if (sources->len > 0)
        return config_from(sources, context, origin, error);
    g_set_error(error, API_CONFIG_ERROR, API_CONFIG_ERROR_MISSING,
                "%s: does not exist; set KUBECONFIG or give a kubeconfig file", origin);
    return NULL;
}

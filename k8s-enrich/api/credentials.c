// SPDX-License-Identifier: GPL-2.0-or-later
#include "k8s-enrich/api/credentials.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <sys/stat.h>

#include "k8s-enrich/api/exec-plugin.h"
#include "k8s-enrich/json-member.h"

#define SECOND_NS      UINT64_C(1000000000)
#define TOKEN_AGE_NS   (60 * SECOND_NS)
#define PLUGIN_MS      30000
#define PLUGIN_WAIT_NS (10 * SECOND_NS) /* after it failed: not once for each of many requests */
#define TOKEN_MAX      (64u * 1024u)

struct ApiCredentials {
    ApiConfig *config;
    int cancel_fd;
    char *token; /* from the file or the plugin */
    GBytes *certificate, *key;
    struct timespec changed; /* of the file */
    ino_t inode;
    uint64_t read_ns, expires_ns; /* 0: never */
    bool valid;
    GError *failure; /* of the plugin */
    uint64_t failed_ns;
};

ApiCredentials *api_credentials_new(const ApiConfig *config, int cancel_fd)
{
    ApiCredentials *credentials = g_new0(ApiCredentials, 1);
    credentials->config = api_config_ref(config);
    credentials->cancel_fd = cancel_fd;
    return credentials;
}

static void forget(ApiCredentials *credentials)
{
    if (credentials->token)
        explicit_bzero(credentials->token, strlen(credentials->token));
    g_clear_pointer(&credentials->token, g_free);
    g_clear_pointer(&credentials->certificate, g_bytes_unref);
    g_clear_pointer(&credentials->key, g_bytes_unref);
    credentials->valid = false;
}

ApiCredentials *api_credentials_free(ApiCredentials *credentials)
{
    if (!credentials)
        return NULL;
    forget(credentials);
    g_clear_error(&credentials->failure);
    api_config_unref(credentials->config);
    g_free(credentials);
    return NULL;
}

void api_credentials_reject(ApiCredentials *credentials)
{
    credentials->valid = false;
}

/* Kubernetes replaces the file through a symbolic link: another inode. */
static bool token_is_fresh(ApiCredentials *credentials, const struct stat *status, uint64_t unix_ns)
{
    return credentials->valid && credentials->token && credentials->inode == status->st_ino &&
           credentials->changed.tv_sec == status->st_mtim.tv_sec &&
           credentials->changed.tv_nsec == status->st_mtim.tv_nsec &&
           unix_ns - credentials->read_ns < TOKEN_AGE_NS;
}

static bool read_token(ApiCredentials *credentials, uint64_t unix_ns, GError **error)
{
    const char *path = credentials->config->token_path;
    struct stat status;
    char *token = NULL;
    gsize length;
    bool known = stat(path, &status) == 0;
    if (known && token_is_fresh(credentials, &status, unix_ns))
        return true;
    if (!known || !g_file_get_contents(path, &token, &length, NULL)) {
        g_set_error(error, API_CONFIG_ERROR, API_CONFIG_ERROR_READ, "%s: %s", path,
                    g_strerror(errno));
        return false;
    }
    g_strstrip(token);
    if (!*token || length > TOKEN_MAX || strpbrk(token, "\r\n")) {
        g_set_error(error, API_CONFIG_ERROR, API_CONFIG_ERROR_READ, "%s: expected one token", path);
        g_free(token);
        return false;
    }
    forget(credentials);
    credentials->token = token;
    credentials->inode = status.st_ino;
    credentials->changed = status.st_mtim;
    credentials->read_ns = unix_ns;
    credentials->valid = true;
    return true;
}

static GBytes *text_bytes(const char *text)
{
    return *text ? g_bytes_new(text, strlen(text)) : NULL;
}

/* An ExecCredential: its status has what is wanted. */
static bool take_plugin_output(ApiCredentials *credentials, const char *text, GError **error)
{
    g_autofree char *problem = NULL;
    json_error_t syntax;
    json_t *json = json_loads(text, 0, &syntax);
    if (!json)
        problem = g_strdup_printf("line %d: %s", syntax.line, syntax.text);
    const json_t *status = member_object(json, "", "status", &problem);
    const char *version = member_text(json, "", "apiVersion", &problem);
    const char *token = member_text(status, "status", "token", &problem);
    const char *certificate = member_text(status, "status", "clientCertificateData", &problem);
    const char *key = member_text(status, "status", "clientKeyData", &problem);
    uint64_t expires_ns = member_time(status, "status", "expirationTimestamp", &problem);
    if (!problem && !g_str_equal(version, credentials->config->exec->api_version))
        problem = g_strdup_printf("apiVersion: expected %s, found \"%.60s\"",
                                  credentials->config->exec->api_version, version);
    if (!problem && !*token && !(*certificate && *key))
        problem = g_strdup("status: expected a token, or clientCertificateData and clientKeyData");
    if (!problem && strpbrk(token, "\r\n"))
        problem = g_strdup("status.token: has a line break in it");
    if (!problem) {
        forget(credentials);
        credentials->token = *token ? g_strdup(token) : NULL;
        credentials->certificate = text_bytes(certificate);
        credentials->key = text_bytes(key);
        credentials->expires_ns = expires_ns;
        credentials->valid = true;
    } else {
        g_set_error(error, API_CONFIG_ERROR, API_CONFIG_ERROR_PLUGIN,
                    "credential plugin %s: what it printed is no ExecCredential: %s",
                    credentials->config->exec->argv[0], problem);
    }
    json_decref(json);
    return !problem;
}

static bool run_plugin(ApiCredentials *credentials, uint64_t unix_ns, GError **error)
{
    bool expired = credentials->expires_ns && unix_ns >= credentials->expires_ns;
    if (credentials->valid && !expired)
        return true;
    if (credentials->failure && unix_ns - credentials->failed_ns < PLUGIN_WAIT_NS) {
        g_propagate_error(error, g_error_copy(credentials->failure));
        return false;
    }
    g_clear_error(&credentials->failure);
    char *text = exec_plugin_run(credentials->config->exec, PLUGIN_MS, credentials->cancel_fd,
                                 &credentials->failure);
    bool ok = text && take_plugin_output(credentials, text, &credentials->failure);
    if (text)
        explicit_bzero(text, strlen(text));
    g_free(text);
    credentials->failed_ns = unix_ns;
    if (!ok)
        g_propagate_error(error, g_error_copy(credentials->failure));
    return ok;
}

bool api_credentials_get(ApiCredentials *credentials, uint64_t unix_ns, ApiIdentity *ret,
                         GError **error)
{
    const ApiConfig *config = credentials->config;
    *ret = (ApiIdentity){
        .token = config->token,
        .username = config->username,
        .password = config->password,
        .certificate_path = config->certificate_path,
        .certificate_data = config->certificate_data,
        .key_path = config->key_path,
        .key_data = config->key_data,
    };
    if (config->token_path) {
        if (!read_token(credentials, unix_ns, error))
            return false;
        ret->token = credentials->token;
    } else if (config->exec) {
        if (!run_plugin(credentials, unix_ns, error))
            return false;
        ret->token = credentials->token;
        if (credentials->certificate) {
            ret->certificate_data = credentials->certificate;
            ret->key_data = credentials->key;
        }
    }
    return true;
}

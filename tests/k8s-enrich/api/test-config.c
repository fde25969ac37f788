// SPDX-License-Identifier: GPL-2.0-or-later
#include <glib/gstdio.h>
#include <string.h>

#include "k8s-enrich/api/config.h"
#include "k8s-enrich/api/credentials.h"

#define HEAD                                                           \
    "current-context: one\n"                                           \
    "contexts:\n"                                                      \
    "- {name: one, context: {cluster: k, user: u, namespace: shop}}\n" \
    "- {name: two, context: {cluster: missing, user: u}}\n"
#define CLUSTER \
    "clusters: [{name: k, cluster: {server: 'https://h:6443/', certificate-authority: ca.pem}}]\n"

static ApiConfig *parse(const char *text, const char *context, GError **error)
{
    return api_config_parse(text, strlen(text), "file", "/etc/kube", context, error);
}

static void assert_fails(const char *text, const char *context, const char *expected)
{
    g_autoptr(GError) error = NULL;
    g_assert_null(parse(text, context, &error));
    if (!strstr(error->message, expected))
        g_error("\"%s\" is not in \"%s\"", expected, error->message);
}

static void test_paths_and_token(void)
{
    GError *error = NULL;
    ApiConfig *config = parse(HEAD CLUSTER "users: [{name: u, user: {token: t, client-certificate: "
                                           "c.pem, client-key: /k.pem}}]\n",
                              NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(config->server, ==, "https://h:6443");
    g_assert_cmpstr(config->ca_path, ==, "/etc/kube/ca.pem");
    g_assert_cmpstr(config->certificate_path, ==, "/etc/kube/c.pem");
    g_assert_cmpstr(config->key_path, ==, "/k.pem");
    g_assert_cmpstr(config->token, ==, "t");
    g_assert_cmpstr(config->namespace_name, ==, "shop");
    g_assert_cmpstr(config->origin, ==, "file, context one");
    api_config_unref(config);
}

static void test_errors(void)
{
    assert_fails("a: b: c", NULL, "file: line 1, column 5:");
    assert_fails("{}", NULL, "current-context: is not set");
    assert_fails(HEAD CLUSTER, "two", "there is no \"missing\" in clusters");
    assert_fails(HEAD CLUSTER, "three", "there is no \"three\" in contexts");
    assert_fails(HEAD "clusters: [{name: k, cluster: {server: 'ftp://h'}}]\n", NULL,
                 "file: line 5: server: expected https://HOST:PORT");
    assert_fails(HEAD CLUSTER "users:\n- name: u\n  user: {as: admin}\n", NULL,
                 "line 8: as: impersonation is not supported");
    assert_fails(HEAD CLUSTER "users: [{name: u, user: {client-key-data: '!!'}}]\n", NULL,
                 "client-key-data: is no base64 of a PEM file");
    assert_fails(HEAD CLUSTER "users: [{name: u, user: {client-key: k}}]\n", NULL,
                 "one is missing");
    assert_fails(HEAD CLUSTER "users: [{name: u, user: {exec: {command: x, apiVersion: v0}}}]\n",
                 NULL, "exec.apiVersion: expected client.authentication.k8s.io/v1 or");
}

/* A plugin that counts its runs: the credentials hold until they expire or are rejected. */
static void test_plugin(void)
{
    g_autofree char *directory = g_dir_make_tmp("remora-plugin-XXXXXX", NULL);
    g_autofree char *count = g_build_filename(directory, "count", NULL);
    g_autofree char *text = g_strdup_printf(
        HEAD CLUSTER
        "users:\n- name: u\n  user:\n    exec:\n"
        "      apiVersion: client.authentication.k8s.io/v1\n      command: sh\n      args:\n"
        "      - -c\n      - |\n        echo x >> %s\n"
        "        echo '{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":"
        "\"ExecCredential\",\"status\":{\"token\":\"'$(wc -l < %s)'-'$WHO'\","
        "\"expirationTimestamp\":\"2000-01-01T00:01:00Z\"}}'\n"
        "      env: [{name: WHO, value: me}]\n",
        count, count);
    GError *error = NULL;
    ApiConfig *config = parse(text, NULL, &error);
    g_assert_no_error(error);
    ApiCredentials *credentials = api_credentials_new(config, -1);
    ApiIdentity identity;
    const guint64 start_ns = G_GUINT64_CONSTANT(946684800000000000); /* 2000-01-01 */
    const guint64 second_ns = 1000000000;
    const struct {
        guint64 at_s;
        bool reject;
        const char *token;
    } steps[] = {{1, false, "1-me"}, {59, false, "1-me"}, {60, false, "2-me"}, {61, true, "3-me"}};
    for (size_t i = 0; i < G_N_ELEMENTS(steps); i++) {
        if (steps[i].reject)
            api_credentials_reject(credentials);
        g_assert_true(api_credentials_get(credentials, start_ns + steps[i].at_s * second_ns,
                                          &identity, &error));
        g_assert_no_error(error);
        g_assert_cmpstr(identity.token, ==, steps[i].token);
    }
    api_credentials_free(credentials);
    api_config_unref(config);
    g_remove(count);
    g_rmdir(directory);
}

static void test_plugin_fails(void)
{
    GError *error = NULL;
    ApiConfig *config =
        parse(HEAD CLUSTER "users: [{name: u, user: {exec: {command: /no/such/plugin, installHint: "
                           "get it, apiVersion: client.authentication.k8s.io/v1beta1}}}]\n",
              NULL, &error);
    g_assert_no_error(error);
    ApiCredentials *credentials = api_credentials_new(config, -1);
    ApiIdentity identity;
    g_assert_false(api_credentials_get(credentials, 1, &identity, &error));
    g_assert_cmpstr(error->message, ==,
                    "credential plugin /no/such/plugin: No such file or directory; get it");
    g_clear_error(&error);
    api_credentials_free(credentials);
    api_config_unref(config);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/config/paths-and-token", test_paths_and_token);
    g_test_add_func("/config/errors", test_errors);
    g_test_add_func("/config/plugin", test_plugin);
    g_test_add_func("/config/plugin-fails", test_plugin_fails);
    return g_test_run();
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include "k8s-enrich/api/transport.h"

#include <curl/curl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "common/clock.h"

#define CONNECT_S       10L
#define KEEPALIVE_S     15L
#define UNACKED_MS      45000u /* what is sent and not acknowledged: the connection is dead */
#define SLOWEST_BYTES_S 256L
#define RETRY_AFTER_MAX 300

struct ApiTransport {
    ApiConfig *config;
    ApiCredentials *credentials;
    CURLM *multi;
    char *base;    /* the server's URL, with the name that its certificate has */
    char *connect; /* where it really is; or NULL */
};

struct ApiTransfer {
    ApiTransport *transport;
    CURL *easy;
    struct curl_slist *headers, *connect_to;
    const ApiTransferOps *ops;
    void *userdata;
    bool begun, has_certificate;
    char error[CURL_ERROR_SIZE];
};

/* curl checks a certificate against the name in the URL: that is replaced, and the connection is
 * made to where the server is. */
static void rename_server(ApiTransport *transport)
{
    const ApiConfig *config = transport->config;
    CURLU *url = curl_url();
    char *host = NULL, *port = NULL, *base = NULL;
    if (curl_url_set(url, CURLUPART_URL, config->server, 0) == CURLUE_OK &&
        curl_url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
        curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK &&
        curl_url_set(url, CURLUPART_HOST, config->tls_server_name, 0) == CURLUE_OK &&
        curl_url_get(url, CURLUPART_URL, &base, 0) == CURLUE_OK) {
        g_free(transport->base);
        transport->base = g_strdup(base);
        if (g_str_has_suffix(transport->base, "/"))
            transport->base[strlen(transport->base) - 1] = 0;
        transport->connect = g_strdup_printf("::%s:%s", host, port);
    }
    curl_free(host);
    curl_free(port);
    curl_free(base);
    curl_url_cleanup(url);
}

ApiTransport *api_transport_new(const ApiConfig *config, int cancel_fd)
{
    ApiTransport *transport = g_new0(ApiTransport, 1);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    transport->config = api_config_ref(config);
    transport->credentials = api_credentials_new(config, cancel_fd);
    transport->multi = curl_multi_init();
    transport->base = g_strdup(config->server);
    if (config->tls_server_name)
        rename_server(transport);
    return transport;
}

ApiTransport *api_transport_free(ApiTransport *transport)
{
    if (!transport)
        return NULL;
    curl_multi_cleanup(transport->multi);
    api_credentials_free(transport->credentials);
    api_config_unref(transport->config);
    g_free(transport->base);
    g_free(transport->connect);
    g_free(transport);
    return NULL;
}

void api_transport_wake(ApiTransport *transport)
{
    curl_multi_wakeup(transport->multi);
}

void api_transport_reject_credentials(ApiTransport *transport)
{
    api_credentials_reject(transport->credentials);
}

static void begin(ApiTransfer *transfer)
{
    long status = 0;
    const char *type = NULL;
    curl_off_t retry_s = 0;
    curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(transfer->easy, CURLINFO_CONTENT_TYPE, &type);
    curl_easy_getinfo(transfer->easy, CURLINFO_RETRY_AFTER, &retry_s);
    transfer->begun = true;
    transfer->ops->begun((int)status, type ? type : "",
                         (unsigned)CLAMP(retry_s, 0, RETRY_AFTER_MAX), transfer->userdata);
}

/* The empty line after the last field; not that of an answer that announces another (1xx). */
static size_t take_header(char *bytes, size_t size, size_t n, void *data)
{
    ApiTransfer *transfer = data;
    long status = 0;
    curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
    if (!transfer->begun && size * n <= 2 && status >= 200)
        begin(transfer);
    return size * n;
}

static size_t take_bytes(char *bytes, size_t size, size_t n, void *data)
{
    ApiTransfer *transfer = data;
    if (!transfer->begun)
        begin(transfer);
    return transfer->ops->bytes((uint8_t *)bytes, size * n, transfer->userdata)
               ? size * n
               : CURL_WRITEFUNC_ERROR;
}

/* A watch sends nothing: only the kernel's probes tell that the server's machine is gone. */
static int tune_socket(void *data, curl_socket_t fd, curlsocktype purpose)
{
    int probes = 3;
    unsigned unacked_ms = UNACKED_MS;
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacked_ms, sizeof unacked_ms);
    return CURL_SOCKOPT_OK;
}

static void set_blob(CURL *easy, CURLoption option, GBytes *bytes)
{
    gsize length;
    const void *data = g_bytes_get_data(bytes, &length);
    struct curl_blob blob = {(void *)data, length, CURL_BLOB_COPY};
    curl_easy_setopt(easy, option, &blob);
}

static void set_trust(CURL *easy, const ApiConfig *config)
{
    if (config->insecure_skip_verify) {
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
    } else if (config->ca_data) {
        set_blob(easy, CURLOPT_CAINFO_BLOB, config->ca_data);
    } else if (config->ca_path) {
        curl_easy_setopt(easy, CURLOPT_CAINFO, config->ca_path);
    }
#if LIBCURL_VERSION_NUM >= 0x075700
    curl_easy_setopt(easy, CURLOPT_CA_CACHE_TIMEOUT, 60L); /* authorities rotate */
#endif
}

static void set_identity(ApiTransfer *transfer, const ApiIdentity *identity)
{
    CURL *easy = transfer->easy;
    if (identity->certificate_data)
        set_blob(easy, CURLOPT_SSLCERT_BLOB, identity->certificate_data);
    else if (identity->certificate_path)
        curl_easy_setopt(easy, CURLOPT_SSLCERT, identity->certificate_path);
    if (identity->key_data)
        set_blob(easy, CURLOPT_SSLKEY_BLOB, identity->key_data);
    else if (identity->key_path)
        curl_easy_setopt(easy, CURLOPT_SSLKEY, identity->key_path);
    if (identity->token) {
        g_autofree char *header = g_strdup_printf("Authorization: Bearer %s", identity->token);
        transfer->headers = curl_slist_append(transfer->headers, header);
    } else if (identity->username) {
        curl_easy_setopt(easy, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
        curl_easy_setopt(easy, CURLOPT_USERNAME, identity->username);
        curl_easy_setopt(easy, CURLOPT_PASSWORD, identity->password ? identity->password : "");
    }
}

static void set_up(ApiTransfer *transfer, const char *path, const char *accept, unsigned stall_s)
{
    CURL *easy = transfer->easy;
    g_autofree char *url = g_strconcat(transfer->transport->base, path, NULL);
    g_autofree char *header = g_strconcat("Accept: ", accept, NULL);
    transfer->headers = curl_slist_append(transfer->headers, header);
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->error);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "remora/" REMORA_VERSION);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    curl_easy_setopt(easy, CURLOPT_PIPEWAIT, 1L);
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, 256L * 1024);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, CONNECT_S);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPIDLE, KEEPALIVE_S);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPINTVL, KEEPALIVE_S);
    curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, tune_socket);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_bytes);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
    if (stall_s) {
        curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, SLOWEST_BYTES_S);
        curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, (long)stall_s);
    }
    if (transfer->transport->config->proxy_url)
        curl_easy_setopt(easy, CURLOPT_PROXY, transfer->transport->config->proxy_url);
    if (transfer->transport->connect) {
        transfer->connect_to = curl_slist_append(NULL, transfer->transport->connect);
        curl_easy_setopt(easy, CURLOPT_CONNECT_TO, transfer->connect_to);
    }
}

ApiTransfer *api_transfer_new(ApiTransport *transport, const char *path, const char *accept,
                              unsigned stall_s, const ApiTransferOps *ops, void *userdata,
                              GError **error)
{
    ApiIdentity identity;
    if (!api_credentials_get(transport->credentials, clock_unix_ns(), &identity, error))
        return NULL;
    ApiTransfer *transfer = g_new0(ApiTransfer, 1);
    transfer->transport = transport;
    transfer->ops = ops;
    transfer->userdata = userdata;
    transfer->easy = curl_easy_init();
    set_up(transfer, path, accept, stall_s);
    set_trust(transfer->easy, transport->config);
    set_identity(transfer, &identity);
    transfer->has_certificate = identity.certificate_data || identity.certificate_path;
    curl_easy_setopt(transfer->easy, CURLOPT_HTTPHEADER, transfer->headers);
    curl_multi_add_handle(transport->multi, transfer->easy);
    return transfer;
}

ApiTransfer *api_transfer_free(ApiTransfer *transfer)
{
    if (!transfer)
        return NULL;
    curl_multi_remove_handle(transfer->transport->multi, transfer->easy);
    curl_easy_cleanup(transfer->easy);
    curl_slist_free_all(transfer->headers);
    curl_slist_free_all(transfer->connect_to);
    g_free(transfer);
    return NULL;
}

/* In TLS 1.3 a client writes at once behind its certificate (RFC 8446, figure 1): if the server
 * refuses that, the write may fail before the alert that says why has been read. So the likely
 * cause stands beside what curl says. */
static char *describe(const ApiTransfer *transfer, CURLcode result)
{
    const char *what = *transfer->error ? transfer->error : curl_easy_strerror(result);
    bool is_broken = result == CURLE_SEND_ERROR || result == CURLE_RECV_ERROR ||
                     result == CURLE_HTTP2 || result == CURLE_SSL_CONNECT_ERROR;
    if (transfer->begun || !is_broken || !g_str_has_prefix(transfer->transport->base, "https:"))
        return g_strdup(what);
    return g_strdup_printf("%s (before any answer: does the server accept %s?)", what,
                           transfer->has_certificate ? "our client certificate"
                                                     : "callers without a client certificate");
}

static void end_transfers(ApiTransport *transport)
{
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(transport->multi, &left))) {
        ApiTransfer *transfer = NULL;
        if (message->msg != CURLMSG_DONE)
            continue;
        CURLcode result = message->data.result;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&transfer);
        g_autofree char *error = result == CURLE_OK ? NULL : describe(transfer, result);
        if (result == CURLE_OK && !transfer->begun)
            begin(transfer);
        const ApiTransferOps *ops = transfer->ops;
        void *userdata = transfer->userdata;
        api_transfer_free(transfer);
        ops->ended(error, userdata);
    }
}

void api_transport_run(ApiTransport *transport, int timeout_ms)
{
    int running;
    /* A transfer that is new makes this return at once. Nothing may end before it: what follows
     * from an end is due at once, which the timeout does not know. */
    curl_multi_poll(transport->multi, NULL, 0, timeout_ms, NULL);
    curl_multi_perform(transport->multi, &running);
    end_transfers(transport);
}

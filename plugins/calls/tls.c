// SPDX-License-Identifier: GPL-2.0-or-later
/* Handshakes of TLS (RFC 8446, RFC 5246): from the ClientHello to the ServerHello that takes it, or
 * to the alert that does not. */
#include "plugins/ws_compat.h"

#include "plugins/calls/adapter.h"

enum { TYPE, SERVER_NAME, ALPN, VERSION, SUPPORTED_VERSION, ALERT_LEVEL, ALERT, RANDOM };

enum { CLIENT_HELLO = 1, SERVER_HELLO = 2, FATAL = 2 };

static const char *const fields[] = {
    [TYPE] = "tls.handshake.type",
    [SERVER_NAME] = "tls.handshake.extensions_server_name",
    [ALPN] = "tls.handshake.extensions_alpn_str",
    [VERSION] = "tls.handshake.version",
    [SUPPORTED_VERSION] = "tls.handshake.extensions.supported_version",
    [ALERT_LEVEL] = "tls.alert_message.level",
    [ALERT] = "tls.alert_message.desc",
    [RANDOM] = "tls.handshake.random",
};

static const value_string versions[] = {
    {0x0300, "SSL 3.0"}, {0x0301, "TLS 1.0"}, {0x0302, "TLS 1.1"},
    {0x0303, "TLS 1.2"}, {0x0304, "TLS 1.3"}, {0, NULL},
};

static bool has_type(const CallMessage *message, int64_t type)
{
    for (unsigned i = 0; i < message->n_parts; i++) {
        if (message->parts[i].field == TYPE && call_info_number(message->parts[i].info) == type)
            return true;
    }
    return false;
}

/* A ServerHello that only asks for another ClientHello has this random (RFC 8446, 4.1.3). */
static bool is_retry(const CallMessage *message)
{
    static const uint8_t retry[] = {0xCF, 0x21, 0xAD, 0x74, 0xE5, 0x9A, 0x61, 0x11};
    const field_info *random = call_part(message, RANDOM);

    return random && random->ds_tvb &&
           tvb_bytes_exist(random->ds_tvb, random->start, sizeof(retry)) &&
           tvb_memeql(random->ds_tvb, random->start, retry, sizeof(retry)) == 0;
}

static void server_hello(CallMessage *message, Call *call)
{
    const field_info *version = call_part(message, SUPPORTED_VERSION);
    const char *alpn = call_part_text(message, ALPN), *name;

    if (!version)
        version = call_part(message, VERSION);
    name = version ? call_code_name(message, versions, call_info_number(version)) : "TLS";
    call->protocol = call_keep_text(name);
    call_answer(
        message,
        &(CallAnswer){
            .status = alpn ? wmem_strdup_printf(message->pinfo->pool, "%s, %s", name, alpn) : name,
            .status_code = -1,
        });
}

static void message(CallMessage *message)
{
    Call *call;

    if (has_type(message, CLIENT_HELLO)) {
        const char *name = call_part_text(message, SERVER_NAME);

        call_request(message, &(CallRequest){
                                  .protocol = "TLS",
                                  .method = "handshake",
                                  .target = name,
                              });
        return;
    }
    call = call_pending(message, 0);
    if (!call)
        return;
    if (has_type(message, SERVER_HELLO) && !is_retry(message))
        server_hello(message, call);
    else if (call_part_number(message, ALERT_LEVEL, 0) == FATAL)
        call_answer(message, &(CallAnswer){
                                 .status = wmem_strdup_printf(
                                     message->pinfo->pool, "alert: %s",
                                     call_info_name(message, call_part(message, ALERT))),
                                 .status_code = (int32_t)call_part_number(message, ALERT, -1),
                                 .error = true,
                             });
}

const CallAdapter call_tls = {
    .protocol = "tls",
    .fields = fields,
    .n_fields = array_length(fields),
    .unique_keys = true, /* a ClientHello after a HelloRetryRequest is the same call */
    .message = message,
};

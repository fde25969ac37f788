// SPDX-License-Identifier: GPL-2.0-or-later
#include "plugins/ws_compat.h"

#include "plugins/tls-source.h"

#include <epan/charsets.h>
#include <epan/conversation.h>
#include <epan/dissectors/packet-tls-utils.h>

/* How far the first pass has come with a connection, as seen by who sends its TLS packets: up to
 * TLS 1.2 the secrets are needed when the client answers the ServerHello, which may take it several
 * packets, and have been once the server answers that. */
typedef enum Progress { BEFORE_ANSWER, SERVER_ANSWERED, CLIENT_ANSWERED, DECIDED } Progress;

typedef struct Connection {
    Progress progress;
    address server; /* of who sent the ServerHello */
    uint32_t server_port;
    const char *reason; /* that was told of its ends; NULL: none yet */
} Connection;

static int proto_own;
static int proto_tls = -1;
static int hf_source;
static int hf_reason;

/* ---- What the TLS dissector knows ------------------------------------------------------------*/

/* Of its structure nothing is used from `cert_key_id` on: where that is depends on how Wireshark
 * was built. */
static const SslDecryptSession *tls_session(packet_info *pinfo, conversation_t **ret_conversation)
{
    conversation_t *conversation = find_conversation_pinfo(pinfo, 0);
    const SslDecryptSession *session =
        conversation ? conversation_get_proto_data(conversation, proto_tls) : NULL;

    *ret_conversation = conversation;
    /* QUIC keeps its secrets elsewhere. */
    return session && !(session->state & SSL_QUIC_RECORD_LAYER) ? session : NULL;
}

static bool has_secrets(const SslDecryptSession *session)
{
    return session->client || session->server || session->client_new || session->server_new;
}

static bool is_tls13(const SslDecryptSession *session)
{
    return (session->state & SSL_CIPHER) && session->cipher_suite &&
           session->cipher_suite->kex == KEX_TLS13;
}

/* ---- The first pass --------------------------------------------------------------------------*/

static Connection *connection_of(conversation_t *conversation)
{
    Connection *connection = conversation_get_proto_data(conversation, proto_own);

    if (!connection) {
        connection = wmem_new0(wmem_file_scope(), Connection);
        conversation_add_proto_data(conversation, proto_own, connection);
    }
    return connection;
}

static void advance(packet_info *pinfo, const SslDecryptSession *session, Connection *connection)
{
    bool from_server;

    if (!(session->state & SSL_SERVER_RANDOM))
        return;
    if (connection->progress == BEFORE_ANSWER) {
        copy_address_wmem(wmem_file_scope(), &connection->server, &pinfo->src);
        connection->server_port = pinfo->srcport;
        connection->progress = is_tls13(session) ? DECIDED : SERVER_ANSWERED;
        return;
    }
    from_server = connection->server_port == pinfo->srcport &&
                  addresses_equal(&connection->server, &pinfo->src);
    if (connection->progress == SERVER_ANSWERED && !from_server)
        connection->progress = CLIENT_ANSWERED;
    else if (connection->progress == CLIENT_ANSWERED && from_server)
        connection->progress = DECIDED;
}

/* What the ends' processes are told to be, in words; NULL: nothing. The same in both directions. */
static const char *told_reason(wmem_allocator_t *pool, const K8sIdentity *identity)
{
    const IdentityTlv *src = &identity->end[K8S_SRC].text[IDENTITY_NO_SECRETS];
    const IdentityTlv *dst = &identity->end[K8S_DST].text[IDENTITY_NO_SECRETS];
    const char *one, *other;
    int order;

    if (!src->length && !dst->length)
        return NULL;
    if (!src->length || !dst->length) {
        const IdentityTlv *told = src->length ? src : dst;

        return (const char *)get_utf_8_string(pool, told->value, told->length);
    }
    one = (const char *)get_utf_8_string(pool, src->value, src->length);
    other = (const char *)get_utf_8_string(pool, dst->value, dst->length);
    order = strcmp(one, other);
    if (order == 0)
        return one;
    return wmem_strdup_printf(pool, "%s; %s", order < 0 ? one : other, order < 0 ? other : one);
}

static void learn_reason(packet_info *pinfo, const uint8_t *option, size_t length,
                         Connection *connection)
{
    K8sIdentity identity;
    const char *told;

    if (k8s_identity_decode(option, length, &identity) < 0)
        return;
    told = told_reason(pinfo->pool, &identity);
    if (told && (!connection->reason || strcmp(told, connection->reason) != 0))
        connection->reason = wmem_strdup(wmem_file_scope(), told);
}

void k8s_tls_follow(packet_info *pinfo, const uint8_t *option, size_t length)
{
    conversation_t *conversation;
    const SslDecryptSession *session;
    Connection *connection;

    if (PINFO_FD_VISITED(pinfo) || pinfo->ptype != PT_TCP ||
        !proto_is_frame_protocol(pinfo->layers, "tls"))
        return;
    session = tls_session(pinfo, &conversation);
    if (!session)
        return;
    connection = connection_of(conversation);
    advance(pinfo, session, connection);
    if (!has_secrets(session))
        learn_reason(pinfo, option, length, connection);
}

/* Whether that there are no secrets by now means that there are none. */
static bool is_decided(packet_info *pinfo, conversation_t *conversation,
                       const SslDecryptSession *session)
{
    const Connection *connection;

    if (PINFO_FD_VISITED(pinfo) || !(session->state & SSL_CLIENT_RANDOM))
        return true;
    connection = conversation_get_proto_data(conversation, proto_own);
    return connection && connection->progress == DECIDED;
}

/* ---- The fields ------------------------------------------------------------------------------*/

static const char *reason_of_none(const conversation_t *conversation, const K8sIdentity *identity,
                                  const SslDecryptSession *session)
{
    const Connection *connection = conversation_get_proto_data(conversation, proto_own);

    if (!(identity->flags & IDENTITY_FLAG_SECRETS))
        return "no secrets were asked for";
    if (!(session->state & SSL_CLIENT_RANDOM))
        return "the connection began before the capture";
    if (!(session->state & SSL_SERVER_RANDOM))
        return "its handshake was not answered";
    if (connection && connection->reason)
        return connection->reason;
    return "no secrets came from its processes";
}

static void add_string(proto_tree *tree, int field, tvbuff_t *tvb, const char *text)
{
    proto_item_set_generated(proto_tree_add_string(tree, field, tvb, 0, 0, text));
}

void k8s_tls_add_fields(tvbuff_t *tvb, packet_info *pinfo, proto_tree *tree,
                        const K8sIdentity *identity)
{
    conversation_t *conversation;
    const SslDecryptSession *session;

    if (!proto_field_is_referenced(tree, hf_source) && !proto_field_is_referenced(tree, hf_reason))
        return;
    if (identity->packet[IDENTITY_L7 - IDENTITY_CLUSTER].length > 0) {
        add_string(tree, hf_source, tvb, "plaintext");
        return;
    }
    if (pinfo->ptype != PT_TCP || !(session = tls_session(pinfo, &conversation)))
        return;
    if (has_secrets(session)) {
        add_string(tree, hf_source, tvb, "keys");
    } else if (is_decided(pinfo, conversation, session)) {
        add_string(tree, hf_source, tvb, "none");
        add_string(tree, hf_reason, tvb, reason_of_none(conversation, identity, session));
    }
}

void k8s_tls_register(int proto_k8s)
{
    /* clang-format off */
    static hf_register_info hf[] = {
        {&hf_source, {"TLS plaintext from", "k8s.tls.source", FT_STRING, BASE_NONE, NULL, 0, "Where the plaintext of the TLS connection comes from: keys, plaintext, none", HFILL}},
        {&hf_reason, {"No TLS plaintext because", "k8s.tls.reason", FT_STRING, BASE_NONE, NULL, 0, "Why the TLS connection cannot be decrypted", HFILL}},
    };
    /* clang-format on */

    proto_own = proto_k8s;
    proto_register_field_array(proto_k8s, hf, array_length(hf));
}

void k8s_tls_handoff(void)
{
    proto_tls = proto_get_id_by_filter_name("tls");
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* Single questions: which nodes there are, and to one of them. */
#include "collector/collector.h"

#include "collector/followed-name.h"
#include "collector/node-stream.h"
#include "common/rpc/rpc.h"
#include "proto/stream.h"

static void wait_for_answer(FollowedName *name, uint64_t timeout_ns)
{
    followed_name_tend(name, 0, 0); /* starts the lookup */
    if (name->lookup && lookup_wait(name->lookup, timeout_ns))
        followed_name_tend(name, 0, 0);
}

char **collector_endpoint_nodes(const char *endpoint, bool insecure, uint64_t timeout_ns,
                                GError **error)
{
    if (!rpc_endpoint_is_name(endpoint))
        return g_strdupv((char *[]){(char *)endpoint, NULL});
    FollowedName *name = followed_name_new(endpoint, insecure, &resolver_system, 0, error);
    if (!name)
        return NULL;
    wait_for_answer(name, timeout_ns);
    char **nodes = NULL;
    if (name->has_answered) {
        nodes = g_new0(char *, name->nodes->len + 1);
        for (guint i = 0; i < name->nodes->len; i++)
            nodes[i] = g_strdup(name->nodes->pdata[i]);
    } else {
        g_set_error(error, COLLECTOR_ERROR, COLLECTOR_ERROR_CONNECT,
                    "%s: %s. " FOLLOWED_NAME_ADVICE, endpoint,
                    name->problem ? name->problem : FOLLOWED_NAME_SILENCE);
    }
    followed_name_free(name);
    return nodes;
}

/* Asks and unpacks; NULL with the error set. */
static ProtobufCMessage *ask(const char *endpoint, bool insecure, const char *method,
                             const ProtobufCMessage *request,
                             const ProtobufCMessageDescriptor *answer, uint64_t timeout_ns,
                             GError **error)
{
    ProtobufCMessage *ret = NULL;
    RpcClient *client = rpc_client_new();
    RpcChannel *channel = rpc_channel_new(client, endpoint, insecure, error);
    if (channel) {
        size_t length = protobuf_c_message_get_packed_size(request);
        g_autofree uint8_t *packed = g_malloc(length + 1);
        g_autofree uint8_t *bytes = NULL;
        protobuf_c_message_pack(request, packed);
        size_t bytes_length = 0;
        int r = rpc_channel_call(channel, method, packed, length, timeout_ns, &bytes, &bytes_length,
                                 error);
        if (r < 0 && *node_stream_advice(r))
            g_prefix_error(error, "%s ", node_stream_advice(r));
        if (r == 0 && stream_unpack(answer, bytes, bytes_length, &ret) < 0)
            g_set_error(error, COLLECTOR_ERROR, COLLECTOR_ERROR_PROTOCOL,
                        "%s: the answer is none of Remora's protocol; check the port", endpoint);
    }
    rpc_channel_free(channel);
    rpc_client_free(client);
    return ret;
}

Remora__V1__ListTargetsResponse *collector_list_targets(const char *endpoint, bool insecure,
                                                        uint64_t timeout_ns, GError **error)
{
    Remora__V1__TargetSelector all = REMORA__V1__TARGET_SELECTOR__INIT;
    Remora__V1__ListTargetsRequest request = REMORA__V1__LIST_TARGETS_REQUEST__INIT;
    request.targets = &all;
    return (Remora__V1__ListTargetsResponse *)ask(
        endpoint, insecure, REMORA_METHOD_LIST_TARGETS, &request.base,
        &remora__v1__list_targets_response__descriptor, timeout_ns, error);
}

Remora__V1__GetStatusResponse *collector_get_status(const char *endpoint, bool insecure,
                                                    uint64_t timeout_ns, GError **error)
{
    Remora__V1__GetStatusRequest request = REMORA__V1__GET_STATUS_REQUEST__INIT;
    return (Remora__V1__GetStatusResponse *)ask(
        endpoint, insecure, REMORA_METHOD_GET_STATUS, &request.base,
        &remora__v1__get_status_response__descriptor, timeout_ns, error);
}

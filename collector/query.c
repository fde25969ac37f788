// SPDX-License-Identifier: GPL-2.0-or-later
/* Single questions to one endpoint. */
#include "collector/collector.h"

#include "collector/node-stream.h"
#include "common/rpc/rpc.h"
#include "proto/stream.h"

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

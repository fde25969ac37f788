// SPDX-License-Identifier: GPL-2.0-or-later
/* HTTP/2 (RFC 9113) and gRPC over it: a call is a stream. It is answered when the server ends the
 * stream, and by the status that stands in the last of its headers that have one. */
#include "plugins/ws_compat.h"

#include "plugins/calls/adapter.h"

#include <stdlib.h>
#include <string.h>

enum {
    STREAM,
    STREAM_ID,
    TYPE,
    END_STREAM,
    METHOD,
    PATH,
    STATUS,
    CONTENT_TYPE,
    HEADER_NAME,
    HEADER_VALUE,
    RESET
};

enum { FRAME_RST_STREAM = 3 };

static const char *const fields[] = {
    [STREAM] = "http2.stream",
    [STREAM_ID] = "http2.streamid",
    [TYPE] = "http2.type",
    [END_STREAM] = "http2.flags.end_stream",
    [METHOD] = "http2.headers.method",
    [PATH] = "http2.headers.path",
    [STATUS] = "http2.headers.status",
    [CONTENT_TYPE] = "http2.headers.content_type",
    [HEADER_NAME] = "http2.header.name",
    [HEADER_VALUE] = "http2.header.value",
    [RESET] = "http2.rst_stream.error",
};

static const value_string grpc_codes[] = {
    {0, "OK"},
    {1, "CANCELLED"},
    {2, "UNKNOWN"},
    {3, "INVALID_ARGUMENT"},
    {4, "DEADLINE_EXCEEDED"},
    {5, "NOT_FOUND"},
    {6, "ALREADY_EXISTS"},
    {7, "PERMISSION_DENIED"},
    {8, "RESOURCE_EXHAUSTED"},
    {9, "FAILED_PRECONDITION"},
    {10, "ABORTED"},
    {11, "OUT_OF_RANGE"},
    {12, "UNIMPLEMENTED"},
    {13, "INTERNAL"},
    {14, "UNAVAILABLE"},
    {15, "DATA_LOSS"},
    {16, "UNAUTHENTICATED"},
    {0, NULL},
};

/* The value of a header that has no field of its own. */
static const char *header(const CallMessage *message, const char *name)
{
    bool is_it = false;

    for (unsigned i = 0; i < message->n_parts; i++) {
        const CallPart *part = &message->parts[i];

        if (part->field == HEADER_NAME) {
            const char *text = call_info_text(message, part->info);

            is_it = text && strcmp(text, name) == 0;
        } else if (part->field == HEADER_VALUE && is_it) {
            return call_info_text(message, part->info);
        }
    }
    return NULL;
}

static void begin(CallMessage *message, uint64_t stream, const char *method)
{
    const char *type = call_part_text(message, CONTENT_TYPE);
    bool is_grpc = type && g_str_has_prefix(type, "application/grpc");

    call_request(message, &(CallRequest){
                              .key = stream,
                              .protocol = is_grpc ? "gRPC" : "HTTP/2",
                              .method = method,
                              .target = call_part_text(message, PATH),
                          });
}

/* What an answer's headers say is noted in the call, which is pending until the stream ends. */
static void note_status(CallMessage *message, Call *call)
{
    const char *status = call_part_text(message, STATUS);
    const char *grpc = header(message, "grpc-status");

    if (status && atoi(status) >= 200) {
        call->status_code = atoi(status);
        call->status = call_keep_text(status);
        call->error = call->status_code >= 400;
    }
    if (grpc) {
        call->protocol = "gRPC";
        call->status_code = atoi(grpc);
        call->status = call_keep_text(call_code_name(message, grpc_codes, call->status_code));
        call->error = call->status_code != 0;
    }
}

static void end(CallMessage *message, uint64_t stream, const Call *call)
{
    int64_t reset = call_part_number(message, RESET, -1);

    /* A server that has answered in full may end the client's half by NO_ERROR. */
    if (reset > 0 || (reset == 0 && !call->status))
        call_answer(message, &(CallAnswer){
                                 .key = stream,
                                 .status = wmem_strdup_printf(
                                     message->pinfo->pool, "reset: %s",
                                     call_info_name(message, call_part(message, RESET))),
                                 .status_code = -1,
                                 .error = true,
                             });
    else
        call_answer(message, &(CallAnswer){
                                 .key = stream,
                                 .status = call->status,
                                 .status_code = call->status_code,
                                 .error = call->error,
                             });
}

static void message(CallMessage *message)
{
    int64_t stream = call_part_number(message, STREAM_ID, 0);
    const char *method = call_part_text(message, METHOD);
    Call *call;

    if (stream <= 0)
        return;
    if (method) {
        begin(message, (uint64_t)stream, method);
        return;
    }
    call = call_pending(message, (uint64_t)stream);
    if (!call)
        return;
    if (call_part(message, RESET)) {
        end(message, (uint64_t)stream, call);
        return;
    }
    /* Who made the call is who sent the frame with the method. */
    if (call_is_from_client(message))
        return;
    call->response_bytes += message->bytes;
    note_status(message, call);
    if (call_part_number(message, END_STREAM, 0))
        end(message, (uint64_t)stream, call);
}

const CallAdapter call_http2 = {
    .protocol = "http2",
    .fields = fields,
    .n_fields = array_length(fields),
    .by_child = true,
    .unique_keys = true,
    .message = message,
};

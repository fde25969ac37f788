// SPDX-License-Identifier: GPL-2.0-or-later
/* HTTP/1.0 and 1.1 (RFC 9112): answers come in the order of the requests. */
#include "plugins/ws_compat.h"

#include "plugins/calls/adapter.h"

enum { METHOD, URI, REQUEST_VERSION, STATUS, PHRASE, RESPONSE_VERSION };

static const char *const fields[] = {
    [METHOD] = "http.request.method",           [URI] = "http.request.uri",
    [REQUEST_VERSION] = "http.request.version", [STATUS] = "http.response.code",
    [PHRASE] = "http.response.phrase",          [RESPONSE_VERSION] = "http.response.version",
};

static void message(CallMessage *message)
{
    const char *method = call_part_text(message, METHOD);
    int64_t status = call_part_number(message, STATUS, -1);
    const char *phrase = call_part_text(message, PHRASE);

    if (method)
        call_request(message, &(CallRequest){
                                  .protocol = call_part_text(message, REQUEST_VERSION),
                                  .method = method,
                                  .target = call_part_text(message, URI),
                              });
    /* 1xx is not the answer yet, but for 101, after which another protocol begins. */
    if (status >= 200 || status == 101)
        call_answer(message,
                    &(CallAnswer){
                        .protocol = call_part_text(message, RESPONSE_VERSION),
                        .status = wmem_strdup_printf(message->pinfo->pool, "%d%s%s", (int)status,
                                                     phrase ? " " : "", phrase ? phrase : ""),
                        .status_code = (int32_t)status,
                        .error = status >= 400,
                    });
}

const CallAdapter call_http = {
    .protocol = "http",
    .fields = fields,
    .n_fields = array_length(fields),
    .message = message,
};

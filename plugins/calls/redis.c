// SPDX-License-Identifier: GPL-2.0-or-later
/* Redis (RESP2): commands are arrays of strings; answers come in the order of the commands. What a
 * server sends to subscribers is no answer. */
#include "plugins/ws_compat.h"

#include "plugins/calls/adapter.h"

#include <string.h>

enum { ARRAY, BULK, VALUE, STRING, ERROR, INTEGER };

static const char *const fields[] = {
    [ARRAY] = "resp.array",   [BULK] = "resp.bulk_string", [VALUE] = "resp.bulk_string.value",
    [STRING] = "resp.string", [ERROR] = "resp.error",      [INTEGER] = "resp.integer",
};

/* The n-th string of an array; NULL: none. */
static const char *word(const CallMessage *message, unsigned n)
{
    for (unsigned i = 0; i < message->n_parts; i++) {
        if (message->parts[i].field == VALUE && n-- == 0)
            return call_info_text(message, message->parts[i].info);
    }
    return NULL;
}

static const char *upper_case(wmem_allocator_t *pool, const char *text)
{
    char *copy = wmem_strdup(pool, text);

    for (char *c = copy; *c; c++)
        *c = g_ascii_toupper(*c);
    return copy;
}

static void command(CallMessage *message)
{
    const char *verb = word(message, 0);

    if (verb)
        call_request(message, &(CallRequest){
                                  .protocol = "Redis",
                                  .method = upper_case(message->pinfo->pool, verb),
                                  .target = word(message, 1),
                              });
}

static bool is_pushed(const CallMessage *message)
{
    const char *kind = message->parts[0].field == ARRAY ? word(message, 0) : NULL;

    return kind && (strcmp(kind, "message") == 0 || strcmp(kind, "pmessage") == 0 ||
                    strcmp(kind, "smessage") == 0);
}

static const char *status_of(const CallMessage *message)
{
    switch (message->parts[0].field) {
    case ERROR:
    case STRING:
        return call_info_text(message, message->parts[0].info);
    case INTEGER:
        return wmem_strdup_printf(message->pinfo->pool, "%" PRId64,
                                  call_info_number(message->parts[0].info));
    case ARRAY:
        return "array";
    default:
        return call_part(message, VALUE) ? "value" : "nil";
    }
}

static void message(CallMessage *message)
{
    if (call_is_from_client(message)) {
        if (message->parts[0].field == ARRAY)
            command(message);
    } else if (!is_pushed(message)) {
        call_answer(message, &(CallAnswer){
                                 .protocol = "Redis",
                                 .status = status_of(message),
                                 .status_code = -1,
                                 .error = message->parts[0].field == ERROR,
                             });
    }
}

const CallAdapter call_redis = {
    .protocol = "resp",
    .fields = fields,
    .n_fields = array_length(fields),
    .by_child = true,
    .message = message,
};

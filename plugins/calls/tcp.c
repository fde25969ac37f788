// SPDX-License-Identifier: GPL-2.0-or-later
/* TCP connections (RFC 9293): made or refused. And their ends, which end what is pending. */
#include "plugins/ws_compat.h"

#include "plugins/calls/adapter.h"

#define FLAG_FIN 0x01
#define FLAG_SYN 0x02
#define FLAG_RST 0x04
#define FLAG_ACK 0x10

enum { FLAGS };

static const char *const fields[] = {[FLAGS] = "tcp.flags"};

static void answer(CallMessage *message, const char *status, bool error)
{
    call_answer(message, &(CallAnswer){
                             .protocol = "TCP",
                             .status = status,
                             .status_code = -1,
                             .error = error,
                         });
}

static void message(CallMessage *message)
{
    int64_t flags = call_part_number(message, FLAGS, 0);

    if ((flags & (FLAG_SYN | FLAG_ACK)) == FLAG_SYN) {
        call_conversation_begins(message);
        call_request(message, &(CallRequest){
                                  .protocol = "TCP",
                                  .method = "connect",
                                  .target = wmem_strdup_printf(message->pinfo->pool, "port %u",
                                                               message->pinfo->destport),
                              });
    } else if (flags & FLAG_SYN) {
        if (call_pending(message, 0))
            answer(message, "established", false);
    } else if (flags & FLAG_RST) {
        if (call_pending(message, 0))
            answer(message, "refused", true);
        call_connection_ends(message, true);
    } else if ((flags & FLAG_FIN) && !call_is_from_client(message)) {
        call_connection_ends(message, false);
    }
}

const CallAdapter call_tcp = {
    .protocol = "tcp",
    .fields = fields,
    .n_fields = array_length(fields),
    .unique_keys = true, /* a SYN that is sent again is the same */
    .message = message,
};

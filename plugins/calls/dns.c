// SPDX-License-Identifier: GPL-2.0-or-later
/* DNS (RFC 1035): told apart by the transaction's number; a query that is sent again keeps it. */
#include "plugins/ws_compat.h"

#include "plugins/calls/adapter.h"

enum { ID, IS_RESPONSE, NAME, TYPE, CODE };

static const char *const fields[] = {
    [ID] = "dns.id",         [IS_RESPONSE] = "dns.flags.response", [NAME] = "dns.qry.name",
    [TYPE] = "dns.qry.type", [CODE] = "dns.flags.rcode",
};

static const value_string codes[] = {
    /* RFC 6895 */
    {0, "NOERROR"}, {1, "FORMERR"}, {2, "SERVFAIL"}, {3, "NXDOMAIN"},
    {4, "NOTIMP"},  {5, "REFUSED"}, {6, "YXDOMAIN"}, {7, "YXRRSET"},
    {8, "NXRRSET"}, {9, "NOTAUTH"}, {10, "NOTZONE"}, {0, NULL},
};

static void message(CallMessage *message)
{
    const field_info *type = call_part(message, TYPE);
    int64_t id = call_part_number(message, ID, -1);
    int64_t code = call_part_number(message, CODE, -1);

    if (id < 0)
        return;
    if (!call_part_number(message, IS_RESPONSE, 0)) {
        call_request(message, &(CallRequest){
                                  .key = (uint64_t)id,
                                  .protocol = "DNS",
                                  .method = type ? call_info_name(message, type) : NULL,
                                  .target = call_part_text(message, NAME),
                              });
        return;
    }
    call_answer(message, &(CallAnswer){
                             .key = (uint64_t)id,
                             .protocol = "DNS",
                             .status = call_code_name(message, codes, code),
                             .status_code = (int32_t)code,
                             .error = code > 0,
                         });
}

const CallAdapter call_dns = {
    .protocol = "dns",
    .fields = fields,
    .n_fields = array_length(fields),
    .unique_keys = true,
    .message = message,
};

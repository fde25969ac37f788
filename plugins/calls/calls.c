// SPDX-License-Identifier: GPL-2.0-or-later
/* Calls are found in the first pass over the file that makes trees, packet after packet, and later
 * passes show what was found. Making trees for that alone would cost tshark a fifth of its time, so
 * there they are found where something else wants fields: a filter, a column, -V, -T, or a tap of
 * calls. What nobody could see is not looked for. Programs with windows are asked later, and so
 * have to look in any case. */
#include "plugins/ws_compat.h"

#include "plugins/calls/calls.h"

#include <epan/packet.h>
#include <epan/tap.h>

#include "plugins/calls/engine.h"
#include "plugins/calls/message.h"
#include "plugins/stats/reports.h"

static int proto_call;
static int ett_call = -1;
static int hf_protocol, hf_method, hf_target, hf_status, hf_status_code, hf_error, hf_state,
    hf_latency, hf_request_in, hf_response_in, hf_request_size, hf_response_size, hf_retries,
    hf_summary;
static int call_tap;
static uint32_t followed; /* up to this frame */

/* ---- Fields ----------------------------------------------------------------------------------*/

typedef struct Shown {
    tvbuff_t *tvb;
    packet_info *pinfo;
    proto_tree *tree;
} Shown;

static void add_text(const Shown *to, int field, const char *text)
{
    if (text)
        proto_item_set_generated(proto_tree_add_string(to->tree, field, to->tvb, 0, 0, text));
}

static void add_number(const Shown *to, int field, uint32_t number)
{
    proto_item_set_generated(proto_tree_add_uint(to->tree, field, to->tvb, 0, 0, number));
}

/* What became of a call stands where it ended and nowhere else, so that a filter finds each once,
 * and finds the same in one pass as in two. */
static void add_end(const Shown *to, const Call *call)
{
    int64_t latency = call_latency_ns(call);

    add_text(to, hf_state, call_state_name(call));
    add_text(to, hf_status, call->status);
    if (call->status_code >= 0)
        add_number(to, hf_status_code, (uint32_t)call->status_code);
    proto_item_set_generated(
        proto_tree_add_boolean(to->tree, hf_error, to->tvb, 0, 0, call->error));
    if (latency >= 0) {
        nstime_t time = {latency / 1000000000, (int)(latency % 1000000000)};

        proto_item_set_generated(proto_tree_add_time(to->tree, hf_latency, to->tvb, 0, 0, &time));
    }
    if (call->response_frame)
        add_number(to, hf_response_size, call->response_bytes);
    if (call->retries)
        add_number(to, hf_retries, call->retries);
    if (call->request_frame)
        add_number(to, hf_request_in, call->request_frame);
}

/* Only where the file has been read once it is known that nothing came. */
static void add_beginning(const Shown *to, const Call *call)
{
    if (call->response_frame)
        add_number(to, hf_response_in, call->response_frame);
    else if (call->state == CALL_PENDING && PINFO_FD_VISITED(to->pinfo))
        add_text(to, hf_state, call_state_name(call));
}

static void add_half(const Shown *to, const CallHalf *half)
{
    const Call *call = half->call;
    const char *summary =
        half->ends ? call_summary(to->pinfo->pool, call) : call_request_line(to->pinfo->pool, call);
    proto_item *item = proto_tree_add_item(to->tree, proto_call, to->tvb, 0, 0, ENC_NA);
    Shown in = {to->tvb, to->pinfo, proto_item_add_subtree(item, ett_call)};

    proto_item_set_generated(item);
    proto_item_append_text(item, ", %s", summary);
    add_text(&in, hf_summary, summary);
    add_text(&in, hf_protocol, call->protocol);
    add_text(&in, hf_method, call->method);
    add_text(&in, hf_target, call->target);
    if (call->request_frame)
        add_number(&in, hf_request_size, call->request_bytes);
    if (half->ends)
        add_end(&in, call);
    else
        add_beginning(&in, call);
}

/* ---- Packets ---------------------------------------------------------------------------------*/

/* Wireshark forgets what fields are wanted with each packet that had them. */
static ws_bool prime_again(wmem_allocator_t *pool _U_, wmem_cb_event_t event _U_, void *data _U_)
{
    call_messages_prime();
    return false;
}

static void follow(packet_info *pinfo, proto_tree *tree)
{
    if (!tree || pinfo->num <= followed)
        return;
    followed = pinfo->num;
    wmem_register_callback(pinfo->pool, prime_again, NULL);
    call_messages_each(pinfo, tree);
}

static int dissect_call(tvbuff_t *tvb, packet_info *pinfo, proto_tree *tree, void *data _U_)
{
    const CallHalf *halves;
    Shown to = {tvb, pinfo, tree};

    follow(pinfo, tree);
    halves = call_engine_halves(pinfo);
    if (!halves)
        return 0;
    if (proto_field_is_referenced(tree, proto_call)) {
        for (const CallHalf *half = halves; half; half = half->next)
            add_half(&to, half);
    }
    if (have_tap_listener(call_tap)) {
        for (const CallHalf *half = halves; half; half = half->next)
            tap_queue_packet(call_tap, pinfo, half);
    }
    return tvb_captured_length(tvb);
}

static void begin_file(void)
{
    followed = 0;
    call_messages_prime();
}

/* clang-format off */
static hf_register_info hf[] = {
    {&hf_summary, {"Summary", "k8s.call.summary", FT_STRING, BASE_NONE, NULL, 0, "The call in a line", HFILL}},
    {&hf_protocol, {"Protocol", "k8s.call.protocol", FT_STRING, BASE_NONE, NULL, 0, "Protocol of the call", HFILL}},
    {&hf_method, {"Method", "k8s.call.method", FT_STRING, BASE_NONE, NULL, 0, "Verb, command or kind of query", HFILL}},
    {&hf_target, {"Target", "k8s.call.target", FT_STRING, BASE_NONE, NULL, 0, "Path, name, key or topic", HFILL}},
    {&hf_status, {"Status", "k8s.call.status", FT_STRING, BASE_NONE, NULL, 0, "How the protocol answers", HFILL}},
    {&hf_status_code, {"Status code", "k8s.call.status_code", FT_UINT32, BASE_DEC, NULL, 0, "The answer as the protocol's number", HFILL}},
    {&hf_error, {"Error", "k8s.call.error", FT_BOOLEAN, BASE_NONE, NULL, 0, "Whether the call failed, by the rules of its protocol", HFILL}},
    {&hf_state, {"State", "k8s.call.state", FT_STRING, BASE_NONE, NULL, 0, "pending, answered, unanswered (the connection ended first), or no request (it is not in the file)", HFILL}},
    {&hf_latency, {"Latency", "k8s.call.latency", FT_RELATIVE_TIME, BASE_NONE, NULL, 0, "From the last packet of the request to the last packet of the answer", HFILL}},
    {&hf_request_in, {"Request in", "k8s.call.request_in", FT_FRAMENUM, BASE_NONE, FRAMENUM_TYPE(FT_FRAMENUM_REQUEST), 0, "Packet that ends the request", HFILL}},
    {&hf_response_in, {"Response in", "k8s.call.response_in", FT_FRAMENUM, BASE_NONE, FRAMENUM_TYPE(FT_FRAMENUM_RESPONSE), 0, "Packet that ends the answer", HFILL}},
    {&hf_request_size, {"Request size", "k8s.call.request.size", FT_UINT32, BASE_DEC, NULL, 0, "Bytes of the request", HFILL}},
    {&hf_response_size, {"Response size", "k8s.call.response.size", FT_UINT32, BASE_DEC, NULL, 0, "Bytes of the answer", HFILL}},
    {&hf_retries, {"Retries", "k8s.call.retries", FT_UINT32, BASE_DEC, NULL, 0, "How often the request was made again before the answer", HFILL}},
};
/* clang-format on */

void proto_register_k8s_call(void)
{
    static int *ett[] = {&ett_call};

    proto_call = proto_register_protocol("Kubernetes Call", "K8s Call", "k8s.call");
    proto_register_field_array(proto_call, hf, array_length(hf));
    proto_register_subtree_array(ett, array_length(ett));
    call_tap = register_tap(CALL_TAP);
    call_engine_register(proto_call);
    register_init_routine(begin_file);
    calls_report_register();
    map_report_register();
}

void proto_reg_handoff_k8s_call(void)
{
    dissector_handle_t handle = create_dissector_handle(dissect_call, proto_call);

    register_postdissector(handle);
    call_messages_handoff();
    if (!ws_is_batch())
        set_postdissector_wanted_hfids(handle, call_messages_wanted());
}

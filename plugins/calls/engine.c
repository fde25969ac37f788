// SPDX-License-Identifier: GPL-2.0-or-later
#include "plugins/ws_compat.h"

#include "plugins/calls/engine.h"

#include <string.h>

#include <epan/conversation.h>
#include <epan/proto_data.h>

#define TEXT_MAX 255

/* What is kept of a conversation. */
typedef struct Peer {
    Call *first, *last; /* pending calls, in the order of their requests */
    bool has_beginning; /* its first packet is in the file */
    bool has_client;
    address client; /* who began it */
    uint32_t client_port;
} Peer;

typedef struct Frame {
    CallHalf *first, *last;
} Frame;

static int proto_calls;
static wmem_map_t *texts; /* kept ones, by content */
static wmem_map_t *keyed; /* pending calls of adapters with unique keys, by CallId */
static Call *oldest, *newest;

/* ---- Texts -----------------------------------------------------------------------------------*/

static size_t whole_characters(const char *text, size_t length)
{
    while (length > 0 && ((uint8_t)text[length] & 0xC0) == 0x80) /* UTF-8 goes on there */
        length--;
    return length;
}

const char *call_keep_text(const char *text)
{
    static const char ellipsis[] = "\xE2\x80\xA6";
    char cut[TEXT_MAX + 1];
    char *kept;

    if (!text)
        return NULL;
    if (strlen(text) > TEXT_MAX) {
        size_t length = whole_characters(text, TEXT_MAX + 1 - sizeof(ellipsis));

        memcpy(cut, text, length);
        memcpy(cut + length, ellipsis, sizeof(ellipsis));
        text = cut;
    }
    kept = wmem_map_lookup(texts, text);
    if (!kept) {
        kept = wmem_strdup(wmem_file_scope(), text);
        wmem_map_insert(texts, kept, kept);
    }
    return kept;
}

/* ---- Conversations ---------------------------------------------------------------------------*/

static Peer *peer_of(conversation_t *conversation)
{
    Peer *peer = conversation_get_proto_data(conversation, proto_calls);

    if (!peer) {
        peer = wmem_new0(wmem_file_scope(), Peer);
        conversation_add_proto_data(conversation, proto_calls, peer);
    }
    return peer;
}

static void set_client(Peer *peer, const address *client, uint32_t port)
{
    peer->has_client = true;
    copy_address_wmem(wmem_file_scope(), &peer->client, client);
    peer->client_port = port;
}

void call_conversation_begins(CallMessage *message)
{
    Peer *peer = peer_of(message->conversation);

    peer->has_beginning = true;
    set_client(peer, &message->pinfo->src, message->pinfo->srcport);
}

bool call_is_from_client(const CallMessage *message)
{
    const packet_info *pinfo = message->pinfo;
    Peer *peer = peer_of(message->conversation);

    if (!peer->has_client) {
        /* Servers nearly always have the lower port. */
        if (pinfo->srcport >= pinfo->destport)
            set_client(peer, &pinfo->src, pinfo->srcport);
        else
            set_client(peer, &pinfo->dst, pinfo->destport);
    }
    return peer->client_port == pinfo->srcport && addresses_equal(&peer->client, &pinfo->src);
}

/* ---- Pending calls ---------------------------------------------------------------------------*/

static unsigned hash_id(const void *id)
{
    return wmem_strong_hash(id, sizeof(CallId));
}

static gboolean same_id(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(CallId)) == 0;
}

static void add_pending(Peer *peer, Call *call)
{
    call->previous = peer->last;
    if (peer->last)
        peer->last->next = call;
    else
        peer->first = call;
    peer->last = call;
    if (call->id.adapter->unique_keys)
        wmem_map_insert(keyed, &call->id, call);
}

static void remove_pending(Peer *peer, Call *call)
{
    if (call->previous)
        call->previous->next = call->next;
    else
        peer->first = call->next;
    if (call->next)
        call->next->previous = call->previous;
    else
        peer->last = call->previous;
    call->next = call->previous = NULL;
    if (call->id.adapter->unique_keys)
        wmem_map_remove(keyed, &call->id);
}

Call *call_pending(const CallMessage *message, uint64_t key)
{
    if (message->adapter->unique_keys) {
        CallId id = {message->adapter, message->conversation, key};

        return wmem_map_lookup(keyed, &id);
    }
    for (Call *call = peer_of(message->conversation)->first; call; call = call->next) {
        if (call->id.adapter == message->adapter && call->id.key == key)
            return call;
    }
    return NULL;
}

/* ---- Halves ----------------------------------------------------------------------------------*/

static void add_half(packet_info *pinfo, Call *call, bool ends)
{
    CallHalf *half = wmem_new0(wmem_file_scope(), CallHalf);
    Frame *frame = p_get_proto_data(wmem_file_scope(), pinfo, proto_calls, 0);

    half->call = call;
    half->ends = ends;
    if (!frame) {
        frame = wmem_new0(wmem_file_scope(), Frame);
        frame->first = half;
        p_add_proto_data(wmem_file_scope(), pinfo, proto_calls, 0, frame);
    } else {
        frame->last->next = half;
    }
    frame->last = half;
}

const CallHalf *call_engine_halves(packet_info *pinfo)
{
    const Frame *frame = p_get_proto_data(wmem_file_scope(), pinfo, proto_calls, 0);

    return frame ? frame->first : NULL;
}

static int64_t packet_ns(const packet_info *pinfo)
{
    return (int64_t)pinfo->abs_ts.secs * 1000000000 + pinfo->abs_ts.nsecs;
}

static Call *new_call(const CallMessage *message, uint64_t key, bool from_client)
{
    Call *call = wmem_new0(wmem_file_scope(), Call);

    call->id = (CallId){message->adapter, message->conversation, key};
    call->ends = call_ends(message->pinfo, from_client);
    call->status_code = -1;
    if (newest)
        newest->newer = call;
    else
        oldest = call;
    newest = call;
    return call;
}

Call *call_request(CallMessage *message, const CallRequest *request)
{
    Call *call = message->adapter->unique_keys ? call_pending(message, request->key) : NULL;

    if (call) {
        if (call->retries < UINT16_MAX)
            call->retries++;
        add_half(message->pinfo, call, false);
        return call;
    }
    call = new_call(message, request->key, true);
    call->protocol = call_keep_text(request->protocol);
    call->method = call_keep_text(request->method);
    call->target = call_keep_text(request->target);
    call->request_frame = message->pinfo->num;
    call->request_bytes = message->bytes;
    call->request_ns = packet_ns(message->pinfo);
    add_pending(peer_of(message->conversation), call);
    add_half(message->pinfo, call, false);
    return call;
}

static void take_answer(const CallMessage *message, Call *call, const CallAnswer *answer)
{
    call->status = call_keep_text(answer->status);
    call->status_code = answer->status_code;
    call->error = answer->error;
    call->response_frame = message->pinfo->num;
    call->response_bytes = message->bytes;
    call->response_ns = packet_ns(message->pinfo);
}

Call *call_answer(CallMessage *message, const CallAnswer *answer)
{
    Peer *peer = peer_of(message->conversation);
    Call *call = call_pending(message, answer->key);

    if (call) {
        remove_pending(peer, call);
        call->state = CALL_ANSWERED;
    } else if (peer->has_beginning) {
        return NULL;
    } else {
        call = new_call(message, answer->key, false);
        call->protocol = call_keep_text(answer->protocol);
        call->state = CALL_NO_REQUEST;
    }
    take_answer(message, call, answer);
    add_half(message->pinfo, call, true);
    return call;
}

void call_connection_ends(CallMessage *message, bool by_reset)
{
    Peer *peer = peer_of(message->conversation);
    Call *call;

    while ((call = peer->first)) {
        remove_pending(peer, call);
        call->state = CALL_UNANSWERED;
        call->error = true;
        call->status = call_keep_text(by_reset ? "connection reset" : "connection closed");
        call->response_ns = packet_ns(message->pinfo);
        add_half(message->pinfo, call, true);
    }
}

void call_engine_foreach(void (*each)(const Call *call, void *data), void *data)
{
    for (const Call *call = oldest; call; call = call->newer)
        each(call, data);
}

static void forget(void)
{
    oldest = newest = NULL;
}

void call_engine_register(int proto)
{
    _Static_assert(sizeof(CallId) == 2 * sizeof(void *) + 8, "compared as bytes");
    proto_calls = proto;
    texts =
        wmem_map_new_autoreset(wmem_epan_scope(), wmem_file_scope(), wmem_str_hash, g_str_equal);
    keyed = wmem_map_new_autoreset(wmem_epan_scope(), wmem_file_scope(), hash_id, same_id);
    call_ends_register();
    register_cleanup_routine(forget);
}

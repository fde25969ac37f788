// SPDX-License-Identifier: GPL-2.0-or-later
/* What calls are in one protocol. An adapter is a file with one of these structures and a line in
 * adapters.c. It sees messages: fields that Wireshark's own dissector has found, in their order. */
#pragma once

#include "plugins/calls/call.h"

#include <epan/proto.h>
#include <epan/value_string.h>

#define CALL_PARTS_MAX 192 /* of a message; what comes behind is not looked at */

typedef struct CallPart {
    unsigned field; /* place in CallAdapter.fields */
    const field_info *info;
} CallPart;

typedef struct CallMessage {
    const CallAdapter *adapter;
    packet_info *pinfo;
    conversation_t *conversation;
    CallPart parts[CALL_PARTS_MAX];
    unsigned n_parts;
    uint32_t bytes;
} CallMessage;

struct CallAdapter {
    const char *protocol;      /* Wireshark's filter name; its items are what is looked into */
    const char *const *fields; /* names; those that this Wireshark does not have never come */
    unsigned n_fields;
    /* Each field that stands directly under the protocol begins a message; else all of the
     * protocol's item is one. */
    bool by_child;
    /* Keys tell calls of a conversation apart, and a request with the key of a pending one is the
     * same again. Else calls of a key are answered in the order in which they were made. */
    bool unique_keys;
    void (*message)(CallMessage *message);
};

/* ---- What an adapter asks a message ----------------------------------------------------------*/

/* The first part of that field; NULL: none. */
const field_info *call_part(const CallMessage *message, unsigned field);
/* Its text, in the packet's memory or the field's; NULL: none. Bytes are taken as UTF-8. */
const char *call_part_text(const CallMessage *message, unsigned field);
const char *call_info_text(const CallMessage *message, const field_info *info);
/* Its number; `otherwise` where there is none. Integers, and whether a flag is set. */
int64_t call_part_number(const CallMessage *message, unsigned field, int64_t otherwise);
int64_t call_info_number(const field_info *info);
/* What Wireshark calls the value of a field of numbers, without what it explains in brackets; else
 * the number. */
const char *call_info_name(const CallMessage *message, const field_info *info);
/* The same by a table. */
const char *call_code_name(const CallMessage *message, const value_string *names, int64_t code);
/* Whether who sends this packet began the conversation: by its first packet, else by the ports. */
bool call_is_from_client(const CallMessage *message);

/* ---- What it tells ---------------------------------------------------------------------------*/

typedef struct CallRequest {
    uint64_t key;
    const char *protocol, *method, *target; /* copied */
} CallRequest;

typedef struct CallAnswer {
    uint64_t key;
    const char *protocol; /* for an answer without a request */
    const char *status;
    int32_t status_code; /* -1: none */
    bool error;
} CallAnswer;

/* A request. The call, new or one that is made again. */
Call *call_request(CallMessage *message, const CallRequest *request);
/* The pending call with that key, the oldest if there are several; NULL: none. */
Call *call_pending(const CallMessage *message, uint64_t key);
/* The answer to it. NULL where there is no such request and the conversation was seen from its
 * beginning: then it is not an answer. Where the beginning is missing: a call without a request. */
Call *call_answer(CallMessage *message, const CallAnswer *answer);
/* Text that stays while the file is open; equal texts are one. At most 255 bytes are kept. */
const char *call_keep_text(const char *text);

/* With this packet the connection ends: what is pending, of all protocols, stays unanswered. */
void call_connection_ends(CallMessage *message, bool by_reset);
/* The sender of this packet begins the conversation, with it. */
void call_conversation_begins(CallMessage *message);

/* ---- All of them -----------------------------------------------------------------------------*/

extern const CallAdapter *const call_adapters[]; /* the last is NULL */

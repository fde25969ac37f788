// SPDX-License-Identifier: GPL-2.0-or-later
/* A call: a request and the answer to it, whatever the protocol. Calls are found once, while the
 * packets are dissected in their order for the first time with a tree, and stay for as long as the
 * file is open. */
#pragma once

#include "plugins/ws_compat.h"

#include <epan/conversation.h>
#include <epan/packet_info.h>

#include "plugins/calls/ends.h"

typedef enum CallState {
    CALL_PENDING,    /* no answer up to here; at the end of a file: none in it */
    CALL_ANSWERED,   /* both halves are there */
    CALL_UNANSWERED, /* the connection ended first */
    CALL_NO_REQUEST, /* an answer to what is not in the file: a capture that began later, or a loss
                      */
} CallState;

typedef struct CallAdapter CallAdapter;

/* What tells a pending call from all others; compared as bytes. */
typedef struct CallId {
    const CallAdapter *adapter;
    const conversation_t *conversation;
    uint64_t key;
} CallId;

typedef struct Call {
    CallId id;
    const CallEnds *ends;
    /* Texts stay while the file is open; equal ones are kept once. NULL: not told. */
    const char *protocol; /* "HTTP/1.1" */
    const char *method;   /* verb, command, type of query */
    const char *target;   /* path, name, key, topic */
    const char *status;   /* as the protocol has it: "404 Not Found", "NXDOMAIN" */
    int32_t status_code;  /* -1: the protocol has no numbers */
    uint32_t request_frame, response_frame; /* 0: none */
    uint32_t request_bytes, response_bytes; /* of the messages; fragments that came together */
    uint16_t retries;                       /* the same request again, before an answer */
    uint8_t state;                          /* CallState */
    bool error;
    int64_t request_ns, response_ns; /* since 1970, of the packet that ends the message */
    struct Call *next, *previous;    /* among the pending ones of a conversation */
    struct Call *newer;              /* among all of the file */
} Call;

/* A frame's half of a call. */
typedef struct CallHalf {
    Call *call;
    bool ends; /* here it ends: by its answer, or with its connection */
    struct CallHalf *next;
} CallHalf;

/* Nanoseconds from the end of the request to the end of the answer; -1 where one is missing. */
int64_t call_latency_ns(const Call *call);
/* "5.1 ms"; to be freed. */
char *call_duration_text(int64_t ns);
const char *call_state_name(const Call *call);
/* In that memory: "GET /items", and with what became of it: "GET /items -> 200 OK (5.1 ms)". */
const char *call_request_line(wmem_allocator_t *pool, const Call *call);
const char *call_summary(wmem_allocator_t *pool, const Call *call);

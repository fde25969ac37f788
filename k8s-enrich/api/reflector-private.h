// SPDX-License-Identifier: GPL-2.0-or-later
/* The inside of a Reflector: reflector.c asks and decides when to ask again, reflector-answer.c
 * takes what comes. */
#pragma once

#include "k8s-enrich/api/watch-private.h"

#define REFLECTOR_BACKOFF_MIN_NS (SECOND_NS / 2)

typedef enum State {
    STATE_WAITING, /* until next_ns */
    STATE_DISCOVERING,
    STATE_LISTING,
    STATE_WATCHING,
} State;

struct Reflector {
    ApiWatch *watch;
    ApiTransport *transport;
    Store *store;
    unsigned index;
    const ApiResource *resource;
    ApiScope scope;
    char *selector; /* "&fieldSelector=..." or "" */
    char *subject;

    State state;
    uint64_t next_ns;       /* monotonic */
    const char *version;    /* of the group; NULL: not known yet */
    char *resource_version; /* NULL: a list is needed */
    char *last_version;     /* the newest that was seen, also when a list is needed */
    char *continue_token;   /* the next page of the list that goes on, or NULL */
    unsigned pages;
    bool by_pages; /* what the server's cache says is not wanted, but pages of what is stored */
    bool settled;

    ApiTransfer *transfer;
    ApiDecoder *decoder;
    GByteArray *discovery;
    int status; /* of the answer; 0: none yet */
    bool list_told;
    bool status_told; /* a Status came in its place */
    int status_code;
    char *status_message;
    char *problem; /* found while taking the answer */
    unsigned retry_after_s;
    unsigned watch_s;
    uint64_t started_ns, inside_since_ns, events_seen;

    unsigned failures;
    bool told_when;    /* the server said when to come again */
    unsigned refusals; /* 403 and 404 in a row */
    bool rejected;     /* the credentials, and no success since */
    uint64_t failing_unix_ns;
    char *told; /* the problem that is in force */
    unsigned malformed;
    bool malformed_told;
};

/* ---- reflector.c -----------------------------------------------------------------------------*/

void reflector_forget_answer(Reflector *reflector);
/* The resource was listed, or that was refused: nobody waits for it any more. */
void reflector_settle(Reflector *reflector);
void reflector_well(Reflector *reflector);
/* The next request is made after `ns`. */
void reflector_wait(Reflector *reflector, uint64_t ns);
/* The same after a failure: after a time that doubles, or that the server wants. */
void reflector_fail(Reflector *reflector, const char *what);
/* 403 and 404: soon again at first, and after a minute at last. */
void reflector_fail_refused(Reflector *reflector);
/* The next request is a list. */
void reflector_need_list(Reflector *reflector, bool by_pages);
uint64_t reflector_jittered(uint64_t ns);

/* ---- reflector-answer.c ----------------------------------------------------------------------*/

extern const ApiTransferOps reflector_transfer_ops;

// SPDX-License-Identifier: GPL-2.0-or-later
/* A server with the methods that the tests of common/rpc call, and a client that takes notes. */
#pragma once

#include "common/rpc/rpc.h"

#define ECHO  "/test/Echo" /* unary: answers with the request */
#define FAIL  "/test/Fail" /* unary: request is one byte of errno, then the text */
#define BIG   "/test/Big" /* unary: tries to answer with more than allowed, then says how it went */
#define COUNT "/test/Count" /* stream of CountRequest */
#define MUTE  "/test/Mute"  /* stream that never says anything */

typedef struct CountRequest {
    uint32_t messages; /* then OK; UINT32_MAX: for ever */
    uint32_t length;   /* of each, at least 4: its number, then the number's low byte repeated */
} CountRequest;

typedef struct Service {
    RpcServer *server;
    GMutex lock; /* for what follows */
    GCond changed;
    unsigned opened, closed; /* streams; closed() calls */
    int closed_status;       /* of the last one */
    unsigned sent, released; /* messages, and how many of them were given back */
} Service;

Service *service_new(const char *endpoint);
Service *service_free(Service *service);
/* Waits until the value is there; fails the test after 30 s. */
void service_wait(Service *service, const unsigned *value, unsigned expected);
unsigned service_read(Service *service, const unsigned *value);
/* A server on a free port of 127.0.0.1. */
Service *service_new_tcp(char **ret_endpoint);

typedef struct Reader {
    RpcStream *stream;
    GMutex lock; /* for what follows */
    GCond changed;
    unsigned hold_at; /* do not ask for more after so many messages */
    unsigned messages, closed;
    uint64_t bytes;
    int status;
    char *text;
} Reader;

Reader *reader_open(RpcChannel *channel, const char *path, const void *request, size_t length);
/* Reads the given number of messages, then waits for reader_resume(). */
Reader *reader_open_held(RpcChannel *channel, const char *path, const void *request, size_t length,
                         unsigned hold_at);
void reader_resume(Reader *reader);
void reader_wait_messages(Reader *reader, unsigned at_least);
/* Waits for closed(). */
void reader_wait_closed(Reader *reader);
Reader *reader_free(Reader *reader);

/* A unary call that must succeed. */
void call_echo(RpcChannel *channel, const char *text);
/* An address on which nobody listens. */
char *free_endpoint(void);

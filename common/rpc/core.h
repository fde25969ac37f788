// SPDX-License-Identifier: GPL-2.0-or-later
/* What client and server share. Private to common/rpc. */
#pragma once

#include "common/rpc/rpc.h"

#include <grpc/grpc.h>

/* Starts and stops the gRPC library; counted. */
void rpc_library_ref(void);
void rpc_library_unref(void);

/* A tag of the completion queue: what to do when a batch is done. `ok`: as grpc_event.success. */
typedef struct RpcEvent {
    void (*done)(void *object, bool ok);
    void *object;
} RpcEvent;

/* Runs the events of a completion queue (data) until that is shut down; a GThreadFunc. */
gpointer rpc_queue_run(gpointer data);

/* Starts a batch whose end calls `event`. */
void rpc_batch_start(grpc_call *call, const grpc_op *ops, size_t n_ops, RpcEvent *event);

/* Arguments that both sides need alike: limits, keepalive, throughput. */
#define RPC_COMMON_ARGS_MAX 16
size_t rpc_common_args(grpc_arg *args);
grpc_arg rpc_arg(const char *key, int value);

/* A received message in one piece, in memory that is used again and grows as needed. */
typedef struct RpcFlat {
    uint8_t *data;
    size_t size;
} RpcFlat;
/* The message's bytes in memory that room() gives. Returns as rpc_message_flatten() does; room() is
 * only called on success. */
int rpc_message_copy(grpc_byte_buffer *buffer, uint8_t *(*room)(size_t length, void *userdata),
                     void *userdata, const uint8_t **ret, size_t *ret_length);
int rpc_message_flatten(grpc_byte_buffer *buffer, RpcFlat *flat, const uint8_t **ret,
                        size_t *ret_length);

/* ---- status.c */

grpc_status_code rpc_status_from_errno(int status);
int rpc_status_to_errno(grpc_status_code code);
/* What a person should read of a failed call: the cause, short, without gRPC's own decoration.
 * Never NULL or empty, valid UTF-8 without control characters. */
char *rpc_status_text(grpc_status_code code, const char *details, size_t length);

/* ---- endpoint.c */

typedef struct RpcEndpoint {
    char *host; /* name or address without brackets; NULL: a unix socket */
    uint16_t port;
    char *path;   /* of the unix socket, else NULL */
    char *target; /* as gRPC writes it */
    bool local;
} RpcEndpoint;

bool rpc_endpoint_parse(const char *text, RpcEndpoint *ret, GError **error);
void rpc_endpoint_clear(RpcEndpoint *endpoint);
/* Sets -EPERM and returns false where plain gRPC is not allowed. */
bool rpc_endpoint_check_plain(const RpcEndpoint *endpoint, const char *text, bool insecure,
                              GError **error);

/* ---- listen.c */

/* Makes `server` listen. Explains in `error` why it cannot. */
bool rpc_listen(grpc_server *server, const RpcEndpoint *endpoint, const char *text,
                unsigned *ret_port, GError **error);

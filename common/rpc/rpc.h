// SPDX-License-Identifier: GPL-2.0-or-later
/* gRPC, as much of it as Remora needs, over the C core (<grpc/grpc.h>). No other file includes
 * gRPC's headers.
 *
 * One thread of the library per server and per client context runs all callbacks of that object;
 * callbacks must not block. Statuses are -errno here and nowhere gRPC's numbers: 0 OK, -ECANCELED
 * CANCELLED, -EINVAL INVALID_ARGUMENT, -ETIMEDOUT DEADLINE_EXCEEDED, -ENOENT NOT_FOUND, -EACCES
 * PERMISSION_DENIED and UNAUTHENTICATED, -EMSGSIZE RESOURCE_EXHAUSTED, -EPERM FAILED_PRECONDITION,
 * -ENOSYS UNIMPLEMENTED, -ECONNREFUSED UNAVAILABLE (whatever the transport could not do), -EIO all
 * others.
 *
 * Endpoints: "HOST:PORT", "[IPv6]:PORT", "unix:/path" (or "unix:///path"). "dns:///NAME:PORT" is
 * the same as "NAME:PORT" here: one peer, at whichever of the name's addresses answers. Who means
 * all of them asks rpc_name_parse() and has a channel for each.
 *
 * For the whole process: gRPC's own log is silent unless $GRPC_VERBOSITY is set, and malloc() keeps
 * up to 16 MiB of free memory. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RPC_MESSAGE_MAX (4u * 1024u * 1024u)

#define RPC_ERROR (rpc_error_quark())
GQuark rpc_error_quark(void); /* GError codes are positive errno values */

/* Whether plain (unencrypted) gRPC to this endpoint stays on this machine: loopback addresses,
 * localhost, unix sockets. */
bool rpc_endpoint_is_local(const char *endpoint);

/* Whether it begins with "dns:///". */
bool rpc_endpoint_is_name(const char *endpoint);
/* The parts of "dns:///NAME[:PORT]". EINVAL for what is none, EPERM if plain gRPC would leave this
 * machine for a name and `insecure` is not set. The caller frees the name. */
bool rpc_name_parse(const char *endpoint, uint16_t default_port, bool insecure, char **ret_name,
                    uint16_t *ret_port, GError **error);
/* "10.0.0.1:7470", "[fd00::1]:7470"; the caller frees. */
char *rpc_endpoint_format(const char *address, uint16_t port);

/* Bytes with a reference count of somebody else's: handed to the transport without a copy. */
typedef struct RpcBytes {
    const void *data;
    size_t length;
    /* Called once when the transport needs them no more, before rpc_server_free() returns; from any
     * thread, gRPC's own and the one inside rpc_call_send() included. NULL: copy now. */
    void (*release)(void *owner);
    void *owner;
} RpcBytes;

/* ---- Server ----------------------------------------------------------------------------------*/

typedef struct RpcServer RpcServer;
typedef struct RpcCall RpcCall;

typedef struct RpcMethod {
    const char *path; /* "/remora.v1.Capture/Stream" */
    /* A call has come. `request` is valid during this function only. Sets the call's handlers
     * (streams) or answers at once with rpc_call_send() + rpc_call_finish(). */
    void (*start)(RpcCall *call, const uint8_t *request, size_t length, void *userdata);
} RpcMethod;

typedef struct RpcCallHandlers {
    /* A message was taken by the transport: the next may be sent. Not called for the first one. */
    void (*ready)(RpcCall *call, void *userdata);
    /* The call is over (peer went away, finished, server stops); the last callback for this call,
     * always called once. `call` is invalid afterwards unless a reference is held. */
    void (*closed)(RpcCall *call, int status, void *userdata);
} RpcCallHandlers;

/* Listens on all endpoints (up to NULL) and serves at once: start() may be called before this
 * returns. `methods` end with path == NULL and stay the caller's, as long as the server lives.
 * `insecure`: allow plain gRPC on addresses that are not local; refused with EPERM else. Files of
 * unix sockets are made with mode 0600 (which sets the process's umask for a moment) and removed
 * at the end; a stale one is replaced, a live one is an error. */
RpcServer *rpc_server_new(const char *const *endpoints, bool insecure, const RpcMethod *methods,
                          void *userdata, GError **error);
/* Port that the n-th endpoint got (for "127.0.0.1:0"); 0 for unix sockets. */
unsigned rpc_server_port(const RpcServer *server, unsigned index);
/* Cancels all calls, waits for their closed() callbacks, joins the thread. */
RpcServer *rpc_server_free(RpcServer *server);

RpcCall *rpc_call_ref(RpcCall *call);
RpcCall *rpc_call_unref(RpcCall *call);
/* Inside start() only; `handlers` are copied. */
void rpc_call_set_handlers(RpcCall *call, const RpcCallHandlers *handlers, void *userdata);
/* "ipv4:127.0.0.1:5000", "ipv6:[::1]:5000", "unix:"; valid as long as the call. */
const char *rpc_call_peer(const RpcCall *call);

/* Sends one message made of the given pieces. From any thread. At most one message is under way:
 * -EAGAIN until ready(). -EPIPE once the call is over or finished, -EMSGSIZE over RPC_MESSAGE_MAX.
 * On any failure the pieces are released too. */
int rpc_call_send(RpcCall *call, const RpcBytes *pieces, size_t n_pieces);
/* Ends the call with a status after what was sent. From any thread, once; later calls are ignored.
 * `message`, for a person, may be NULL; it is cut at 1024 bytes. */
void rpc_call_finish(RpcCall *call, int status, const char *message);

/* ---- Client ----------------------------------------------------------------------------------*/

/* A context: completion queue and thread, shared by many channels. */
typedef struct RpcClient RpcClient;
typedef struct RpcChannel RpcChannel;
typedef struct RpcStream RpcStream;

RpcClient *rpc_client_new(void);
RpcClient *rpc_client_free(RpcClient *client); /* all channels and streams must be gone */

/* Never blocks: the connection is made by the first call and kept; each channel has its own. A call
 * on a broken one is a new attempt, without any backoff. EINVAL for what is no endpoint, EPERM for
 * plain gRPC to a foreign address unless `insecure`. */
RpcChannel *rpc_channel_new(RpcClient *client, const char *endpoint, bool insecure, GError **error);
RpcChannel *rpc_channel_free(RpcChannel *channel);

/* One request, one answer, blocking, from any thread but the client's own. 0 with *ret (free with
 * g_free), or -errno with error set ("ENDPOINT: cause"). UINT64_MAX: wait for ever. */
int rpc_channel_call(RpcChannel *channel, const char *path, const void *request, size_t length,
                     uint64_t timeout_ns, uint8_t **ret, size_t *ret_length, GError **error);

/* What a connection's received bytes take at most. Beyond it gRPC ends streams rather than to hold
 * the peer back, so it must be out of reach of honest peers: those get a window of twice what
 * passes in a round trip, 16 MiB at least, and on a busy machine round trips are long (40 MiB were
 * seen). */
#define RPC_CHANNEL_MEMORY (256u * 1024u * 1024u)

typedef struct RpcStreamHandlers {
    /* Memory for the next message, which then goes there and nowhere else; message() follows at
     * once, in the same thread. NULL: the message stands in memory of the transport. */
    uint8_t *(*room)(size_t length, void *userdata);
    /* A message, valid during the callback only unless it is in the caller's own room. No further
     * one comes until rpc_stream_read(). */
    void (*message)(RpcStream *stream, const uint8_t *data, size_t length, void *userdata);
    /* The stream is over; always called once, last: after the messages that had arrived, so a
     * reader that holds back for ever must cancel. `text` is the peer's or the transport's message,
     * for a person ("connection refused"), valid during the callback; never NULL. */
    void (*closed)(RpcStream *stream, int status, const char *text, void *userdata);
} RpcStreamHandlers;

/* Opens a server stream. Tries to connect once, for 5 s at most: reconnecting is the caller's, with
 * its own backoff. The first read is asked for at once; handlers (copied) may be called before
 * this returns. */
RpcStream *rpc_stream_open(RpcChannel *channel, const char *path, const void *request,
                           size_t length, const RpcStreamHandlers *handlers, void *userdata);
/* Asks for the next message; nothing if that was already asked for. From any thread. Holding back
 * is flow control: beyond twice what fits into a round trip the peer cannot send; one that cheats
 * and fills RPC_CHANNEL_MEMORY loses the stream. */
void rpc_stream_read(RpcStream *stream);
/* From any thread, any number of times; closed(-ECANCELED) follows, or has come. */
void rpc_stream_cancel(RpcStream *stream);
/* Only after closed(), also inside it. */
RpcStream *rpc_stream_free(RpcStream *stream);

// SPDX-License-Identifier: GPL-2.0-or-later
#include "common/rpc/core.h"

#include <errno.h>
#include <string.h>

static const struct {
    grpc_status_code code;
    int status;
    const char *text; /* where the peer gave none */
} STATUSES[] = {
    {GRPC_STATUS_OK, 0, "the peer ended the call"},
    {GRPC_STATUS_CANCELLED, -ECANCELED, "cancelled"},
    {GRPC_STATUS_INVALID_ARGUMENT, -EINVAL, "the request is invalid"},
    {GRPC_STATUS_DEADLINE_EXCEEDED, -ETIMEDOUT, "no answer in time"},
    {GRPC_STATUS_NOT_FOUND, -ENOENT, "not found"},
    {GRPC_STATUS_PERMISSION_DENIED, -EACCES, "permission denied"},
    {GRPC_STATUS_UNAUTHENTICATED, -EACCES, "the peer does not know who is calling"},
    {GRPC_STATUS_RESOURCE_EXHAUSTED, -EMSGSIZE, "over a limit"},
    {GRPC_STATUS_FAILED_PRECONDITION, -EPERM, "the peer lacks what it needs for this"},
    {GRPC_STATUS_UNIMPLEMENTED, -ENOSYS, "the peer does not know this call"},
    {GRPC_STATUS_UNAVAILABLE, -ECONNREFUSED, "not available"},
    /* The last one also stands for all others. */
    {GRPC_STATUS_INTERNAL, -EIO, "internal error of the peer"},
};

grpc_status_code rpc_status_from_errno(int status)
{
    for (size_t i = 0; i < G_N_ELEMENTS(STATUSES); i++)
        if (STATUSES[i].status == status)
            return STATUSES[i].code;
    return GRPC_STATUS_INTERNAL;
}

static size_t find_code(grpc_status_code code)
{
    size_t i = 0;
    while (i < G_N_ELEMENTS(STATUSES) - 1 && STATUSES[i].code != code)
        i++;
    return i;
}

int rpc_status_to_errno(grpc_status_code code)
{
    return STATUSES[find_code(code)].status;
}

/* What gRPC writes about the transport, in the order in which to look for it, and what it means. */
static const struct {
    const char *pattern, *text;
} CAUSES[] = {
    {"Connection refused", "connection refused"},
    {"No such file or directory", "no such file"},
    {"Permission denied", "permission denied"},
    {"No route to host", "no route to host"},
    {"Network is unreachable", "network is unreachable"},
    {"Domain name not found", "no such host"},
    {"Name or service not known", "no such host"},
    {"Could not contact DNS servers", "no such host (no name server answers)"},
    {"DNS query cancelled", "no such host (no name server answers)"},
    {"DNS resolution failed", "no such host"},
    {"Connection timed out", "connection timed out"},
    {"tcp handshaker shutdown", "connection timed out"},
    {"Timeout occurred", "connection timed out"},
    {"keepalive watchdog timeout", "the peer does not answer any more"},
    {"ping timeout", "the peer does not answer any more"},
    {"Connection reset by peer", "the connection was reset by the peer"},
    {"Broken pipe", "the connection was closed by the peer"},
    {"Socket closed", "the connection was closed by the peer"},
    {"GOAWAY received", "the connection was closed by the peer"},
    {"Trying to connect an http1.x server", "the peer speaks HTTP/1, not gRPC"},
    {"Buffers full", "more has arrived than may wait to be read"},
    {"larger than max", "the message is larger than 4 MiB"},
};

/* "failed to connect to all addresses; last error: UNKNOWN: ipv4:10.0.0.1:1: the cause" */
static const char *skip_decoration(const char *text)
{
    static const char last[] = "last error: UNKNOWN: ";
    const char *found = strstr(text, last);
    return found ? found + strlen(last) : text;
}

char *rpc_status_text(grpc_status_code code, const char *details, size_t length)
{
    g_autofree char *text = g_utf8_make_valid(details, (gssize)length);
    /* Codes that gRPC itself uses for trouble of the transport. */
    if (code == GRPC_STATUS_UNAVAILABLE || code == GRPC_STATUS_RESOURCE_EXHAUSTED)
        for (size_t i = 0; i < G_N_ELEMENTS(CAUSES); i++)
            if (strstr(text, CAUSES[i].pattern))
                return g_strdup(CAUSES[i].text);
    for (char *at = text; *at; at++)
        if (g_ascii_iscntrl(*at))
            *at = ' ';
    g_strstrip(text);
    /* In these cases gRPC only says the code once more. */
    if (!*text || code == GRPC_STATUS_CANCELLED || code == GRPC_STATUS_DEADLINE_EXCEEDED)
        return g_strdup(STATUSES[find_code(code)].text);
    return g_strdup(skip_decoration(text));
}

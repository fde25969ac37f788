// SPDX-License-Identifier: GPL-2.0-or-later
/* By itself, as BPF programs read it, too. */
#pragma once

/* What a point is. The session is the first argument, the buffer the second, its length the third,
 * where nothing else is said. */
typedef enum TlsPointKind {
    TLS_POINT_NEW = 1, /* returns a new session */
    TLS_POINT_NEW_AT,  /* writes it where its first argument points; the second tells the role */
    TLS_POINT_BEGIN,   /* the session begins (again) */
    TLS_POINT_END,     /* it is freed */
    TLS_POINT_CLIENT,  /* it is made a client's */
    TLS_POINT_SERVER,  /* a server's */
    TLS_POINT_HANDSHAKE,
    TLS_POINT_READ, /* returns how many bytes it has read, if any */
    TLS_POINT_WRITE,
    TLS_POINT_READ_EX, /* returns whether it has; how many stands where its fourth argument points
                        */
    TLS_POINT_WRITE_EX,
    TLS_POINT_WRITE_EX2, /* ... where its fifth points */
    TLS_POINT_RECV,      /* as READ, with flags in its fourth argument */
    TLS_POINT_WRITEV,    /* as WRITE, of so many PRIOVec {address, int length} */
    TLS_POINT_ROLE, /* it is made a server's, if the second argument is not 0, else a client's */
    TLS_POINT_UNSEEN_READ, /* as READ, but the bytes cannot be taken: a hole is told */
    TLS_POINT_UNSEEN_WRITE,
    /* Go, behind the check of the stack, which would come here twice: */
    TLS_POINT_GO_CLIENT, /* handshake of a client */
    TLS_POINT_GO_SERVER,
    TLS_POINT_GO_WRITE, /* (connection, type, data): one record, before it is encrypted */
    TLS_POINT_GO_END,
    TLS_POINT_GO_READ, /* an instruction that returns from Read */
    TLS_POINT_KINDS,
} TlsPointKind;

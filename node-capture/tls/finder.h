// SPDX-License-Identifier: GPL-2.0-or-later
/* Finds in an ELF file what a hook needs to take the secrets of TLS connections: the internal
 * function that is called with (session, label, secret, length) at each secret. It is found by
 * structure, not by versions. Where plaintext is seen, it tells as well (points.h). docs/tls.md
 * says how.
 *
 * Pure: bytes in, answer out; no allocation, no I/O, no globals, any thread. The bytes are not
 * trusted; the time is bounded by their length (TlsFile.work). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node-capture/tls/points.h"

#define TLS_OFFSET_MAX          65536 /* in an object */
#define TLS_IMPLEMENTATIONS_MAX 6
#define TLS_REASON_SIZE         160
#define TLS_VERSION_SIZE        48
#define TLS_BUILD_ID_MAX        64

typedef enum TlsArch { TLS_X86_64, TLS_ARM64 } TlsArch;

typedef enum TlsLibrary {
    TLS_LIBRARY_NONE,
    TLS_OPENSSL,
    TLS_BORINGSSL,
    TLS_GNUTLS,
    TLS_GO,
    TLS_NSS,
    TLS_RUSTLS,
    TLS_JAVA,
    TLS_LIBRESSL,
    TLS_MBEDTLS,
    TLS_WOLFSSL,
    TLS_S2N,
    TLS_UNKNOWN, /* its labels are there, its name is not known */
} TlsLibrary;

/* Where something stands when the function is entered, for both processors. */
typedef enum TlsPlaceKind {
    TLS_NOWHERE,
    TLS_C_ARGUMENT,  /* integer argument `number` of the C ABI, from 0 */
    TLS_GO_ARGUMENT, /* integer argument `number` of Go's register ABI, from 0 */
    TLS_GO_ROUTINE,  /* the goroutine that runs, in Go's register ABI */
    TLS_STACK,       /* 8 bytes at the stack pointer + `number` */
    TLS_REGISTER,    /* x86-64 alone: register `number`, as instructions encode it */
} TlsPlaceKind;

typedef struct TlsPlace {
    TlsPlaceKind kind;
    uint32_t number;
} TlsPlace;

typedef enum TlsRandomOrigin {
    TLS_RANDOM_ON_THE_WIRE, /* not known: to be found in the session object by randoms seen in
                               ClientHellos */
    TLS_RANDOM_ACCESSOR,    /* decoded from the exported function that returns it */
    TLS_RANDOM_BODY,        /* decoded from the key-log function itself */
    TLS_RANDOM_ARGUMENT,    /* is an argument of the key-log function */
    TLS_RANDOM_CALIBRATED,  /* found on the wire (calibration.h); the finder does not tell this */
} TlsRandomOrigin;

typedef enum TlsVerdict {
    TLS_HOOKED,     /* may be attached to */
    TLS_DOUBTFUL,   /* something was found, but must not be attached to; `reason` says why */
    TLS_NOT_HOOKED, /* `reason` says why */
} TlsVerdict;

/* The labels of a key log, as bits of TlsKeyLog.labels. */
typedef enum TlsLabel {
    TLS_LABEL_CLIENT_RANDOM,
    TLS_LABEL_CLIENT_EARLY,
    TLS_LABEL_CLIENT_HANDSHAKE,
    TLS_LABEL_SERVER_HANDSHAKE,
    TLS_LABEL_CLIENT_TRAFFIC,
    TLS_LABEL_SERVER_TRAFFIC,
    TLS_LABEL_EXPORTER,
    TLS_LABEL_EARLY_EXPORTER,
    TLS_LABELS,
} TlsLabel;

/* Where the probe goes, at the function's entry or a little behind it, and what stands where there.
 */
typedef struct TlsProbe {
    uint64_t offset; /* in the file */
    TlsPlace session, label, label_length, secret, secret_length, random;
} TlsProbe;

/* The function and what stands where when it is entered. */
typedef struct TlsKeyLog {
    uint64_t address, offset; /* in memory before relocation; in the file, as uprobes want it */
    TlsPlace session;
    TlsPlace label, label_length; /* length nowhere: ends with a zero byte */
    TlsPlace secret, secret_length;
    TlsPlace random;       /* a pointer to the client random, or nowhere: then it is */
    TlsChain random_chain; /* from the session, or unknown */
    TlsRandomOrigin random_origin;
    bool random_agrees; /* accessor and key-log function say the same */
    TlsProbe probe;     /* probe-point.h */

    /* How it was found, by references to labels: */
    unsigned sites;      /* instructions that take a label's address and lead to a call with it */
    unsigned votes;      /* of these, to this function */
    unsigned labels;     /* of these, the labels, a bit each */
    int begins_function; /* 1, 0: the unwind tables say so; -1: they do not tell */
    /* or by name: */
    bool by_symbol;
} TlsKeyLog;

typedef struct TlsImplementation {
    TlsLibrary library;
    TlsVerdict verdict;
    const char *evidence;           /* how it was recognised: a symbol or string; static */
    char version[TLS_VERSION_SIZE]; /* for people only; may be empty */
    char reason[TLS_REASON_SIZE];   /* empty if hooked */
    TlsKeyLog key_log;              /* if hooked or doubtful */
} TlsImplementation;

typedef struct TlsFile {
    TlsArch arch;
    bool is_fixed; /* addresses are absolute */
    uint8_t build_id[TLS_BUILD_ID_MAX];
    size_t build_id_length; /* 0: none */
    bool is_go;             /* a Go program, with crypto/tls or without */
    unsigned n_implementations;
    TlsImplementation implementations[TLS_IMPLEMENTATIONS_MAX];
    TlsPoints plaintext;
    uint64_t work, work_limit; /* bytes looked at; at the limit the search was given up */
} TlsFile;

/* 0: *ret is filled, also where there is no TLS in it. -ENOEXEC: no ELF; -ENOTSUP: 32 bits;
 * -ENOSYS: another processor; -EBADMSG: headers that contradict the file. */
int tls_find(const uint8_t *bytes, size_t length, TlsFile *ret);

const char *tls_library_name(TlsLibrary library);
const char *tls_label_name(TlsLabel label);

/* Where the value of a place stands in struct pt_regs, in bytes; of a place on the stack: the stack
 * pointer. -1: nowhere. */
int tls_place_pt_regs(TlsArch arch, TlsPlace place);
/* "[session+0x30]+0x18": as C would have it. Returns `buffer`. */
#define TLS_CHAIN_TEXT 96
const char *tls_chain_text(const TlsChain *chain, char buffer[static TLS_CHAIN_TEXT]);
/* The register that a place is, as instructions encode it; -1: it is none. */
int tls_place_register(TlsArch arch, TlsPlace place);
/* "rsi", "x1", "[sp+8]", "nowhere"; static or in `buffer`. */
const char *tls_place_name(TlsArch arch, TlsPlace place, char buffer[static 16]);

// SPDX-License-Identifier: GPL-2.0-or-later
/* What holds now beside identity, such as translated connections and the owners of sockets: one
 * fact a key, from when it begins until a while after it has ended, so that a new stream can be
 * told of it.
 *
 * A fact is a stream message, encoded once and shared by all streams. Of each kind so many are
 * kept; then the oldest go, those that have ended first, and are counted. No I/O, no clock.
 *
 * A Facts belongs to one thread; a Fact may be shared by several. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/stream.h"

#define FACTS_MAX       65536u               /* of one kind */
#define FACTS_MAX_BYTES (24u * 1024u * 1024) /* of one kind */
#define FACTS_KEPT_NS   30000000000u         /* after the end */
#define FACT_BYTES_MAX  4096u

typedef enum FactKind {
    FACT_TRANSLATION,
    FACT_SOCKET_OWNER,
    FACT_KINDS,
    FACT_TLS_SECRETS = FACT_KINDS, /* these are never kept: told once */
    FACT_NOTICE,
} FactKind;

typedef struct Fact {
    int refs; /* atomic */
    FactKind kind;
    bool ended;
    uint16_t key_length, length;
    uint8_t data[]; /* the key, then the message without its sequence number */
} Fact;

/* The key is what the protocol says that a message replaces: of a translation the connection as its
 * client sees it, of an owner the target and the socket. A message with to_unix_ns tells the end.
 * NULL if it has over FACT_BYTES_MAX. */
Fact *fact_translation(const Remora__V1__Translation *translation);
Fact *fact_socket_owner(const Remora__V1__SocketOwner *owner);
/* Lines of a key log. */
Fact *fact_tls_secrets(uint64_t time_unix_ns, const char *lines, size_t length);
Fact *fact_notice(const char *subject, const char *message);
Fact *fact_ref(Fact *fact);
Fact *fact_unref(Fact *fact); /* NULL is fine; returns NULL */
static inline const uint8_t *fact_message(const Fact *fact)
{
    return fact->data + fact->key_length;
}

typedef struct FactsStats {
    size_t count[FACT_KINDS], bytes[FACT_KINDS];
    uint64_t evicted[FACT_KINDS];
} FactsStats;

typedef struct Facts Facts;

/* 0: the limits above. */
Facts *facts_new(size_t max_count, size_t max_bytes);
Facts *facts_free(Facts *facts); /* NULL is fine; returns NULL */
/* Takes its own reference. Returns false if the same was known. `now_ns` is any clock that never
 * jumps back. */
bool facts_put(Facts *facts, Fact *fact, uint64_t now_ns);
/* Forgets all of a kind: nobody follows them any longer. */
void facts_clear(Facts *facts, FactKind kind);
/* Forgets what has ended long ago. */
void facts_expire(Facts *facts, uint64_t now_ns);
/* Oldest first, of each kind. */
void facts_foreach(const Facts *facts, void (*callback)(Fact *fact, void *userdata),
                   void *userdata);
void facts_stats(const Facts *facts, FactsStats *ret);

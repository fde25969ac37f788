// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/server/facts.h"

#include <glib.h>
#include <string.h>

#define ENTRY_BYTES 96u /* Entry and its place in the table */

typedef struct Entry {
    Fact *fact;
    uint64_t ended_ns; /* as of the caller's clock */
    GList link;        /* in `holding` or `ended` of its kind */
} Entry;

typedef struct Kind {
    GQueue holding, ended; /* oldest first */
    size_t bytes;
    uint64_t evicted;
} Kind;

struct Facts {
    size_t max_count, max_bytes;
    GHashTable *entries; /* a set of Entry, by kind and key */
    Kind kinds[FACT_KINDS];
};

/* ---- One fact --------------------------------------------------------------------------------*/

static Fact *fact_new(FactKind kind, bool ended, const ProtobufCMessage *key,
                      const ProtobufCMessage *message)
{
    size_t key_length = protobuf_c_message_get_packed_size(key);
    size_t length = protobuf_c_message_get_packed_size(message);
    if (key_length + length > FACT_BYTES_MAX) {
        return NULL;
    }
    Fact *fact = g_malloc(sizeof(Fact) + key_length + length);
    *fact = (Fact){1, kind, ended, (uint16_t)key_length, (uint16_t)length};
    protobuf_c_message_pack(key, fact->data);
    protobuf_c_message_pack(message, fact->data + key_length);
    return fact;
}

Fact *fact_translation(const Remora__V1__Translation *translation)
{
    Remora__V1__Translation message = *translation, key = REMORA__V1__TRANSLATION__INIT;
    key.protocol = translation->protocol;
    key.client = translation->client;
    key.client_port = translation->client_port;
    key.service = translation->service;
    key.service_port = translation->service_port;
    Remora__V1__StreamResponse response = REMORA__V1__STREAM_RESPONSE__INIT;
    response.body_case = REMORA__V1__STREAM_RESPONSE__BODY_TRANSLATION;
    response.translation = &message;
    return fact_new(FACT_TRANSLATION, message.to_unix_ns != 0, &key.base, &response.base);
}

Fact *fact_socket_owner(const Remora__V1__SocketOwner *owner)
{
    Remora__V1__SocketOwner message = *owner, key = REMORA__V1__SOCKET_OWNER__INIT;
    key.target_uid = owner->target_uid;
    key.protocol = owner->protocol;
    key.local = owner->local;
    key.local_port = owner->local_port;
    key.remote = owner->remote;
    key.remote_port = owner->remote_port;
    Remora__V1__StreamResponse response = REMORA__V1__STREAM_RESPONSE__INIT;
    response.body_case = REMORA__V1__STREAM_RESPONSE__BODY_SOCKET_OWNER;
    response.socket_owner = &message;
    return fact_new(FACT_SOCKET_OWNER, message.to_unix_ns != 0, &key.base, &response.base);
}

Fact *fact_tls_secrets(uint64_t time_unix_ns, const char *lines, size_t length)
{
    static const Remora__V1__TlsSecrets key = REMORA__V1__TLS_SECRETS__INIT; /* empty */
    Remora__V1__TlsSecrets message = REMORA__V1__TLS_SECRETS__INIT;
    message.time_unix_ns = time_unix_ns;
    message.key_log = (ProtobufCBinaryData){length, (uint8_t *)(uintptr_t)lines};
    Remora__V1__StreamResponse response = REMORA__V1__STREAM_RESPONSE__INIT;
    response.body_case = REMORA__V1__STREAM_RESPONSE__BODY_TLS_SECRETS;
    response.tls_secrets = &message;
    return fact_new(FACT_TLS_SECRETS, false, &key.base, &response.base);
}

Fact *fact_notice(const char *subject, const char *text)
{
    static const Remora__V1__Notice key = REMORA__V1__NOTICE__INIT; /* empty */
    Remora__V1__Notice message = REMORA__V1__NOTICE__INIT;
    message.subject = (char *)(uintptr_t)subject; /* protobuf-c has no const strings */
    message.message = (char *)(uintptr_t)text;
    Remora__V1__StreamResponse response = REMORA__V1__STREAM_RESPONSE__INIT;
    response.body_case = REMORA__V1__STREAM_RESPONSE__BODY_NOTICE;
    response.notice = &message;
    return fact_new(FACT_NOTICE, false, &key.base, &response.base);
}

Fact *fact_ref(Fact *fact)
{
    g_atomic_int_inc(&fact->refs);
    return fact;
}

Fact *fact_unref(Fact *fact)
{
    if (fact && g_atomic_int_dec_and_test(&fact->refs)) {
        g_free(fact);
    }
    return NULL;
}

static bool fact_equal(const Fact *a, const Fact *b)
{
    return a->length == b->length && memcmp(fact_message(a), fact_message(b), a->length) == 0;
}

/* ---- All of them -----------------------------------------------------------------------------*/

static guint entry_hash(gconstpointer data)
{
    const Fact *fact = ((const Entry *)data)->fact;
    uint32_t hash = 2166136261u ^ (uint32_t)fact->kind; /* FNV-1a */
    for (size_t i = 0; i < fact->key_length; i++) {
        hash = (hash ^ fact->data[i]) * 16777619u;
    }
    return hash;
}

static gboolean entry_equal(gconstpointer a, gconstpointer b)
{
    const Fact *x = ((const Entry *)a)->fact, *y = ((const Entry *)b)->fact;
    return x->kind == y->kind && x->key_length == y->key_length &&
           memcmp(x->data, y->data, x->key_length) == 0;
}

Facts *facts_new(size_t max_count, size_t max_bytes)
{
    Facts *facts = g_new0(Facts, 1);
    facts->max_count = max_count ? max_count : FACTS_MAX;
    facts->max_bytes = max_bytes ? max_bytes : FACTS_MAX_BYTES;
    facts->entries = g_hash_table_new(entry_hash, entry_equal);
    return facts;
}

static GQueue *queue_of(Facts *facts, const Entry *entry)
{
    Kind *kind = &facts->kinds[entry->fact->kind];
    return entry->fact->ended ? &kind->ended : &kind->holding;
}

static size_t entry_bytes(const Entry *entry)
{
    return ENTRY_BYTES + sizeof(Fact) + entry->fact->key_length + entry->fact->length;
}

static void forget(Facts *facts, Entry *entry)
{
    facts->kinds[entry->fact->kind].bytes -= entry_bytes(entry);
    g_queue_unlink(queue_of(facts, entry), &entry->link);
    g_hash_table_remove(facts->entries, entry);
    fact_unref(entry->fact);
    g_free(entry);
}

void facts_clear(Facts *facts, FactKind which)
{
    Kind *kind = &facts->kinds[which];
    while (kind->holding.head) {
        forget(facts, kind->holding.head->data);
    }
    while (kind->ended.head) {
        forget(facts, kind->ended.head->data);
    }
}

Facts *facts_free(Facts *facts)
{
    if (facts) {
        for (unsigned i = 0; i < FACT_KINDS; i++) {
            facts_clear(facts, i);
        }
        g_hash_table_unref(facts->entries);
        g_free(facts);
    }
    return NULL;
}

static bool is_over_limit(const Facts *facts, const Kind *kind)
{
    return kind->holding.length + kind->ended.length > facts->max_count ||
           kind->bytes > facts->max_bytes;
}

bool facts_put(Facts *facts, Fact *fact, uint64_t now_ns)
{
    Entry wanted = {.fact = fact};
    Entry *entry = g_hash_table_lookup(facts->entries, &wanted);
    if (entry && fact_equal(entry->fact, fact)) {
        return false;
    }
    if (entry) {
        forget(facts, entry);
    }
    entry = g_new0(Entry, 1);
    entry->fact = fact_ref(fact);
    entry->ended_ns = now_ns;
    entry->link.data = entry;
    Kind *kind = &facts->kinds[fact->kind];
    kind->bytes += entry_bytes(entry);
    g_queue_push_tail_link(queue_of(facts, entry), &entry->link);
    g_hash_table_add(facts->entries, entry);
    while (is_over_limit(facts, kind)) {
        forget(facts, kind->ended.head ? kind->ended.head->data : kind->holding.head->data);
        kind->evicted++;
    }
    return true;
}

void facts_expire(Facts *facts, uint64_t now_ns)
{
    for (unsigned i = 0; i < FACT_KINDS; i++) {
        GQueue *ended = &facts->kinds[i].ended;
        while (ended->head &&
               now_ns >= ((Entry *)ended->head->data)->ended_ns + (uint64_t)FACTS_KEPT_NS) {
            forget(facts, ended->head->data);
        }
    }
}

static void tell_all(const GQueue *queue, void (*callback)(Fact *fact, void *userdata),
                     void *userdata)
{
    for (GList *link = queue->head; link; link = link->next) {
        callback(((Entry *)link->data)->fact, userdata);
    }
}

void facts_foreach(const Facts *facts, void (*callback)(Fact *fact, void *userdata), void *userdata)
{
    for (unsigned i = 0; i < FACT_KINDS; i++) {
        tell_all(&facts->kinds[i].ended, callback, userdata);
        tell_all(&facts->kinds[i].holding, callback, userdata);
    }
}

void facts_stats(const Facts *facts, FactsStats *ret)
{
    for (unsigned i = 0; i < FACT_KINDS; i++) {
        const Kind *kind = &facts->kinds[i];
        ret->count[i] = kind->holding.length + kind->ended.length;
        ret->bytes[i] = kind->bytes;
        ret->evicted[i] = kind->evicted;
    }
}

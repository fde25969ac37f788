// SPDX-License-Identifier: GPL-2.0-or-later
#include "collector/translations.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#include "collector/packet.h"
#include "common/seeded-hash.h"

#define CHAIN_MAX 4 /* rewritings of one connection */

/* A five-tuple without direction. */
typedef struct LegKey {   /* no padding: hashed and compared as bytes */
    IpAddress address[2]; /* in order, with its port */
    uint16_t port[2];
    uint32_t protocol;
} LegKey;
_Static_assert(sizeof(LegKey) == 40, "LegKey has padding");

enum { LEG_CLIENT, LEG_SERVER, LEGS };

typedef struct Record Record;

/* A record under one of its five-tuples. */
typedef struct Place {
    LegKey key;
    uint32_t hash;
    Record *record;
    struct Place *older; /* of the same five-tuple, by the start */
} Place;

struct Record {
    Translation translation;
    NodeQuota *quota;
    Place places[LEGS];
    GList link; /* in `records` */
};

struct Translations {
    /* Of either leg: a set of Place, the newest of each five-tuple. */
    GHashTable *places[LEGS];
    GQueue records; /* in the order of coming */
};

/* ---- Keys ------------------------------------------------------------------------------------*/

static void make_place(uint8_t protocol, const FlowEnd *a, const FlowEnd *b, Place *ret)
{
    int order = memcmp(&a->address, &b->address, sizeof a->address);
    bool swap = order ? order > 0 : a->port > b->port;
    ret->key = (LegKey){
        .address = {swap ? b->address : a->address, swap ? a->address : b->address},
        .port = {swap ? b->port : a->port, swap ? a->port : b->port},
        .protocol = protocol,
    };
    ret->hash = seeded_hash(&ret->key, sizeof ret->key);
}

static guint place_hash(gconstpointer place)
{
    return ((const Place *)place)->hash;
}

static gboolean place_equal(gconstpointer a, gconstpointer b)
{
    return memcmp(&((const Place *)a)->key, &((const Place *)b)->key, sizeof(LegKey)) == 0;
}

static bool end_equal(const FlowEnd *a, const FlowEnd *b)
{
    return a->port == b->port && ip_address_equal(&a->address, &b->address);
}

/* ---- A message -------------------------------------------------------------------------------*/

static bool read_end(const ProtobufCBinaryData *address, uint32_t port, FlowEnd *ret)
{
    ret->port = (uint16_t)port;
    return port <= UINT16_MAX && ip_address_from_bytes(&ret->address, address->data, address->len);
}

int translation_from_message(const Remora__V1__Translation *message, Translation *ret)
{
    Translation read = {.protocol = (uint8_t)message->protocol,
                        .from_ns = message->from_unix_ns,
                        .to_ns = message->to_unix_ns};
    if (message->protocol != PACKET_TCP && message->protocol != PACKET_UDP &&
        message->protocol != PACKET_SCTP)
        return -EBADMSG;
    if (!read_end(&message->client, message->client_port, &read.client) ||
        !read_end(&message->service, message->service_port, &read.service) ||
        !read_end(&message->server, message->server_port, &read.server))
        return -EBADMSG;
    read.masked_client = read.client;
    if (message->masked_client.len &&
        !read_end(&message->masked_client, message->masked_client_port, &read.masked_client))
        return -EBADMSG;
    bool same =
        end_equal(&read.client, &read.masked_client) && end_equal(&read.service, &read.server);
    bool mirrored =
        end_equal(&read.client, &read.server) && end_equal(&read.service, &read.masked_client);
    if (same || mirrored || (read.to_ns && read.to_ns < read.from_ns))
        return -EBADMSG;
    *ret = read;
    return 0;
}

/* ---- The table -------------------------------------------------------------------------------*/

Translations *translations_new(void)
{
    Translations *translations = g_new0(Translations, 1);
    for (int leg = 0; leg < LEGS; leg++)
        translations->places[leg] = g_hash_table_new(place_hash, place_equal);
    g_queue_init(&translations->records);
    return translations;
}

static void unplace(GHashTable *places, Place *place)
{
    Place *newest = g_hash_table_lookup(places, place);
    if (newest == place) {
        g_hash_table_remove(places, place);
        if (place->older)
            g_hash_table_add(places, place->older);
        return;
    }
    while (newest->older != place)
        newest = newest->older;
    newest->older = place->older;
}

static void forget(Translations *translations, Record *record)
{
    for (int leg = 0; leg < LEGS; leg++)
        unplace(translations->places[leg], &record->places[leg]);
    g_queue_unlink(&translations->records, &record->link);
    node_quota_fact_gone(record->quota, sizeof(Record));
    g_free(record);
}

Translations *translations_free(Translations *translations)
{
    if (!translations)
        return NULL;
    while (translations->records.head)
        forget(translations, translations->records.head->data);
    for (int leg = 0; leg < LEGS; leg++)
        g_hash_table_unref(translations->places[leg]);
    g_free(translations);
    return NULL;
}

/* Puts it where it belongs by its start. */
static void set_place(GHashTable *places, Place *place)
{
    uint64_t from_ns = place->record->translation.from_ns;
    Place *newest = g_hash_table_lookup(places, place);
    if (!newest || from_ns >= newest->record->translation.from_ns) {
        place->older = newest;
        g_hash_table_replace(places, place, place);
        return;
    }
    while (newest->older && from_ns < newest->older->record->translation.from_ns)
        newest = newest->older;
    place->older = newest->older;
    newest->older = place;
}

/* The oldest of a five-tuple if there are too many. */
static Record *one_too_many(GHashTable *places, const Place *of)
{
    unsigned count = 1;
    const Place *place = g_hash_table_lookup(places, of);
    for (; place->older; place = place->older)
        count++;
    return count > TRANSLATION_VERSIONS ? place->record : NULL;
}

static bool is_same(const Translation *a, const Translation *b)
{
    return a->protocol == b->protocol && a->from_ns == b->from_ns &&
           end_equal(&a->client, &b->client) && end_equal(&a->service, &b->service) &&
           end_equal(&a->server, &b->server) && end_equal(&a->masked_client, &b->masked_client);
}

static Record *find_same(Translations *translations, const Place *wanted,
                         const Translation *translation)
{
    Place *place = g_hash_table_lookup(translations->places[LEG_CLIENT], wanted);
    while (place && !is_same(&place->record->translation, translation))
        place = place->older;
    return place ? place->record : NULL;
}

int translations_add(Translations *translations, NodeQuota *quota, const Translation *translation)
{
    Place wanted;
    make_place(translation->protocol, &translation->client, &translation->service, &wanted);
    Record *record = find_same(translations, &wanted, translation);
    if (record) {
        record->translation.to_ns = translation->to_ns;
        return 0;
    }
    if (!node_quota_fact(quota, sizeof(Record)))
        return -ENOBUFS;
    record = g_new0(Record, 1);
    record->translation = *translation;
    record->quota = quota;
    record->link.data = record;
    record->places[LEG_CLIENT] = wanted;
    make_place(translation->protocol, &translation->masked_client, &translation->server,
               &record->places[LEG_SERVER]);
    g_queue_push_tail_link(&translations->records, &record->link);
    for (int leg = 0; leg < LEGS; leg++) {
        record->places[leg].record = record;
        set_place(translations->places[leg], &record->places[leg]);
    }
    for (int leg = 0; leg < LEGS && record; leg++) {
        Record *oldest = one_too_many(translations->places[leg], &record->places[leg]);
        if (oldest)
            forget(translations, oldest);
        if (oldest == record)
            record = NULL;
    }
    return 0;
}

void translations_end(Translations *translations, const NodeQuota *quota, uint64_t at_ns)
{
    for (GList *link = translations->records.head; link; link = link->next) {
        Record *record = link->data;
        if (record->quota == quota && !record->translation.to_ns)
            record->translation.to_ns = MAX(at_ns, record->translation.from_ns);
    }
}

void translations_forget(Translations *translations, uint64_t before_ns)
{
    for (GList *link = translations->records.head, *next; link; link = next) {
        next = link->next;
        Record *record = link->data;
        if (record->translation.to_ns && record->translation.to_ns < before_ns)
            forget(translations, record);
    }
}

size_t translations_count(const Translations *translations)
{
    return translations->records.length;
}

/* ---- Look-up ---------------------------------------------------------------------------------*/

/* The latest that had begun; else the earliest, if it begins soon. None that is long over. */
static const Place *at_time(const Place *newest, uint64_t time_ns)
{
    const Place *place = newest;
    while (place && place->older &&
           place->record->translation.from_ns > time_ns + TRANSLATION_LATE_NS)
        place = place->older;
    if (!place)
        return NULL;
    const Translation *translation = &place->record->translation;
    if (translation->from_ns > time_ns + TRANSLATION_SLACK_NS)
        return NULL;
    if (translation->to_ns && translation->to_ns + TRANSLATION_SLACK_NS < time_ns)
        return NULL;
    return place;
}

static const Place *find_place(const Translations *translations, int leg, uint8_t protocol,
                               const FlowEnd *a, const FlowEnd *b, uint64_t time_ns)
{
    Place wanted;
    make_place(protocol, a, b, &wanted);
    return at_time(g_hash_table_lookup(translations->places[leg], &wanted), time_ns);
}

/* A node rewrites a connection once. Two of its own that seem to continue each other are two
 * connections: the second found its addresses and ports taken by the first, which lingers, and so
 * was given another port. */
static bool continues(const Record *before, const Record *behind)
{
    return before->quota != behind->quota &&
           end_equal(&before->translation.server, &behind->translation.service);
}

/* The first rewriting of the connection. */
static const Record *first_of(const Translations *translations, const Record *known,
                              uint64_t time_ns)
{
    for (int i = 0; i < CHAIN_MAX; i++) {
        const Translation *is = &known->translation;
        const Place *before =
            find_place(translations, LEG_SERVER, is->protocol, &is->client, &is->service, time_ns);
        if (!before || !continues(before->record, known))
            break;
        known = before->record;
    }
    return known;
}

/* The last one. */
static const Record *last_of(const Translations *translations, const Record *known,
                             uint64_t time_ns)
{
    for (int i = 0; i < CHAIN_MAX; i++) {
        const Translation *is = &known->translation;
        const Place *behind = find_place(translations, LEG_CLIENT, is->protocol, &is->masked_client,
                                         &is->server, time_ns);
        if (!behind || !continues(known, behind->record))
            break;
        known = behind->record;
    }
    return known;
}

/* Which of two it is, of which either may be NULL: one that had begun, and then the later one. */
static const Place *better(const Place *a, const Place *b, uint64_t time_ns)
{
    if (!a || !b)
        return a ? a : b;
    uint64_t a_ns = a->record->translation.from_ns, b_ns = b->record->translation.from_ns;
    bool a_begun = a_ns <= time_ns + TRANSLATION_LATE_NS;
    bool b_begun = b_ns <= time_ns + TRANSLATION_LATE_NS;
    if (a_begun != b_begun)
        return a_begun ? a : b;
    return b_ns > a_ns ? b : a;
}

static uint64_t add_end(uint64_t hash, const FlowEnd *end)
{
    for (size_t i = 0; i < sizeof end->address.bytes; i++)
        hash = (hash ^ end->address.bytes[i]) * 0x100000001b3u;
    hash = (hash ^ end->port >> 8) * 0x100000001b3u;
    return (hash ^ (end->port & 0xff)) * 0x100000001b3u;
}

/* FNV-1a over protocol and ends, then mixed (the finalizer of MurmurHash3), as the last bytes of
 * ports alone hardly reach its upper half. */
static uint64_t flow_id(const Flow *flow)
{
    uint64_t hash = (0xcbf29ce484222325u ^ flow->protocol) * 0x100000001b3u;
    hash = add_end(hash, &flow->client);
    hash = add_end(hash, &flow->service);
    hash = add_end(hash, &flow->masked_client);
    hash = add_end(hash, &flow->server);
    hash = (hash ^ hash >> 33) * 0xff51afd7ed558ccdu;
    hash = (hash ^ hash >> 33) * 0xc4ceb9fe1a85ec53u;
    hash ^= hash >> 33;
    return hash ? hash : 1;
}

bool translations_find(const Translations *translations, uint8_t protocol, const FlowEnd *a,
                       const FlowEnd *b, uint64_t time_ns, Flow *ret)
{
    if (!translations->records.length)
        return false;
    /* Both for the leg in the middle of a chain, and if the addresses were used again. */
    const Place *place =
        better(find_place(translations, LEG_CLIENT, protocol, a, b, time_ns),
               find_place(translations, LEG_SERVER, protocol, a, b, time_ns), time_ns);
    if (!place)
        return false;
    const Translation *found = &place->record->translation;
    const Translation *first = &first_of(translations, place->record, time_ns)->translation;
    const Translation *last = &last_of(translations, place->record, time_ns)->translation;
    *ret = (Flow){
        .client = first->client,
        .service = first->service,
        .masked_client = last->masked_client,
        .server = last->server,
        .protocol = protocol,
        .to_ns = found->to_ns,
    };
    ret->id = flow_id(ret);
    return true;
}

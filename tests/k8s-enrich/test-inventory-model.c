// SPDX-License-Identifier: GPL-2.0-or-later
/* Random histories with addresses used again and again, and random questions, answered by the
 * inventory and by the plainest reading of inventory.h: a list of all versions that is searched
 * from end to end. */
#include <string.h>

#include "tests/k8s-enrich/world.h"

#define N_WORLDS    60
#define N_EVENTS    120
#define N_QUESTIONS 400
#define TIME_MAX_S  300
#define SLACK_NS    SECONDS(5)

static const char *const pool[] = {"10.0.0.1", "10.0.0.2",  "10.0.0.3",  "192.168.0.1",
                                   "fd00::1",  "10.96.0.1", "10.96.0.2", "8.8.8.8"};
static const uint16_t ports[] = {80, 8080, 30080};
static const uint8_t protocols[] = {6, 17};

/* One version of one uid. Its label "v" tells it from all others. */
typedef struct Version {
    Entity *entity;
    uint64_t from_ns, to_ns; /* UINT64_MAX: open */
} Version;

typedef struct World {
    GRand *random;
    Inventory *inventory;
    GArray *versions; /* of Version, the model */
    unsigned n_made;
} World;

static Version *version_at(const World *world, guint index)
{
    return &g_array_index(world->versions, Version, index);
}

static uint32_t pick(World *world, uint32_t n)
{
    return (uint32_t)g_rand_int_range(world->random, 0, (gint32)n);
}

/* ---- The model's changes ---- */

static void model_end(World *world, EntityKind kind, const char *uid, uint64_t time_ns)
{
    for (guint i = world->versions->len; i-- > 0;) {
        Version *version = version_at(world, i);
        if (version->entity->kind != kind || !g_str_equal(version->entity->uid, uid))
            continue;
        version->to_ns = MIN(version->to_ns, time_ns);
        if (version->from_ns >= time_ns) {
            entity_unref(version->entity);
            g_array_remove_index(world->versions, i);
        }
    }
}

static void model_add(World *world, Entity *entity)
{
    model_end(world, entity->kind, entity->uid, entity->from_ns);
    Version version = {entity_ref(entity), entity->from_ns,
                       entity->to_ns ? entity->to_ns : UINT64_MAX};
    if (version.from_ns == version.to_ns) {
        entity_unref(entity);
        return;
    }
    g_array_append_val(world->versions, version);
}

static void model_forget(World *world, uint64_t before_ns)
{
    for (guint i = world->versions->len; i-- > 0;) {
        if (version_at(world, i)->to_ns > before_ns)
            continue;
        entity_unref(version_at(world, i)->entity);
        g_array_remove_index(world->versions, i);
    }
}

/* ---- The model's answers ---- */

typedef struct Answer {
    PeerType type;
    const Entity *pod, *service, *node;
} Answer;

typedef struct Question {
    IpAddress address;
    uint8_t protocol;
    uint16_t port;
    uint64_t time_ns;
} Question;

static bool has_address(const Entity *entity, const IpAddress *address)
{
    for (size_t i = 0; i < entity->n_addresses; i++)
        if (ip_address_equal(&entity->addresses[i], address))
            return true;
    return false;
}

static bool has_port(const Entity *entity, uint8_t protocol, uint16_t port, bool node_port)
{
    for (size_t i = 0; port && i < entity->n_ports; i++) {
        const EntityPort *have = &entity->ports[i];
        if (have->protocol == protocol && (node_port ? have->node_port : have->port) == port)
            return true;
    }
    return false;
}

typedef bool Match(const Entity *entity, const Question *question);

static bool is_pod(const Entity *entity, const Question *question)
{
    return entity->kind == ENTITY_POD && !entity->host_network &&
           has_address(entity, &question->address);
}
static bool is_any_host_pod(const Entity *entity, const Question *question)
{
    return entity->kind == ENTITY_POD && entity->host_network &&
           has_address(entity, &question->address);
}
static bool is_host_pod(const Entity *entity, const Question *question)
{
    return is_any_host_pod(entity, question) &&
           has_port(entity, question->protocol, question->port, false);
}
static bool is_node(const Entity *entity, const Question *question)
{
    return entity->kind == ENTITY_NODE && has_address(entity, &question->address);
}
static bool is_any_service(const Entity *entity, const Question *question)
{
    return entity->kind == ENTITY_SERVICE && has_address(entity, &question->address);
}
static bool is_service_port(const Entity *entity, const Question *question)
{
    return is_any_service(entity, question) &&
           has_port(entity, question->protocol, question->port, false);
}
static bool is_node_port(const Entity *entity, const Question *question)
{
    return entity->kind == ENTITY_SERVICE &&
           has_port(entity, question->protocol, question->port, true);
}

/* The version that began latest of those that match and were valid. */
static const Entity *latest(const World *world, const Question *question, Match *match)
{
    const Version *best = NULL;
    for (guint i = 0; i < world->versions->len; i++) {
        const Version *version = version_at(world, i);
        if (version->from_ns > question->time_ns || version->to_ns <= question->time_ns ||
            !match(version->entity, question))
            continue;
        if (!best || version->from_ns > best->from_ns ||
            (version->from_ns == best->from_ns && version->entity->key > best->entity->key))
            best = version;
    }
    return best ? best->entity : NULL;
}

static const Entity *node_by_name(const World *world, const char *name, uint64_t time_ns)
{
    for (guint i = 0; i < world->versions->len; i++) {
        const Version *version = version_at(world, i);
        if (version->entity->kind == ENTITY_NODE && g_str_equal(version->entity->name, name) &&
            version->from_ns <= time_ns && version->to_ns > time_ns)
            return version->entity;
    }
    return NULL;
}

static Answer answer_then(const World *world, const Question *question)
{
    Answer answer = {0};
    answer.pod = latest(world, question, is_pod);
    if (!answer.pod)
        answer.pod = latest(world, question, is_host_pod);
    if (answer.pod) {
        answer.type = PEER_POD;
        answer.node = node_by_name(world, answer.pod->node, question->time_ns);
        return answer;
    }
    answer.node = latest(world, question, is_node);
    answer.service = latest(world, question, is_service_port);
    if (!answer.service)
        answer.service = latest(world, question, answer.node ? is_node_port : is_any_service);
    answer.type = answer.service ? PEER_SERVICE : answer.node ? PEER_NODE : PEER_UNKNOWN;
    return answer;
}

static Answer model_answer(const World *world, const Question *question)
{
    Answer answer = answer_then(world, question);
    if (answer.type != PEER_UNKNOWN)
        return answer;
    bool held = false, several = false;
    const Version *first = NULL;
    for (guint i = 0; i < world->versions->len; i++) {
        const Version *version = version_at(world, i);
        held = held || is_any_host_pod(version->entity, question);
        if (!is_pod(version->entity, question) && !is_node(version->entity, question) &&
            !is_any_service(version->entity, question))
            continue;
        held = true;
        several = several || (first && first->entity->key != version->entity->key);
        if (!first || version->from_ns < first->from_ns)
            first = version;
    }
    if (!held) /* nothing in the pool is link-local or the like */
        return (Answer){.type = world->versions->len ? PEER_EXTERNAL : PEER_UNKNOWN};
    if (!first || several || question->time_ns >= first->from_ns ||
        first->from_ns - question->time_ns > SLACK_NS)
        return answer;
    Question later = *question;
    later.time_ns = first->from_ns;
    return answer_then(world, &later);
}

/* ---- The random world ---- */

static IpAddress random_address(World *world)
{
    return ip(pool[pick(world, G_N_ELEMENTS(pool) - 1)]); /* the last stays external */
}

static Entity *random_entity(World *world)
{
    static const EntityKind kinds[] = {ENTITY_POD, ENTITY_POD, ENTITY_POD, ENTITY_SERVICE,
                                       ENTITY_NODE};
    EntityKind kind = kinds[pick(world, G_N_ELEMENTS(kinds))];
    g_autofree char *uid = g_strdup_printf("%c%u", "-psxn"[kind], pick(world, 12));
    g_autofree char *node = g_strdup_printf("n%u", pick(world, 12));
    g_autofree char *version = g_strdup_printf("%u", world->n_made++);
    IpAddress addresses[2] = {random_address(world), random_address(world)};
    EntityLabel label = {"v", version};
    EntityPort port = {protocols[pick(world, 2)], ports[pick(world, 3)],
                       kind == ENTITY_SERVICE ? ports[pick(world, 3)] : 0, ""};
    uint64_t from_s = pick(world, TIME_MAX_S);
    uint64_t to_s = pick(world, 3) ? 0 : from_s + pick(world, 60);
    return entity_make(&(Entity){
        .kind = kind,
        .uid = uid,
        .name = uid,
        .node = kind == ENTITY_POD ? node : "",
        .host_network = kind == ENTITY_POD && pick(world, 4) == 0,
        .labels = &label,
        .n_labels = 1,
        .addresses = addresses,
        .n_addresses = ip_address_equal(&addresses[0], &addresses[1]) ? 1 : 1 + pick(world, 2),
        .ports = &port,
        .n_ports = pick(world, 3) ? 1 : 0,
        .from_ns = SECONDS(from_s),
        .to_ns = SECONDS(to_s)});
}

static void random_event(World *world)
{
    uint32_t dice = pick(world, 20);
    if (dice < 15) {
        Entity *entity = random_entity(world);
        model_add(world, entity);
        inventory_add(world->inventory, entity);
        entity_unref(entity);
    } else if (dice < 18 && world->versions->len) {
        Entity *victim = entity_ref(version_at(world, pick(world, world->versions->len))->entity);
        uint64_t at_ns = SECONDS(pick(world, TIME_MAX_S));
        model_end(world, victim->kind, victim->uid, at_ns);
        inventory_remove(world->inventory, victim->kind, victim->uid, at_ns);
        entity_unref(victim);
    } else if (dice == 18) {
        uint64_t before_ns = SECONDS(pick(world, TIME_MAX_S / 8));
        model_forget(world, before_ns);
        inventory_forget(world->inventory, before_ns);
    } else if (world->versions->len) {
        /* Said again just as it is known: nothing changes. */
        const Version *version = version_at(world, pick(world, world->versions->len));
        Entity draft = *version->entity;
        draft.to_ns = version->to_ns == UINT64_MAX ? 0 : version->to_ns;
        Entity *again = entity_make(&draft);
        uint64_t generation = inventory_generation(world->inventory);
        inventory_add(world->inventory, again);
        g_assert_cmpuint(inventory_generation(world->inventory), ==, generation);
        entity_unref(again);
    }
}

static void assert_same_version(const Entity *got, const Entity *expected)
{
    g_assert_cmpint(got != NULL, ==, expected != NULL);
    if (got) {
        g_assert_cmpstr(got->uid, ==, expected->uid);
        g_assert_cmpstr(got->labels[0].value, ==, expected->labels[0].value);
    }
}

static void assert_answer(const Peer *peer, const Answer *answer)
{
    g_assert_cmpint(peer->type, ==, answer->type);
    assert_same_version(peer->pod, answer->pod);
    assert_same_version(peer->service, answer->service);
    assert_same_version(peer->node, answer->node);
}

static void random_question(World *world)
{
    Question question = {
        .address = ip(pool[pick(world, G_N_ELEMENTS(pool))]),
        .protocol = protocols[pick(world, 2)],
        .port = pick(world, 4) ? ports[pick(world, 3)] : 0,
        .time_ns = SECONDS(1 + pick(world, TIME_MAX_S + 20)) + pick(world, 3) - 1,
    };
    Peer peer;
    inventory_lookup(world->inventory, &question.address, question.protocol, question.port,
                     question.time_ns, &peer);
    Answer answer = model_answer(world, &question);
    assert_answer(&peer, &answer);

    /* The answer is the same in all of the interval: at its borders and somewhere in it. */
    uint64_t end_ns = peer.to_ns ? peer.to_ns : SECONDS(TIME_MAX_S + 100);
    g_assert_cmpuint(peer.from_ns, <=, question.time_ns);
    g_assert_cmpuint(question.time_ns, <, end_ns);
    uint64_t seconds = (end_ns - peer.from_ns) / SECONDS(1);
    const uint64_t times[] = {peer.from_ns, end_ns - 1,
                              peer.from_ns + SECONDS(pick(world, (uint32_t)seconds + 1))};
    for (size_t i = 0; i < G_N_ELEMENTS(times); i++) {
        question.time_ns = MIN(times[i], end_ns - 1);
        answer = model_answer(world, &question);
        assert_answer(&peer, &answer);
    }
}

static void test_lookup(void)
{
    for (uint32_t seed = 0; seed < N_WORLDS; seed++) {
        World world = {.random = g_rand_new_with_seed(seed), .inventory = inventory_new()};
        world.versions = g_array_new(FALSE, FALSE, sizeof(Version));
        for (unsigned i = 0; i < N_EVENTS; i++) {
            random_event(&world);
            for (unsigned j = 0; j < N_QUESTIONS / N_EVENTS; j++)
                random_question(&world);
        }
        for (unsigned i = 0; i < N_QUESTIONS; i++)
            random_question(&world);
        model_forget(&world, UINT64_MAX);
        g_array_unref(world.versions);
        inventory_free(world.inventory);
        g_rand_free(world.random);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/inventory-model/lookup", test_lookup);
    return g_test_run();
}

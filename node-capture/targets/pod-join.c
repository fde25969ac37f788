// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/targets/pod-join.h"

#include <string.h>

#include "k8s-enrich/entity.h"

/* The API server tells of a pod before the kubelet starts it: this is late. */
#define UNKNOWN_NS 2000000000u

#define STATIC_UID_LENGTH 32u /* a hash, no uid */

static const char host_network_reason[] =
    "is on the node's network and has no namespace of its own";
static const char own_reason[] = "is remora-node itself: its own stream would be in it";
static const char waiting_reason[] = "has not started yet";
static const char ended_reason[] = "has ended";

typedef enum JoinState { STATE_NONE, STATE_APPEARED, STATE_EXCLUDED, STATE_ABSENT } JoinState;

typedef struct JoinPod {
    char *uid;
    /* by the API server */
    Entity *api;         /* or NULL */
    uint64_t deleted_ns; /* 0: it is not */
    /* by the kernel */
    bool sandbox, host_network, own, ran;
    int netns_fd;          /* borrowed */
    uint64_t since_ns;     /* for appeared() */
    uint64_t sandbox_ns;   /* when the namespace of now was told */
    uint64_t seen_ns;      /* when the first one was */
    uint64_t gone_ns;      /* when the last one went; 0: none has */
    GArray *addresses;     /* of IpAddress */
    bool addressed;        /* the namespace's first list has come */
    GPtrArray *containers; /* of char *: of static pods alone */
    /* told */
    Entity *told; /* by identity(); NULL: nothing, or it is gone */
    JoinState state;
    const char *reason; /* of EXCLUDED and ABSENT */
    bool problem;
} JoinPod;

struct PodJoin {
    const TargetsCallbacks *callbacks;
    void *userdata;
    char *node_name;
    GHashTable *pods;    /* uid -> JoinPod */
    GHashTable *aliases; /* hash of a static pod -> uid of its mirror pod */
    bool api_synced;
    uint64_t api_synced_ns;
};

static void pod_free(void *data)
{
    JoinPod *pod = data;
    entity_unref(pod->api);
    entity_unref(pod->told);
    g_array_unref(pod->addresses);
    g_ptr_array_unref(pod->containers);
    g_free(pod->uid);
    g_free(pod);
}

PodJoin *pod_join_new(const char *node_name, const TargetsCallbacks *callbacks, void *userdata)
{
    PodJoin *join = g_new0(PodJoin, 1);
    join->callbacks = callbacks;
    join->userdata = userdata;
    join->node_name = g_strdup(node_name);
    join->pods = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, pod_free);
    join->aliases = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    return join;
}

PodJoin *pod_join_free(PodJoin *join)
{
    if (join) {
        g_hash_table_unref(join->pods);
        g_hash_table_unref(join->aliases);
        g_free(join->node_name);
        g_free(join);
    }
    return NULL;
}

static JoinPod *get_pod(PodJoin *join, const char *uid)
{
    JoinPod *pod = g_hash_table_lookup(join->pods, uid);
    if (!pod) {
        pod = g_new0(JoinPod, 1);
        pod->uid = g_strdup(uid);
        pod->netns_fd = -1;
        pod->addresses = g_array_new(FALSE, FALSE, sizeof(IpAddress));
        pod->containers = g_ptr_array_new_with_free_func(g_free);
        g_hash_table_insert(join->pods, pod->uid, pod);
    }
    return pod;
}

/* By the kernel's uid. */
static JoinPod *find_kernel_pod(const PodJoin *join, const char *uid)
{
    const char *alias = g_hash_table_lookup(join->aliases, uid);
    return g_hash_table_lookup(join->pods, alias ? alias : uid);
}

/* ---- Entities --------------------------------------------------------------------------------*/

static bool has_address(const GArray *addresses, const IpAddress *address)
{
    for (guint i = 0; i < addresses->len; i++) {
        if (ip_address_equal(&g_array_index(addresses, IpAddress, i), address)) {
            return true;
        }
    }
    return false;
}

static void add_addresses(GArray *addresses, const IpAddress *more, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!has_address(addresses, &more[i])) {
            g_array_append_val(addresses, more[i]);
        }
    }
}

/* As long as it has its namespace, and with it its address, it has not ended, whatever the API
 * server says: that tells when containers finished, to the second, and pods may be deleted while
 * they run.
 */
static uint64_t pod_end(const JoinPod *pod)
{
    if (pod->sandbox || !pod->api || pod->api->to_ns == 0) {
        return 0;
    }
    return MAX(pod->api->to_ns, pod->gone_ns);
}

/* What is known of the pod, from `from_ns` on. */
static Entity *pod_entity(const PodJoin *join, const JoinPod *pod, uint64_t from_ns)
{
    Entity draft = {.kind = ENTITY_POD, .uid = pod->uid, .name = pod->uid, .node = join->node_name};
    if (pod->api) {
        draft = *pod->api;
    }
    draft.to_ns = pod_end(pod);
    draft.from_ns = draft.to_ns != 0 ? MIN(from_ns, draft.to_ns) : from_ns;
    g_autoptr(GArray) addresses = g_array_new(FALSE, FALSE, sizeof(IpAddress));
    add_addresses(addresses, draft.addresses, draft.n_addresses);
    add_addresses(addresses, (const IpAddress *)pod->addresses->data, pod->addresses->len);
    Entity without = draft;
    draft.addresses = (const IpAddress *)addresses->data;
    draft.n_addresses = addresses->len;
    const char *error = NULL;
    Entity *entity = entity_new(&draft, &error);
    /* Only if it now has too many addresses. */
    return entity ? entity : entity_new(&without, &error);
}

static void tell_entity(PodJoin *join, JoinPod *pod, uint64_t from_ns)
{
    Entity *entity = pod_entity(join, pod, from_ns);
    bool same = entity && pod->told && entity_same(pod->told, entity);
    if (!entity ||
        (same && pod->told->to_ns == entity->to_ns && pod->told->from_ns <= entity->from_ns)) {
        entity_unref(entity);
        return;
    }
    if (same && pod->told->from_ns < entity->from_ns) { /* its end alone is new */
        entity_unref(entity);
        entity = pod_entity(join, pod, pod->told->from_ns);
    }
    entity_unref(pod->told);
    pod->told = entity;
    join->callbacks->identity(entity, 0, join->userdata);
}

static void tell_deleted(PodJoin *join, JoinPod *pod, uint64_t deleted_ns)
{
    if (pod->told) {
        join->callbacks->identity(pod->told, deleted_ns, join->userdata);
        pod->told = entity_unref(pod->told);
    }
}

/* ---- What follows ----------------------------------------------------------------------------*/

static void leave_state(PodJoin *join, JoinPod *pod)
{
    if (pod->state != STATE_NONE) {
        pod->state = STATE_NONE;
        pod->reason = NULL;
        join->callbacks->vanished(pod->uid, join->userdata);
    }
}

/* `ret_reason` for EXCLUDED and ABSENT. */
static JoinState wanted_state(const JoinPod *pod, const char **ret_reason)
{
    *ret_reason = NULL;
    if (!pod->told) {
        return STATE_NONE;
    }
    if (pod->told->to_ns != 0 && !pod->sandbox) {
        *ret_reason = ended_reason;
        return STATE_ABSENT;
    }
    if (pod->host_network || (pod->api && pod->api->host_network)) {
        *ret_reason = host_network_reason;
        return STATE_EXCLUDED;
    }
    if (pod->own) {
        *ret_reason = own_reason;
        return STATE_EXCLUDED;
    }
    if (pod->sandbox) {
        return STATE_APPEARED;
    }
    *ret_reason = pod->ran ? ended_reason : waiting_reason;
    return STATE_ABSENT;
}

static void update_state(PodJoin *join, JoinPod *pod)
{
    const char *reason;
    JoinState wanted = wanted_state(pod, &reason);
    if (wanted == pod->state && reason == pod->reason) {
        return;
    }
    if (wanted == STATE_NONE) {
        leave_state(join, pod);
    } else if (wanted == STATE_APPEARED) {
        join->callbacks->appeared(pod->told, pod->netns_fd, pod->since_ns, join->userdata);
    } else {
        join->callbacks->left_out(pod->told, wanted == STATE_EXCLUDED, reason, join->userdata);
    }
    pod->state = wanted;
    pod->reason = reason;
}

static bool is_unknown(const JoinPod *pod)
{
    return pod->sandbox && !pod->api;
}

static void set_problem(PodJoin *join, JoinPod *pod, bool problem)
{
    if (pod->problem == problem) {
        return;
    }
    pod->problem = problem;
    g_autofree char *subject = g_strdup_printf("pod %s", pod->uid);
    join->callbacks->problem(
        subject, problem ? "runs on this node but is not known to the API server" : NULL,
        join->userdata);
}

uint64_t pod_join_tick(PodJoin *join, uint64_t now_ns)
{
    uint64_t next_ns = UINT64_MAX;
    GHashTableIter iter;
    JoinPod *pod;
    g_hash_table_iter_init(&iter, join->pods);
    while (join->api_synced && g_hash_table_iter_next(&iter, NULL, (void **)&pod)) {
        if (!is_unknown(pod) || pod->problem) {
            continue;
        }
        uint64_t due_ns = MAX(pod->seen_ns, join->api_synced_ns) + UNKNOWN_NS;
        if (due_ns <= now_ns) {
            set_problem(join, pod, true);
        } else {
            next_ns = MIN(next_ns, due_ns);
        }
    }
    return next_ns;
}

/* ---- From the kernel -------------------------------------------------------------------------*/

static void set_sandbox(PodJoin *join, JoinPod *pod, int netns_fd, bool host_network,
                        uint64_t since_ns, uint64_t now_ns)
{
    bool addressed = pod->addresses->len > 0;
    if (pod->state == STATE_APPEARED) {
        leave_state(join, pod);
    }
    pod->sandbox = pod->ran = true;
    pod->host_network = host_network;
    pod->netns_fd = netns_fd;
    pod->since_ns = since_ns;
    pod->sandbox_ns = now_ns;
    pod->seen_ns = pod->seen_ns ? pod->seen_ns : now_ns;
    pod->addressed = false;
    g_array_set_size(pod->addresses, 0);
    if (pod->told) {
        /* The addresses of the namespace before were its own until now. */
        tell_entity(join, pod, addressed ? now_ns : MIN(pod->told->from_ns, now_ns));
    } else if (!host_network) {
        tell_entity(join, pod, now_ns);
    }
    update_state(join, pod);
}

void pod_join_own(PodJoin *join, const char *uid)
{
    JoinPod *pod = find_kernel_pod(join, uid);
    (pod ? pod : get_pod(join, uid))->own = true;
}

void pod_join_sandbox(PodJoin *join, const char *uid, int netns_fd, bool host_network,
                      uint64_t since_ns, uint64_t now_ns)
{
    JoinPod *pod = find_kernel_pod(join, uid);
    set_sandbox(join, pod ? pod : get_pod(join, uid), netns_fd, host_network, since_ns, now_ns);
}

bool pod_join_knows(const PodJoin *join, const char *uid)
{
    const JoinPod *pod = find_kernel_pod(join, uid);
    return pod && pod->api;
}

void pod_join_addresses(PodJoin *join, const char *uid, const IpAddress *addresses, size_t count,
                        uint64_t now_ns)
{
    JoinPod *pod = find_kernel_pod(join, uid);
    if (!pod || !pod->sandbox) {
        return;
    }
    bool first = !pod->addressed;
    g_array_set_size(pod->addresses, 0);
    add_addresses(pod->addresses, addresses, count);
    pod->addressed = pod->addressed || count > 0;
    if (pod->told) {
        uint64_t from_ns = first ? pod->sandbox_ns : now_ns;
        tell_entity(join, pod, MAX(pod->told->from_ns, from_ns));
    }
}

static void clear_sandbox(JoinPod *pod)
{
    pod->sandbox = pod->host_network = pod->addressed = false;
    pod->netns_fd = -1;
    g_array_set_size(pod->addresses, 0);
    g_ptr_array_set_size(pod->containers, 0);
}

/* Nobody knows it any more. */
static void forget(PodJoin *join, JoinPod *pod, uint64_t deleted_ns)
{
    leave_state(join, pod);
    tell_deleted(join, pod, deleted_ns);
    g_hash_table_remove(join->pods, pod->uid);
}

void pod_join_gone(PodJoin *join, const char *uid, uint64_t now_ns)
{
    JoinPod *pod = find_kernel_pod(join, uid);
    g_hash_table_remove(join->aliases, uid);
    if (!pod || !pod->sandbox) {
        return;
    }
    set_problem(join, pod, false);
    clear_sandbox(pod);
    pod->gone_ns = now_ns;
    if (pod->api && pod->deleted_ns == 0) {
        update_state(join, pod);
        tell_entity(join, pod, MAX(pod->told->from_ns, now_ns));
    } else {
        forget(join, pod, MAX(pod->deleted_ns, now_ns));
    }
}

/* ---- Static pods -----------------------------------------------------------------------------*/

static bool is_static(const char *uid)
{
    return strlen(uid) == STATIC_UID_LENGTH;
}

static bool has_container(const JoinPod *pod, const Entity *entity)
{
    for (size_t i = 0; i < entity->n_containers; i++) {
        const char *id = entity->containers[i].id;
        if (*id && g_ptr_array_find_with_equal_func(pod->containers, id, g_str_equal, NULL)) {
            return true;
        }
    }
    return false;
}

/* The kernel's `pod` is the mirror pod's. It is captured anew under that one's name. */
static void adopt(PodJoin *join, JoinPod *pod, JoinPod *mirror, uint64_t now_ns)
{
    set_problem(join, pod, false);
    leave_state(join, pod);
    tell_deleted(join, pod, now_ns);
    g_hash_table_insert(join->aliases, g_strdup(pod->uid), g_strdup(mirror->uid));

    mirror->own = pod->own;
    mirror->seen_ns = mirror->seen_ns ? mirror->seen_ns : pod->seen_ns;
    /* What passes between the two captures is missing. */
    set_sandbox(join, mirror, pod->netns_fd, pod->host_network, now_ns, pod->sandbox_ns);
    pod_join_addresses(join, mirror->uid, (const IpAddress *)pod->addresses->data,
                       pod->addresses->len, now_ns);
    g_hash_table_remove(join->pods, pod->uid);
}

/* Static pods are few. */
static void find_static(PodJoin *join, JoinPod *mirror, uint64_t now_ns)
{
    GHashTableIter iter;
    JoinPod *pod;
    g_hash_table_iter_init(&iter, join->pods);
    while (!mirror->sandbox && g_hash_table_iter_next(&iter, NULL, (void **)&pod)) {
        if (pod != mirror && !pod->api && pod->sandbox && has_container(pod, mirror->api)) {
            adopt(join, pod, mirror, now_ns);
            return;
        }
    }
}

void pod_join_container(PodJoin *join, const char *uid, const char *container_id, uint64_t now_ns)
{
    JoinPod *pod = is_static(uid) ? g_hash_table_lookup(join->pods, uid) : NULL;
    if (!pod || pod->api) {
        return;
    }
    g_ptr_array_add(pod->containers, g_strdup(container_id));
    GHashTableIter iter;
    JoinPod *mirror;
    g_hash_table_iter_init(&iter, join->pods);
    while (g_hash_table_iter_next(&iter, NULL, (void **)&mirror)) {
        if (mirror->api && !mirror->sandbox && has_container(pod, mirror->api)) {
            adopt(join, pod, mirror, now_ns);
            return;
        }
    }
}

/* ---- From the API server ---------------------------------------------------------------------*/

static void delete_pod(PodJoin *join, const Entity *entity, uint64_t deleted_ns)
{
    JoinPod *pod = g_hash_table_lookup(join->pods, entity->uid);
    if (!pod || !pod->api) {
        join->callbacks->identity(entity, deleted_ns, join->userdata);
        return;
    }
    pod->deleted_ns = deleted_ns;
    if (!pod->sandbox) {
        forget(join, pod, MAX(deleted_ns, pod->told->to_ns));
    }
}

static uint64_t version_start(const JoinPod *pod, const Entity *entity)
{
    if (!pod->told || !pod->api) {
        return pod->sandbox ? MIN(entity->from_ns, pod->seen_ns) : entity->from_ns;
    }
    /* A correction holds as long as what it corrects. */
    return entity->from_ns <= pod->api->from_ns ? pod->told->from_ns
                                                : MAX(entity->from_ns, pod->told->from_ns);
}

void pod_join_entity(PodJoin *join, const Entity *entity, uint64_t deleted_ns, uint64_t now_ns)
{
    if (entity->kind != ENTITY_POD) {
        join->callbacks->identity(entity, deleted_ns, join->userdata);
        return;
    }
    if (deleted_ns != 0) {
        delete_pod(join, entity, deleted_ns);
        return;
    }
    JoinPod *pod = get_pod(join, entity->uid);
    uint64_t from_ns = version_start(pod, entity);
    entity_unref(pod->api);
    pod->api = entity_ref(entity);
    pod->deleted_ns = 0;
    tell_entity(join, pod, from_ns);
    set_problem(join, pod, false);
    update_state(join, pod);
    find_static(join, pod, now_ns);
}

void pod_join_api_synced(PodJoin *join, uint64_t now_ns)
{
    join->api_synced = true;
    join->api_synced_ns = now_ns;
}

static bool runs(const Entity *pod)
{
    for (size_t i = 0; pod->to_ns == 0 && i < pod->n_containers; i++) {
        if (*pod->containers[i].id) {
            return true;
        }
    }
    return false;
}

PodJoinCounts pod_join_counts(const PodJoin *join)
{
    PodJoinCounts counts = {0};
    GHashTableIter iter;
    const JoinPod *pod;
    g_hash_table_iter_init(&iter, join->pods);
    while (g_hash_table_iter_next(&iter, NULL, (void **)&pod)) {
        bool by_api = pod->api && pod->deleted_ns == 0;
        counts.api += by_api;
        counts.others_running += !pod->own && by_api && runs(pod->api);
        counts.others_seen += !pod->own && pod->sandbox;
    }
    return counts;
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/server/owners.h"

#include <glib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct OwnedPod {
    char *uid;
    uint64_t inode; /* of its network namespace */
} OwnedPod;

struct Owners {
    const OwnersCallbacks *callbacks;
    void *userdata;
    SocketOwners *sockets; /* or NULL */
    GHashTable *pods;      /* uid -> OwnedPod */
    GHashTable *by_netns;  /* &inode -> OwnedPod */
    GHashTable *on_host;   /* uid -> Entity: pods on the node's network */
    GQueue waiting;        /* of SocketNews *: of namespaces that are no pod's yet */
    bool told;
};

static void pod_free(void *data)
{
    OwnedPod *pod = data;
    g_free(pod->uid);
    g_free(pod);
}

/* ---- From news to facts ----------------------------------------------------------------------*/

/* The API server tells the ids of containers some time after they have started; before that the
 * kernel's word is all there is. */
static const char *container_name(const Owners *owners, const char *uid, const SocketNews *news)
{
    const Entity *pod = owners->callbacks->pod(uid, owners->userdata);
    for (size_t i = 0; pod && *news->pod.container && i < pod->n_containers; i++) {
        if (strcmp(pod->containers[i].id, news->pod.container) == 0) {
            return pod->containers[i].name;
        }
    }
    return news->container;
}

static ProtobufCBinaryData bytes_of(const uint8_t *bytes, uint8_t length)
{
    return (ProtobufCBinaryData){length, (uint8_t *)(uintptr_t)bytes};
}

static char *text(const char *constant)
{
    return (char *)(uintptr_t)constant; /* protobuf-c has no const strings */
}

/* `host_node`: of a pod on the node's network; else "". */
static void tell(Owners *owners, const char *uid, const char *host_node, const SocketNews *news)
{
    g_autofree char *no_secrets =
        owners->callbacks->no_secrets(news->netns_inode, news->pid, owners->userdata);
    Remora__V1__SocketOwner owner = REMORA__V1__SOCKET_OWNER__INIT;
    owner.target_uid = text(uid);
    owner.host_node = text(host_node);
    owner.protocol = news->protocol;
    owner.local = bytes_of(news->local, news->local_length);
    owner.local_port = news->local_port;
    owner.remote = bytes_of(news->remote, news->remote_length);
    owner.remote_port = news->remote_port;
    owner.container = text(container_name(owners, uid, news));
    owner.process = text(news->process);
    owner.pid = (uint32_t)news->pid;
    owner.no_secrets = no_secrets ? no_secrets : text("");
    owner.from_unix_ns = news->from_ns;
    owner.to_unix_ns = news->to_ns;
    Fact *fact = fact_socket_owner(&owner);
    if (fact) {
        owners->callbacks->fact(fact, owners->userdata);
        owners->told = true;
    }
}

static bool has_container(const Entity *pod, const char *id)
{
    for (size_t i = 0; *id && i < pod->n_containers; i++) {
        if (strcmp(pod->containers[i].id, id) == 0) {
            return true;
        }
    }
    return false;
}

/* A static pod is known by another uid than its control groups bear, but by the same containers. */
static const Entity *find_on_host(const Owners *owners, const SocketNews *news)
{
    const Entity *pod = g_hash_table_lookup(owners->on_host, news->pod.uid);
    GHashTableIter iter;
    g_hash_table_iter_init(&iter, owners->on_host);
    while (!pod && g_hash_table_iter_next(&iter, NULL, (void **)&pod)) {
        if (!has_container(pod, news->pod.container)) {
            pod = NULL;
        }
    }
    return pod;
}

/* Returns whether it is known whose it is. */
static bool tell_if_known(Owners *owners, const SocketNews *news)
{
    if (news->host_network) {
        const Entity *pod = find_on_host(owners, news);
        if (pod) {
            tell(owners, pod->uid, pod->node, news);
        }
        return pod != NULL;
    }
    uint64_t inode = news->netns_inode;
    const OwnedPod *pod = g_hash_table_lookup(owners->by_netns, &inode);
    if (pod) {
        tell(owners, pod->uid, "", news);
    }
    return pod != NULL;
}

static void on_owner(const SocketNews *news, void *userdata)
{
    Owners *owners = userdata;
    if (tell_if_known(owners, news)) {
        return;
    }
    if (owners->waiting.length >= OWNERS_WAITING_MAX) {
        g_free(g_queue_pop_head(&owners->waiting));
    }
    g_queue_push_tail(&owners->waiting, g_memdup2(news, sizeof(*news)));
}

const SocketOwnersCallbacks owners_socket_callbacks = {on_owner};

/* ---- Pods ------------------------------------------------------------------------------------*/

/* There is another pod: whose some of them are may be known now. */
static void tell_waiting(Owners *owners)
{
    GList *next;
    for (GList *link = owners->waiting.head; link; link = next) {
        SocketNews *news = link->data;
        next = link->next;
        if (tell_if_known(owners, news)) {
            g_free(news);
            g_queue_delete_link(&owners->waiting, link);
        }
    }
}

void owners_pod_vanished(Owners *owners, const char *uid)
{
    OwnedPod *pod = g_hash_table_lookup(owners->pods, uid);
    if (!pod) {
        return;
    }
    if (g_hash_table_lookup(owners->by_netns, &pod->inode) == pod) {
        g_hash_table_remove(owners->by_netns, &pod->inode);
    }
    g_hash_table_remove(owners->pods, uid);
}

void owners_pod_appeared(Owners *owners, const char *uid, int netns_fd)
{
    struct stat status;
    owners_pod_vanished(owners, uid);
    if (fstat(netns_fd, &status) < 0) {
        return;
    }
    OwnedPod *pod = g_new0(OwnedPod, 1);
    pod->uid = g_strdup(uid);
    pod->inode = status.st_ino;
    g_hash_table_insert(owners->pods, pod->uid, pod);
    g_hash_table_replace(owners->by_netns, &pod->inode, pod);
    tell_waiting(owners);
}

void owners_pod_known(Owners *owners, const Entity *pod, bool deleted)
{
    if (!pod->host_network || deleted) {
        g_hash_table_remove(owners->on_host, pod->uid);
        return;
    }
    Entity *known = entity_ref(pod);
    g_hash_table_replace(owners->on_host, text(known->uid), known);
    tell_waiting(owners);
}

/* ---- The object ------------------------------------------------------------------------------*/

bool owners_run(Owners *owners, bool wanted)
{
    if (!owners->sockets) {
        return false;
    }
    owners->told = false;
    owners->sockets->ops->want(owners->sockets, wanted);
    owners->sockets->ops->dispatch(owners->sockets);
    return owners->told;
}

void owners_stats(const Owners *owners, SocketOwnersStats *ret)
{
    *ret = (SocketOwnersStats){0};
    if (owners->sockets) {
        owners->sockets->ops->stats(owners->sockets, ret);
    }
}

Owners *owners_new(const OwnersCallbacks *callbacks, void *userdata)
{
    Owners *owners = g_new0(Owners, 1);
    owners->callbacks = callbacks;
    owners->userdata = userdata;
    owners->pods = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, pod_free);
    owners->by_netns = g_hash_table_new(g_int64_hash, g_int64_equal);
    owners->on_host = g_hash_table_new_full(g_str_hash, g_str_equal, NULL,
                                            (GDestroyNotify)(void (*)(void))entity_unref);
    return owners;
}

void owners_set_sockets(Owners *owners, SocketOwners *sockets)
{
    owners->sockets = sockets;
}

Owners *owners_free(Owners *owners)
{
    if (owners) {
        socket_owners_free(owners->sockets);
        g_queue_clear_full(&owners->waiting, g_free);
        g_hash_table_unref(owners->by_netns);
        g_hash_table_unref(owners->on_host);
        g_hash_table_unref(owners->pods);
        g_free(owners);
    }
    return NULL;
}

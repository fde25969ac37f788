// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/targets/host-addresses.h"

#include <glib.h>
#include <string.h>

#include "k8s-enrich/address.h"
#include "k8s-enrich/entity.h"

#define V4_BITS 96u /* that stand in front of an IPv4 address in an IpAddress */

typedef struct HostAddress {
    IpAddress address;
    unsigned prefix; /* bits of IpAddress */
    bool has_pods;   /* a pod is in its subnet, or was */
} HostAddress;

struct HostAddresses {
    char *node_name, *uid;
    HostAddressesTell *tell;
    void *userdata;
    GArray *addresses; /* of HostAddress */
    GHashTable *pods;  /* uid -> GArray of IpAddress */
    Entity *node;      /* by the API server, or NULL */
    Entity *told;      /* or NULL */
    uint64_t start_ns;
};

HostAddresses *host_addresses_new(const char *node_name, uint64_t now_ns, HostAddressesTell *tell,
                                  void *userdata)
{
    HostAddresses *host = g_new0(HostAddresses, 1);
    host->node_name = g_strdup(node_name);
    host->uid = g_strconcat("addresses of ", node_name, NULL);
    host->start_ns = now_ns;
    host->tell = tell;
    host->userdata = userdata;
    host->addresses = g_array_new(FALSE, FALSE, sizeof(HostAddress));
    host->pods = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
                                       (GDestroyNotify)(void (*)(void))g_array_unref);
    return host;
}

HostAddresses *host_addresses_free(HostAddresses *host)
{
    if (host) {
        g_array_unref(host->addresses);
        g_hash_table_unref(host->pods);
        entity_unref(host->node);
        entity_unref(host->told);
        g_free(host->node_name);
        g_free(host->uid);
        g_free(host);
    }
    return NULL;
}

static bool same_subnet(const IpAddress *a, const IpAddress *b, unsigned prefix)
{
    unsigned bytes = prefix / 8, bits = prefix % 8;
    return memcmp(a->bytes, b->bytes, bytes) == 0 &&
           (bits == 0 || (a->bytes[bytes] ^ b->bytes[bytes]) >> (8 - bits) == 0);
}

static bool is_told(const HostAddresses *host, const HostAddress *one)
{
    for (guint i = 0; i < host->addresses->len; i++) {
        const HostAddress *other = &g_array_index(host->addresses, HostAddress, i);
        if (other->has_pods && same_subnet(&one->address, &other->address, other->prefix)) {
            return true;
        }
    }
    return false;
}

static void tell_if_changed(HostAddresses *host, uint64_t now_ns)
{
    g_autoptr(GArray) addresses = g_array_new(FALSE, FALSE, sizeof(IpAddress));
    for (guint i = 0; i < host->addresses->len; i++) {
        const HostAddress *one = &g_array_index(host->addresses, HostAddress, i);
        if (is_told(host, one)) {
            g_array_append_val(addresses, one->address);
        }
    }
    if (addresses->len == 0 && !host->told) {
        return;
    }
    Entity draft = {.kind = ENTITY_NODE,
                    .uid = host->uid,
                    .name = host->node_name,
                    .labels = host->node ? host->node->labels : NULL,
                    .n_labels = host->node ? host->node->n_labels : 0,
                    .addresses = (const IpAddress *)addresses->data,
                    .n_addresses = addresses->len,
                    .from_ns = host->told ? now_ns : host->start_ns};
    const char *error = NULL;
    Entity *entity = entity_new(&draft, &error);
    if (!entity || (host->told && entity_same(host->told, entity))) {
        entity_unref(entity);
        return;
    }
    entity_unref(host->told);
    host->told = entity;
    host->tell(entity, host->userdata);
}

/* Returns whether it is the first one of a subnet. */
static bool find_subnets(HostAddresses *host, const GArray *pod)
{
    bool found = false;
    for (guint i = 0; i < pod->len; i++) {
        const IpAddress *address = &g_array_index(pod, IpAddress, i);
        for (guint k = 0; k < host->addresses->len; k++) {
            HostAddress *one = &g_array_index(host->addresses, HostAddress, k);
            if (!one->has_pods && same_subnet(address, &one->address, one->prefix)) {
                one->has_pods = found = true;
            }
        }
    }
    return found;
}

static bool had_pods(const GArray *addresses, const HostAddress *one)
{
    for (guint i = 0; i < addresses->len; i++) {
        const HostAddress *old = &g_array_index(addresses, HostAddress, i);
        if (old->prefix == one->prefix && ip_address_equal(&old->address, &one->address)) {
            return old->has_pods;
        }
    }
    return false;
}

void host_addresses_set(HostAddresses *host, const NetnsAddress *addresses, size_t count,
                        uint64_t now_ns)
{
    GArray *next = g_array_new(FALSE, FALSE, sizeof(HostAddress));
    for (size_t i = 0; i < count; i++) {
        HostAddress one = {.prefix = addresses[i].prefix_length +
                                     (addresses[i].length == 4 ? V4_BITS : 0)};
        one.prefix = MIN(one.prefix, 8 * sizeof(one.address.bytes));
        if (ip_address_from_bytes(&one.address, addresses[i].bytes, addresses[i].length) &&
            ip_address_is_host(&one.address)) {
            one.has_pods = had_pods(host->addresses, &one);
            g_array_append_val(next, one);
        }
    }
    g_array_unref(host->addresses);
    host->addresses = next;
    GHashTableIter iter;
    const GArray *pod;
    g_hash_table_iter_init(&iter, host->pods);
    while (g_hash_table_iter_next(&iter, NULL, (void **)&pod)) {
        find_subnets(host, pod);
    }
    tell_if_changed(host, now_ns);
}

void host_addresses_pod(HostAddresses *host, const char *uid, const IpAddress *addresses,
                        size_t count, uint64_t now_ns)
{
    if (count == 0) {
        g_hash_table_remove(host->pods, uid);
        return;
    }
    GArray *pod = g_array_sized_new(FALSE, FALSE, sizeof(IpAddress), (guint)count);
    g_array_append_vals(pod, addresses, (guint)count);
    g_hash_table_replace(host->pods, g_strdup(uid), pod);
    if (find_subnets(host, pod)) {
        tell_if_changed(host, now_ns);
    }
}

void host_addresses_node(HostAddresses *host, const Entity *node, uint64_t now_ns)
{
    entity_unref(host->node);
    host->node = entity_ref(node);
    if (host->told) {
        tell_if_changed(host, now_ns);
    }
}

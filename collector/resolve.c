// SPDX-License-Identifier: GPL-2.0-or-later
#include "collector/resolve.h"

#include <string.h>

#define MAPPED_PREFIX_BYTES 12u /* of an IPv4 address in an IPv6 one, RFC 4291 section 2.5.5.2 */

/* ---- The system ------------------------------------------------------------------------------*/

static char **system_lookup(void *userdata, const char *name, GCancellable *cancellable,
                            GError **error)
{
    g_autoptr(GResolver) resolver = g_resolver_get_default();
    GList *found = g_resolver_lookup_by_name(resolver, name, cancellable, error);
    if (!found)
        return NULL;
    GPtrArray *addresses = g_ptr_array_new();
    for (GList *address = found; address; address = address->next)
        g_ptr_array_add(addresses, g_inet_address_to_string(address->data));
    g_resolver_free_addresses(found);
    g_ptr_array_add(addresses, NULL);
    return (char **)g_ptr_array_free(addresses, FALSE);
}

const Resolver resolver_system = {system_lookup, NULL};

/* ---- A question ------------------------------------------------------------------------------*/

struct Lookup {
    Resolver resolver;
    char *name;
    GCancellable *cancellable;
    GThread *thread;
    GMutex lock;
    GCond changed;
    bool over; /* under the lock; what follows is the asker's then */
    char **addresses;
    GError *error;
};

static gpointer run(gpointer data)
{
    Lookup *lookup = data;
    lookup->addresses = lookup->resolver.lookup(lookup->resolver.userdata, lookup->name,
                                                lookup->cancellable, &lookup->error);
    g_mutex_lock(&lookup->lock);
    lookup->over = true;
    g_cond_signal(&lookup->changed);
    g_mutex_unlock(&lookup->lock);
    return NULL;
}

Lookup *lookup_start(const Resolver *resolver, const char *name)
{
    Lookup *lookup = g_new0(Lookup, 1);
    lookup->resolver = *resolver;
    lookup->name = g_strdup(name);
    lookup->cancellable = g_cancellable_new();
    g_mutex_init(&lookup->lock);
    g_cond_init(&lookup->changed);
    lookup->thread = g_thread_new("lookup", run, lookup);
    return lookup;
}

bool lookup_wait(Lookup *lookup, uint64_t timeout_ns)
{
    gint64 end = g_get_monotonic_time() + (gint64)(timeout_ns / 1000);
    g_mutex_lock(&lookup->lock);
    while (timeout_ns && !lookup->over && g_cond_wait_until(&lookup->changed, &lookup->lock, end)) {
    }
    bool over = lookup->over;
    g_mutex_unlock(&lookup->lock);
    return over;
}

char **lookup_take(Lookup *lookup, GError **error)
{
    if (!lookup->addresses)
        g_propagate_error(error, g_steal_pointer(&lookup->error));
    return g_steal_pointer(&lookup->addresses);
}

Lookup *lookup_free(Lookup *lookup)
{
    if (!lookup)
        return NULL;
    g_cancellable_cancel(lookup->cancellable);
    g_thread_join(lookup->thread);
    g_object_unref(lookup->cancellable);
    g_strfreev(lookup->addresses);
    g_clear_error(&lookup->error);
    g_mutex_clear(&lookup->lock);
    g_cond_clear(&lookup->changed);
    g_free(lookup->name);
    g_free(lookup);
    return NULL;
}

const char *resolve_problem(const GError *error)
{
    if (g_error_matches(error, G_RESOLVER_ERROR, G_RESOLVER_ERROR_NOT_FOUND))
        return "the name is not known, or has no addresses";
    if (g_error_matches(error, G_RESOLVER_ERROR, G_RESOLVER_ERROR_TEMPORARY_FAILURE))
        return "no name server gives an answer";
    return error->message;
}

/* ---- What an answer is worth -----------------------------------------------------------------*/

/* Its usual form; NULL for what no node can have. */
static char *normalize(const char *text)
{
    static const guint8 mapped[MAPPED_PREFIX_BYTES] = {[10] = 0xff, [11] = 0xff};
    g_autoptr(GInetAddress) address = g_inet_address_new_from_string(text);
    if (!address)
        return NULL;
    const guint8 *bytes = g_inet_address_to_bytes(address);
    bool is_v6 = g_inet_address_get_family(address) == G_SOCKET_FAMILY_IPV6;
    if (is_v6 && memcmp(bytes, mapped, sizeof mapped) == 0) {
        g_autoptr(GInetAddress) inner =
            g_inet_address_new_from_bytes(bytes + sizeof mapped, G_SOCKET_FAMILY_IPV4);
        g_set_object(&address, inner);
        bytes = g_inet_address_to_bytes(address);
        is_v6 = false;
    }
    /* Nothing is reached at fe80:: without saying through which device. 0.0.0.0/8 and 240.0.0.0/4,
     * broadcast with it, are nobody's. */
    bool nobodys = is_v6 ? g_inet_address_get_is_link_local(address) : !bytes[0] || bytes[0] >= 240;
    if (nobodys || g_inet_address_get_is_any(address) || g_inet_address_get_is_multicast(address))
        return NULL;
    return g_inet_address_to_string(address);
}

static gint compare(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

char **resolve_usable(char *const *addresses, unsigned max, unsigned *ret_left_out)
{
    GPtrArray *usable = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    for (; *addresses; addresses++) {
        char *address = normalize(*addresses);
        if (address && !g_hash_table_contains(seen, address)) {
            g_hash_table_add(seen, address);
            g_ptr_array_add(usable, address);
        } else {
            g_free(address);
        }
    }
    /* Name servers turn their answers round: of too many it shall always be the same ones. */
    g_ptr_array_sort(usable, compare);
    *ret_left_out = usable->len > max ? usable->len - max : 0;
    g_hash_table_remove_all(seen);
    g_ptr_array_set_size(usable, (gint)(usable->len - *ret_left_out));
    g_ptr_array_add(usable, NULL);
    return (char **)g_ptr_array_free(usable, FALSE);
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include "collector/followed-name.h"

#include "collector/collector.h"
#include "common/rpc/rpc.h"

#define INTERVAL_NS (5u * 1000000000ull)
#define HURRY_NS    (1u * 1000000000ull) /* never more often */
#define TIMEOUT_NS  (5u * 1000000000ull)
#define IMPATIENT   3u /* first failures after which it is asked again soon */
#define DENIALS     2u /* until it is believed that there are no addresses */

FollowedName *followed_name_new(const char *endpoint, bool insecure, const Resolver *resolver,
                                uint64_t interval_ns, GError **error)
{
    char *host;
    uint16_t port;
    if (!rpc_name_parse(endpoint, COLLECTOR_DEFAULT_PORT, insecure, &host, &port, error))
        return NULL;
    FollowedName *name = g_new0(FollowedName, 1);
    name->endpoint = g_strdup(endpoint);
    name->name = host;
    name->port = port;
    name->resolver = *resolver;
    name->interval_ns = interval_ns ? interval_ns : INTERVAL_NS;
    name->nodes = g_ptr_array_new_with_free_func(g_free);
    name->set = g_hash_table_new(g_str_hash, g_str_equal);
    return name;
}

FollowedName *followed_name_free(FollowedName *name)
{
    if (!name)
        return NULL;
    lookup_free(name->lookup);
    g_hash_table_unref(name->set);
    g_ptr_array_unref(name->nodes);
    g_free(name->endpoint);
    g_free(name->name);
    g_free(name->problem);
    g_free(name->told);
    g_free(name);
    return NULL;
}

static void set_nodes(FollowedName *name, char *const *addresses)
{
    g_hash_table_remove_all(name->set);
    g_ptr_array_set_size(name->nodes, 0);
    for (; *addresses; addresses++) {
        char *node = rpc_endpoint_format(*addresses, name->port);
        g_ptr_array_add(name->nodes, node);
        g_hash_table_add(name->set, node);
    }
}

static FollowedNameNews on_answer(FollowedName *name, char *const *addresses)
{
    g_auto(GStrv) usable = resolve_usable(addresses, FOLLOWED_NAME_NODES_MAX, &name->left_out);
    g_clear_pointer(&name->problem, g_free);
    name->denials = 0;
    if (!usable[0]) {
        name->failures++;
        name->problem = g_strdup("none of its addresses can be a node's");
        return FOLLOWED_NAME_PROBLEM;
    }
    name->failures = 0;
    name->has_answered = true;
    set_nodes(name, usable);
    return FOLLOWED_NAME_ANSWER;
}

static FollowedNameNews on_failure(FollowedName *name, const GError *error, bool timed_out)
{
    char *none = NULL;
    bool denied = g_error_matches(error, G_RESOLVER_ERROR, G_RESOLVER_ERROR_NOT_FOUND);
    name->failures++;
    name->denials = denied ? name->denials + 1 : 0;
    if (name->denials >= DENIALS)
        set_nodes(name, &none);
    g_free(name->problem);
    name->problem = g_strdup(timed_out ? FOLLOWED_NAME_SILENCE : resolve_problem(error));
    return FOLLOWED_NAME_PROBLEM;
}

static FollowedNameNews take_answer(FollowedName *name, bool timed_out)
{
    g_autoptr(GError) error = NULL;
    g_auto(GStrv) addresses = timed_out ? NULL : lookup_take(name->lookup, &error);
    name->lookup = lookup_free(name->lookup);
    return addresses ? on_answer(name, addresses) : on_failure(name, error, timed_out);
}

static uint64_t shortest_pause(const FollowedName *name)
{
    return MIN(HURRY_NS, name->interval_ns);
}

FollowedNameNews followed_name_tend(FollowedName *name, uint64_t now_ns, double random)
{
    if (!name->lookup && now_ns >= name->next_ns) {
        name->asked_ns = now_ns;
        name->lookup = lookup_start(&name->resolver, name->name);
    }
    if (!name->lookup)
        return FOLLOWED_NAME_NO_NEWS;
    bool over = lookup_wait(name->lookup, 0);
    if (!over && now_ns < name->asked_ns + TIMEOUT_NS)
        return FOLLOWED_NAME_NO_NEWS;
    FollowedNameNews news = take_answer(name, !over);
    bool soon = name->failures && name->failures <= IMPATIENT;
    name->next_ns =
        now_ns + (soon ? shortest_pause(name)
                       : name->interval_ns + (uint64_t)(random * (double)name->interval_ns));
    return news;
}

void followed_name_hurry(FollowedName *name, uint64_t now_ns)
{
    uint64_t soon_ns = MAX(now_ns, name->asked_ns + shortest_pause(name));
    name->next_ns = MIN(name->next_ns, soon_ns);
}

bool followed_name_has(const FollowedName *name, const char *node)
{
    return g_hash_table_contains(name->set, node);
}

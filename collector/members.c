// SPDX-License-Identifier: GPL-2.0-or-later
/* Which nodes there are: those whose endpoints were given, and those that a name stands for. The
 * rules in prose are in docs/collector.md. */
#include "collector/collector-private.h"

#include <string.h>

#include "common/clock.h"

#define SPARE_RETRY_NS                                                         \
    (60u * 1000000000ull) /* an address whose node is captured through another \
                           */
#define REASONS_MAX 8u    /* in an error */

/* ---- Life ------------------------------------------------------------------------------------*/

static GBytes *encode_request(const CollectorConfig *config, CollectorTls tls)
{
    char *none = NULL;
    static const Remora__V1__TlsMode tls_modes[] = {
        [COLLECTOR_TLS_OFF] = REMORA__V1__TLS_MODE__TLS_MODE_OFF,
        [COLLECTOR_TLS_KEYS] = REMORA__V1__TLS_MODE__TLS_MODE_KEYS,
        [COLLECTOR_TLS_AUTO] = REMORA__V1__TLS_MODE__TLS_MODE_AUTO,
        [COLLECTOR_TLS_PLAINTEXT] = REMORA__V1__TLS_MODE__TLS_MODE_PLAINTEXT,
    };
    char **namespaces = config->namespaces ? config->namespaces : &none;
    char **pods = config->pods ? config->pods : &none;
    Remora__V1__TargetSelector targets = REMORA__V1__TARGET_SELECTOR__INIT;
    targets.namespaces = namespaces;
    targets.n_namespaces = g_strv_length(namespaces);
    targets.pods = pods;
    targets.n_pods = g_strv_length(pods);
    targets.label_selector = config->label_selector ? config->label_selector : (char *)"";
    Remora__V1__StreamRequest request = REMORA__V1__STREAM_REQUEST__INIT;
    request.protocol_version = REMORA_PROTOCOL_VERSION;
    request.targets = &targets;
    request.snap_length = config->snap_length;
    request.filter = config->filter ? config->filter : (char *)"";
    request.tls = tls_modes[tls];
    request.client = (char *)(config->client ? config->client : "");
    size_t length = remora__v1__stream_request__get_packed_size(&request);
    uint8_t *bytes = g_malloc(length + 1);
    remora__v1__stream_request__pack(&request, bytes);
    return g_bytes_new_take(bytes, length);
}

static NodeStream *add_node(Collector *c, const char *endpoint, GError **error)
{
    NodeStream *node =
        node_stream_new(c->client, endpoint, c->insecure, c->request, c->events, error);
    if (!node)
        return NULL;
    if (c->lesser_request)
        node_stream_set_lesser(node, c->lesser_request);
    /* What is kept of nodes stays bounded by how many there are at once, however many come and go.
     */
    node->quota = g_queue_pop_head(c->quotas);
    if (!node->quota)
        node->quota = node_quota_new(c->node_entities, c->node_entity_bytes, c->node_points);
    g_ptr_array_add(c->nodes, node);
    return node;
}

bool collector_members_new(Collector *collector, const CollectorConfig *config, GError **error)
{
    Collector *c = collector;
    c->insecure = config->insecure;
    c->node_entities = config->node_entities;
    c->node_entity_bytes = config->node_entity_bytes;
    c->node_points = config->node_points;
    c->request = encode_request(config, config->tls);
    if (config->tls == COLLECTOR_TLS_AUTO)
        c->lesser_request = encode_request(config, COLLECTOR_TLS_KEYS);
    c->names = g_ptr_array_new();
    c->nodes = g_ptr_array_new();
    c->quotas = g_queue_new();
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    for (char **endpoint = config->endpoints; *endpoint; endpoint++) {
        if (!g_hash_table_add(seen, *endpoint)) /* twice the same would be every packet twice */
            continue;
        if (!rpc_endpoint_is_name(*endpoint)) {
            if (!add_node(c, *endpoint, error))
                return false;
            continue;
        }
        FollowedName *name = followed_name_new(
            *endpoint, config->insecure, config->resolver ? config->resolver : &resolver_system,
            config->resolve_interval_ns, error);
        if (!name)
            return false;
        g_ptr_array_add(c->names, name);
    }
    return true;
}

void collector_members_free(Collector *collector)
{
    Collector *c = collector;
    NodeQuota *quota;
    for (guint i = 0; i < c->nodes->len; i++)
        node_stream_free(c->nodes->pdata[i]);
    for (guint i = 0; i < c->names->len; i++)
        followed_name_free(c->names->pdata[i]);
    while ((quota = g_queue_pop_head(c->quotas)))
        node_quota_free(quota);
    g_ptr_array_unref(c->nodes);
    g_ptr_array_unref(c->names);
    g_queue_free(c->quotas);
    g_bytes_unref(c->request);
    if (c->lesser_request)
        g_bytes_unref(c->lesser_request);
}

void collector_members_begin(Collector *collector, uint64_t now_ns)
{
    Collector *c = collector;
    for (guint i = 0; i < c->nodes->len; i++)
        ((NodeStream *)c->nodes->pdata[i])->index = merge_add(c->merge);
    /* At the start the packets of one node wait for the names that the others will tell, also for
     * those that are yet to be found. */
    for (guint i = 0; i < c->names->len; i++) {
        FollowedName *name = c->names->pdata[i];
        name->holds = true;
        name->merge_stream = merge_add(c->merge);
        merge_open(c->merge, name->merge_stream, now_ns);
    }
}

/* ---- The same node twice ---------------------------------------------------------------------*/

static bool is_listed(const NodeStream *node)
{
    return !node->origin || followed_name_has(node->origin, node->endpoint);
}

static bool is_live(const NodeStream *node)
{
    return node->state == NODE_STREAM_LIVE && !node->cancelled;
}

static bool is_same_node(const NodeStream *a, const NodeStream *b)
{
    return a->name && b->name && *a->name && strcmp(a->name, b->name) == 0 &&
           strcmp(a->cluster, b->cluster) == 0;
}

static bool is_same_process(const NodeStream *a, const NodeStream *b)
{
    return is_same_node(a, b) && *a->boot_id && strcmp(a->boot_id, b->boot_id) == 0;
}

/* Another live stream of the node, or NULL. */
static NodeStream *find_other(const Collector *c, const NodeStream *node)
{
    for (guint i = 0; i < c->nodes->len; i++) {
        NodeStream *other = c->nodes->pdata[i];
        if (other != node && is_live(other) && is_same_node(other, node))
            return other;
    }
    return NULL;
}

static void end_replaced(NodeStream *node)
{
    node->is_superseded = true;
    node_stream_cancel(node, "another process of the node has taken its place");
}

bool collector_member_hello(Collector *collector, NodeStream *node, uint64_t now_ns)
{
    Collector *c = collector;
    for (guint i = 0; i < c->nodes->len; i++) {
        NodeStream *other = c->nodes->pdata[i];
        if (other == node || !is_live(other) || !is_same_node(other, node))
            continue;
        if (is_same_process(other, node)) {
            if (!node->is_superseded)
                notes_say(c->notes, now_ns, COLLECTOR_INFO,
                          "%s and %s are the same node, %s: it is captured once", other->endpoint,
                          node->endpoint, node->name);
            node->is_superseded = true;
            merge_close(c->merge, node->index);
            node_stream_cancel(node, NULL);
            return false;
        }
        /* Of two processes the one whose address the name no longer has is on its way out. */
        if (!is_listed(other))
            end_replaced(other);
        else
            notes_say(c->notes, now_ns, COLLECTOR_WARNING,
                      "Two processes call themselves %s, at %s and %s: its packets may be there "
                      "twice while both run",
                      node->name, other->endpoint, node->endpoint);
    }
    node->is_superseded = false;
    return true;
}

bool collector_member_closed(Collector *collector, NodeStream *node, bool was_live, uint64_t now_ns)
{
    Collector *c = collector;
    if (node->is_superseded) {
        node->is_superseded = find_other(c, node) != NULL;
        node->attempts = 0;
        node->retry_ns = now_ns + (node->is_superseded ? SPARE_RETRY_NS : 0);
        return false;
    }
    if (node->origin)
        followed_name_hurry(node->origin, now_ns);
    for (guint i = 0; was_live && i < c->nodes->len; i++) {
        NodeStream *spare = c->nodes->pdata[i];
        if (spare->stream || !spare->is_superseded || !is_same_node(spare, node))
            continue;
        spare->is_superseded = false;
        spare->retry_ns = now_ns;
    }
    return true;
}

/* ---- Names -----------------------------------------------------------------------------------*/

static void join(Collector *c, FollowedName *name, const char *endpoint, uint64_t now_ns)
{
    g_autoptr(GError) error = NULL;
    NodeStream *node = add_node(c, endpoint, &error);
    if (!node) {
        notes_say(c->notes, now_ns, COLLECTOR_WARNING, "%s: %s", name->endpoint, error->message);
        return;
    }
    node->origin = name;
    node->joined_later = !name->holds && c->was_connected;
    node->index = merge_add(c->merge);
}

static void on_addresses(Collector *c, FollowedName *name, uint64_t now_ns)
{
    g_autoptr(GHashTable) members = g_hash_table_new(g_str_hash, g_str_equal);
    guint own = 0;
    for (guint i = 0; i < c->nodes->len; i++) {
        NodeStream *node = c->nodes->pdata[i];
        g_hash_table_add(members, node->endpoint);
        own += node->origin == name;
        if (is_live(node) && !is_listed(node) && find_other(c, node))
            end_replaced(node);
    }
    unsigned left_out = name->left_out;
    for (guint i = 0; i < name->nodes->len; i++) {
        const char *endpoint = name->nodes->pdata[i];
        if (g_hash_table_contains(members, endpoint))
            continue;
        if (own < FOLLOWED_NAME_NODES_MAX) {
            join(c, name, endpoint, now_ns);
            own++;
        } else {
            left_out++;
        }
    }
    if (left_out)
        notes_say(c->notes, now_ns, COLLECTOR_WARNING,
                  "%s has more than %u addresses: %u of them are left out", name->endpoint,
                  FOLLOWED_NAME_NODES_MAX, left_out);
}

/* If nothing is resolved at all, that is the error of the run. */
static void tell_of_name(Collector *c, FollowedName *name, uint64_t now_ns)
{
    if (g_strcmp0(name->problem, name->told) == 0 || !c->was_connected)
        return;
    if (name->problem)
        notes_say(c->notes, now_ns, COLLECTOR_WARNING,
                  "%s: %s. Trying again; the nodes that it had are kept while they answer.",
                  name->endpoint, name->problem);
    else
        notes_say(c->notes, now_ns, COLLECTOR_INFO, "%s is resolved again", name->endpoint);
    g_free(name->told);
    name->told = g_strdup(name->problem);
}

static void tend_name(Collector *c, FollowedName *name, uint64_t now_ns)
{
    FollowedNameNews news = followed_name_tend(name, now_ns, g_random_double());
    if (news == FOLLOWED_NAME_ANSWER)
        on_addresses(c, name, now_ns);
    if (news != FOLLOWED_NAME_NO_NEWS && name->holds) {
        merge_remove(c->merge, name->merge_stream);
        name->holds = false;
    }
    tell_of_name(c, name, now_ns);
}

/* ---- Nodes -----------------------------------------------------------------------------------*/

static void tell_of_leaving(Collector *c, const NodeStream *node, uint64_t now_ns)
{
    if (!node->name)
        notes_say(c->notes, now_ns, COLLECTOR_INFO, "%s no longer has the address %s",
                  node->origin->endpoint, node->endpoint);
    else if (find_other(c, node))
        notes_say(c->notes, now_ns, COLLECTOR_INFO, "%s is no longer at %s", node_stream_name(node),
                  node->endpoint);
    else
        notes_say(c->notes, now_ns, COLLECTOR_WARNING,
                  "%s has left: %s no longer has its address "
                  "%s",
                  node_stream_name(node), node->origin->endpoint, node->endpoint);
}

/* Those that neither answer nor are listed any more. After the closed event, which is the last,
 * nothing refers to a stream. */
static void let_go(Collector *c, uint64_t now_ns)
{
    for (guint i = 0; i < c->nodes->len;) {
        NodeStream *node = c->nodes->pdata[i];
        if (node->stream || is_listed(node)) {
            i++;
            continue;
        }
        tell_of_leaving(c, node, now_ns);
        merge_remove(c->merge, node->index);
        g_queue_push_tail(c->quotas, g_steal_pointer(&node->quota));
        node_stream_free(node);
        g_ptr_array_remove_index(c->nodes, i);
    }
}

static void tend_node(Collector *c, NodeStream *node, uint64_t now_ns, uint64_t waits_ns)
{
    bool is_first = !node->opened_ns && !node->joined_later;
    /* At the start the packets of one node wait for the names that the others will tell. */
    if (node_stream_open_if_due(node, now_ns, waits_ns) && is_first)
        merge_open(c->merge, node->index, waits_ns);
    node_stream_check_silence(node, waits_ns);
    if (node->wants_read && !node->cancelled && merge_wants(c->merge, node->index))
        node_stream_read(node, waits_ns);
}

void collector_members_tend(Collector *collector, uint64_t now_ns)
{
    Collector *c = collector;
    for (guint i = 0; i < c->names->len; i++)
        tend_name(c, c->names->pdata[i], now_ns);
    if (c->names->len)
        let_go(c, now_ns);
    for (guint i = 0; i < c->nodes->len; i++)
        tend_node(c, c->nodes->pdata[i], now_ns, now_ns - c->blocked_ns);
}

/* ---- The end ---------------------------------------------------------------------------------*/

static void add_reason(GString *text, unsigned *count, const char *format, ...) G_GNUC_PRINTF(3, 4);

static void add_reason(GString *text, unsigned *count, const char *format, ...)
{
    if (++*count > REASONS_MAX)
        return;
    if (text->len)
        g_string_append_c(text, '\n');
    va_list args;
    va_start(args, format);
    g_string_append_vprintf(text, format, args);
    va_end(args);
}

/* `refused`: only those that answered and do not let us, for that is what must be corrected. */
static char *reasons(const Collector *c, bool refused)
{
    GString *text = g_string_new(NULL);
    unsigned count = 0;
    for (guint i = 0; !refused && i < c->names->len; i++) {
        const FollowedName *name = c->names->pdata[i];
        if (!name->has_answered)
            add_reason(text, &count, "%s: %s. " FOLLOWED_NAME_ADVICE, name->endpoint,
                       name->problem ? name->problem : FOLLOWED_NAME_SILENCE);
    }
    for (guint i = 0; i < c->nodes->len; i++) {
        const NodeStream *node = c->nodes->pdata[i];
        if (refused && node->state != NODE_STREAM_OVER)
            continue;
        const char *advice = node_stream_advice(node->status);
        add_reason(text, &count, "%s%s%s: %s.%s%s", node->origin ? node->origin->endpoint : "",
                   node->origin ? ", " : "", node->endpoint,
                   node->problem ? node->problem : "no answer", *advice ? " " : "", advice);
    }
    if (count > REASONS_MAX)
        g_string_append_printf(text, "\nand %u more", count - REASONS_MAX);
    return g_string_free(text, FALSE);
}

bool collector_members_hopeless(const Collector *collector, uint64_t waited_ns, GError **error)
{
    const Collector *c = collector;
    bool all_over = c->nodes->len > 0, any_refused = false;
    for (guint i = 0; i < c->nodes->len; i++) {
        const NodeStream *node = c->nodes->pdata[i];
        all_over &= node->state == NODE_STREAM_OVER;
        any_refused |= node->state == NODE_STREAM_OVER;
    }
    for (guint i = 0; i < c->names->len; i++) {
        const FollowedName *name = c->names->pdata[i];
        /* Who comes later may be another version, or let us in. */
        all_over &= name->has_answered && !c->was_connected;
    }
    if (!all_over && (c->was_connected || waited_ns < c->connect_timeout_ns))
        return false;
    g_autofree char *text = reasons(c, any_refused);
    g_set_error_literal(error, COLLECTOR_ERROR, COLLECTOR_ERROR_CONNECT, text);
    return true;
}

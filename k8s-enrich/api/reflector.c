// SPDX-License-Identifier: GPL-2.0-or-later
/* One resource: list, watch from the list's version on, and so again and again. */
#include "common/clock.h"
#include "k8s-enrich/api/reflector-private.h"

#define BACKOFF_MAX_NS   (30 * SECOND_NS)
#define PROOF_NS         (2 * SECOND_NS) /* a watch that lasted so long is well again */
#define PAGE_ITEMS       500u
#define WATCH_S_MIN      300u
#define WATCH_S_MAX      600u
#define ACCEPT_LIST      "application/vnd.kubernetes.protobuf, application/json"
#define ACCEPT_WATCH     "application/vnd.kubernetes.protobuf;stream=watch, application/json"
#define ACCEPT_DISCOVERY "application/json"

Reflector *reflector_new(ApiWatch *watch, ApiTransport *transport, Store *store, unsigned resource,
                         const ApiScope *scope)
{
    Reflector *reflector = g_new0(Reflector, 1);
    reflector->watch = watch;
    reflector->transport = transport;
    reflector->store = store;
    reflector->index = resource;
    reflector->resource = &api_resources[resource];
    reflector->scope = *scope;
    reflector->subject = g_strdup_printf("Kubernetes API: %s", reflector->resource->name);
    if (resource == API_RESOURCE_PODS && scope->node_name) {
        g_autofree char *name = g_uri_escape_string(scope->node_name, NULL, FALSE);
        reflector->selector = g_strdup_printf("&fieldSelector=spec.nodeName%%3D%s", name);
    } else {
        reflector->selector = g_strdup("");
    }
    if (!reflector->resource->versions[1])
        reflector->version = reflector->resource->versions[0];
    return reflector;
}

void reflector_forget_answer(Reflector *reflector)
{
    reflector->transfer = api_transfer_free(reflector->transfer);
    reflector->decoder = api_decoder_free(reflector->decoder);
    g_clear_pointer(&reflector->discovery, g_byte_array_unref);
    g_clear_pointer(&reflector->status_message, g_free);
    g_clear_pointer(&reflector->problem, g_free);
    reflector->status = reflector->status_code = 0;
    reflector->list_told = reflector->status_told = false;
    reflector->retry_after_s = 0;
    reflector->inside_since_ns = reflector->events_seen = 0;
}

Reflector *reflector_free(Reflector *reflector)
{
    if (!reflector)
        return NULL;
    reflector_forget_answer(reflector);
    g_free(reflector->selector);
    g_free(reflector->subject);
    g_free(reflector->resource_version);
    g_free(reflector->last_version);
    g_free(reflector->continue_token);
    g_free(reflector->told);
    g_free(reflector);
    return NULL;
}

/* ---- Well and not well -----------------------------------------------------------------------*/

void reflector_settle(Reflector *reflector)
{
    if (!reflector->settled)
        watch_settled(reflector->watch);
    reflector->settled = true;
}

void reflector_well(Reflector *reflector)
{
    reflector->failures = reflector->refusals = 0;
    reflector->rejected = false;
    reflector->failing_unix_ns = 0;
    watch_stats_lock(reflector->watch)->resources[reflector->index].stale_unix_ns = 0;
    watch_stats_unlock(reflector->watch);
    if (reflector->told)
        watch_tell_problem(reflector->watch, reflector->subject, NULL);
    g_clear_pointer(&reflector->told, g_free);
}

uint64_t reflector_jittered(uint64_t ns)
{
    return (uint64_t)((double)ns * g_random_double_range(0.75, 1.25));
}

void reflector_wait(Reflector *reflector, uint64_t ns)
{
    reflector->state = STATE_WAITING;
    reflector->next_ns = clock_monotonic_ns() + ns;
}

static void tell_failure(Reflector *reflector, const char *what)
{
    uint64_t now_ns = clock_unix_ns();
    if (!reflector->failing_unix_ns)
        reflector->failing_unix_ns = now_ns;
    ApiWatchStats *stats = watch_stats_lock(reflector->watch);
    stats->errors++;
    stats->resources[reflector->index].stale_unix_ns = reflector->failing_unix_ns;
    watch_stats_unlock(reflector->watch);

    g_autoptr(GDateTime) since =
        g_date_time_new_from_unix_utc((gint64)(reflector->failing_unix_ns / SECOND_NS));
    g_autofree char *time = g_date_time_format_iso8601(since);
    g_autofree char *message = g_strdup_printf(
        "%s since %s: %s",
        reflector->settled ? "what is known may be out of date" : "nothing known", time, what);
    if (g_strcmp0(message, reflector->told) == 0)
        return;
    g_free(reflector->told);
    reflector->told = g_steal_pointer(&message);
    watch_tell_problem(reflector->watch, reflector->subject, reflector->told);
}

/* Tries again after a time that doubles, or that the server wants. */
void reflector_fail(Reflector *reflector, const char *what)
{
    uint64_t backoff_ns = REFLECTOR_BACKOFF_MIN_NS << MIN(reflector->failures, 6u);
    tell_failure(reflector, what);
    reflector->failures++;
    backoff_ns = reflector_jittered(MIN(backoff_ns, BACKOFF_MAX_NS));
    uint64_t asked_ns = reflector->retry_after_s * SECOND_NS;
    reflector->told_when = asked_ns > 0;
    reflector_wait(reflector, asked_ns ? MAX(asked_ns, backoff_ns) : backoff_ns);
}

void reflector_hurry(Reflector *reflector, uint64_t now_ns)
{
    bool may = !reflector->told_when && (reflector->failures > 0 || reflector->refusals > 0);
    if (reflector->state == STATE_WAITING && may) {
        uint64_t soon_ns = MAX(now_ns, reflector->started_ns + REFLECTOR_BACKOFF_MIN_NS);
        reflector->next_ns = MIN(reflector->next_ns, soon_ns);
        /* It may not be ready yet: then soon again, as after a first failure. */
        reflector->failures = MIN(reflector->failures, 1u);
        reflector->refusals = MIN(reflector->refusals, 1u);
    }
}

void reflector_fail_refused(Reflector *reflector)
{
    const ApiResource *resource = reflector->resource;
    const char *verb = reflector->state == STATE_WATCHING ? "watch" : "list";
    const char *server = reflector->status_message ? reflector->status_message : "no reason given";
    g_autofree char *what =
        reflector->status == 403
            ? g_strdup_printf("the API server forbids to %s %s (403: %s); add to the ClusterRole: "
                              "apiGroups: [\"%s\"], resources: [\"%s\"], verbs: [\"list\", "
                              "\"watch\"]",
                              verb, resource->name, server, resource->group, resource->name)
            : g_strdup_printf("the API server has no %s (404: %s)", resource->name, server);
    tell_failure(reflector, what);
    reflector_settle(reflector);
    /* It may be another server by then, with other versions. */
    if (resource->versions[1])
        reflector->version = NULL;
    /* A server that has just started refuses until it has read its roles: soon again at first. */
    unsigned retry_s = reflector->scope.refused_retry_s ? reflector->scope.refused_retry_s : 60;
    uint64_t backoff_ns = REFLECTOR_BACKOFF_MIN_NS << MIN(reflector->refusals, 7u);
    reflector->refusals++;
    reflector->told_when = false;
    reflector_wait(reflector, reflector_jittered(MIN(backoff_ns, retry_s * SECOND_NS)));
}

void reflector_need_list(Reflector *reflector, bool by_pages)
{
    g_clear_pointer(&reflector->resource_version, g_free);
    g_clear_pointer(&reflector->continue_token, g_free);
    reflector->by_pages = by_pages;
}

/* ---- Requests --------------------------------------------------------------------------------*/

static char *list_query(Reflector *reflector)
{
    if (reflector->continue_token) {
        g_autofree char *token = g_uri_escape_string(reflector->continue_token, NULL, FALSE);
        return g_strdup_printf("limit=%u&continue=%s", PAGE_ITEMS, token);
    }
    store_list_begin(reflector->store, reflector->index);
    reflector->pages = 0;
    reflector->malformed = 0;
    if (reflector->by_pages)
        return g_strdup_printf("limit=%u", PAGE_ITEMS);
    /* From the server's cache, which spares its store when many nodes start at once; but never
     * older than what was seen. The server ignores a limit then. */
    return g_strdup_printf("resourceVersion=%s",
                           reflector->last_version ? reflector->last_version : "0");
}

static char *watch_query(Reflector *reflector)
{
    unsigned wanted_s = reflector->scope.watch_s;
    reflector->watch_s =
        wanted_s ? wanted_s : (unsigned)g_random_int_range(WATCH_S_MIN, WATCH_S_MAX + 1);
    g_autofree char *version = g_uri_escape_string(reflector->resource_version, NULL, FALSE);
    return g_strdup_printf("watch=1&allowWatchBookmarks=true&timeoutSeconds=%u&resourceVersion=%s",
                           reflector->watch_s, version);
}

static char *path_of(const Reflector *reflector, const char *query)
{
    const ApiResource *resource = reflector->resource;
    return g_strdup_printf("%s%s/%s/%s?%s%s", *resource->group ? "/apis/" : "/api", resource->group,
                           reflector->version, resource->name, query, reflector->selector);
}

static unsigned stall_s(const Reflector *reflector)
{
    return reflector->scope.stall_s ? reflector->scope.stall_s : 30;
}

static void start(Reflector *reflector, uint64_t now_ns)
{
    g_autofree char *path = NULL;
    g_autofree char *query = NULL;
    g_autoptr(GError) error = NULL;
    const char *accept = ACCEPT_LIST;
    reflector_forget_answer(reflector);
    reflector->started_ns = now_ns;
    ApiWatchStats *stats = watch_stats_lock(reflector->watch);
    if (!reflector->version) {
        stats->gets++;
        reflector->state = STATE_DISCOVERING;
        accept = ACCEPT_DISCOVERY;
        path = g_strconcat("/apis/", reflector->resource->group, NULL);
    } else if (reflector->resource_version) {
        stats->watches++;
        reflector->state = STATE_WATCHING;
        accept = ACCEPT_WATCH;
    } else {
        stats->lists++;
        reflector->state = STATE_LISTING;
    }
    watch_stats_unlock(reflector->watch);
    if (!path) {
        query = reflector->state == STATE_WATCHING ? watch_query(reflector) : list_query(reflector);
        path = path_of(reflector, query);
    }
    bool is_watch = reflector->state == STATE_WATCHING;
    reflector->transfer =
        api_transfer_new(reflector->transport, path, accept, is_watch ? 0 : stall_s(reflector),
                         &reflector_transfer_ops, reflector, &error);
    if (!reflector->transfer)
        reflector_fail(reflector, error->message);
}

/* When a watch is given up, and why: nothing in it shows that the other end is still there. */
static uint64_t watch_deadline(const Reflector *reflector, const char **ret_why)
{
    uint64_t stall_ns = stall_s(reflector) * SECOND_NS;
    if (!reflector->status) {
        *ret_why = "the API server does not answer";
        return reflector->started_ns + stall_ns;
    }
    uint64_t end_ns = reflector->started_ns + reflector->watch_s * SECOND_NS + stall_ns;
    *ret_why = "the API server did not end the watch in time: the connection seems dead";
    if (reflector->inside_since_ns && reflector->inside_since_ns + stall_ns < end_ns) {
        *ret_why = "the API server stopped in the middle of an event";
        return reflector->inside_since_ns + stall_ns;
    }
    return end_ns;
}

uint64_t reflector_tick(Reflector *reflector, uint64_t now_ns)
{
    const char *why;
    if (reflector->state == STATE_WAITING && now_ns >= reflector->next_ns)
        start(reflector, now_ns);
    if (reflector->state == STATE_WAITING)
        return reflector->next_ns;
    if (reflector->state != STATE_WATCHING)
        return NEVER_NS;
    uint64_t deadline_ns = watch_deadline(reflector, &why);
    uint64_t proof_ns =
        reflector->status == 200 && reflector->told ? reflector->started_ns + PROOF_NS : NEVER_NS;
    if (now_ns < deadline_ns && now_ns < proof_ns)
        return MIN(deadline_ns, proof_ns);
    if (now_ns < deadline_ns) {
        reflector_well(reflector);
        return deadline_ns;
    }
    reflector->transfer = api_transfer_free(reflector->transfer);
    reflector_fail(reflector, why);
    reflector_forget_answer(reflector);
    return reflector->next_ns;
}

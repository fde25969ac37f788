// SPDX-License-Identifier: GPL-2.0-or-later
/* One resource: list, watch from the list's version on, and so again and again. */
#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "common/clock.h"
#include "k8s-enrich/api/watch-private.h"

#define BACKOFF_MIN_NS   (SECOND_NS / 2)
#define BACKOFF_MAX_NS   (30 * SECOND_NS)
#define SHORT_WATCH_NS   SECOND_NS
#define PROOF_NS         (2 * SECOND_NS) /* a watch that lasted so long is well again */
#define PAGE_ITEMS       500u
#define PAGES_MAX        10000u
#define DISCOVERY_MAX    (1024u * 1024u)
#define WATCH_S_MIN      300u
#define WATCH_S_MAX      600u
#define ACCEPT_LIST      "application/vnd.kubernetes.protobuf, application/json"
#define ACCEPT_WATCH     "application/vnd.kubernetes.protobuf;stream=watch, application/json"
#define ACCEPT_DISCOVERY "application/json"

typedef enum State {
    STATE_WAITING, /* until next_ns */
    STATE_DISCOVERING,
    STATE_LISTING,
    STATE_WATCHING,
} State;

struct Reflector {
    ApiWatch *watch;
    ApiTransport *transport;
    Store *store;
    unsigned index;
    const ApiResource *resource;
    ApiScope scope;
    char *selector; /* "&fieldSelector=..." or "" */
    char *subject;

    State state;
    uint64_t next_ns;       /* monotonic */
    const char *version;    /* of the group; NULL: not known yet */
    char *resource_version; /* NULL: a list is needed */
    char *last_version;     /* the newest that was seen, also when a list is needed */
    char *continue_token;   /* the next page of the list that goes on, or NULL */
    unsigned pages;
    bool by_pages; /* what the server's cache says is not wanted, but pages of what is stored */
    bool settled;

    ApiTransfer *transfer;
    ApiDecoder *decoder;
    GByteArray *discovery;
    int status; /* of the answer; 0: none yet */
    bool list_told;
    bool status_told; /* a Status came in its place */
    int status_code;
    char *status_message;
    char *problem; /* found while taking the answer */
    unsigned retry_after_s;
    unsigned watch_s;
    uint64_t started_ns, inside_since_ns, events_seen;

    unsigned failures;
    bool rejected; /* the credentials, and no success since */
    uint64_t failing_unix_ns;
    char *told; /* the problem that is in force */
    unsigned malformed;
    bool malformed_told;
};

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

static void forget_answer(Reflector *reflector)
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
    forget_answer(reflector);
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

static void settle(Reflector *reflector)
{
    if (!reflector->settled)
        watch_settled(reflector->watch);
    reflector->settled = true;
}

static void heard(Reflector *reflector)
{
    ApiWatchStats *stats = watch_stats_lock(reflector->watch);
    stats->resources[reflector->index].last_event_unix_ns = clock_unix_ns();
    watch_stats_unlock(reflector->watch);
}

static void well(Reflector *reflector)
{
    reflector->failures = 0;
    reflector->rejected = false;
    reflector->failing_unix_ns = 0;
    watch_stats_lock(reflector->watch)->resources[reflector->index].stale_unix_ns = 0;
    watch_stats_unlock(reflector->watch);
    if (reflector->told)
        watch_tell_problem(reflector->watch, reflector->subject, NULL);
    g_clear_pointer(&reflector->told, g_free);
}

static uint64_t jittered(uint64_t ns)
{
    return (uint64_t)((double)ns * g_random_double_range(0.75, 1.25));
}

static void wait_for(Reflector *reflector, uint64_t ns)
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
static void fail(Reflector *reflector, const char *what)
{
    uint64_t backoff_ns = BACKOFF_MIN_NS << MIN(reflector->failures, 6u);
    tell_failure(reflector, what);
    reflector->failures++;
    backoff_ns = jittered(MIN(backoff_ns, BACKOFF_MAX_NS));
    uint64_t asked_ns = reflector->retry_after_s * SECOND_NS;
    wait_for(reflector, asked_ns ? MAX(asked_ns, backoff_ns) : backoff_ns);
}

static void fail_refused(Reflector *reflector)
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
    settle(reflector);
    /* It may be another server by then, with other versions. */
    if (resource->versions[1])
        reflector->version = NULL;
    unsigned retry_s = reflector->scope.refused_retry_s ? reflector->scope.refused_retry_s : 60;
    wait_for(reflector, jittered(retry_s * SECOND_NS));
}

/* ---- The decoder's events --------------------------------------------------------------------*/

static void set_version(Reflector *reflector, const char *version)
{
    if (!*version)
        return;
    g_free(reflector->last_version);
    reflector->last_version = g_strdup(version);
    if (reflector->state == STATE_WATCHING) {
        g_free(reflector->resource_version);
        reflector->resource_version = g_strdup(version);
    }
}

static void note_malformed(Reflector *reflector, const char *problem)
{
    watch_stats_lock(reflector->watch)->malformed++;
    watch_stats_unlock(reflector->watch);
    reflector->malformed++;
    if (reflector->malformed_told)
        return;
    g_autofree char *subject = g_strconcat(reflector->subject, ", objects", NULL);
    g_autofree char *message = g_strdup_printf("left out: %s", problem);
    reflector->malformed_told = true;
    watch_tell_problem(reflector->watch, subject, message);
}

static void take_object(ApiChange change, const ApiObject *object, void *userdata)
{
    Reflector *reflector = userdata;
    uint64_t now_ns = clock_unix_ns();
    if (change != API_LISTED) {
        set_version(reflector, object->resource_version);
        reflector->events_seen++;
        watch_stats_lock(reflector->watch)->events++;
        watch_stats_unlock(reflector->watch);
        well(reflector);
    }
    if (!object->entity)
        note_malformed(reflector, object->problem ? object->problem : "no entity");
    else if (change == API_DELETED)
        store_delete(reflector->store, reflector->index, object, now_ns);
    else
        store_put(reflector->store, reflector->index, object, now_ns);
}

static void take_list(const char *resource_version, const char *continue_token, void *userdata)
{
    Reflector *reflector = userdata;
    reflector->list_told = true;
    if (*continue_token && g_strcmp0(continue_token, reflector->continue_token) == 0)
        reflector->problem = g_strdup("the list does not end: the same page comes again");
    g_free(reflector->continue_token);
    reflector->continue_token = *continue_token ? g_strdup(continue_token) : NULL;
    set_version(reflector, resource_version);
}

static void take_bookmark(const char *resource_version, void *userdata)
{
    Reflector *reflector = userdata;
    reflector->events_seen++;
    set_version(reflector, resource_version);
    well(reflector);
}

static void take_status(const ApiStatus *status, void *userdata)
{
    Reflector *reflector = userdata;
    reflector->status_told = true;
    reflector->status_code = status->code;
    reflector->status_message = g_utf8_make_valid(status->message, -1);
    if (status->retry_after_s && !reflector->retry_after_s)
        reflector->retry_after_s = status->retry_after_s;
}

static const ApiDecoderOps decoder_ops = {take_object, take_list, take_bookmark, take_status};

/* ---- The transfer's events -------------------------------------------------------------------*/

static void begun(int status, const char *content_type, unsigned retry_after_s, void *userdata)
{
    Reflector *reflector = userdata;
    bool protobuf = g_str_has_prefix(content_type, "application/vnd.kubernetes.protobuf");
    bool json = g_str_has_prefix(content_type, "application/json");
    reflector->status = status;
    reflector->retry_after_s = retry_after_s;
    if (!protobuf && !json) {
        /* A proxy's page of excuses is no problem of its own. */
        if (status == 200)
            reflector->problem = g_strdup_printf(
                "answered with content type \"%.60s\": is this an API server?", content_type);
        return;
    }
    if (reflector->state == STATE_DISCOVERING && status == 200) {
        reflector->discovery = g_byte_array_new();
        return;
    }
    ApiBody body = API_BODY_OBJECT;
    if (status == 200)
        body = reflector->state == STATE_WATCHING ? API_BODY_WATCH : API_BODY_LIST;
    size_t limit = body == API_BODY_OBJECT       ? API_OBJECT_MAX
                   : reflector->by_pages || json ? API_PAGE_MAX
                                                 : API_LIST_MAX;
    reflector->decoder =
        api_decoder_new(reflector->resource, body, protobuf ? API_FORMAT_PROTOBUF : API_FORMAT_JSON,
                        limit, &decoder_ops, reflector);
    /* The server sends the head of a watch when it has begun. */
    if (body == API_BODY_WATCH)
        heard(reflector);
}

static bool take_bytes(const uint8_t *bytes, size_t length, void *userdata)
{
    Reflector *reflector = userdata;
    watch_stats_lock(reflector->watch)->bytes += length;
    watch_stats_unlock(reflector->watch);
    if (reflector->discovery) {
        g_byte_array_append(reflector->discovery, bytes, (guint)length);
        return reflector->discovery->len <= DISCOVERY_MAX;
    }
    if (!reflector->decoder)
        return false;
    if (api_decoder_feed(reflector->decoder, bytes, length) < 0 || reflector->problem)
        return false;
    if (!api_decoder_is_inside(reflector->decoder))
        reflector->inside_since_ns = 0;
    else if (!reflector->inside_since_ns)
        reflector->inside_since_ns = clock_monotonic_ns();
    heard(reflector);
    return !reflector->status_told;
}

static void need_list(Reflector *reflector, bool by_pages)
{
    g_clear_pointer(&reflector->resource_version, g_free);
    g_clear_pointer(&reflector->continue_token, g_free);
    reflector->by_pages = by_pages;
}

static void end_discovery(Reflector *reflector)
{
    json_error_t error;
    json_t *json =
        json_loadb((const char *)reflector->discovery->data, reflector->discovery->len, 0, &error);
    const json_t *served = json_object_get(json, "versions");
    for (size_t i = 0; !reflector->version && reflector->resource->versions[i]; i++) {
        size_t index;
        const json_t *entry;
        json_array_foreach(served, index, entry)
        {
            const char *version = json_string_value(json_object_get(entry, "version"));
            if (g_strcmp0(version, reflector->resource->versions[i]) == 0)
                reflector->version = reflector->resource->versions[i];
        }
    }
    json_decref(json);
    if (reflector->version) {
        wait_for(reflector, 0);
        return;
    }
    g_autofree char *what =
        g_strdup_printf("the API server has no version of %s that is understood (%s, %s)",
                        reflector->resource->group, reflector->resource->versions[0],
                        reflector->resource->versions[1]);
    fail(reflector, what);
    settle(reflector);
}

static void end_list(Reflector *reflector)
{
    if (reflector->continue_token) {
        if (++reflector->pages >= PAGES_MAX) {
            need_list(reflector, true);
            fail(reflector, "the list does not end: too many pages");
            return;
        }
        wait_for(reflector, 0);
        return;
    }
    if (!reflector->last_version) {
        fail(reflector, "the list has no resourceVersion");
        return;
    }
    store_list_end(reflector->store, reflector->index, clock_unix_ns());
    g_free(reflector->resource_version);
    reflector->resource_version = g_strdup(reflector->last_version);
    reflector->by_pages = false;
    if (!reflector->malformed && reflector->malformed_told) {
        g_autofree char *subject = g_strconcat(reflector->subject, ", objects", NULL);
        watch_tell_problem(reflector->watch, subject, NULL);
        reflector->malformed_told = false;
    }
    well(reflector);
    settle(reflector);
    wait_for(reflector, 0);
}

/* The server ends watches in good order after the time that they were asked for. */
static void end_watch(Reflector *reflector)
{
    uint64_t lasted_ns = clock_monotonic_ns() - reflector->started_ns;
    if (lasted_ns < SHORT_WATCH_NS && reflector->events_seen == 0)
        fail(reflector, "the API server ends watches at once");
    else
        wait_for(reflector, 0);
}

static void end_gone(Reflector *reflector)
{
    bool was_list = reflector->state == STATE_LISTING;
    watch_stats_lock(reflector->watch)->relists++;
    watch_stats_unlock(reflector->watch);
    need_list(reflector, was_list);
    /* A version that even a list cannot be had for is none to ask for again. */
    if (was_list)
        g_clear_pointer(&reflector->last_version, g_free);
    wait_for(reflector, jittered(BACKOFF_MIN_NS / 4) << MIN(reflector->failures, 6u));
    reflector->failures++;
}

/* What the answer was that is no 200, or the Status in its place. */
static void end_status(Reflector *reflector, int code)
{
    if (code == 410) {
        end_gone(reflector);
        return;
    }
    if (code == 403 || code == 404) {
        reflector->status = code;
        if (reflector->state == STATE_LISTING)
            need_list(reflector, false);
        fail_refused(reflector);
        return;
    }
    if (code == 401) {
        api_transport_reject_credentials(reflector->transport);
        /* A token that has just rotated: the new one is tried before anybody is alarmed. */
        if (!reflector->rejected) {
            reflector->rejected = true;
            wait_for(reflector, 0);
            return;
        }
    }
    g_autofree char *what = g_strdup_printf(
        "the API server answered %d%s%s%s", code, reflector->status_message ? ": " : "",
        reflector->status_message ? reflector->status_message : "",
        code == 401 ? "; the credentials are not accepted" : "");
    /* A cache that is not as new as what was seen already (504), or pages that cannot go on. */
    if (reflector->state == STATE_LISTING)
        need_list(reflector, code == 504 || code == 400);
    fail(reflector, what);
}

static void ended(const char *error, void *userdata)
{
    Reflector *reflector = userdata;
    reflector->transfer = NULL;
    if (reflector->decoder && !error && !reflector->status_told)
        api_decoder_finish(reflector->decoder);
    const char *broken = reflector->decoder ? api_decoder_error(reflector->decoder) : "";
    g_autofree char *problem = g_steal_pointer(&reflector->problem);
    bool too_large = g_str_has_prefix(broken, "an answer of more than");
    if (reflector->status_told || (reflector->status && reflector->status != 200)) {
        end_status(reflector,
                   reflector->status != 200 ? reflector->status : reflector->status_code);
    } else if (problem || *broken || error || reflector->status == 0) {
        if (reflector->state == STATE_LISTING)
            need_list(reflector, too_large || reflector->by_pages);
        /* What comes after something that cannot be understood is not known to be whole. */
        else if (reflector->state == STATE_WATCHING && *broken && reflector->failures > 0)
            need_list(reflector, false);
        fail(reflector, problem ? problem : *broken ? broken : error ? error : "no answer");
    } else if (reflector->state == STATE_DISCOVERING) {
        end_discovery(reflector);
    } else if (reflector->state == STATE_LISTING) {
        if (reflector->list_told)
            end_list(reflector);
        else
            fail(reflector, "the list has no metadata");
    } else {
        end_watch(reflector);
    }
    forget_answer(reflector);
}

static const ApiTransferOps transfer_ops = {begun, take_bytes, ended};

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
    forget_answer(reflector);
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
                         &transfer_ops, reflector, &error);
    if (!reflector->transfer)
        fail(reflector, error->message);
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
        well(reflector);
        return deadline_ns;
    }
    reflector->transfer = api_transfer_free(reflector->transfer);
    fail(reflector, why);
    forget_answer(reflector);
    return reflector->next_ns;
}

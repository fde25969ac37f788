// SPDX-License-Identifier: GPL-2.0-or-later
/* What the server answers to a reflector's requests. */
#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "common/clock.h"
#include "k8s-enrich/api/reflector-private.h"

#define SHORT_WATCH_NS SECOND_NS
#define PAGES_MAX      10000u
#define DISCOVERY_MAX  (1024u * 1024u)

static void heard(Reflector *reflector)
{
    ApiWatchStats *stats = watch_stats_lock(reflector->watch);
    stats->resources[reflector->index].last_event_unix_ns = clock_unix_ns();
    watch_stats_unlock(reflector->watch);
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
        reflector_well(reflector);
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
    reflector_well(reflector);
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
        reflector_wait(reflector, 0);
        return;
    }
    g_autofree char *what =
        g_strdup_printf("the API server has no version of %s that is understood (%s, %s)",
                        reflector->resource->group, reflector->resource->versions[0],
                        reflector->resource->versions[1]);
    reflector_fail(reflector, what);
    reflector_settle(reflector);
}

static void end_list(Reflector *reflector)
{
    if (reflector->continue_token) {
        if (++reflector->pages >= PAGES_MAX) {
            reflector_need_list(reflector, true);
            reflector_fail(reflector, "the list does not end: too many pages");
            return;
        }
        reflector_wait(reflector, 0);
        return;
    }
    if (!reflector->last_version) {
        reflector_fail(reflector, "the list has no resourceVersion");
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
    reflector_well(reflector);
    reflector_settle(reflector);
    reflector_wait(reflector, 0);
}

/* The server ends watches in good order after the time that they were asked for. */
static void end_watch(Reflector *reflector)
{
    uint64_t lasted_ns = clock_monotonic_ns() - reflector->started_ns;
    if (lasted_ns < SHORT_WATCH_NS && reflector->events_seen == 0)
        reflector_fail(reflector, "the API server ends watches at once");
    else
        reflector_wait(reflector, 0);
}

static void end_gone(Reflector *reflector)
{
    bool was_list = reflector->state == STATE_LISTING;
    watch_stats_lock(reflector->watch)->relists++;
    watch_stats_unlock(reflector->watch);
    reflector_need_list(reflector, was_list);
    /* A version that even a list cannot be had for is none to ask for again. */
    if (was_list)
        g_clear_pointer(&reflector->last_version, g_free);
    reflector_wait(reflector, reflector_jittered(REFLECTOR_BACKOFF_MIN_NS / 4)
                                  << MIN(reflector->failures, 6u));
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
            reflector_need_list(reflector, false);
        reflector_fail_refused(reflector);
        return;
    }
    if (code == 401) {
        api_transport_reject_credentials(reflector->transport);
        /* A token that has just rotated: the new one is tried before anybody is alarmed. */
        if (!reflector->rejected) {
            reflector->rejected = true;
            reflector_wait(reflector, 0);
            return;
        }
    }
    g_autofree char *what = g_strdup_printf(
        "the API server answered %d%s%s%s", code, reflector->status_message ? ": " : "",
        reflector->status_message ? reflector->status_message : "",
        code == 401 ? "; the credentials are not accepted" : "");
    /* A cache that is not as new as what was seen already (504), or pages that cannot go on. */
    if (reflector->state == STATE_LISTING)
        reflector_need_list(reflector, code == 504 || code == 400);
    reflector_fail(reflector, what);
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
            reflector_need_list(reflector, too_large || reflector->by_pages);
        /* What comes after something that cannot be understood is not known to be whole. */
        else if (reflector->state == STATE_WATCHING && *broken && reflector->failures > 0)
            reflector_need_list(reflector, false);
        reflector_fail(reflector, problem   ? problem
                                  : *broken ? broken
                                  : error   ? error
                                            : "no answer");
    } else if (reflector->state == STATE_DISCOVERING) {
        end_discovery(reflector);
    } else if (reflector->state == STATE_LISTING) {
        if (reflector->list_told)
            end_list(reflector);
        else
            reflector_fail(reflector, "the list has no metadata");
    } else {
        end_watch(reflector);
    }
    reflector_forget_answer(reflector);
}

const ApiTransferOps reflector_transfer_ops = {begun, take_bytes, ended};

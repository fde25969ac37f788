// SPDX-License-Identifier: GPL-2.0-or-later
#include "k8s-enrich/api/watch.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "common/clock.h"
#include "k8s-enrich/api/watch-private.h"

#define SLICE 512u /* callbacks of one dispatch */

/* Something to tell on the caller's thread. */
typedef enum NewsType {
    NEWS_ENTITY,
    NEWS_PROBLEM,
    NEWS_SYNCED,
} NewsType;

typedef struct News {
    NewsType type;
    Entity *entity;
    uint64_t deleted_ns;
    char *subject, *message;
} News;

struct ApiWatch {
    ApiConfig *config;
    ApiScope scope;
    char *node_name;
    const ApiCallbacks *callbacks;
    void *userdata;
    GThread *thread;
    gint stop, hurry;
    int event_fd, cancel_fd;
    /* of the thread */
    ApiTransport *transport;
    JobOwners *jobs;
    Store *store;
    Reflector *reflectors[API_RESOURCE_WATCHED];
    unsigned unsettled;
    bool is_pushed; /* something that was not announced yet */
    /* of the caller's thread: what it took out of `news` */
    GArray *telling;
    guint told;
    /* of both */
    GMutex mutex;
    GArray *news; /* by value: single ones would leave holes between the entities */
    ApiWatchStats stats;
};

static void news_clear(void *data)
{
    News *news = data;
    entity_unref(news->entity);
    g_free(news->subject);
    g_free(news->message);
}

static GArray *news_array_new(void)
{
    return g_array_new(FALSE, FALSE, sizeof(News));
}

static void push(ApiWatch *watch, News news)
{
    g_mutex_lock(&watch->mutex);
    g_array_append_val(watch->news, news);
    g_mutex_unlock(&watch->mutex);
    watch->is_pushed = true;
}

/* Wakes the caller once for all that came in one turn: a list has a hundred objects in each. */
static void announce(ApiWatch *watch)
{
    if (!watch->is_pushed)
        return;
    watch->is_pushed = false;
    eventfd_write(watch->event_fd, 1);
}

void watch_tell_entity(ApiWatch *watch, const Entity *entity, uint64_t deleted_ns)
{
    push(watch, (News){NEWS_ENTITY, entity_ref(entity), deleted_ns, NULL, NULL});
}

void watch_tell_problem(ApiWatch *watch, const char *subject, const char *message)
{
    push(watch, (News){NEWS_PROBLEM, NULL, 0, g_strdup(subject), g_strdup(message)});
}

void watch_settled(ApiWatch *watch)
{
    if (--watch->unsettled == 0)
        push(watch, (News){.type = NEWS_SYNCED});
}

ApiWatchStats *watch_stats_lock(ApiWatch *watch)
{
    g_mutex_lock(&watch->mutex);
    return &watch->stats;
}

void watch_stats_unlock(ApiWatch *watch)
{
    g_mutex_unlock(&watch->mutex);
}

void api_watch_stats(const ApiWatch *watch, ApiWatchStats *ret)
{
    *ret = *watch_stats_lock((ApiWatch *)watch);
    watch_stats_unlock((ApiWatch *)watch);
}

/* Rounded up, so that what is due is due when poll returns. */
static int milliseconds_until(uint64_t deadline_ns, uint64_t now_ns)
{
    if (deadline_ns <= now_ns)
        return 0;
    return (int)MIN((deadline_ns - now_ns) / 1000000u + 1, 60000u);
}

static void *run(void *data)
{
    ApiWatch *watch = data;
    while (!g_atomic_int_get(&watch->stop)) {
        uint64_t next_ns = job_owners_tick(watch->jobs, clock_monotonic_ns());
        bool hurry = g_atomic_int_compare_and_exchange(&watch->hurry, 1, 0);
        for (unsigned i = 0; i < API_RESOURCE_WATCHED && !g_atomic_int_get(&watch->stop); i++) {
            if (hurry)
                reflector_hurry(watch->reflectors[i], clock_monotonic_ns());
            uint64_t tick_ns = reflector_tick(watch->reflectors[i], clock_monotonic_ns());
            next_ns = MIN(next_ns, tick_ns);
        }
        announce(watch);
        if (!g_atomic_int_get(&watch->stop))
            api_transport_run(watch->transport, milliseconds_until(next_ns, clock_monotonic_ns()));
        announce(watch);
    }
    return NULL;
}

static void set_up_thread(ApiWatch *watch)
{
    const ApiScope *scope = &watch->scope;
    watch->transport = api_transport_new(watch->config, watch->cancel_fd);
    watch->jobs = job_owners_new(watch, watch->transport, scope->stall_s ? scope->stall_s : 30,
                                 scope->refused_retry_s ? scope->refused_retry_s : 60);
    watch->store = store_new(watch, watch->jobs);
    job_owners_set_store(watch->jobs, watch->store);
    watch->unsettled = API_RESOURCE_WATCHED;
    for (unsigned i = 0; i < API_RESOURCE_WATCHED; i++) {
        watch->stats.resources[i].name = api_resources[i].name;
        watch->reflectors[i] =
            reflector_new(watch, watch->transport, watch->store, i, &watch->scope);
    }
}

ApiWatch *api_watch_new(const ApiConfig *config, const ApiScope *scope,
                        const ApiCallbacks *callbacks, void *userdata, GError **error)
{
    ApiWatch *watch = g_new0(ApiWatch, 1);
    watch->config = api_config_ref(config);
    watch->node_name = g_strdup(scope->node_name);
    watch->scope = *scope;
    watch->scope.node_name = watch->node_name;
    watch->callbacks = callbacks;
    watch->userdata = userdata;
    g_mutex_init(&watch->mutex);
    watch->news = news_array_new();
    watch->telling = news_array_new();
    watch->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    watch->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (watch->event_fd < 0 || watch->cancel_fd < 0) {
        g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(errno),
                    "the API server cannot be watched: eventfd: %s", g_strerror(errno));
        return api_watch_free(watch);
    }
    set_up_thread(watch);
    watch->thread = g_thread_try_new("kubernetes-api", run, watch, error);
    return watch->thread ? watch : api_watch_free(watch);
}

ApiWatch *api_watch_free(ApiWatch *watch)
{
    if (!watch)
        return NULL;
    if (watch->thread) {
        g_atomic_int_set(&watch->stop, 1);
        eventfd_write(watch->cancel_fd, 1);
        api_transport_wake(watch->transport);
        g_thread_join(watch->thread);
    }
    for (unsigned i = 0; i < API_RESOURCE_WATCHED; i++)
        reflector_free(watch->reflectors[i]);
    job_owners_free(watch->jobs);
    store_free(watch->store);
    api_transport_free(watch->transport);
    for (; watch->told < watch->telling->len; watch->told++)
        news_clear(&g_array_index(watch->telling, News, watch->told));
    g_array_unref(watch->telling);
    g_array_set_clear_func(watch->news, news_clear);
    g_array_unref(watch->news);
    g_mutex_clear(&watch->mutex);
    if (watch->event_fd >= 0)
        close(watch->event_fd);
    if (watch->cancel_fd >= 0)
        close(watch->cancel_fd);
    api_config_unref(watch->config);
    g_free(watch->node_name);
    g_free(watch);
    return NULL;
}

void api_watch_hurry(ApiWatch *watch)
{
    g_atomic_int_set(&watch->hurry, 1);
    api_transport_wake(watch->transport);
}

int api_watch_fd(const ApiWatch *watch)
{
    return watch->event_fd;
}

/* All that is there is taken under the lock, and told slice by slice without it. */
static void take(ApiWatch *watch)
{
    /* After the first lists it is as large as the cluster: its memory goes back. */
    g_array_unref(watch->telling);
    GArray *fresh = news_array_new();
    g_mutex_lock(&watch->mutex);
    watch->telling = watch->news;
    watch->news = fresh;
    g_mutex_unlock(&watch->mutex);
    watch->told = 0;
}

/* What the lists needed on the way is given back to the system, once. */
static void trim(void)
{
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

static void tell(const ApiWatch *watch, const News *news)
{
    switch (news->type) {
    case NEWS_ENTITY:
        watch->callbacks->identity(news->entity, news->deleted_ns, watch->userdata);
        break;
    case NEWS_PROBLEM:
        watch->callbacks->problem(news->subject, news->message, watch->userdata);
        break;
    case NEWS_SYNCED:
        watch->callbacks->synced(watch->userdata);
        trim();
        break;
    }
}

void api_watch_dispatch(ApiWatch *watch)
{
    eventfd_t count;
    eventfd_read(watch->event_fd, &count);
    if (watch->told == watch->telling->len)
        take(watch);
    for (unsigned i = 0; i < SLICE && watch->told < watch->telling->len; i++) {
        News *news = &g_array_index(watch->telling, News, watch->told++);
        tell(watch, news);
        news_clear(news);
    }
    g_mutex_lock(&watch->mutex);
    bool more = watch->told < watch->telling->len || watch->news->len > 0;
    g_mutex_unlock(&watch->mutex);
    if (more)
        eventfd_write(watch->event_fd, 1);
}

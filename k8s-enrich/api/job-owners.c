// SPDX-License-Identifier: GPL-2.0-or-later
#include <string.h>

#include "common/clock.h"
#include "k8s-enrich/api/watch-private.h"

#define AT_ONCE       4u
#define RETRY_NS      (10 * SECOND_NS)
#define ACCEPT_OBJECT "application/vnd.kubernetes.protobuf, application/json"

/* A Job that pods belong to. */
typedef struct Job {
    char *namespace_name, *name;
    GArray *pods; /* of uint64_t keys */
    bool known, asked, queued;
    char *owner_kind, *owner_name;
} Job;

/* A request for one. The Job may be gone when it ends: it is found again by name. */
typedef struct Ask {
    JobOwners *jobs;
    char *key;
    ApiTransfer *transfer;
    ApiDecoder *decoder;
    int status;
    bool answered;
} Ask;

struct JobOwners {
    ApiWatch *watch;
    ApiTransport *transport;
    Store *store;
    unsigned stall_s, refused_retry_s;
    GHashTable *jobs; /* "namespace/name" -> Job */
    GQueue waiting;   /* of such keys */
    GPtrArray *asks;
    uint64_t pause_until_ns; /* monotonic */
    bool problem;
};

static void job_free(void *data)
{
    Job *job = data;
    g_free(job->namespace_name);
    g_free(job->name);
    g_array_unref(job->pods);
    g_free(job->owner_kind);
    g_free(job->owner_name);
    g_free(job);
}

static void ask_free(void *data)
{
    Ask *ask = data;
    api_transfer_free(ask->transfer);
    api_decoder_free(ask->decoder);
    g_free(ask->key);
    g_free(ask);
}

JobOwners *job_owners_new(ApiWatch *watch, ApiTransport *transport, unsigned stall_s,
                          unsigned refused_retry_s)
{
    JobOwners *jobs = g_new0(JobOwners, 1);
    jobs->watch = watch;
    jobs->transport = transport;
    jobs->stall_s = stall_s;
    jobs->refused_retry_s = refused_retry_s;
    jobs->jobs = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, job_free);
    jobs->asks = g_ptr_array_new_with_free_func(ask_free);
    g_queue_init(&jobs->waiting);
    return jobs;
}

JobOwners *job_owners_free(JobOwners *jobs)
{
    if (!jobs)
        return NULL;
    g_ptr_array_unref(jobs->asks);
    g_queue_clear_full(&jobs->waiting, g_free);
    g_hash_table_unref(jobs->jobs);
    g_free(jobs);
    return NULL;
}

void job_owners_set_store(JobOwners *jobs, Store *store)
{
    jobs->store = store;
}

static void enqueue(JobOwners *jobs, const char *key, Job *job)
{
    if (!job->queued && !job->asked)
        g_queue_push_tail(&jobs->waiting, g_strdup(key));
    job->queued = true;
}

static Job *job_for(JobOwners *jobs, const char *key, const char *namespace_name, const char *name)
{
    Job *job = g_hash_table_lookup(jobs->jobs, key);
    if (job)
        return job;
    job = g_new0(Job, 1);
    job->namespace_name = g_strdup(namespace_name);
    job->name = g_strdup(name);
    job->pods = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    g_hash_table_insert(jobs->jobs, g_strdup(key), job);
    enqueue(jobs, key, job);
    return job;
}

static bool find_pod(const Job *job, uint64_t pod_key, guint *ret)
{
    for (*ret = 0; *ret < job->pods->len; (*ret)++)
        if (g_array_index(job->pods, uint64_t, *ret) == pod_key)
            return true;
    return false;
}

bool job_owners_add(JobOwners *jobs, const char *namespace_name, const char *name, uint64_t pod_key,
                    const char **ret_kind, const char **ret_name)
{
    g_autofree char *key = g_strconcat(namespace_name, "/", name, NULL);
    Job *job = job_for(jobs, key, namespace_name, name);
    guint index;
    if (!find_pod(job, pod_key, &index))
        g_array_append_val(job->pods, pod_key);
    *ret_kind = job->owner_kind;
    *ret_name = job->owner_name;
    return job->known && job->owner_kind;
}

void job_owners_remove(JobOwners *jobs, const char *namespace_name, const char *name,
                       uint64_t pod_key)
{
    g_autofree char *key = g_strconcat(namespace_name, "/", name, NULL);
    Job *job = g_hash_table_lookup(jobs->jobs, key);
    guint index;
    if (!job)
        return;
    if (find_pod(job, pod_key, &index))
        g_array_remove_index_fast(job->pods, index);
    if (job->pods->len == 0)
        g_hash_table_remove(jobs->jobs, key);
}

static void take_job(ApiChange change, const ApiObject *object, void *userdata)
{
    Ask *ask = userdata;
    Job *job = g_hash_table_lookup(ask->jobs->jobs, ask->key);
    ask->answered = true;
    if (!job || object->problem)
        return;
    /* One that is nobody's owns its pods itself, whatever its name looks like. */
    bool owned = *object->controller_kind;
    g_free(job->owner_kind);
    g_free(job->owner_name);
    job->owner_kind = g_strdup(owned ? object->controller_kind : "Job");
    job->owner_name = g_strdup(owned ? object->controller_name : job->name);
    for (guint i = 0; i < job->pods->len; i++)
        store_correct_owner(ask->jobs->store, g_array_index(job->pods, uint64_t, i),
                            job->owner_kind, job->owner_name);
}

static void ignore_list(const char *resource_version, const char *continue_token, void *userdata)
{
}

static void ignore_bookmark(const char *resource_version, void *userdata)
{
}

static void ignore_status(const ApiStatus *status, void *userdata)
{
}

static const ApiDecoderOps decoder_ops = {take_job, ignore_list, ignore_bookmark, ignore_status};

static void ask_begun(int status, const char *content_type, unsigned retry_after_s, void *userdata)
{
    Ask *ask = userdata;
    bool protobuf = g_str_has_prefix(content_type, "application/vnd.kubernetes.protobuf");
    ask->status = status;
    if (status == 200)
        ask->decoder = api_decoder_new(&api_resources[API_RESOURCE_JOBS], API_BODY_OBJECT,
                                       protobuf ? API_FORMAT_PROTOBUF : API_FORMAT_JSON,
                                       API_OBJECT_MAX, &decoder_ops, ask);
}

static bool ask_bytes(const uint8_t *bytes, size_t length, void *userdata)
{
    Ask *ask = userdata;
    watch_stats_lock(ask->jobs->watch)->bytes += length;
    watch_stats_unlock(ask->jobs->watch);
    return ask->decoder && api_decoder_feed(ask->decoder, bytes, length) == 0;
}

static void tell_refused(JobOwners *jobs, bool refused)
{
    if (refused == jobs->problem)
        return;
    jobs->problem = refused;
    watch_tell_problem(
        jobs->watch, "Kubernetes API: jobs",
        refused ? "reading Jobs is forbidden (403): the CronJob of a pod is guessed from its name; "
                  "add to the ClusterRole: apiGroups: [\"batch\"], resources: [\"jobs\"], verbs: "
                  "[\"get\"]"
                : NULL);
}

static void ask_ended(const char *error, void *userdata)
{
    Ask *ask = userdata;
    JobOwners *jobs = ask->jobs;
    Job *job = g_hash_table_lookup(jobs->jobs, ask->key);
    ask->transfer = NULL;
    if (ask->decoder && !error)
        api_decoder_finish(ask->decoder);
    /* A Job that is gone (404): the rule of names stays. */
    bool done = ask->answered || ask->status == 404;
    if (ask->status == 401)
        api_transport_reject_credentials(jobs->transport);
    if (ask->status == 403)
        jobs->pause_until_ns = clock_monotonic_ns() + jobs->refused_retry_s * SECOND_NS;
    else if (!done)
        jobs->pause_until_ns = clock_monotonic_ns() + RETRY_NS;
    if (done || ask->status == 403)
        tell_refused(jobs, ask->status == 403);
    if (!done) {
        watch_stats_lock(jobs->watch)->errors++;
        watch_stats_unlock(jobs->watch);
    }
    if (job) {
        job->asked = false;
        job->known = done;
        if (!done)
            enqueue(jobs, ask->key, job);
    }
    g_ptr_array_remove_fast(jobs->asks, ask);
}

static const ApiTransferOps transfer_ops = {ask_begun, ask_bytes, ask_ended};

static void ask_for(JobOwners *jobs, const char *key, Job *job, uint64_t now_ns)
{
    Ask *ask = g_new0(Ask, 1);
    g_autofree char *namespace_name = g_uri_escape_string(job->namespace_name, NULL, FALSE);
    g_autofree char *name = g_uri_escape_string(job->name, NULL, FALSE);
    g_autofree char *path =
        g_strdup_printf("/apis/batch/v1/namespaces/%s/jobs/%s", namespace_name, name);
    job->queued = false;
    ask->jobs = jobs;
    ask->key = g_strdup(key);
    ask->transfer = api_transfer_new(jobs->transport, path, ACCEPT_OBJECT, jobs->stall_s,
                                     &transfer_ops, ask, NULL);
    if (!ask->transfer) {
        enqueue(jobs, key, job);
        jobs->pause_until_ns = now_ns + RETRY_NS;
        ask_free(ask);
        return;
    }
    job->asked = true;
    g_ptr_array_add(jobs->asks, ask);
    watch_stats_lock(jobs->watch)->gets++;
    watch_stats_unlock(jobs->watch);
}

uint64_t job_owners_tick(JobOwners *jobs, uint64_t now_ns)
{
    while (now_ns >= jobs->pause_until_ns && jobs->asks->len < AT_ONCE) {
        g_autofree char *key = g_queue_pop_head(&jobs->waiting);
        if (!key)
            return NEVER_NS;
        Job *job = g_hash_table_lookup(jobs->jobs, key);
        if (job && job->queued)
            ask_for(jobs, key, job, now_ns);
    }
    return g_queue_is_empty(&jobs->waiting) || jobs->asks->len >= AT_ONCE ? NEVER_NS
                                                                          : jobs->pause_until_ns;
}

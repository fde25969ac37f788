// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/server/secrets.h"

typedef struct Waiting {
    uint64_t netns_inode;
    Fact *fact;
    unsigned lines;
} Waiting;

struct Secrets {
    TlsKeys *keys;
    const SecretsCallbacks *callbacks;
    void *userdata;
    uint64_t wishes; /* capture_wishes() of what the source follows */
    Plaintext *plaintext;

    GMutex lock;     /* of all below */
    GArray *waiting; /* of Waiting */
    size_t waiting_bytes;
    SecretsStats stats;
};

static void waiting_clear(void *waiting)
{
    fact_unref(((Waiting *)waiting)->fact);
}

static GArray *waiting_new(void)
{
    GArray *waiting = g_array_new(FALSE, FALSE, sizeof(Waiting));
    g_array_set_clear_func(waiting, waiting_clear);
    return waiting;
}

Secrets *secrets_new(const SecretsCallbacks *callbacks, void *userdata)
{
    Secrets *secrets = g_new0(Secrets, 1);
    secrets->callbacks = callbacks;
    secrets->userdata = userdata;
    secrets->waiting = waiting_new();
    secrets->plaintext = plaintext_new();
    g_mutex_init(&secrets->lock);
    return secrets;
}

Secrets *secrets_free(Secrets *secrets)
{
    if (secrets) {
        if (secrets->keys) {
            secrets->keys->ops->free(secrets->keys);
        }
        plaintext_free(secrets->plaintext);
        g_array_unref(secrets->waiting);
        g_mutex_clear(&secrets->lock);
        g_free(secrets);
    }
    return NULL;
}

static unsigned count_lines(const char *lines, size_t length)
{
    unsigned count = 0;
    for (size_t i = 0; i < length; i++) {
        count += lines[i] == '\n';
    }
    return count;
}

static void on_secrets(uint64_t netns_inode, uint64_t time_unix_ns, const char *lines,
                       size_t length, void *userdata)
{
    Secrets *secrets = userdata;
    Waiting waiting = {netns_inode, fact_tls_secrets(time_unix_ns, lines, length),
                       count_lines(lines, length)};
    g_mutex_lock(&secrets->lock);
    bool room = secrets->waiting_bytes + length <= SECRETS_WAITING_MAX && waiting.fact;
    bool first = secrets->waiting->len == 0;
    if (room) {
        g_array_append_val(secrets->waiting, waiting);
        secrets->waiting_bytes += length;
    } else {
        secrets->stats.lost += waiting.lines;
    }
    g_mutex_unlock(&secrets->lock);
    if (!room) {
        fact_unref(waiting.fact);
    } else if (first) {
        secrets->callbacks->wake(secrets->userdata);
    }
}

static void on_plaintext(const TlsPlaintext *plaintext, void *userdata)
{
    Secrets *secrets = userdata;
    if (plaintext_take(secrets->plaintext, plaintext)) {
        secrets->callbacks->wake(secrets->userdata);
    }
}

static void on_problem(const char *subject, const char *message, void *userdata)
{
    Secrets *secrets = userdata;
    secrets->callbacks->problem(subject, message, secrets->userdata);
}

static void on_programs(void *userdata)
{
    Secrets *secrets = userdata;
    secrets->callbacks->wake(secrets->userdata);
}

const TlsKeysCallbacks secrets_keys_callbacks = {
    .secrets = on_secrets,
    .plaintext = on_plaintext,
    .problem = on_problem,
    .programs = on_programs,
};

void secrets_set_source(Secrets *secrets, TlsKeys *keys)
{
    secrets->keys = keys;
}

TlsKeys *secrets_source(const Secrets *secrets)
{
    return secrets->keys;
}

/* What its streams want between them. */
static TlsWanted wanted_of(const Pod *pod)
{
    TlsWanted wanted = {.netns_inode = pod->netns_inode};
    for (guint i = 0; pod->netns_inode && i < pod->streams->len; i++) {
        const Stream *stream = g_ptr_array_index(pod->streams, i);
        unsigned take = stream_wish(stream)->tls;
        wanted.take |= take;
        if (take & TLS_TAKE_PLAINTEXT_REST) {
            wanted.rest_since_ns = MAX(wanted.rest_since_ns, stream_joined_ns(stream));
        }
    }
    return wanted;
}

bool secrets_are_wanted(const Secrets *secrets, const Pod *pod)
{
    return secrets->keys && wanted_of(pod).take;
}

/* Network namespaces of the pods of which a stream wants something. */
static GArray *wanted_namespaces(const Capture *capture)
{
    GArray *wanted = g_array_new(FALSE, FALSE, sizeof(TlsWanted));
    GHashTableIter iter;
    const Pod *pod;
    g_hash_table_iter_init(&iter, capture_pods(capture));
    while (g_hash_table_iter_next(&iter, NULL, (void **)&pod)) {
        const TlsWanted one = wanted_of(pod);
        if (one.take) {
            g_array_append_val(wanted, one);
        }
    }
    return wanted;
}

/* To the streams that want them of a pod in that network namespace. Returns whether there is one.
 */
static bool tell(const Capture *capture, uint64_t netns_inode, Fact *fact)
{
    bool told = false;
    GHashTableIter iter;
    const Pod *pod;
    g_hash_table_iter_init(&iter, capture_pods(capture));
    while (g_hash_table_iter_next(&iter, NULL, (void **)&pod)) {
        for (guint i = 0; pod->netns_inode == netns_inode && i < pod->streams->len; i++) {
            Stream *stream = g_ptr_array_index(pod->streams, i);
            if (stream_wish(stream)->tls & TLS_TAKE_KEYS) {
                queue_fact(stream_lock(stream), fact);
                stream_unlock(stream);
                told = true;
            }
        }
    }
    return told;
}

/* The source follows what the streams want now. */
static void follow(Secrets *secrets, const Capture *capture)
{
    uint64_t wishes = capture_wishes(capture);
    if (!secrets->keys || secrets->wishes == wishes) {
        return;
    }
    secrets->wishes = wishes;
    g_autoptr(GArray) wanted = wanted_namespaces(capture);
    secrets->keys->ops->follow(secrets->keys, (const TlsWanted *)(void *)wanted->data, wanted->len);
}

static GArray *take_waiting(Secrets *secrets)
{
    GArray *taken = NULL;
    g_mutex_lock(&secrets->lock);
    if (secrets->waiting->len > 0) {
        taken = secrets->waiting;
        secrets->waiting_bytes = 0;
        secrets->waiting = waiting_new();
    }
    g_mutex_unlock(&secrets->lock);
    return taken;
}

void secrets_run(Secrets *secrets, const Capture *capture)
{
    follow(secrets, capture);
    g_autoptr(GArray) taken = take_waiting(secrets);
    SecretsStats stats = {0};
    for (guint i = 0; taken && i < taken->len; i++) {
        const Waiting *waiting = &g_array_index(taken, Waiting, i);
        bool told = tell(capture, waiting->netns_inode, waiting->fact);
        *(told ? &stats.lines : &stats.lost) += waiting->lines;
    }
    g_mutex_lock(&secrets->lock);
    secrets->stats.lines += stats.lines;
    secrets->stats.lost += stats.lost;
    g_mutex_unlock(&secrets->lock);
    plaintext_run(secrets->plaintext, capture);
}

void secrets_stats(Secrets *secrets, SecretsStats *ret)
{
    g_mutex_lock(&secrets->lock);
    *ret = secrets->stats;
    g_mutex_unlock(&secrets->lock);
    plaintext_stats(secrets->plaintext, &ret->plaintext);
    if (secrets->keys) {
        secrets->keys->ops->stats(secrets->keys, &ret->source);
    }
}

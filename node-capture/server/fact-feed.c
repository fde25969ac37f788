// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/server/fact-feed.h"

#include "node-capture/server/stream.h"

struct FactFeed {
    Facts *facts;
    void (*wake)(void *userdata);
    void *userdata;
    GMutex lock;       /* of all below */
    GPtrArray *pushed; /* of Fact *, references */
    bool woken, has_streams;
    uint64_t lost;
};

static void release(void *fact)
{
    fact_unref(fact);
}

FactFeed *fact_feed_new(void (*wake)(void *userdata), void *userdata)
{
    FactFeed *feed = g_new0(FactFeed, 1);
    feed->facts = facts_new(0, 0);
    feed->wake = wake;
    feed->userdata = userdata;
    feed->pushed = g_ptr_array_new_with_free_func(release);
    g_mutex_init(&feed->lock);
    return feed;
}

FactFeed *fact_feed_free(FactFeed *feed)
{
    if (feed) {
        facts_free(feed->facts);
        g_ptr_array_unref(feed->pushed);
        g_mutex_clear(&feed->lock);
        g_free(feed);
    }
    return NULL;
}

/* Without a stream there is time until so many wait. */
static bool is_urgent(const FactFeed *feed)
{
    return !feed->woken && (feed->has_streams || feed->pushed->len >= FACT_FEED_MAX / 2);
}

void fact_feed_push(FactFeed *feed, Fact *fact)
{
    g_mutex_lock(&feed->lock);
    if (feed->pushed->len < FACT_FEED_MAX) {
        g_ptr_array_add(feed->pushed, fact);
    } else {
        fact_unref(fact);
        feed->lost++;
    }
    bool urgent = is_urgent(feed);
    feed->woken |= urgent;
    g_mutex_unlock(&feed->lock);
    if (urgent) {
        feed->wake(feed->userdata);
    }
}

static GPtrArray *take_pushed(FactFeed *feed, bool has_streams)
{
    GPtrArray *taken = NULL;
    g_mutex_lock(&feed->lock);
    feed->has_streams = has_streams;
    feed->woken = false;
    if (feed->pushed->len > 0) {
        taken = feed->pushed;
        feed->pushed = g_ptr_array_new_with_free_func(release);
    }
    g_mutex_unlock(&feed->lock);
    return taken;
}

void fact_feed_run(FactFeed *feed, const GPtrArray *streams, uint64_t now_ns)
{
    g_autoptr(GPtrArray) taken = take_pushed(feed, streams->len > 0);
    g_autoptr(GPtrArray) news = g_ptr_array_new();
    for (guint i = 0; taken && i < taken->len; i++) {
        if (facts_put(feed->facts, taken->pdata[i], now_ns)) {
            g_ptr_array_add(news, taken->pdata[i]);
        }
    }
    for (guint i = 0; news->len > 0 && i < streams->len; i++) {
        Queue *queue = stream_lock(streams->pdata[i]);
        for (guint j = 0; j < news->len; j++) {
            queue_fact(queue, news->pdata[j]);
        }
        stream_unlock(streams->pdata[i]);
    }
    facts_expire(feed->facts, now_ns);
}

void fact_feed_clear(FactFeed *feed, FactKind kind)
{
    g_mutex_lock(&feed->lock);
    for (guint i = feed->pushed->len; i > 0; i--) {
        if (((const Fact *)feed->pushed->pdata[i - 1])->kind == kind) {
            g_ptr_array_remove_index(feed->pushed, i - 1);
        }
    }
    g_mutex_unlock(&feed->lock);
    facts_clear(feed->facts, kind);
}

static void queue_one(Fact *fact, void *queue)
{
    queue_fact(queue, fact);
}

void fact_feed_tell_all(FactFeed *feed, Queue *queue)
{
    facts_foreach(feed->facts, queue_one, queue);
}

void fact_feed_stats(FactFeed *feed, FactFeedStats *ret)
{
    facts_stats(feed->facts, &ret->kept);
    g_mutex_lock(&feed->lock);
    ret->lost = feed->lost;
    g_mutex_unlock(&feed->lock);
}

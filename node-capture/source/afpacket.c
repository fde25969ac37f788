// SPDX-License-Identifier: GPL-2.0-or-later
/* The source that captures with TPACKET_V3 rings. Here: which rings there are and how large, and
 * when they are served. */
#include "node-capture/source/source.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <glib.h>

#include "common/clock.h"
#include "common/pcapng/pcapng.h"
#include "node-capture/source/afpacket-target.h"

#define NS_PER_MS 1000000u

/* So many targets find room for the smallest ring at least, whatever others have taken. */
#define RESERVED_TARGETS 256u
#define RING_SHARE_MAX   (16u * 1024u * 1024u)
/* The first ring is there at once: memory takes up to 6 ms a megabyte to be zeroed. Its share of
 * the budget comes a moment later. */
#define RING_BEGIN    (2u * 1024u * 1024u)
#define RING_LARGEST  (64u * 1024u * 1024u)
#define RING_GROWTH   4u
#define GROW_AGAIN_NS (1000u * (uint64_t)NS_PER_MS) /* after a failure */

/* A packet turns up in the ring some time after its stamp (it may wait in a CPU's backlog), and
 * timers are late. */
#define SLACK_NS              (30u * (uint64_t)NS_PER_MS)
#define WATERMARK_INTERVAL_NS (25u * (uint64_t)NS_PER_MS)
/* Fewer bytes in that time fill no message before its time is up, and then a run() ends. */
#define WATERMARK_BYTES (64u * 1024u)
/* Between two passes while no ring fills up: so that one pass serves many rings. */
#define NAP_MS 5
/* Passes that are further apart serve few rings anyway. */
#define NAP_AGAIN_NS (2u * NAP_MS * (uint64_t)NS_PER_MS)

typedef struct AfPacket {
    Source source;
    TargetContext context;
    uint64_t ring_budget;
    GHashTable *targets; /* id -> Target */
    unsigned beginning;  /* targets that have yet to be given their share */
    unsigned growing;    /* targets with a larger ring on its way, or an old one still there */
    uint64_t lag_ns; /* a packet that was stamped so long ago has been handed out by a whole pass */
    bool may_nap;    /* the last passes had something, but no ring was filling up */
    uint64_t passed_monotonic_ns; /* the last pass that had something */
    uint64_t new_bytes;           /* of packets, after the last watermark */
    int epoll_fd, wake_fd;
    struct epoll_event *events;
    int events_max;
    uint64_t watermark_ns, next_watermark_monotonic_ns;
} AfPacket;

static inline AfPacket *afpacket(const Source *source)
{
    return (AfPacket *)source;
}

/* ---- The budget ---------------------------------------------------------------------------- */

static uint64_t afpacket_ring_bytes(const Source *source)
{
    uint64_t bytes = 0;
    GHashTableIter iter;
    void *target;
    g_hash_table_iter_init(&iter, afpacket(source)->targets);
    while (g_hash_table_iter_next(&iter, NULL, &target))
        bytes += target_ring_bytes(target);
    const GPtrArray *abandoned = afpacket(source)->context.abandoned;
    for (guint i = 0; i < abandoned->len; i++)
        bytes += ((const Growth *)abandoned->pdata[i])->ring_bytes;
    return bytes;
}

/* What is left of the budget, without what is kept for targets to come: at most half of it. */
static uint64_t spare_bytes(const AfPacket *self)
{
    uint64_t targets = g_hash_table_size(self->targets);
    uint64_t kept = targets < RESERVED_TARGETS ? (RESERVED_TARGETS - targets) * RING_SMALLEST : 0;
    kept = MIN(kept, self->ring_budget / 2);
    uint64_t used = afpacket_ring_bytes(&self->source) + kept;
    return used < self->ring_budget ? self->ring_budget - used : 0;
}

/* What a target that is not known to be busy, and has `own_bytes`, may have. */
static size_t share_bytes(const AfPacket *self, size_t own_bytes)
{
    uint64_t share = (spare_bytes(self) + own_bytes) / 8;
    size_t bytes = RING_SHARE_MAX;
    while (bytes > RING_SMALLEST && bytes > share)
        bytes /= 2;
    return bytes;
}

/* 0: not even the smallest fits. */
static size_t first_ring_bytes(const AfPacket *self)
{
    if (afpacket_ring_bytes(&self->source) + RING_SMALLEST > self->ring_budget)
        return 0;
    return MIN(share_bytes(self, 0), RING_BEGIN);
}

/* 0: there is no larger one to be had. The old ring goes soon after, but until then both count. */
static size_t larger_ring_bytes(const AfPacket *self, size_t now)
{
    uint64_t spare = spare_bytes(self);
    size_t bytes = MIN(now * RING_GROWTH, RING_LARGEST);
    while (bytes > now && bytes > spare)
        bytes /= 2;
    return bytes > now ? bytes : 0;
}

/* ---- Targets ------------------------------------------------------------------------------- */

static int watch(AfPacket *self, Target *target)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = target};
    return epoll_ctl(self->epoll_fd, EPOLL_CTL_ADD, target->ring.fd, &event) < 0 ? -errno : 0;
}

static int afpacket_add(Source *source, const CaptureTarget *capture, const char **ret_message)
{
    AfPacket *self = afpacket(source);
    if (g_hash_table_contains(self->targets, GUINT_TO_POINTER(capture->id))) {
        *ret_message = "the target is there already";
        return -EEXIST;
    }
    size_t bytes = first_ring_bytes(self);
    if (!bytes) {
        *ret_message = "the memory for capture rings is used up";
        return -ENOBUFS;
    }
    Target *target;
    int error;
    do /* memory in short supply: a smaller one will do */
        error =
            target_new(capture->id, capture->netns_fd, bytes, &self->context, &target, ret_message);
    while (error == -ENOMEM && (bytes /= 2) >= RING_SMALLEST);
    if (error)
        return error;
    error = watch(self, target);
    if (error) {
        *ret_message = "cannot wait for packets";
        target_free(target);
        return error;
    }
    g_hash_table_insert(self->targets, GUINT_TO_POINTER(target->id), target);
    target->begins = true;
    self->beginning++;
    self->lag_ns = MAX(self->lag_ns, target->ring.retire_ms * (uint64_t)NS_PER_MS + SLACK_NS);
    /* A target has up to two sockets; and there is wake_fd. */
    self->events_max = 2 * (int)g_hash_table_size(self->targets) + 1;
    self->events = g_renew(struct epoll_event, self->events, self->events_max);
    return 0;
}

static bool is_growing(const Target *target)
{
    return target->growth || target_has_old(target);
}

static void afpacket_remove(Source *source, uint32_t target_id, SourceTargetStats *ret_stats)
{
    AfPacket *self = afpacket(source);
    Target *target = g_hash_table_lookup(self->targets, GUINT_TO_POINTER(target_id));
    if (ret_stats)
        *ret_stats = (SourceTargetStats){0};
    if (!target)
        return;
    bool was_growing = is_growing(target);
    target_finish(target, &self->context);
    if (ret_stats)
        *ret_stats = target->stats;
    if (was_growing)
        self->growing--;
    if (target->begins)
        self->beginning--;
    g_hash_table_remove(self->targets, GUINT_TO_POINTER(target_id));
}

static int afpacket_set_snap_length(Source *source, uint32_t bytes)
{
    AfPacket *self = afpacket(source);
    uint32_t snap_length = bytes ? MIN(bytes, PCAPNG_PACKET_MAX) : PCAPNG_PACKET_MAX;
    int result = 0;
    GHashTableIter iter;
    void *value;
    g_hash_table_iter_init(&iter, self->targets);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        Target *target = value;
        int error = ring_set_snap_length(&target->ring, snap_length);
        if (!error && target_has_old(target))
            error = ring_set_snap_length(&target->old, snap_length);
        if (error && !result)
            result = error;
    }
    self->context.snap_length = snap_length;
    return result;
}

static void grow_to(AfPacket *self, Target *target, size_t bytes)
{
    if (bytes > target->ring.length && target_grow(target, bytes, &self->context) == 0)
        self->growing++;
    else
        target->grow_after_monotonic_ns = clock_monotonic_ns() + GROW_AGAIN_NS;
}

static void grow(AfPacket *self, Target *target)
{
    if (!is_growing(target) && clock_monotonic_ns() >= target->grow_after_monotonic_ns)
        grow_to(self, target, larger_ring_bytes(self, target->ring.length));
}

static void give_share(AfPacket *self, Target *target)
{
    size_t bytes = share_bytes(self, target->ring.length);
    target->begins = false;
    self->beginning--;
    if (!is_growing(target) && bytes > target->ring.length)
        grow_to(self, target, bytes);
}

static void switch_rings(AfPacket *self, Target *target)
{
    int result = target_switch(target, &self->context);
    if (result < 0) { /* no memory, most likely: it stays as it is */
        self->growing--;
        target->grow_after_monotonic_ns = clock_monotonic_ns() + GROW_AGAIN_NS;
    }
    int error = result > 0 ? watch(self, target) : 0;
    if (error)
        self->context.callbacks.ended(target->id, error, "cannot wait for packets",
                                      self->context.userdata);
}

/* One larger ring is on its way at a time. */
static void give_shares(AfPacket *self)
{
    bool opening = false;
    GHashTableIter iter;
    void *value;
    g_hash_table_iter_init(&iter, self->targets);
    while (g_hash_table_iter_next(&iter, NULL, &value))
        opening = opening || ((const Target *)value)->growth;
    g_hash_table_iter_init(&iter, self->targets);
    while (!opening && g_hash_table_iter_next(&iter, NULL, &value)) {
        Target *target = value;
        if (target->begins) {
            give_share(self, target);
            opening = target->growth;
        }
    }
}

/* Takes larger rings into use, and closes old ones out of which nothing can come any more. */
static void go_on_growing(AfPacket *self)
{
    uint64_t now = clock_monotonic_ns();
    GHashTableIter iter;
    void *value;
    g_hash_table_iter_init(&iter, self->targets);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        Target *target = value;
        if (target->growth) {
            switch_rings(self, target);
        } else if (target_has_old(target) && now - target->cut_monotonic_ns >= self->lag_ns) {
            target_serve(target, &self->context);
            target_close_old(target);
            self->growing--;
        }
    }
    if (self->beginning)
        give_shares(self);
}

/* ---- Serving ------------------------------------------------------------------------------- */

/* A packet socket that is bound to no device has no errors that we know of; if it has, it is of no
 * use any more. */
static void socket_failed(AfPacket *self, Target *target)
{
    int error = 0;
    socklen_t length = sizeof error;
    if (getsockopt(target->ring.fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0)
        error = errno;
    if (!error)
        return;
    epoll_ctl(self->epoll_fd, EPOLL_CTL_DEL, target->ring.fd, NULL);
    self->context.callbacks.ended(target->id, -error, "the packet socket failed",
                                  self->context.userdata);
}

/* Serves what epoll_wait() told. Returns whether someone woke us. */
static bool serve(AfPacket *self, int count)
{
    bool woken = false;
    TargetLoad highest = TARGET_CALM;
    for (int i = 0; i < count; i++) {
        Target *target = self->events[i].data.ptr;
        if (!target) {
            eventfd_t ignored;
            eventfd_read(self->wake_fd, &ignored);
            woken = true;
            continue;
        }
        uint64_t bytes = target->stats.bytes;
        TargetLoad load = target_serve(target, &self->context);
        self->new_bytes += target->stats.bytes - bytes;
        highest = MAX(highest, load);
        if (load == TARGET_BUSY)
            grow(self, target);
        if (target->growth)
            switch_rings(self, target);
        if (self->events[i].events & (EPOLLERR | EPOLLHUP))
            socket_failed(self, target);
    }
    self->may_nap = false;
    if (count > woken) {
        uint64_t now = clock_monotonic_ns();
        self->may_nap = highest == TARGET_CALM && now - self->passed_monotonic_ns < NAP_AGAIN_NS;
        self->passed_monotonic_ns = now;
    }
    return woken;
}

/* `pass_ns`: the time before a pass over all sockets that had something by then. */
static void tell_watermark(AfPacket *self, uint64_t pass_ns)
{
    self->watermark_ns =
        MAX(self->watermark_ns, pass_ns - self->lag_ns); /* clocks are set back, too */
    self->context.callbacks.watermark(self->watermark_ns, self->context.userdata);
}

/* When the next watermark is due before a run() ends: while many packets come, and while rings
 * grow, which goes on beside it. At rest nobody wakes for it. */
static uint64_t next_watermark(const AfPacket *self)
{
    bool due = self->new_bytes >= WATERMARK_BYTES || self->growing || self->beginning ||
               self->context.abandoned->len;
    return due ? self->next_watermark_monotonic_ns : UINT64_MAX;
}

static int wait_ms(uint64_t now, uint64_t until)
{
    uint64_t ms = until > now ? (until - now + NS_PER_MS - 1) / NS_PER_MS : 0;
    return (int)MIN(ms, (uint64_t)G_MAXINT);
}

/* Lets rings fill a little, unless someone wakes us. */
static void nap(const AfPacket *self, int timeout_ms)
{
    struct pollfd wake = {.fd = self->wake_fd, .events = POLLIN};
    poll(&wake, 1, MIN(timeout_ms, NAP_MS));
}

static int afpacket_run(Source *source, int timeout_ms)
{
    AfPacket *self = afpacket(source);
    uint64_t now = clock_monotonic_ns();
    uint64_t deadline = timeout_ms < 0 ? UINT64_MAX : now + (uint64_t)timeout_ms * NS_PER_MS;
    for (;; now = clock_monotonic_ns()) {
        uint64_t until = MIN(deadline, next_watermark(self));
        if (self->may_nap && until > now) {
            nap(self, wait_ms(now, until));
            now = clock_monotonic_ns();
        }
        /* A pass for a watermark does not wait, so that all that was ready at its start is in it.
         */
        bool due = now >= until;
        uint64_t pass_ns = clock_unix_ns();
        int count = epoll_wait(self->epoll_fd, self->events, self->events_max,
                               due ? 0 : wait_ms(now, until));
        if (count < 0 && errno != EINTR)
            return -errno;
        bool woken = serve(self, count);
        /* Who is woken all the time never comes to the end of a run. */
        if (woken && !due) {
            now = clock_monotonic_ns();
            due = now >= self->next_watermark_monotonic_ns;
        }
        if (due && count >= 0) {
            if (self->growing || self->beginning)
                go_on_growing(self);
            if (self->context.abandoned->len)
                target_reap(&self->context, false);
            tell_watermark(self, pass_ns);
            self->next_watermark_monotonic_ns = now + WATERMARK_INTERVAL_NS;
            self->new_bytes = 0;
        }
        if (woken)
            return -EINTR;
        if (now >= deadline)
            return 0;
    }
}

static void afpacket_wake(Source *source)
{
    eventfd_write(afpacket(source)->wake_fd, 1);
}

static void afpacket_stats(const Source *source, uint32_t target_id, SourceTargetStats *ret)
{
    const Target *target =
        g_hash_table_lookup(afpacket(source)->targets, GUINT_TO_POINTER(target_id));
    *ret = target ? target->stats : (SourceTargetStats){0};
    if (target)
        ret->ring_bytes = target_ring_bytes(target);
}

static void free_target(void *target)
{
    target_free(target);
}

static void afpacket_free(Source *source)
{
    AfPacket *self = afpacket(source);
    if (!self)
        return;
    g_hash_table_unref(self->targets);
    target_reap(&self->context, true);
    g_ptr_array_unref(self->context.abandoned);
    if (self->epoll_fd >= 0)
        close(self->epoll_fd);
    if (self->wake_fd >= 0)
        close(self->wake_fd);
    g_free(self->events);
    g_free(self);
}

static const SourceOps afpacket_ops = {
    .name = "afpacket",
    .free = afpacket_free,
    .add = afpacket_add,
    .remove = afpacket_remove,
    .set_snap_length = afpacket_set_snap_length,
    .run = afpacket_run,
    .wake = afpacket_wake,
    .stats = afpacket_stats,
    .ring_bytes = afpacket_ring_bytes,
};

Source *source_afpacket_new(uint64_t ring_budget, const SourceCallbacks *callbacks, void *userdata)
{
    AfPacket *self = g_new(AfPacket, 1);
    *self = (AfPacket){
        .source.ops = &afpacket_ops,
        .context = {.callbacks = *callbacks,
                    .userdata = userdata,
                    .snap_length = PCAPNG_PACKET_MAX,
                    .abandoned = g_ptr_array_new()},
        .ring_budget = ring_budget,
        .targets = g_hash_table_new_full(NULL, NULL, NULL, free_target),
        .epoll_fd = epoll_create1(EPOLL_CLOEXEC),
        .wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
        .events = g_new(struct epoll_event, 1),
        .events_max = 1,
        .lag_ns = SLACK_NS,
    };
    struct epoll_event wake = {.events = EPOLLIN, .data.ptr = NULL};
    if (self->epoll_fd < 0 || self->wake_fd < 0 ||
        epoll_ctl(self->epoll_fd, EPOLL_CTL_ADD, self->wake_fd, &wake) < 0) {
        int error = errno;
        afpacket_free(&self->source);
        errno = error;
        return NULL;
    }
    return &self->source;
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/tls/seen-randoms.h"

#include <glib.h>

struct SeenRandoms {
    GMutex lock;
    GArray *waiting; /* of TlsSeenHello */
};

static GArray *waiting_new(void)
{
    return g_array_new(FALSE, FALSE, sizeof(TlsSeenHello));
}

SeenRandoms *seen_randoms_new(void)
{
    SeenRandoms *seen = g_new0(SeenRandoms, 1);
    g_mutex_init(&seen->lock);
    seen->waiting = waiting_new();
    return seen;
}

SeenRandoms *seen_randoms_free(SeenRandoms *seen)
{
    if (seen) {
        g_array_unref(seen->waiting);
        g_mutex_clear(&seen->lock);
        g_free(seen);
    }
    return NULL;
}

void seen_randoms_add(SeenRandoms *seen, const TlsSeenHello *hello)
{
    g_mutex_lock(&seen->lock);
    if (seen->waiting->len < SEEN_RANDOMS_MAX) {
        g_array_append_vals(seen->waiting, hello, 1);
    } else {
        TlsSeenHello *last = &g_array_index(seen->waiting, TlsSeenHello, SEEN_RANDOMS_MAX - 1);
        *last = *hello;
        last->has_random = false;
    }
    g_mutex_unlock(&seen->lock);
}

void seen_randoms_take(SeenRandoms *seen, void (*take)(const TlsSeenHello *hello, void *userdata),
                       void *userdata)
{
    GArray *taken = NULL;
    g_mutex_lock(&seen->lock);
    if (seen->waiting->len > 0) {
        taken = seen->waiting;
        seen->waiting = waiting_new();
    }
    g_mutex_unlock(&seen->lock);
    for (guint i = 0; taken && i < taken->len; i++) {
        take(&g_array_index(taken, TlsSeenHello, i), userdata);
    }
    if (taken) {
        g_array_unref(taken);
    }
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/tls/seen-randoms.h"

#include <glib.h>
#include <string.h>

typedef struct Seen {
    uint64_t netns_inode, time_ns;
    uint8_t random[WIRE_RANDOMS_LENGTH];
    bool hidden;
} Seen;

struct SeenRandoms {
    GMutex lock;
    GArray *waiting; /* of Seen */
};

SeenRandoms *seen_randoms_new(void)
{
    SeenRandoms *seen = g_new0(SeenRandoms, 1);
    g_mutex_init(&seen->lock);
    seen->waiting = g_array_new(FALSE, FALSE, sizeof(Seen));
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

void seen_randoms_add(SeenRandoms *seen, uint64_t netns_inode, uint64_t time_ns,
                      const uint8_t *random)
{
    Seen one = {.netns_inode = netns_inode, .time_ns = time_ns, .hidden = !random};
    if (random) {
        memcpy(one.random, random, sizeof(one.random));
    }
    g_mutex_lock(&seen->lock);
    if (seen->waiting->len < SEEN_RANDOMS_MAX) {
        g_array_append_val(seen->waiting, one);
    } else {
        Seen *last = &g_array_index(seen->waiting, Seen, SEEN_RANDOMS_MAX - 1);
        *last = one;
        last->hidden = true;
    }
    g_mutex_unlock(&seen->lock);
}

void seen_randoms_take(SeenRandoms *seen, WireRandoms *randoms,
                       bool (*is_followed)(uint64_t netns_inode, void *userdata), void *userdata)
{
    GArray *taken = NULL;
    g_mutex_lock(&seen->lock);
    if (seen->waiting->len > 0) {
        taken = seen->waiting;
        seen->waiting = g_array_new(FALSE, FALSE, sizeof(Seen));
    }
    g_mutex_unlock(&seen->lock);
    for (guint i = 0; taken && i < taken->len; i++) {
        const Seen *one = &g_array_index(taken, Seen, i);
        if (!is_followed(one->netns_inode, userdata)) {
            continue;
        }
        if (one->hidden) {
            wire_randoms_hidden(randoms, one->netns_inode, one->time_ns);
        } else {
            wire_randoms_saw(randoms, one->netns_inode, one->time_ns, one->random);
        }
    }
    if (taken) {
        g_array_unref(taken);
    }
}

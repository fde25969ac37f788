// SPDX-License-Identifier: GPL-2.0-or-later
/* The two clocks. Codecs and the merge take times as arguments and never call these. */
#pragma once

#include <glib.h>
#include <stdint.h>
#include <time.h>

/* Nanoseconds since the epoch: what packets are stamped with. */
static inline uint64_t clock_unix_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Nanoseconds that never jump: for deadlines and intervals. */
static inline uint64_t clock_monotonic_ns(void)
{
    return (uint64_t)g_get_monotonic_time() * 1000u;
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* What was there before, of the last so many: a set of fixed size, by a digest that nobody can make
 * collide (SHA-256, cut to 128 bits). One thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

typedef struct RecentSet RecentSet;

RecentSet *recent_set_new(unsigned size);   /* about 40 bytes for each */
RecentSet *recent_set_free(RecentSet *set); /* NULL is fine; returns NULL */
bool recent_set_contains(RecentSet *set, const void *bytes, size_t length);
/* False if it is there. Else it is from now on, in the place of the oldest. */
bool recent_set_add(RecentSet *set, const void *bytes, size_t length);

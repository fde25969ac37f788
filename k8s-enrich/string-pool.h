// SPDX-License-Identifier: GPL-2.0-or-later
/* Texts that many entities have in common (namespaces, nodes, labels, images), kept once. One pool
 * for the whole process, for any thread; all but the lock itself is called with the lock held. */
#pragma once

#include <stdbool.h>

/* A shorter text takes less room where it is used. */
#define STRING_POOL_MIN 8u

void string_pool_lock(void);
void string_pool_unlock(void);
/* False: so many different texts are kept that no more should be. Sharing costs memory for texts
 * that nobody else has, and somebody may send us nothing but such texts. */
bool string_pool_has_room(void);
/* The pool's copy, with one more reference; it lives until the last is dropped. */
const char *string_pool_take(const char *text);
void string_pool_drop(const char *pooled);

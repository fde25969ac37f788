// SPDX-License-Identifier: GPL-2.0-or-later
/* What many entities have in common, kept once: texts (namespaces, nodes, images), and the arrays
 * of labels and ports that all pods of a template have. One pool for the whole process, for any
 * thread; all but the lock itself is called with the lock held. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

void shared_pool_lock(void);
void shared_pool_unlock(void);
/* False: so much that differs is kept that no more should be. Sharing costs memory for what nobody
 * else has, and somebody may send us nothing but that. */
bool shared_pool_has_room(void);
/* The pool's copy of these bytes, at most 4 GiB, aligned as pointers are, with one more reference;
 * it lives until the last is dropped. *ret_is_new, if not NULL: nobody had one. */
const void *shared_pool_take(const void *bytes, size_t size, bool *ret_is_new);
/* Whether the caller's reference is the only one. */
bool shared_pool_is_last(const void *pooled);
void shared_pool_drop(const void *pooled);

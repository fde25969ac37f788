// SPDX-License-Identifier: GPL-2.0-or-later
/* Whether the client randoms that hooks give are those that are seen on the wire. A hook that reads
 * another place than it should gives secrets that decrypt nothing; it is to be taken out.
 *
 * It must not hit a right one whose connections cannot be seen (UDP, another namespace, TLS within
 * TLS, snap lengths, losses), so the rule is: a connection counts against its hook if its random
 * was not captured within 10 s, and while the hook gave it, within 2 s, a ClientHello was captured
 * in the same namespace whose random no hook gave: each of these counts for one. Where something
 * began meanwhile whose random cannot be seen, none counts. 5 connections with 20 lines, and no
 * random of the hook ever seen, are enough.
 *
 * Bounded in memory: some 2 MiB. No I/O, no clock: times are those of the packets. One thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define WIRE_RANDOMS_LENGTH 32u
#define WIRE_RANDOMS_CONNECTIONS                                    \
    16384u /* remembered; then the oldest go, and count for nothing \
            */
#define WIRE_RANDOMS_HOOKS   4096u
#define WIRE_RANDOMS_WAIT_NS 10000000000u /* for a random to be seen */
#define WIRE_RANDOMS_KEPT_NS 120000000000u
#define WIRE_RANDOMS_NEAR_NS 2000000000u
#define WIRE_RANDOMS_MISSES  5u  /* connections */
#define WIRE_RANDOMS_LINES   20u /* of these */

typedef struct WireRandoms WireRandoms;

WireRandoms *wire_randoms_new(void);
WireRandoms *wire_randoms_free(WireRandoms *randoms); /* NULL is fine; returns NULL */

/* A ClientHello was captured. `may_be_outer`: the connection may have another random, so that it
 * tells nothing if no hook gave this one. */
void wire_randoms_saw(WireRandoms *randoms, uint64_t netns_inode, uint64_t time_ns,
                      const uint8_t random[static WIRE_RANDOMS_LENGTH], bool may_be_outer);
/* Something began, or was lost, whose random cannot be seen; WIRE_RANDOMS_ALL: where, is not known.
 */
#define WIRE_RANDOMS_ALL 0u
void wire_randoms_hidden(WireRandoms *randoms, uint64_t netns_inode, uint64_t time_ns);
/* A hook gave a line of a key log. */
void wire_randoms_line(WireRandoms *randoms, uint64_t netns_inode, uint64_t time_ns, uint64_t hook,
                       const uint8_t random[static WIRE_RANDOMS_LENGTH]);
/* Counts what has waited long enough. True, once for each: *ret_hook is to be taken out. To be
 * called until it is false. */
bool wire_randoms_judge(WireRandoms *randoms, uint64_t now_ns, uint64_t *ret_hook);
/* Randoms that were captured in a namespace since then, the newest first; returns how many. Those
 * that could be chance are left out. */
unsigned wire_randoms_recent(const WireRandoms *randoms, uint64_t netns_inode, uint64_t since_ns,
                             uint8_t (*ret)[WIRE_RANDOMS_LENGTH], unsigned max);
void wire_randoms_forget(WireRandoms *randoms, uint64_t netns_inode);

/* Of a namespace, since it was seen first: connections whose ClientHello was captured, and those
 * among them of which a hook gave secrets. */
void wire_randoms_count(const WireRandoms *randoms, uint64_t netns_inode, uint64_t *ret_seen,
                        uint64_t *ret_with_secrets);

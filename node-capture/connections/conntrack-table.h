// SPDX-License-Identifier: GPL-2.0-or-later
/* The rewritten connections of a node as they are now, from the kernel's events and from dumps of
 * its table, which repair what events have missed. No I/O, no clock. One thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node-capture/connections/conntrack-message.h"

#define CONNTRACK_TABLE_MAX 65536u

typedef struct ConntrackTable ConntrackTable;

/* A connection began (to_ns 0) or ended. `from_ns` 0: it was there before anybody looked. */
typedef void ConntrackTell(const ConntrackEntry *entry, uint64_t from_ns, uint64_t to_ns,
                           void *userdata);

/* Whether a connection is to be told. One that is not is kept aside, as it may be at the next look;
 * one that was told stays so to its end. */
typedef bool ConntrackWanted(const ConntrackEntry *entry, void *userdata);

/* At most `max` connections (0: CONNTRACK_TABLE_MAX) that are told, and a quarter as many aside;
 * further ones are left out, and counted. */
ConntrackTable *conntrack_table_new(size_t max, ConntrackTell *tell, ConntrackWanted *wanted,
                                    void *userdata);
ConntrackTable *conntrack_table_free(ConntrackTable *table); /* NULL is fine; returns NULL */
/* From an event. */
void conntrack_table_event(ConntrackTable *table, const ConntrackEntry *entry, uint64_t now_ns);
/* From a dump: what stands in the table and in no message from begin to end has ended. What is new
 * in a dump began after `unknown_since_ns` (0: anytime). */
void conntrack_table_dump_begin(ConntrackTable *table, uint64_t unknown_since_ns);
void conntrack_table_dumped(ConntrackTable *table, const ConntrackEntry *entry);
void conntrack_table_dump_end(ConntrackTable *table, uint64_t now_ns);

/* Tells what was kept aside and is wanted now. Returns whether there may be more that found no room
 * there since the last dump began. */
bool conntrack_table_look_again(ConntrackTable *table);

size_t conntrack_table_count(const ConntrackTable *table); /* those that are told */
/* Whether there are connections of which only a dump has told: the kernel may never tell the end of
 * them, as it does so only for those that began while somebody listened (nf_conntrack_events=2). */
bool conntrack_table_wants_dump(const ConntrackTable *table);
/* Counted each time that one is met. */
uint64_t conntrack_table_left_out(const ConntrackTable *table);
/* That ended aside, or found no room there. */
uint64_t conntrack_table_unwanted(const ConntrackTable *table);

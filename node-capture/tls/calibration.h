// SPDX-License-Identifier: GPL-2.0-or-later
/* Functions of which it is not known where their sessions keep the client random: hooks that copy
 * sessions instead of taking secrets, and what random-search.h makes of the copies.
 *
 * Bounded: CALIBRATIONS_MAX functions at a time, each with two copies (of 18 KiB) that wait and
 * CALIBRATION_COPIES at all; a copy waits CALIBRATION_WAIT_NS for its ClientHello and is wiped. The
 * longest at it makes room for the next one after CALIBRATION_YIELD_NS. One thread. */
#pragma once

#include "node-capture/tls/hooks.h"
#include "node-capture/tls/wire-randoms.h"

#define CALIBRATIONS_MAX     TLS_HOOKS_SAMPLING
#define CALIBRATION_COPIES   64u
#define CALIBRATION_WAIT_NS  5000000000u
#define CALIBRATION_YIELD_NS 60000000000u
#define CALIBRATION_POLL_MS  50

typedef struct Calibrations Calibrations;

Calibrations *calibrations_new(TlsHooks *hooks); /* borrowed */
/* The hooks are gone by then, or go with `hooks`. NULL is fine; returns NULL. */
Calibrations *calibrations_free(Calibrations *calibrations);

/* Times are monotonic. 0; -EBUSY: there are too many; else as tls_hooks_attach(). */
int calibrations_begin(Calibrations *calibrations, int fd, TlsArch arch,
                       const TlsImplementation *found, uint64_t now_ns, uint64_t *ret_hook);
/* Before it is over. */
void calibrations_end(Calibrations *calibrations, uint64_t hook);

typedef enum CalibrationResult {
    CALIBRATION_FOUND,
    CALIBRATION_NOT_FOUND, /* in any of its copies */
    CALIBRATION_YIELDED,   /* to another one */
} CalibrationResult;

/* One that is over; its hook is out. */
typedef struct CalibrationOver {
    uint64_t hook;
    CalibrationResult result;
    TlsChain chain; /* if found */
} CalibrationOver;

/* There are copies, or may be: calibrations_poll() is to be called every CALIBRATION_POLL_MS. */
bool calibrations_are_busy(const Calibrations *calibrations);
/* Looks at the copies. `unix_ns`: the clock of `randoms` now. True: one is over; to be called until
 * it is false. */
bool calibrations_poll(Calibrations *calibrations, const WireRandoms *randoms, uint64_t now_ns,
                       uint64_t unix_ns, CalibrationOver *ret);

/* What was found, by the build id of the file and the place of the function. Bounded. */
typedef struct KnownChains KnownChains;

KnownChains *known_chains_new(void);
KnownChains *known_chains_free(KnownChains *known); /* NULL is fine; returns NULL */
/* NULL: the file has no build id, so that nothing can be known of it. To be freed. */
char *known_chains_key(const TlsFile *file, const TlsImplementation *found);
/* All three may get a key that is NULL. */
const TlsChain *known_chains_get(const KnownChains *known, const char *key); /* or NULL */
void known_chains_add(KnownChains *known, const char *key, const TlsChain *chain);
void known_chains_remove(KnownChains *known, const char *key);

// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/tls/calibration.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define RANDOMS_MAX      256u /* of one namespace, that one copy is looked through for */
#define RANDOMS_BACK_NS  10000000000u
#define KNOWN_CHAINS_MAX 1024u

typedef struct Calibration {
    uint64_t hook; /* 0: free */
    uint64_t begun_ns;
    unsigned copies; /* that were looked at to the end */
    RandomSearch search;
} Calibration;

struct Calibrations {
    TlsHooks *hooks;
    Calibration all[CALIBRATIONS_MAX];
    GQueue yielded; /* of uint64_t *, hooks that are to be told */
};

Calibrations *calibrations_new(TlsHooks *hooks)
{
    Calibrations *calibrations = g_new0(Calibrations, 1);
    calibrations->hooks = hooks;
    g_queue_init(&calibrations->yielded);
    return calibrations;
}

Calibrations *calibrations_free(Calibrations *calibrations)
{
    if (calibrations) {
        g_queue_clear_full(&calibrations->yielded, g_free);
        g_free(calibrations);
    }
    return NULL;
}

static Calibration *find(Calibrations *calibrations, uint64_t hook)
{
    for (unsigned i = 0; i < CALIBRATIONS_MAX; i++) {
        if (calibrations->all[i].hook == hook) {
            return &calibrations->all[i];
        }
    }
    return NULL;
}

static void end(Calibrations *calibrations, Calibration *calibration)
{
    tls_hooks_detach(calibrations->hooks, calibration->hook);
    *calibration = (Calibration){0};
}

/* Makes the one room that has been at it for longest, if that is long. */
static Calibration *room(Calibrations *calibrations, uint64_t now_ns)
{
    Calibration *oldest = find(calibrations, 0);
    if (oldest) {
        return oldest;
    }
    oldest = &calibrations->all[0];
    for (unsigned i = 1; i < CALIBRATIONS_MAX; i++) {
        if (calibrations->all[i].begun_ns < oldest->begun_ns) {
            oldest = &calibrations->all[i];
        }
    }
    if (now_ns < oldest->begun_ns + CALIBRATION_YIELD_NS) {
        return NULL;
    }
    g_queue_push_tail(&calibrations->yielded, g_memdup2(&oldest->hook, sizeof(oldest->hook)));
    end(calibrations, oldest);
    return oldest;
}

int calibrations_begin(Calibrations *calibrations, int fd, TlsArch arch,
                       const TlsImplementation *found, uint64_t now_ns, uint64_t *ret_hook)
{
    Calibration *calibration = room(calibrations, now_ns);
    if (!calibration) {
        return -EBUSY;
    }
    uint64_t hook;
    unsigned place = (unsigned)(calibration - calibrations->all);
    int error = tls_hooks_attach_sampling(calibrations->hooks, fd, arch, found, place, &hook);
    if (error == 0) {
        *calibration = (Calibration){.hook = hook, .begun_ns = now_ns};
        *ret_hook = hook;
    }
    return error;
}

void calibrations_end(Calibrations *calibrations, uint64_t hook)
{
    Calibration *calibration = hook ? find(calibrations, hook) : NULL;
    if (calibration) {
        end(calibrations, calibration);
    }
}

bool calibrations_are_busy(const Calibrations *calibrations)
{
    bool busy = calibrations->yielded.length > 0;
    for (unsigned i = 0; i < CALIBRATIONS_MAX; i++) {
        busy |= calibrations->all[i].hook != 0;
    }
    return busy || tls_hooks_has_samples(calibrations->hooks);
}

/* ---- Copies ----------------------------------------------------------------------------------*/

/* Returns whether the copy is done with. */
static bool look_at(Calibration *calibration, const TlsSample *sample, const WireRandoms *randoms,
                    uint64_t now_ns, uint64_t unix_ns)
{
    uint8_t seen[RANDOMS_MAX][RANDOM_SEARCH_LENGTH];
    uint64_t age_ns = now_ns > sample->time_ns ? now_ns - sample->time_ns : 0;
    unsigned count = wire_randoms_recent(randoms, sample->netns_inode,
                                         unix_ns - age_ns - RANDOMS_BACK_NS, seen, RANDOMS_MAX);
    return random_search_add(&calibration->search, &sample->copy, seen[0], count) ||
           age_ns > CALIBRATION_WAIT_NS;
}

static void look_at_all(Calibrations *calibrations, const WireRandoms *randoms, uint64_t now_ns,
                        uint64_t unix_ns)
{
    for (unsigned i = 0; i < TLS_HOOKS_SAMPLES; i++) {
        TlsSample sample;
        if (!tls_hooks_sample(calibrations->hooks, i, &sample)) {
            continue;
        }
        Calibration *calibration = find(calibrations, sample.hook);
        if (!calibration) {
            tls_hooks_wipe_sample(calibrations->hooks, i);
        } else if (look_at(calibration, &sample, randoms, now_ns, unix_ns)) {
            tls_hooks_wipe_sample(calibrations->hooks, i);
            calibration->copies++;
        }
    }
}

static bool take_yielded(Calibrations *calibrations, CalibrationOver *ret)
{
    g_autofree uint64_t *hook = g_queue_pop_head(&calibrations->yielded);
    if (hook) {
        *ret = (CalibrationOver){.hook = *hook, .result = CALIBRATION_YIELDED};
    }
    return hook != NULL;
}

bool calibrations_poll(Calibrations *calibrations, const WireRandoms *randoms, uint64_t now_ns,
                       uint64_t unix_ns, CalibrationOver *ret)
{
    if (take_yielded(calibrations, ret)) {
        return true;
    }
    look_at_all(calibrations, randoms, now_ns, unix_ns);
    for (unsigned i = 0; i < CALIBRATIONS_MAX; i++) {
        Calibration *calibration = &calibrations->all[i];
        CalibrationOver over = {.hook = calibration->hook, .result = CALIBRATION_NOT_FOUND};
        if (!over.hook) {
            continue;
        }
        if (random_search_result(&calibration->search, &over.chain)) {
            over.result = CALIBRATION_FOUND;
        }
        if (over.result == CALIBRATION_FOUND || calibration->copies >= CALIBRATION_COPIES) {
            end(calibrations, calibration);
            *ret = over;
            return true;
        }
    }
    return false;
}

/* ---- What is known ---------------------------------------------------------------------------*/

struct KnownChains {
    GHashTable *chains; /* key -> TlsChain */
};

KnownChains *known_chains_new(void)
{
    KnownChains *known = g_new0(KnownChains, 1);
    known->chains = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    return known;
}

KnownChains *known_chains_free(KnownChains *known)
{
    if (known) {
        g_hash_table_unref(known->chains);
        g_free(known);
    }
    return NULL;
}

char *known_chains_key(const TlsFile *file, const TlsImplementation *found)
{
    if (!file->build_id_length) {
        return NULL;
    }
    g_autofree char *id = g_base64_encode(file->build_id, file->build_id_length);
    return g_strdup_printf("%s %" G_GINT64_MODIFIER "x", id, found->key_log.offset);
}

const TlsChain *known_chains_get(const KnownChains *known, const char *key)
{
    return key ? g_hash_table_lookup(known->chains, key) : NULL;
}

void known_chains_add(KnownChains *known, const char *key, const TlsChain *chain)
{
    if (key && g_hash_table_size(known->chains) < KNOWN_CHAINS_MAX) {
        g_hash_table_replace(known->chains, g_strdup(key), g_memdup2(chain, sizeof(*chain)));
    }
}

void known_chains_remove(KnownChains *known, const char *key)
{
    if (key) {
        g_hash_table_remove(known->chains, key);
    }
}

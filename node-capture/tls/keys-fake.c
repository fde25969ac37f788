// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/tls/keys-fake.h"

#include <string.h>

typedef struct Fake {
    TlsKeys keys;
    const TlsKeysCallbacks *callbacks;
    void *userdata;
    GMutex lock;
    GArray *followed;
    unsigned times;
    TlsKeysStats stats;
    GArray *randoms; /* of TlsFakeRandom */
} Fake;

static void fake_follow(TlsKeys *keys, const TlsWanted *wanted, size_t count)
{
    Fake *fake = (Fake *)keys;
    g_mutex_lock(&fake->lock);
    g_array_set_size(fake->followed, 0);
    g_array_append_vals(fake->followed, wanted, (guint)count);
    fake->times++;
    g_mutex_unlock(&fake->lock);
}

static void fake_free(TlsKeys *keys)
{
    Fake *fake = (Fake *)keys;
    tls_programs_free(fake->keys.programs);
    g_array_unref(fake->followed);
    g_array_unref(fake->randoms);
    g_mutex_clear(&fake->lock);
    g_free(fake);
}

static void fake_saw_random(TlsKeys *keys, uint64_t netns_inode, uint64_t time_unix_ns,
                            const uint8_t *random, bool may_be_outer)
{
    Fake *fake = (Fake *)keys;
    TlsFakeRandom seen = {
        .netns_inode = netns_inode, .time_unix_ns = time_unix_ns, .may_be_outer = may_be_outer};
    if (random) {
        memcpy(seen.random, random, sizeof(seen.random));
    }
    g_mutex_lock(&fake->lock);
    g_array_append_val(fake->randoms, seen);
    g_mutex_unlock(&fake->lock);
}

static void fake_stats(TlsKeys *keys, TlsKeysStats *ret)
{
    Fake *fake = (Fake *)keys;
    g_mutex_lock(&fake->lock);
    *ret = fake->stats;
    g_mutex_unlock(&fake->lock);
}

static const TlsKeysOps fake_ops = {"fake", fake_free, fake_follow, fake_saw_random, fake_stats};

TlsKeys *tls_keys_fake_new(const TlsKeysCallbacks *callbacks, void *userdata)
{
    Fake *fake = g_new0(Fake, 1);
    fake->keys.ops = &fake_ops;
    fake->keys.programs = tls_programs_new();
    fake->callbacks = callbacks;
    fake->userdata = userdata;
    fake->followed = g_array_new(FALSE, FALSE, sizeof(TlsWanted));
    fake->randoms = g_array_new(FALSE, FALSE, sizeof(TlsFakeRandom));
    g_mutex_init(&fake->lock);
    return &fake->keys;
}

GArray *tls_keys_fake_followed(TlsKeys *keys, unsigned *ret_times)
{
    Fake *fake = (Fake *)keys;
    g_mutex_lock(&fake->lock);
    GArray *copy = g_array_copy(fake->followed);
    *ret_times = fake->times;
    g_mutex_unlock(&fake->lock);
    return copy;
}

void tls_keys_fake_tell(TlsKeys *keys, uint64_t netns_inode, const char *lines)
{
    Fake *fake = (Fake *)keys;
    fake->callbacks->secrets(netns_inode, 1, lines, strlen(lines), fake->userdata);
}

void tls_keys_fake_tell_plaintext(TlsKeys *keys, const TlsPlaintext *plaintext)
{
    Fake *fake = (Fake *)keys;
    fake->callbacks->plaintext(plaintext, fake->userdata);
}

void tls_keys_fake_problem(TlsKeys *keys, const char *message)
{
    Fake *fake = (Fake *)keys;
    fake->callbacks->problem(TLS_KEYS_SUBJECT, message, fake->userdata);
}

void tls_keys_fake_tell_programs(TlsKeys *keys)
{
    Fake *fake = (Fake *)keys;
    fake->callbacks->programs(fake->userdata);
}

void tls_keys_fake_set_stats(TlsKeys *keys, const TlsKeysStats *stats)
{
    Fake *fake = (Fake *)keys;
    g_mutex_lock(&fake->lock);
    fake->stats = *stats;
    g_mutex_unlock(&fake->lock);
}

GArray *tls_keys_fake_randoms(TlsKeys *keys)
{
    Fake *fake = (Fake *)keys;
    g_mutex_lock(&fake->lock);
    GArray *copy = g_array_copy(fake->randoms);
    g_mutex_unlock(&fake->lock);
    return copy;
}

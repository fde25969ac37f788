// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/targets/socket-owners-fake.h"

#include <glib.h>

typedef struct FakeOwners {
    SocketOwners owners;
    const SocketOwnersCallbacks *callbacks;
    void *userdata;
    GAsyncQueue *news; /* of SocketNews */
    bool wanted;
    unsigned times; /* atomic */
    uint64_t events;
} FakeOwners;

static void fake_free(SocketOwners *base)
{
    FakeOwners *owners = (FakeOwners *)base;
    g_async_queue_unref(owners->news);
    g_free(owners);
}

static void fake_want(SocketOwners *base, bool wanted)
{
    FakeOwners *owners = (FakeOwners *)base;
    if (wanted && !owners->wanted) {
        g_atomic_int_inc(&owners->times);
    }
    owners->wanted = wanted;
}

static void fake_dispatch(SocketOwners *base)
{
    FakeOwners *owners = (FakeOwners *)base;
    SocketNews *news;
    while ((news = g_async_queue_try_pop(owners->news))) {
        owners->events++;
        owners->callbacks->owner(news, owners->userdata);
        g_free(news);
    }
}

static void fake_stats(const SocketOwners *base, SocketOwnersStats *ret)
{
    *ret = (SocketOwnersStats){.events = ((const FakeOwners *)base)->events};
}

static const SocketOwnersOps fake_ops = {fake_free, fake_want, fake_dispatch, fake_stats};

SocketOwners *socket_owners_fake_new(const SocketOwnersCallbacks *callbacks, void *userdata)
{
    FakeOwners *owners = g_new0(FakeOwners, 1);
    owners->owners.ops = &fake_ops;
    owners->callbacks = callbacks;
    owners->userdata = userdata;
    owners->news = g_async_queue_new_full(g_free);
    return &owners->owners;
}

void socket_owners_fake_tell(SocketOwners *owners, const SocketNews *news)
{
    g_async_queue_push(((FakeOwners *)owners)->news, g_memdup2(news, sizeof(*news)));
}

unsigned socket_owners_fake_wanted(SocketOwners *owners)
{
    return (unsigned)g_atomic_int_get(&((FakeOwners *)owners)->times);
}

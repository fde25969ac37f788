// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/targets/fake.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

typedef enum FakeKind {
    FAKE_POD,
    FAKE_FAILED,
    FAKE_GONE,
    FAKE_IDENTITY,
    FAKE_SYNCED,
    FAKE_PROBLEM
} FakeKind;

typedef struct FakeEvent {
    FakeKind kind;
    Entity *entity;
    int netns_fd;
    uint64_t deleted_ns, since_ns;
    char *subject, *text;
} FakeEvent;

typedef struct FakeTargets {
    Targets targets;
    const TargetsCallbacks *callbacks;
    void *userdata;
    int event_fd;
    GAsyncQueue *events; /* of FakeEvent * */
} FakeTargets;

static void fake_event_free(void *data)
{
    FakeEvent *event = data;
    entity_unref(event->entity);
    if (event->netns_fd >= 0) {
        close(event->netns_fd);
    }
    g_free(event->subject);
    g_free(event->text);
    g_free(event);
}

static void fake_free(Targets *targets)
{
    FakeTargets *fake = (FakeTargets *)targets;
    g_async_queue_unref(fake->events);
    close(fake->event_fd);
    g_free(fake);
}

static int fake_fd(const Targets *targets)
{
    return ((const FakeTargets *)targets)->event_fd;
}

static void fake_tell(const FakeTargets *fake, const FakeEvent *event)
{
    const TargetsCallbacks *tell = fake->callbacks;
    switch (event->kind) {
    case FAKE_POD:
        tell->identity(event->entity, 0, fake->userdata);
        tell->appeared(event->entity, event->netns_fd, event->since_ns, fake->userdata);
        break;
    case FAKE_FAILED:
        tell->identity(event->entity, 0, fake->userdata);
        tell->failed(event->entity, event->text, fake->userdata);
        break;
    case FAKE_GONE:
        if (event->entity->kind == ENTITY_POD) {
            tell->vanished(event->entity->uid, fake->userdata);
        }
        if (event->deleted_ns > 0) {
            tell->identity(event->entity, event->deleted_ns, fake->userdata);
        }
        break;
    case FAKE_IDENTITY:
        tell->identity(event->entity, 0, fake->userdata);
        break;
    case FAKE_SYNCED:
        tell->synced(fake->userdata);
        break;
    case FAKE_PROBLEM:
        tell->problem(event->subject, event->text, fake->userdata);
        break;
    }
}

static void fake_dispatch(Targets *targets)
{
    FakeTargets *fake = (FakeTargets *)targets;
    eventfd_t count;
    eventfd_read(fake->event_fd, &count);
    FakeEvent *event;
    while ((event = g_async_queue_try_pop(fake->events))) {
        fake_tell(fake, event);
        fake_event_free(event);
    }
}

static const TargetsOps fake_ops = {"fake", fake_free, fake_fd, fake_dispatch, NULL};

Targets *targets_fake_new(const TargetsCallbacks *callbacks, void *userdata)
{
    FakeTargets *fake = g_new0(FakeTargets, 1);
    fake->targets.ops = &fake_ops;
    fake->callbacks = callbacks;
    fake->userdata = userdata;
    fake->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    fake->events = g_async_queue_new_full(fake_event_free);
    return &fake->targets;
}

static void fake_push(Targets *targets, FakeEvent event)
{
    FakeTargets *fake = (FakeTargets *)targets;
    g_async_queue_push(fake->events, g_memdup2(&event, sizeof(event)));
    eventfd_write(fake->event_fd, 1);
}

void targets_fake_pod(Targets *targets, const Entity *pod, int netns_fd)
{
    int fd = netns_fd >= 0 ? fcntl(netns_fd, F_DUPFD_CLOEXEC, 0)
                           : open("/dev/null", O_RDONLY | O_CLOEXEC);
    fake_push(targets, (FakeEvent){.kind = FAKE_POD,
                                   .entity = entity_ref(pod),
                                   .netns_fd = fd,
                                   .since_ns = TARGETS_AT_ONCE});
}

void targets_fake_late_pod(Targets *targets, const Entity *pod, uint64_t since_ns)
{
    fake_push(targets, (FakeEvent){.kind = FAKE_POD,
                                   .entity = entity_ref(pod),
                                   .netns_fd = open("/dev/null", O_RDONLY | O_CLOEXEC),
                                   .since_ns = since_ns});
}

void targets_fake_failed(Targets *targets, const Entity *pod, const char *reason)
{
    fake_push(targets, (FakeEvent){.kind = FAKE_FAILED,
                                   .entity = entity_ref(pod),
                                   .netns_fd = -1,
                                   .text = g_strdup(reason)});
}

void targets_fake_gone(Targets *targets, const Entity *entity, uint64_t deleted_ns)
{
    fake_push(targets, (FakeEvent){.kind = FAKE_GONE,
                                   .entity = entity_ref(entity),
                                   .netns_fd = -1,
                                   .deleted_ns = deleted_ns});
}

void targets_fake_identity(Targets *targets, const Entity *entity)
{
    fake_push(targets,
              (FakeEvent){.kind = FAKE_IDENTITY, .entity = entity_ref(entity), .netns_fd = -1});
}

void targets_fake_synced(Targets *targets)
{
    fake_push(targets, (FakeEvent){.kind = FAKE_SYNCED, .netns_fd = -1});
}

void targets_fake_problem(Targets *targets, const char *subject, const char *message)
{
    fake_push(targets, (FakeEvent){.kind = FAKE_PROBLEM,
                                   .netns_fd = -1,
                                   .subject = g_strdup(subject),
                                   .text = g_strdup(message)});
}

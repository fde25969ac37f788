// SPDX-License-Identifier: GPL-2.0-or-later
/* Which programs, moves and empty groups the kernel tells of: what may be a pod's, and nothing
 * else. Others may start pods meanwhile: only what is ours is looked at. Needs root. */
#include "node-capture/targets/pod-events.h"

#include <glib.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "tests/node-capture/targets/pod-maker.h"

#define WAIT_NS        10000000000u
#define PROGRAMS       50
#define DEEP           40 /* groups above each other: more than the kernel looks at */
#define NOT_DEEP       20
#define NAME_MAX_BYTES 255

typedef struct Fixture {
    PodEvents *events;
    GHashTable *processes; /* pid -> how often it was told */
    GHashTable *exited;    /* pid */
    GHashTable *empty;     /* path */
} Fixture;

static void on_process(pid_t pid, void *userdata)
{
    GHashTable *processes = ((Fixture *)userdata)->processes;
    void *key = GINT_TO_POINTER(pid);
    int count = GPOINTER_TO_INT(g_hash_table_lookup(processes, key));
    g_hash_table_insert(processes, key, GINT_TO_POINTER(count + 1));
}

static void on_exited(pid_t pid, void *userdata)
{
    g_hash_table_add(((Fixture *)userdata)->exited, GINT_TO_POINTER(pid));
}

static void on_empty(int hierarchy, const char *path, size_t length, void *userdata)
{
    (void)hierarchy;
    g_hash_table_add(((Fixture *)userdata)->empty, g_strndup(path, length));
}

static const PodEventsCallbacks callbacks = {on_process, on_exited, on_empty};

static void begin(Fixture *fixture)
{
    g_autofree char *message = NULL;
    *fixture = (Fixture){.processes = g_hash_table_new(NULL, NULL),
                         .exited = g_hash_table_new(NULL, NULL),
                         .empty = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL)};
    g_assert_cmpint(pod_events_new(&callbacks, fixture, &fixture->events, &message), ==, 0);
}

static void end(Fixture *fixture)
{
    g_assert_cmpuint(pod_events_lost(fixture->events), ==, 0);
    pod_events_free(fixture->events);
    g_hash_table_unref(fixture->processes);
    g_hash_table_unref(fixture->exited);
    g_hash_table_unref(fixture->empty);
}

static int told(const Fixture *fixture, pid_t pid)
{
    return GPOINTER_TO_INT(g_hash_table_lookup(fixture->processes, GINT_TO_POINTER(pid)));
}

static bool is_told_empty(const Fixture *fixture, const char *path)
{
    g_autofree char *whole = g_strconcat(pod_maker_root(), path, NULL);
    return g_hash_table_contains(fixture->empty, whole);
}

static void dispatch(Fixture *fixture, int timeout_ms)
{
    struct pollfd fd = {.fd = pod_events_fd(fixture->events), .events = POLLIN};
    poll(&fd, 1, timeout_ms);
    pod_events_dispatch(fixture->events);
}

static void await_told(Fixture *fixture, pid_t pid, int times)
{
    uint64_t deadline_ns = clock_monotonic_ns() + WAIT_NS;
    while (told(fixture, pid) < times && clock_monotonic_ns() < deadline_ns) {
        dispatch(fixture, 100);
    }
    g_assert_cmpint(told(fixture, pid), ==, times);
}

/* All that has happened so far has been told or will never be: events come in their order, and this
 * is one that is told. */
static void mark(Fixture *fixture)
{
    g_autofree char *path =
        g_strdup_printf("/marker/kubepods/pod%s/%s", pod_uid(0xffff), container_id(1));
    /* It is moved, and becomes a program. */
    await_told(fixture, pod_maker_run(path, NETNS_OURS, true, NULL), 2);
}

static char *name_of(size_t length, const char *end_text)
{
    GString *name = g_string_new(NULL);
    while (name->len + strlen(end_text) < length) {
        g_string_append_c(name, 'x');
    }
    g_string_append(name, end_text);
    return g_string_free(name, FALSE);
}

/* How often a process is told that is moved to `path` and ends at once as "true". */
static int told_in(Fixture *fixture, const char *path)
{
    pid_t pid = pod_maker_run(path, NETNS_OURS, true, NULL);
    mark(fixture);
    return told(fixture, pid);
}

/* ---- Tests -----------------------------------------------------------------------------------*/

static void test_outside(void)
{
    Fixture fixture;
    pid_t pids[PROGRAMS];
    begin(&fixture);
    uint64_t skipped = pod_events_skipped(fixture.events);
    for (unsigned i = 0; i < PROGRAMS; i++) {
        pids[i] = pod_maker_run("/other.slice/some.service", NETNS_OURS, true, NULL);
    }
    mark(&fixture);
    for (unsigned i = 0; i < PROGRAMS; i++) {
        g_assert_cmpint(told(&fixture, pids[i]), ==, 0);
    }
    g_assert_false(is_told_empty(&fixture, "/other.slice/some.service"));
    /* Moved, a program, and an empty group, each. */
    g_assert_cmpuint(pod_events_skipped(fixture.events) - skipped, >=, 3 * PROGRAMS);
    end(&fixture);
}

static void test_inside(void)
{
    Fixture fixture;
    begin(&fixture);
    const char *uid = pod_uid(1), *id = container_id(1);
    g_autofree char *plain = g_strdup_printf("/kubepods/besteffort/pod%s/%s", uid, id);
    g_autofree char *slice = g_strdup_printf(
        "/kubelet-kubepods-burstable-pod12345678_1b2c_4d5e_8f90_00000000cafe.slice/crio-%s.scope",
        id);
    g_autofree char *mixed = g_strdup_printf(
        "/kubepods-pod12345678_1b2c_4d5e_8f90_00000000cafe.slice:cri-containerd:%s", id);
    g_autofree char *below = g_strdup_printf("/kubepods/pod%s/%s/some/group/of/its/own", uid, id);
    g_assert_cmpint(told_in(&fixture, plain), ==, 2);
    g_assert_true(is_told_empty(&fixture, plain));
    g_assert_cmpint(told_in(&fixture, slice), ==, 2);
    g_assert_cmpint(told_in(&fixture, mixed), ==, 2);
    g_assert_cmpint(told_in(&fixture, below), ==, 2);
    end(&fixture);
}

static void test_long_names(void)
{
    Fixture fixture;
    begin(&fixture);
    g_autofree char *parent = name_of(200, "");
    g_autofree char *below_long =
        g_strdup_printf("/%s/kubepods/pod%s/%s", parent, pod_uid(1), container_id(1));
    g_autofree char *late = name_of(NAME_MAX_BYTES, "pod");
    g_autofree char *late_path = g_strconcat("/", late, NULL);
    g_autofree char *never = name_of(NAME_MAX_BYTES, "po");
    g_autofree char *never_path = g_strconcat("/", never, NULL);
    g_assert_cmpint(told_in(&fixture, below_long), ==, 2);
    g_assert_cmpint(told_in(&fixture, late_path), ==, 2);
    g_assert_cmpint(told_in(&fixture, never_path), ==, 0);
    end(&fixture);
}

/* What is deeper than the kernel looks is told, as a pod may be above. */
static void test_depth(void)
{
    Fixture fixture;
    begin(&fixture);
    GString *path = g_string_new("");
    for (unsigned i = 0; i < DEEP; i++) {
        if (i == NOT_DEEP) {
            g_assert_cmpint(told_in(&fixture, path->str), ==, 0);
        }
        g_string_append(path, "/a");
    }
    g_assert_cmpint(told_in(&fixture, path->str), ==, 2);
    g_string_free(path, TRUE);
    end(&fixture);
}

/* A process that leaves its pod is told if it is followed. */
static void test_moves(void)
{
    Fixture fixture;
    begin(&fixture);
    g_autofree char *pod = g_strdup_printf("/kubepods/pod%s/%s", pod_uid(1), container_id(1));
    pid_t pid = pod_maker_run(pod, NETNS_OURS, false, NULL);
    pid_t other = pod_maker_run("/other", NETNS_OURS, false, NULL);
    await_told(&fixture, pid, 2); /* else it might leave before it is a program */
    pod_maker_move(pid, "/other");
    mark(&fixture);
    g_assert_cmpint(told(&fixture, pid), ==, 2);

    pod_maker_move(pid, pod);
    mark(&fixture);
    g_assert_cmpint(told(&fixture, pid), ==, 3);
    g_assert_true(pod_events_follow(fixture.events, pid, true));
    pod_maker_move(pid, "/other");
    pod_maker_move(pid, "/elsewhere");
    mark(&fixture);
    g_assert_cmpint(told(&fixture, pid), ==, 5);

    pod_maker_kill(pid);
    pod_maker_kill(other);
    mark(&fixture);
    g_assert_true(g_hash_table_contains(fixture.exited, GINT_TO_POINTER(pid)));
    g_assert_false(g_hash_table_contains(fixture.exited, GINT_TO_POINTER(other)));
    g_assert_cmpint(told(&fixture, other), ==, 0);
    end(&fixture);
}

/* Why BPF cannot be used here, or NULL. */
static char *missing(void)
{
    PodEvents *events;
    char *message = NULL;
    if (pod_events_new(&callbacks, NULL, &events, &message) == 0) {
        pod_events_free(events);
    }
    return message;
}

static void add_tests(int version)
{
    static const struct {
        const char *name;
        void (*function)(void);
    } tests[] = {
        {"outside", test_outside}, {"inside", test_inside}, {"long-names", test_long_names},
        {"depth", test_depth},     {"moves", test_moves},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(tests); i++) {
        g_autofree char *name = g_strdup_printf("/pod-events/v%d/%s", version, tests[i].name);
        g_test_add_func(name, tests[i].function);
    }
}

int main(int argc, char **argv)
{
    return pod_maker_main(argc, argv, missing, add_tests);
}

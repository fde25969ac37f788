// SPDX-License-Identifier: GPL-2.0-or-later
/* Telling what is known in slices, with a stream that is a queue and no more. */
#include "node-capture/server/known.h"

#include <glib.h>

#include "helpers.h"

#define ENTITIES (2 * KNOWN_SLICE + 10)

/* Instead of server/stream.c, which needs a call. */
struct Stream {
    int refs;
    bool locked;
    Queue *queue;
};

Stream *stream_ref(Stream *stream)
{
    stream->refs++;
    return stream;
}

Stream *stream_unref(Stream *stream)
{
    stream->refs--;
    return NULL;
}

Queue *stream_lock(Stream *stream)
{
    g_assert_false(stream->locked);
    stream->locked = true;
    return stream->queue;
}

void stream_unlock(Stream *stream)
{
    g_assert_true(stream->locked);
    stream->locked = false;
}

static int compare_keys(const void *a, const void *b)
{
    const Entity *left = *(Entity *const *)a, *right = *(Entity *const *)b;
    return left->key < right->key ? -1 : left->key > right->key;
}

/* Pods in the order in which they will be told. */
static GPtrArray *make_pods(unsigned count)
{
    GPtrArray *pods = g_ptr_array_new_with_free_func((GDestroyNotify)(void (*)(void))entity_unref);
    for (unsigned i = 0; i < count; i++) {
        g_autofree char *name = g_strdup_printf("pod-%u", i);
        g_ptr_array_add(pods, test_pod("shop", name, NULL));
    }
    g_ptr_array_sort(pods, compare_keys);
    return pods;
}

static Known *make_known(const GPtrArray *pods)
{
    Known *known = known_new();
    for (guint i = 0; i < pods->len; i++) {
        known_apply(known, g_ptr_array_index(pods, i), 0);
    }
    return known;
}

/* The same pod with a label. */
static Entity *relabel(const Entity *pod)
{
    static const char *const labels[] = {"tier", "new", NULL};
    Entity *changed = test_pod("shop", pod->name, labels);
    g_assert_cmpuint(changed->key, ==, pod->key);
    return changed;
}

static void check_next(const Stream *stream, const Entity *entity, uint64_t deleted_ns)
{
    QueueMessage message;
    queue_next(stream->queue, 0, &message);
    g_assert_cmpint(message.type, ==, QUEUE_IDENTITY);
    g_assert_true(message.entity == entity);
    g_assert_cmpuint(message.deleted_ns, ==, deleted_ns);
    queue_message_clear(&message);
}

static void check_next_pods(const Stream *stream, const GPtrArray *pods, guint first, guint end)
{
    for (guint i = first; i < end; i++) {
        check_next(stream, g_ptr_array_index(pods, i), 0);
    }
}

static Stream make_stream(void)
{
    return (Stream){.refs = 1, .queue = queue_new(1 << 20, 65535, NULL)};
}

static void stream_done(Stream *stream)
{
    g_assert_true(queue_is_empty(stream->queue));
    queue_free(stream->queue);
    g_assert_cmpint(stream->refs, ==, 1);
}

static void test_nothing_known(void)
{
    Known *known = known_new();
    Stream stream = make_stream();
    g_assert_false(known_has_streams(known));
    g_assert_null(known_tell(known));
    known_add_stream(known, &stream);
    g_assert_true(known_has_streams(known));
    g_assert_true(known_tell(known) == &stream);
    stream_unref(&stream);
    g_assert_false(known_has_streams(known));
    stream_done(&stream);
    known_free(known);
}

/* Between two slices pods change, go and come, each both before and behind where the telling is. */
static void test_changes_meanwhile(void)
{
    g_autoptr(GPtrArray) pods = make_pods(ENTITIES + 2);
    Entity *early = g_ptr_array_steal_index(pods, 3);
    Entity *late = g_ptr_array_steal_index(pods, pods->len - 3);
    Known *known = make_known(pods);
    Stream stream = make_stream();
    known_add_stream(known, &stream);
    g_assert_null(known_tell(known));
    g_assert_cmpuint(queue_events(stream.queue), ==, KNOWN_SLICE);
    check_next_pods(&stream, pods, 0, KNOWN_SLICE);

    Entity *told = g_ptr_array_index(pods, KNOWN_SLICE - 1);
    Entity *told_new = relabel(told);
    known_apply(known, told_new, 0);
    known_apply(known, told_new, TEST_NS);
    known_apply(known, early, 0);
    check_next(&stream, told_new, 0);
    check_next(&stream, told_new, TEST_NS);
    check_next(&stream, early, 0);

    Entity *untold_new = relabel(g_ptr_array_index(pods, KNOWN_SLICE));
    known_apply(known, untold_new, 0);
    known_apply(known, g_ptr_array_index(pods, KNOWN_SLICE + 1), TEST_NS);
    known_apply(known, late, 0);
    g_assert_true(queue_is_empty(stream.queue));

    g_assert_null(known_tell(known));
    g_assert_true(known_tell(known) == &stream);
    stream_unref(&stream);
    check_next(&stream, untold_new, 0);
    check_next_pods(&stream, pods, KNOWN_SLICE + 2, pods->len - 2);
    check_next(&stream, late, 0);
    check_next_pods(&stream, pods, pods->len - 2, pods->len);
    stream_done(&stream);
    known_free(known);
    entity_unref(early);
    entity_unref(late);
    entity_unref(told_new);
    entity_unref(untold_new);
}

/* Two at once take turns; a third goes away in the middle. */
static void test_turns(void)
{
    g_autoptr(GPtrArray) pods = make_pods(ENTITIES);
    Known *known = make_known(pods);
    Stream first = make_stream(), second = make_stream(), gone = make_stream();
    known_add_stream(known, &first);
    known_add_stream(known, &gone);
    known_add_stream(known, &second);
    for (int i = 0; i < 3; i++) {
        g_assert_null(known_tell(known));
    }
    g_assert_cmpuint(queue_events(first.queue), ==, KNOWN_SLICE);
    g_assert_cmpuint(queue_events(second.queue), ==, KNOWN_SLICE);
    g_assert_true(known_remove_stream(known, &gone));
    g_assert_false(known_remove_stream(known, &gone));
    g_assert_null(known_tell(known));
    g_assert_null(known_tell(known));
    g_assert_true(known_tell(known) == &first);
    stream_unref(&first);
    g_assert_true(known_tell(known) == &second);
    stream_unref(&second);
    check_next_pods(&first, pods, 0, ENTITIES);
    check_next_pods(&second, pods, 0, ENTITIES);
    check_next_pods(&gone, pods, 0, KNOWN_SLICE);
    stream_done(&first);
    stream_done(&second);
    stream_done(&gone);
    known_free(known);
}

/* A node that ends lets go of streams that wait. */
static void test_freed_meanwhile(void)
{
    Known *known = known_new();
    Stream stream = make_stream();
    known_add_stream(known, &stream);
    known_free(known);
    stream_done(&stream);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/known/nothing", test_nothing_known);
    g_test_add_func("/known/changes-meanwhile", test_changes_meanwhile);
    g_test_add_func("/known/turns", test_turns);
    g_test_add_func("/known/freed-meanwhile", test_freed_meanwhile);
    return g_test_run();
}

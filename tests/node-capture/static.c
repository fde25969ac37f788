// SPDX-License-Identifier: GPL-2.0-or-later
/* Targets from an inventory file: written, replaced, broken, and network namespaces that come
 * later. Namespaces are made with unshare() and bind mounts in a mount namespace of this test's
 * own: needs root. */
#include "node-capture/targets/targets.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define WAIT_MS 5000

typedef struct Fixture {
    char *folder, *inventory;
    Targets *targets;
    GString *told; /* one word for each callback */
    ino_t inode;   /* of the namespace that appeared last */
} Fixture;

static void on_appeared(const Entity *pod, int netns_fd, uint64_t since_ns, void *userdata)
{
    Fixture *fixture = userdata;
    struct stat status;
    g_assert_cmpint(fstat(netns_fd, &status), ==, 0);
    fixture->inode = status.st_ino;
    g_string_append_printf(fixture->told, "appeared:%s%s ", pod->name,
                           since_ns == TARGETS_AT_ONCE ? ""
                           : since_ns == 0             ? ":late"
                                                       : ":since");
}

static void on_vanished(const char *uid, void *userdata)
{
    g_string_append_printf(((Fixture *)userdata)->told, "vanished:%s ", uid);
}

static void on_failed(const Entity *pod, const char *reason, void *userdata)
{
    g_assert_nonnull(reason);
    g_string_append_printf(((Fixture *)userdata)->told, "failed:%s ", pod->name);
}

static void on_identity(const Entity *entity, uint64_t deleted_ns, void *userdata)
{
    g_string_append_printf(((Fixture *)userdata)->told, "%s:%s ",
                           deleted_ns ? "deleted" : "identity", entity->name);
}

static void on_synced(void *userdata)
{
    g_string_append(((Fixture *)userdata)->told, "synced ");
}

static void on_problem(const char *subject, const char *message, void *userdata)
{
    g_string_append(((Fixture *)userdata)->told, message ? "problem " : "well ");
}

static const TargetsCallbacks callbacks = {
    .appeared = on_appeared,
    .vanished = on_vanished,
    .failed = on_failed,
    .identity = on_identity,
    .synced = on_synced,
    .problem = on_problem,
};

/* Dispatches until `expected` was told last; the order matters. Forgets it then. */
static void expect(Fixture *fixture, const char *expected)
{
    gint64 end = g_get_monotonic_time() + WAIT_MS * 1000;
    while (!strstr(fixture->told->str, expected) && g_get_monotonic_time() < end) {
        struct pollfd fd = {.fd = fixture->targets->ops->fd(fixture->targets), .events = POLLIN};
        if (poll(&fd, 1, WAIT_MS) == 1) {
            fixture->targets->ops->dispatch(fixture->targets);
        }
    }
    g_assert_cmpstr(fixture->told->str, ==, expected);
    g_string_truncate(fixture->told, 0);
}

static char *pod_json(const char *name, const char *label, const char *netns)
{
    g_autofree char *annotation =
        netns ? g_strdup_printf("\"annotations\":{\"remora.dev/netns\":\"%s\"},", netns)
              : g_strdup("");
    return g_strdup_printf(
        "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"%s\",\"namespace\":"
        "\"shop\","
        "%s\"uid\":\"%s\",\"labels\":{\"l\":\"%s\"}},\"spec\":{\"nodeName\":\"n1\"},"
        "\"status\":{\"phase\":\"Running\",\"podIPs\":[{\"ip\":\"10.0.0.1\"}]}}",
        name, annotation, name, label);
}

static char *list_json(const char *items)
{
    return g_strdup_printf("{\"kind\":\"List\",\"apiVersion\":\"v1\",\"items\":[%s]}", items);
}

static void write_in_place(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    g_assert_nonnull(file);
    /* In two parts: nothing must be read in between. */
    size_t half = strlen(text) / 2;
    g_assert_cmpuint(fwrite(text, 1, half, file), ==, half);
    g_assert_cmpint(fflush(file), ==, 0);
    g_assert_cmpuint(fwrite(text + half, 1, strlen(text) - half, file), ==, strlen(text) - half);
    g_assert_cmpint(fclose(file), ==, 0);
}

/* Writes the inventory with these pods; `replace`: by rename. */
static void write_items(const Fixture *fixture, bool replace, const char *items)
{
    g_autofree char *json = list_json(items);
    if (replace) {
        g_autofree char *other = g_strconcat(fixture->inventory, ".new", NULL);
        write_in_place(other, json);
        g_assert_cmpint(rename(other, fixture->inventory), ==, 0);
    } else {
        write_in_place(fixture->inventory, json);
    }
}

static void start(Fixture *fixture)
{
    g_autoptr(GError) error = NULL;
    fixture->targets = targets_static_new(fixture->inventory, "n1", &callbacks, fixture, &error);
    g_assert_no_error(error);
}

static void set_up(Fixture *fixture, const void *data)
{
    fixture->folder = g_dir_make_tmp("remora-static-XXXXXX", NULL);
    g_assert_nonnull(fixture->folder);
    fixture->inventory = g_build_filename(fixture->folder, "inventory.json", NULL);
    fixture->told = g_string_new(NULL);
}

static void tear_down(Fixture *fixture, const void *data)
{
    if (fixture->targets) {
        fixture->targets->ops->free(fixture->targets);
    }
    g_autofree char *command = g_strdup_printf("rm -rf '%s'", fixture->folder);
    g_assert_cmpint(system(command), ==, 0);
    g_free(fixture->folder);
    g_free(fixture->inventory);
    g_string_free(fixture->told, TRUE);
}

static void test_missing(Fixture *fixture, const void *data)
{
    g_autoptr(GError) error = NULL;
    g_assert_null(targets_static_new(fixture->inventory, "n1", &callbacks, fixture, &error));
    g_assert_nonnull(error);
    g_assert_nonnull(strstr(error->message, fixture->inventory));
}

/* A pipe without a writer: nothing may wait for it. */
static void test_pipe(Fixture *fixture, const void *data)
{
    g_autoptr(GError) error = NULL;
    g_assert_cmpint(mkfifo(fixture->inventory, 0600), ==, 0);
    g_assert_null(targets_static_new(fixture->inventory, "n1", &callbacks, fixture, &error));
    g_assert_nonnull(error);
    g_assert_nonnull(strstr(error->message, "is a pipe"));

    g_autofree char *pod = pod_json("a", "1", NULL);
    write_items(fixture, true, pod);
    start(fixture);
    expect(fixture, "identity:a failed:a synced ");
    g_autofree char *other = g_strconcat(fixture->inventory, ".new", NULL);
    g_assert_cmpint(mkfifo(other, 0600), ==, 0);
    g_assert_cmpint(rename(other, fixture->inventory), ==, 0);
    expect(fixture, "problem ");
    write_items(fixture, true, pod);
    expect(fixture, "well ");
}

static void test_file(Fixture *fixture, const void *data)
{
    g_autofree char *a = pod_json("a", "1", NULL);
    g_autofree char *a2 = pod_json("a", "2", NULL);
    g_autofree char *b = pod_json("b", "1", NULL);
    g_autofree char *both = g_strjoin(",", a2, b, NULL);
    write_items(fixture, false, a);
    start(fixture);
    expect(fixture, "identity:a failed:a synced ");

    write_items(fixture, true, both); /* a changed, b is new */
    expect(fixture, "identity:a identity:b failed:b ");
    write_items(fixture, false, both); /* nothing changed */
    write_items(fixture, false, b);
    expect(fixture, "vanished:a deleted:a ");

    write_in_place(fixture->inventory, "{\"kind\":\"List\",\"items\":[");
    expect(fixture, "problem ");
    write_items(fixture, true, b); /* the old state stayed: b is not told again */
    expect(fixture, "well ");
    g_assert_cmpint(g_unlink(fixture->inventory), ==, 0);
    expect(fixture, "problem ");
    write_items(fixture, false, both);
    expect(fixture, "identity:a well failed:a ");
}

/* The thread that dispatches also captures: it is given back between slices, and all is told before
 * synced. */
static void test_slices(Fixture *fixture, const void *data)
{
    enum { PODS = 1000 };
    g_autoptr(GString) items = g_string_new(NULL);
    for (int i = 0; i < PODS; i++) {
        g_autofree char *name = g_strdup_printf("p%d", i);
        g_autofree char *pod = pod_json(name, "1", NULL);
        g_string_append_printf(items, "%s%s", i ? "," : "", pod);
    }
    write_items(fixture, false, items->str);
    start(fixture);
    unsigned dispatches = 0;
    for (; !strstr(fixture->told->str, "synced "); dispatches++) {
        struct pollfd fd = {.fd = fixture->targets->ops->fd(fixture->targets), .events = POLLIN};
        g_assert_cmpint(poll(&fd, 1, WAIT_MS), ==, 1);
        fixture->targets->ops->dispatch(fixture->targets);
    }
    g_assert_cmpuint(dispatches, >, 1);
    g_assert_true(g_str_has_suffix(fixture->told->str, "synced "));
    for (int i = 0; i < PODS; i++) {
        g_autofree char *once = g_strdup_printf("identity:p%d ", i);
        const char *found = strstr(fixture->told->str, once);
        g_assert_nonnull(found);
        g_assert_null(strstr(found + 1, once));
    }
}

/* Pods of other nodes are none of ours, and a file without a pod of this node is worth a word. */
static void test_other_node(Fixture *fixture, const void *data)
{
    g_autofree char *a = pod_json("a", "1", NULL);
    char *node = strstr(a, "\"n1\"");
    node[2] = '2';
    write_items(fixture, false, a);
    start(fixture);
    expect(fixture, "problem synced ");
}

/* ---- Namespaces ------------------------------------------------------------------------------*/

/* As "ip netns add" does it: an empty file, then a mount. */
static void make_netns(const char *path)
{
    int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    g_assert_cmpint(own, >=, 0);
    g_assert_true(g_file_set_contents(path, "", 0, NULL));
    g_assert_cmpint(unshare(CLONE_NEWNET), ==, 0);
    g_assert_cmpint(mount("/proc/self/ns/net", path, NULL, MS_BIND, NULL), ==, 0);
    g_assert_cmpint(setns(own, CLONE_NEWNET), ==, 0);
    close(own);
}

static void remove_netns(const char *path)
{
    g_assert_cmpint(umount2(path, MNT_DETACH), ==, 0);
    g_assert_cmpint(unlink(path), ==, 0);
}

/* A mount namespace of our own, so that nothing is left behind. */
static bool own_mounts(void)
{
    static bool done;
    if (!done) {
        done =
            unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
    }
    return done;
}

static void test_netns(Fixture *fixture, const void *data)
{
    if (!own_mounts()) {
        g_test_skip("no right to make namespaces: run as root");
        return;
    }
    g_autofree char *folder = g_build_filename(fixture->folder, "netns", NULL);
    g_autofree char *path = g_build_filename(folder, "a", NULL);
    g_autofree char *a = pod_json("a", "1", path);
    g_autofree char *other = pod_json("a", "1", NULL);
    write_items(fixture, false, a);
    start(fixture);
    expect(fixture, "identity:a failed:a synced ");

    /* Not even the folder exists yet. */
    g_assert_cmpint(g_mkdir(folder, 0700), ==, 0);
    make_netns(path);
    expect(fixture, "appeared:a ");
    remove_netns(path);
    expect(fixture, "vanished:a failed:a ");
    make_netns(path);
    expect(fixture, "appeared:a ");

    ino_t inode = fixture->inode;
    remove_netns(path);
    make_netns(path); /* between two looks */
    expect(fixture, "vanished:a appeared:a ");
    g_assert_cmpuint(fixture->inode, !=, inode);

    write_items(fixture, false, other); /* the annotation is gone */
    expect(fixture, "vanished:a failed:a ");
    /* The namespace was there, and nobody looked. */
    write_items(fixture, false, a);
    expect(fixture, "vanished:a appeared:a:late ");
    remove_netns(path);
}

/* A file that is no namespace, at first. */
static void test_not_a_netns(Fixture *fixture, const void *data)
{
    if (!own_mounts()) {
        g_test_skip("no right to make namespaces: run as root");
        return;
    }
    g_autofree char *path = g_build_filename(fixture->folder, "a", NULL);
    g_autofree char *a = pod_json("a", "1", path);
    g_assert_cmpint(mkfifo(path, 0600), ==, 0);
    write_items(fixture, false, a);
    start(fixture);
    expect(fixture, "identity:a failed:a synced ");
    g_assert_cmpint(unlink(path), ==, 0);
    make_netns(path);
    /* There may be nothing at the path for a moment, which is another reason. */
    while (!strstr(fixture->told->str, "appeared:a ")) {
        struct pollfd fd = {.fd = fixture->targets->ops->fd(fixture->targets), .events = POLLIN};
        g_assert_cmpint(poll(&fd, 1, WAIT_MS), ==, 1);
        fixture->targets->ops->dispatch(fixture->targets);
    }
    remove_netns(path);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define TEST(path, function) g_test_add(path, Fixture, NULL, set_up, function, tear_down)
    TEST("/static/missing", test_missing);
    TEST("/static/pipe", test_pipe);
    TEST("/static/file", test_file);
    TEST("/static/slices", test_slices);
    TEST("/static/other-node", test_other_node);
    TEST("/static/netns", test_netns);
    TEST("/static/not-a-netns", test_not_a_netns);
    return g_test_run();
}

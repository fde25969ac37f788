// SPDX-License-Identifier: GPL-2.0-or-later
/* What the kernel tells of sockets, made readable; with names that nobody meant to be read. */
#include "node-capture/targets/socket-news.h"

#include <glib.h>
#include <string.h>

#define OFFSET 1700000000000000000u

static struct sockets_event event_of(const char *name)
{
    struct sockets_event event = {
        .kind = SOCKETS_OWNED,
        .time_ns = 9000000000u,
        .owner = {.from_ns = 5000000000u,
                  .pid = 4242,
                  .netns = 4026532000u,
                  .local_port = 40000,
                  .remote_port = 80,
                  .protocol = 6,
                  .local = {10, 0, 0, 1},
                  .remote = {10, 0, 0, 2}},
    };
    memcpy(event.owner.name, name, MIN(strlen(name), sizeof(event.owner.name)));
    return event;
}

static SocketNews read_event(const struct sockets_event *event)
{
    SocketNews news;
    g_assert_true(socket_news_from_event(event, sizeof(*event), OFFSET, &news));
    return news;
}

static void test_connection(void)
{
    struct sockets_event event = event_of("curl");
    SocketNews news = read_event(&event);
    g_assert_false(news.ended);
    g_assert_cmpuint(news.netns_inode, ==, 4026532000u);
    g_assert_cmpint(news.pid, ==, 4242);
    g_assert_cmpstr(news.process, ==, "curl");
    g_assert_cmpmem(news.local, news.local_length, ((uint8_t[]){10, 0, 0, 1}), 4);
    g_assert_cmpmem(news.remote, news.remote_length, ((uint8_t[]){10, 0, 0, 2}), 4);
    g_assert_cmpuint(news.local_port, ==, 40000);
    g_assert_cmpuint(news.remote_port, ==, 80);
    /* Never later than the connection's first packet, as the clocks may differ by some. */
    g_assert_cmpuint(news.from_ns, <, OFFSET + 5000000000u);
    g_assert_cmpuint(news.from_ns, >, OFFSET + 5000000000u - 1000000u);
    g_assert_cmpuint(news.to_ns, ==, 0);

    event.kind = SOCKETS_ENDED;
    SocketNews end = read_event(&event);
    g_assert_true(end.ended);
    g_assert_cmpuint(end.to_ns, ==, OFFSET + 9000000000u);
    g_assert_cmpuint(end.from_ns, ==, news.from_ns); /* so that it is found again */
}

/* The handshake's packets came before the socket was there. */
static void test_accepted(void)
{
    struct sockets_event event = event_of("nginx");
    event.owner.flags = SOCKETS_PASSIVE;
    g_assert_cmpuint(read_event(&event).from_ns, ==, OFFSET + 4000000000u);
    event.owner.from_ns = 0; /* was there before us */
    g_assert_cmpuint(read_event(&event).from_ns, ==, 0);
}

static void test_addresses(void)
{
    struct sockets_event event = event_of("a");
    memset(event.owner.local, 0, 16); /* [::], which takes both families */
    event.owner.is_v6 = 1;
    event.owner.remote_port = 0;
    SocketNews news = read_event(&event);
    g_assert_cmpuint(news.local_length, ==, 0);
    g_assert_cmpuint(news.remote_length, ==, 0);

    static const uint8_t mapped[16] = {[10] = 0xff, [11] = 0xff, [12] = 10, [15] = 7};
    memcpy(event.owner.local, mapped, 16);
    memcpy(event.owner.remote, mapped, 16);
    event.owner.remote_port = 53;
    news = read_event(&event);
    g_assert_cmpmem(news.local, news.local_length, mapped + 12, 4);
    g_assert_cmpmem(news.remote, news.remote_length, mapped + 12, 4);

    static const uint8_t six[16] = {0xfd, [15] = 1};
    memcpy(event.owner.local, six, 16);
    news = read_event(&event);
    g_assert_cmpmem(news.local, news.local_length, six, 16);

    /* ::ffff:0.0.0.0 is any address of IPv4. */
    static const uint8_t any[16] = {[10] = 0xff, [11] = 0xff};
    memcpy(event.owner.local, any, 16);
    g_assert_cmpuint(read_event(&event).local_length, ==, 0);
}

static void test_hostile_names(void)
{
    static const struct {
        const char *told, *shown;
    } names[] = {
        {"\xff\xfe"
         "a",
         "??a"},
        {"a\nb\tc\x1b[0m\x7f", "a?b?c?[0m?"},
        {"caf\xc3\xa9", "caf\xc3\xa9"},
        {"0123456789abcd\xc3\xa9", "0123456789abcd\xc3\xa9"},
        {"0123456789abcde\xc3\xa9", "0123456789abcde?"}, /* cut within a character */
        {"\xed\xa0\x80", "???"},                         /* a surrogate */
        {"\xc0\x80", "??"},                              /* NUL, overlong */
        {"", ""},
        {"0123456789abcdef", "0123456789abcdef"}, /* without a NUL */
    };
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        struct sockets_event event = event_of(names[i].told);
        SocketNews news = read_event(&event);
        g_assert_cmpstr(news.process, ==, names[i].shown);
        g_assert_true(g_utf8_validate(news.process, -1, NULL));
    }
}

static void test_no_event(void)
{
    struct sockets_event event = event_of("a");
    SocketNews news;
    g_assert_false(socket_news_from_event(&event, sizeof(event) - 1, 0, &news));
    event.kind = 77;
    g_assert_false(socket_news_from_event(&event, sizeof(event), 0, &news));
    event.kind = SOCKETS_GROUP;
    g_assert_false(socket_news_from_event(&event, sizeof(event), 0, &news));
}

#define UID "0a1b2c3d-0000-4000-8000-00000000cafe"
#define ID  "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void assert_group(const char *const *names, const char *uid, const char *id)
{
    struct sockets_group group = {.kind = SOCKETS_GROUP};
    for (size_t i = 0; names[i]; i++) {
        g_strlcpy(group.names[i], names[i], SOCKETS_GROUP_NAME);
    }
    CgroupPod pod;
    memset(&pod, 0xee, sizeof(pod));
    socket_news_group(&group, &pod);
    g_assert_cmpstr(pod.uid, ==, uid);
    g_assert_cmpstr(pod.container, ==, id);
}

static void test_groups(void)
{
    assert_group((const char *const[]){ID, "pod" UID, "burstable", "kubepods", "", NULL}, UID, ID);
    assert_group((const char *const[]){"inner", ID, "pod" UID, "kubepods", NULL}, UID, ID);
    assert_group((const char *const[]){"cri-containerd-" ID ".scope",
                                       "kubepods-pod0a1b2c3d_0000_4000_8000_00000000cafe.slice",
                                       "kubepods.slice", "", NULL},
                 UID, ID);
    assert_group((const char *const[]){"session-1.scope", "user.slice", "/", NULL}, "", "");
    assert_group((const char *const[]){NULL}, "", "");
}

/* Names as long as there is room, none of them ended. */
static void test_full_group(void)
{
    struct sockets_group group = {.kind = SOCKETS_GROUP};
    memset(group.names, 'a', sizeof(group.names));
    CgroupPod pod;
    socket_news_group(&group, &pod);
    g_assert_cmpstr(pod.uid, ==, "");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/socket-news/connection", test_connection);
    g_test_add_func("/socket-news/accepted", test_accepted);
    g_test_add_func("/socket-news/addresses", test_addresses);
    g_test_add_func("/socket-news/hostile-names", test_hostile_names);
    g_test_add_func("/socket-news/no-event", test_no_event);
    g_test_add_func("/socket-news/groups", test_groups);
    g_test_add_func("/socket-news/full-group", test_full_group);
    return g_test_run();
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* The table of rewritten connections, and the following of a source that loses events. */
#include "node-capture/connections/conntrack.h"

#include <arpa/inet.h>
#include <errno.h>
#include <glib.h>
#include <libnetfilter_conntrack/libnetfilter_conntrack.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "node-capture/connections/conntrack-table.h"

#define NOW 1000u

static ConntrackEntry entry(uint16_t client_port, uint16_t server_port, uint32_t id, bool ended)
{
    ConntrackEntry ret = {.id = id, .ended = ended};
    ip_address_from_text(&ret.tuple.client.address, "10.0.0.1");
    ip_address_from_text(&ret.tuple.service.address, "10.96.0.1");
    ip_address_from_text(&ret.server.address, "10.0.0.2");
    ret.tuple.client.port = client_port;
    ret.tuple.service.port = 80;
    ret.tuple.protocol = 6;
    ret.server.port = server_port;
    ret.masked_client = ret.tuple.client;
    return ret;
}

static void append(const ConntrackEntry *told, uint64_t from_ns, uint64_t to_ns, void *text)
{
    g_string_append_printf(text, "%u>%u %" G_GUINT64_FORMAT "-%" G_GUINT64_FORMAT "; ",
                           told->tuple.client.port, told->server.port, from_ns, to_ns);
}

static bool all(const ConntrackEntry *entry, void *unused)
{
    return true;
}

static void told(GString *text, const char *expected)
{
    g_assert_cmpstr(text->str, ==, expected);
    g_string_truncate(text, 0);
}

static void event(ConntrackTable *table, ConntrackEntry what, uint64_t now_ns)
{
    conntrack_table_event(table, &what, now_ns);
}

static void dumped(ConntrackTable *table, ConntrackEntry what)
{
    conntrack_table_dumped(table, &what);
}

static void test_events(void)
{
    g_autoptr(GString) text = g_string_new(NULL);
    ConntrackTable *table = conntrack_table_new(0, append, all, text);
    event(table, entry(1, 8080, 7, false), NOW);
    event(table, entry(1, 8080, 7, false), NOW + 1); /* told twice */
    told(text, "1>8080 1000-0; ");
    event(table, entry(1, 8080, 6, true), NOW + 2); /* an older one of the same ports */
    event(table, entry(2, 8080, 8, true), NOW + 2); /* never heard of */
    told(text, "");
    event(table, entry(1, 8080, 7, true), NOW + 3);
    told(text, "1>8080 1000-1003; ");
    event(table, entry(1, 8080, 9, false), NOW + 4);
    event(table, entry(1, 8081, 10, false), NOW + 5); /* the end between was lost */
    told(text, "1>8080 1004-0; 1>8080 1004-1005; 1>8081 1005-0; ");
    g_assert_cmpuint(conntrack_table_count(table), ==, 1);
    g_assert_false(conntrack_table_wants_dump(table));
    conntrack_table_free(table);
}

static void test_dumps(void)
{
    g_autoptr(GString) text = g_string_new(NULL);
    ConntrackTable *table = conntrack_table_new(0, append, all, text);
    conntrack_table_dump_begin(table, 0);
    dumped(table, entry(1, 8080, 1, false));
    event(table, entry(2, 8080, 2, false), NOW); /* while the dump goes on */
    conntrack_table_dump_end(table, NOW + 1);
    told(text, "1>8080 0-0; 2>8080 1000-0; ");
    g_assert_true(conntrack_table_wants_dump(table));
    /* Events were lost since NOW + 2: one ended, one began. */
    conntrack_table_dump_begin(table, NOW + 2);
    dumped(table, entry(2, 8080, 2, false));
    dumped(table, entry(3, 8080, 3, false));
    conntrack_table_dump_end(table, NOW + 9);
    told(text, "3>8080 1002-0; 1>8080 0-1009; ");
    event(table, entry(3, 8080, 3, true), NOW + 10);
    told(text, "3>8080 1002-1010; ");
    g_assert_false(conntrack_table_wants_dump(table));
    conntrack_table_free(table);
}

static void test_limit(void)
{
    g_autoptr(GString) text = g_string_new(NULL);
    ConntrackTable *table = conntrack_table_new(2, append, all, text);
    for (uint16_t port = 1; port <= 4; port++) {
        event(table, entry(port, 8080, port, false), NOW);
    }
    told(text, "1>8080 1000-0; 2>8080 1000-0; ");
    g_assert_cmpuint(conntrack_table_left_out(table), ==, 2);
    event(table, entry(1, 8080, 1, true), NOW);
    event(table, entry(5, 8080, 5, false), NOW);
    told(text, "1>8080 1000-1000; 5>8080 1000-0; ");
    conntrack_table_free(table);
}

static uint16_t wanted_from; /* ports from there on are wanted */

static bool is_wanted(const ConntrackEntry *entry, void *unused)
{
    return entry->tuple.client.port >= wanted_from;
}

/* What is of no pod may be of one that is not known yet. */
static void test_aside(void)
{
    g_autoptr(GString) text = g_string_new(NULL);
    ConntrackTable *table = conntrack_table_new(8, append, is_wanted, text); /* two aside */
    wanted_from = 3;
    event(table, entry(1, 8080, 1, false), NOW);
    event(table, entry(2, 8080, 2, false), NOW + 1);
    event(table, entry(3, 8080, 3, false), NOW + 2);
    told(text, "3>8080 1002-0; ");
    g_assert_cmpuint(conntrack_table_count(table), ==, 1);
    wanted_from = 2; /* that pod is known now: since it began, not since it is known */
    g_assert_false(conntrack_table_look_again(table));
    told(text, "2>8080 1001-0; ");
    g_assert_false(conntrack_table_look_again(table));
    told(text, "");
    wanted_from = 3; /* what was told stays so */
    event(table, entry(2, 8080, 2, true), NOW + 9);
    event(table, entry(1, 8080, 1, true), NOW + 9);
    told(text, "2>8080 1001-1009; ");
    g_assert_cmpuint(conntrack_table_unwanted(table), ==, 1);
    wanted_from = 10;
    for (uint16_t port = 4; port <= 6; port++) {
        event(table, entry(port, 8080, port, false), NOW + 10);
    }
    told(text, "");
    g_assert_cmpuint(conntrack_table_unwanted(table), ==, 2);
    wanted_from = 4;
    g_assert_true(conntrack_table_look_again(table)); /* one found no room: a list is needed */
    told(text, "4>8080 1010-0; 5>8080 1010-0; ");
    conntrack_table_dump_begin(table, NOW);
    for (uint16_t port = 3; port <= 6; port++) {
        dumped(table, entry(port, 8080, port, false));
    }
    conntrack_table_dump_end(table, NOW + 20);
    told(text, "6>8080 1000-0; ");
    g_assert_false(conntrack_table_look_again(table));
    g_assert_cmpuint(conntrack_table_count(table), ==, 4);
    g_assert_cmpuint(conntrack_table_left_out(table), ==, 0);
    conntrack_table_free(table);
}

/* ---- A fake source ---------------------------------------------------------------------------*/

typedef struct Fake {
    ConntrackSource source;
    GMutex lock;
    GQueue datagrams; /* of GBytes *; NULL data: events were lost */
    int fd, open_error, dumps;
} Fake;

static int fake_open(ConntrackSource *source)
{
    return ((Fake *)source)->open_error;
}

static int fake_fd(const ConntrackSource *source)
{
    return ((const Fake *)source)->fd;
}

static int fake_request_dump(ConntrackSource *source)
{
    g_atomic_int_inc(&((Fake *)source)->dumps);
    return 0;
}

static ssize_t fake_receive(ConntrackSource *source, void *buffer, size_t size)
{
    Fake *fake = (Fake *)source;
    eventfd_t value;
    g_mutex_lock(&fake->lock);
    GBytes *bytes = g_queue_pop_head(&fake->datagrams);
    if (!bytes) {
        eventfd_read(fake->fd, &value);
    }
    g_mutex_unlock(&fake->lock);
    if (!bytes) {
        return -EAGAIN;
    }
    gsize length;
    const void *data = g_bytes_get_data(bytes, &length);
    g_assert_cmpuint(length, <=, size);
    if (length) {
        memcpy(buffer, data, length);
    }
    g_bytes_unref(bytes);
    return length ? (ssize_t)length : -ENOBUFS;
}

static void fake_free(ConntrackSource *source)
{
    Fake *fake = (Fake *)source;
    close(fake->fd);
    g_mutex_clear(&fake->lock);
    g_free(fake);
}

static Fake *fake_new(void)
{
    static const ConntrackSourceOps ops = {fake_open, fake_fd, fake_request_dump, fake_receive,
                                           fake_free};
    Fake *fake = g_new0(Fake, 1);
    fake->source.ops = &ops;
    fake->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    g_mutex_init(&fake->lock);
    g_queue_init(&fake->datagrams);
    return fake;
}

static void say(Fake *fake, const void *data, size_t length)
{
    g_mutex_lock(&fake->lock);
    g_queue_push_tail(&fake->datagrams, g_bytes_new(data, length));
    g_mutex_unlock(&fake->lock);
    eventfd_write(fake->fd, 1);
}

static void say_type(Fake *fake, uint16_t type)
{
    struct nlmsghdr message = {.nlmsg_len = sizeof(message), .nlmsg_type = type};
    say(fake, &message, sizeof(message));
}

static void set_end(struct nf_conntrack *ct, bool reply, uint32_t from, uint16_t from_port,
                    uint32_t to, uint16_t to_port)
{
    nfct_set_attr_u8(ct, reply ? ATTR_REPL_L3PROTO : ATTR_ORIG_L3PROTO, AF_INET);
    nfct_set_attr_u8(ct, reply ? ATTR_REPL_L4PROTO : ATTR_ORIG_L4PROTO, IPPROTO_TCP);
    nfct_set_attr_u32(ct, reply ? ATTR_REPL_IPV4_SRC : ATTR_ORIG_IPV4_SRC, htonl(from));
    nfct_set_attr_u32(ct, reply ? ATTR_REPL_IPV4_DST : ATTR_ORIG_IPV4_DST, htonl(to));
    nfct_set_attr_u16(ct, reply ? ATTR_REPL_PORT_SRC : ATTR_ORIG_PORT_SRC, htons(from_port));
    nfct_set_attr_u16(ct, reply ? ATTR_REPL_PORT_DST : ATTR_ORIG_PORT_DST, htons(to_port));
}

/* 10.0.0.1:port -> 10.96.0.1:80, answered by 10.0.0.2:8080 (or not rewritten at all). */
static size_t build(uint8_t out[2048], uint16_t port, unsigned type, uint16_t flags, bool rewritten)
{
    memset(out, 0, 2048);
    struct nlmsghdr *header = (struct nlmsghdr *)(void *)out;
    header->nlmsg_len = NLMSG_LENGTH(sizeof(struct nfgenmsg));
    header->nlmsg_type = (uint16_t)(NFNL_SUBSYS_CTNETLINK << 8 | type);
    header->nlmsg_flags = flags;
    struct nfgenmsg *message = NLMSG_DATA(header);
    message->nfgen_family = AF_INET;
    struct nf_conntrack *ct = nfct_new();
    uint32_t service = rewritten ? 0x0a600001 : 0x0a000002;
    set_end(ct, false, 0x0a000001, port, service, rewritten ? 80 : 8080);
    set_end(ct, true, 0x0a000002, 8080, 0x0a000001, port);
    nfct_set_attr_u32(ct, ATTR_ID, htonl(port));
    g_assert_cmpint(nfct_nlmsg_build(header, ct), ==, 0);
    nfct_destroy(ct);
    return header->nlmsg_len;
}

typedef struct Heard {
    GMutex lock;
    GCond changed;
    GString *text;
    int only_from; /* atomic; client ports from there on are wanted */
} Heard;

static void hear(const Remora__V1__Translation *t, void *userdata)
{
    Heard *heard = userdata;
    g_mutex_lock(&heard->lock);
    g_string_append_printf(heard->text, "%s%u>%u.%u:%u ", t->to_unix_ns ? "end " : "",
                           t->client_port, t->server.data[0], t->server.data[3], t->server_port);
    g_cond_signal(&heard->changed);
    g_mutex_unlock(&heard->lock);
}

static bool hear_wanted(const ConntrackEntry *entry, void *userdata)
{
    return entry->tuple.client.port >= g_atomic_int_get(&((Heard *)userdata)->only_from);
}

static void hear_problem(const char *subject, const char *message, void *userdata)
{
    Heard *heard = userdata;
    g_mutex_lock(&heard->lock);
    g_string_append_printf(heard->text, "%s; ", message ? message : "well");
    g_cond_signal(&heard->changed);
    g_mutex_unlock(&heard->lock);
}

static const ConntrackCallbacks callbacks = {hear, hear_wanted, hear_problem};

static void heard_is(Heard *heard, const char *expected)
{
    gint64 deadline_us = g_get_monotonic_time() + 10 * G_TIME_SPAN_SECOND;
    g_mutex_lock(&heard->lock);
    while (!strstr(heard->text->str, expected) &&
           g_cond_wait_until(&heard->changed, &heard->lock, deadline_us)) {
    }
    g_assert_cmpstr(heard->text->str, ==, expected);
    g_string_truncate(heard->text, 0);
    g_mutex_unlock(&heard->lock);
}

static void wait_for_dumps(Fake *fake, int dumps)
{
    while (g_atomic_int_get(&fake->dumps) < dumps) {
        g_usleep(1000);
    }
}

static void test_follow(void)
{
    Heard heard = {.text = g_string_new(NULL)};
    g_mutex_init(&heard.lock);
    g_cond_init(&heard.changed);
    Fake *fake = fake_new();
    Conntrack *conntrack = conntrack_new(&fake->source, &callbacks, &heard);
    wait_for_dumps(fake, 1);
    uint8_t message[2048];
    size_t length = build(message, 1, IPCTNL_MSG_CT_NEW, NLM_F_MULTI, true);
    say(fake, message, length);
    say_type(fake, NLMSG_DONE);
    length = build(message, 2, IPCTNL_MSG_CT_NEW, 0, false);
    say(fake, message, length); /* not rewritten */
    say(fake, "torn", 4);
    length = build(message, 3, IPCTNL_MSG_CT_NEW, 0, true);
    say(fake, message, length);
    heard_is(&heard, "1>10.2:8080 3>10.2:8080 ");
    /* Events are lost: a dump follows, and tells what was missed. */
    say(fake, "", 0);
    wait_for_dumps(fake, 2);
    length = build(message, 4, IPCTNL_MSG_CT_NEW, NLM_F_MULTI, true);
    say(fake, message, length);
    length = build(message, 3, IPCTNL_MSG_CT_NEW, NLM_F_MULTI, true);
    say(fake, message, length);
    say_type(fake, NLMSG_DONE);
    heard_is(&heard, "4>10.2:8080 end 1>10.2:8080 ");
    length = build(message, 3, IPCTNL_MSG_CT_DELETE, 0, true);
    say(fake, message, length);
    heard_is(&heard, "end 3>10.2:8080 ");
    ConntrackCounters counters;
    conntrack_counters(conntrack, &counters);
    g_assert_cmpuint(counters.overruns, ==, 1);
    g_assert_cmpuint(counters.events, ==, 5);
    g_assert_cmpuint(counters.invalid, ==, 1); /* the torn one */
    g_assert_cmpuint(counters.unwanted, ==, 0);
    conntrack_free(conntrack);
    g_string_free(heard.text, TRUE);
}

/* A connection comes before its pod is known. */
static void test_look_again(void)
{
    Heard heard = {.text = g_string_new(NULL), .only_from = 2};
    g_mutex_init(&heard.lock);
    g_cond_init(&heard.changed);
    Fake *fake = fake_new();
    Conntrack *conntrack = conntrack_new(&fake->source, &callbacks, &heard);
    uint8_t message[2048];
    for (uint16_t port = 1; port <= 2; port++) {
        size_t length = build(message, port, IPCTNL_MSG_CT_NEW, 0, true);
        say(fake, message, length);
    }
    heard_is(&heard, "2>10.2:8080 ");
    g_atomic_int_set(&heard.only_from, 1);
    conntrack_look_again(conntrack);
    heard_is(&heard, "1>10.2:8080 ");
    conntrack_free(conntrack);
    g_string_free(heard.text, TRUE);
}

static void test_no_permission(void)
{
    Heard heard = {.text = g_string_new(NULL)};
    Fake *fake = fake_new();
    fake->open_error = -EPERM;
    Conntrack *conntrack = conntrack_new(&fake->source, &callbacks, &heard);
    heard_is(&heard, "cannot be followed: Operation not permitted (CAP_NET_ADMIN is missing); "
                     "until then services are joined with their pods by guess; ");
    conntrack_free(conntrack);
    g_string_free(heard.text, TRUE);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/conntrack/events", test_events);
    g_test_add_func("/conntrack/dumps", test_dumps);
    g_test_add_func("/conntrack/limit", test_limit);
    g_test_add_func("/conntrack/aside", test_aside);
    g_test_add_func("/conntrack/follow", test_follow);
    g_test_add_func("/conntrack/look-again", test_look_again);
    g_test_add_func("/conntrack/no-permission", test_no_permission);
    return g_test_run();
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/connections/conntrack.h"

#include <errno.h>
#include <glib.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/clock.h"
#include "node-capture/connections/conntrack-table.h"

#define SUBJECT      "connections (conntrack)"
#define BUFFER_BYTES 65536
#define DUMP_NS      60000000000u /* while there are connections whose end may not be told */
#define RETRY_NS     1000000000u  /* after a dump that failed, or events that were lost */

struct Conntrack {
    ConntrackSource *source;
    const ConntrackCallbacks *callbacks;
    void *userdata;
    ConntrackTable *table;
    int wake_fd;
    int stopping, look_again; /* atomic */
    GThread *thread;
    bool dumping, dump_wanted, in_trouble;
    uint64_t dump_at_ns;  /* monotonic: not before then */
    uint64_t complete_ns; /* since the epoch: up to here nothing was missed; 0: never */
    GMutex lock;
    ConntrackCounters counters;
};

static void count(Conntrack *conntrack, uint64_t *counter)
{
    g_mutex_lock(&conntrack->lock);
    (*counter)++;
    conntrack->counters.left_out = conntrack_table_left_out(conntrack->table);
    conntrack->counters.unwanted = conntrack_table_unwanted(conntrack->table);
    g_mutex_unlock(&conntrack->lock);
}

/* ---- What is found ---------------------------------------------------------------------------*/

/* In the form that the protocol has: 4 or 16 bytes. */
static ProtobufCBinaryData address_bytes(const IpAddress *address)
{
    static const uint8_t v4[12] = {[10] = 0xff, [11] = 0xff};
    uint8_t *bytes = (uint8_t *)(uintptr_t)address->bytes;
    bool is_v4 = memcmp(bytes, v4, sizeof(v4)) == 0;
    return is_v4 ? (ProtobufCBinaryData){4, bytes + 12} : (ProtobufCBinaryData){16, bytes};
}

static void tell(const ConntrackEntry *entry, uint64_t from_ns, uint64_t to_ns, void *userdata)
{
    Conntrack *conntrack = userdata;
    Remora__V1__Translation message = REMORA__V1__TRANSLATION__INIT;
    message.protocol = entry->tuple.protocol;
    message.client = address_bytes(&entry->tuple.client.address);
    message.client_port = entry->tuple.client.port;
    message.service = address_bytes(&entry->tuple.service.address);
    message.service_port = entry->tuple.service.port;
    message.server = address_bytes(&entry->server.address);
    message.server_port = entry->server.port;
    message.masked_client = address_bytes(&entry->masked_client.address);
    message.masked_client_port = entry->masked_client.port;
    message.from_unix_ns = from_ns;
    message.to_unix_ns = to_ns;
    conntrack->callbacks->translation(&message, conntrack->userdata);
}

static bool is_wanted(const ConntrackEntry *entry, void *userdata)
{
    const Conntrack *conntrack = userdata;
    return conntrack->callbacks->wanted(entry, conntrack->userdata);
}

static void tell_trouble(Conntrack *conntrack, const char *what, int error)
{
    const char *missing = error == -EPERM ? " (CAP_NET_ADMIN is missing)"
                          : error == -EACCES
                              ? " (CAP_SYS_PTRACE and hostPID: true are needed, or --host-netns)"
                              : "";
    g_autofree char *message =
        g_strdup_printf("%s: %s%s; until then services are joined with their pods by guess", what,
                        g_strerror(-error), missing);
    conntrack->in_trouble = true;
    conntrack->callbacks->problem(SUBJECT, message, conntrack->userdata);
}

static void tell_well(Conntrack *conntrack)
{
    if (conntrack->in_trouble) {
        conntrack->in_trouble = false;
        conntrack->callbacks->problem(SUBJECT, NULL, conntrack->userdata);
    }
}

/* ---- Dumps -----------------------------------------------------------------------------------*/

static void want_dump(Conntrack *conntrack, uint64_t in_ns)
{
    conntrack->dump_wanted = true;
    conntrack->dump_at_ns = clock_monotonic_ns() + in_ns;
}

static void dump_if_due(Conntrack *conntrack)
{
    if (!conntrack->dump_wanted || conntrack->dumping ||
        clock_monotonic_ns() < conntrack->dump_at_ns) {
        return;
    }
    conntrack->dump_wanted = false;
    int error = conntrack->source->ops->request_dump(conntrack->source);
    if (error) {
        tell_trouble(conntrack, "cannot be listed", error);
        want_dump(conntrack, RETRY_NS);
        return;
    }
    conntrack->dumping = true;
    conntrack_table_dump_begin(conntrack->table, conntrack->complete_ns);
}

static void on_dump_end(Conntrack *conntrack)
{
    conntrack->dumping = false;
    conntrack_table_dump_end(conntrack->table, clock_unix_ns());
    tell_well(conntrack);
    if (!conntrack->dump_wanted && conntrack_table_wants_dump(conntrack->table)) {
        want_dump(conntrack, DUMP_NS);
    }
}

/* The kernel refuses a dump. */
static void on_dump_error(Conntrack *conntrack, int error)
{
    conntrack->dumping = false;
    tell_trouble(conntrack, "cannot be listed", error);
    want_dump(conntrack, DUMP_NS);
}

/* ---- Messages --------------------------------------------------------------------------------*/

static void on_message(Conntrack *conntrack, const struct nlmsghdr *message, size_t length)
{
    if (message->nlmsg_type == NLMSG_DONE) {
        if (conntrack->dumping) {
            on_dump_end(conntrack);
        }
        return;
    }
    if (message->nlmsg_type == NLMSG_ERROR) {
        const struct nlmsgerr *error = NLMSG_DATA(message);
        if (message->nlmsg_len >= NLMSG_LENGTH(sizeof(error->error)) && error->error < 0) {
            on_dump_error(conntrack, error->error);
        }
        return;
    }
    ConntrackEntry entry;
    int r = conntrack_message_read(message, length, &entry);
    if (r <= 0) {
        if (r < 0) {
            count(conntrack, &conntrack->counters.invalid);
        }
        return;
    }
    count(conntrack, &conntrack->counters.events);
    if (message->nlmsg_flags & NLM_F_MULTI) {
        conntrack_table_dumped(conntrack->table, &entry);
    } else {
        conntrack_table_event(conntrack->table, &entry, clock_unix_ns());
    }
}

static void on_datagram(Conntrack *conntrack, const uint8_t *bytes, size_t length)
{
    while (length > 0) {
        const struct nlmsghdr *message = (const struct nlmsghdr *)(const void *)bytes;
        if (length < NLMSG_HDRLEN || message->nlmsg_len < NLMSG_HDRLEN ||
            message->nlmsg_len > length) {
            count(conntrack, &conntrack->counters.invalid);
            return;
        }
        size_t step = NLMSG_ALIGN((size_t)message->nlmsg_len);
        on_message(conntrack, message, length);
        bytes += MIN(step, length);
        length -= MIN(step, length);
    }
}

/* Returns 0, or -errno if it makes no sense to go on. */
static int read_all(Conntrack *conntrack)
{
    _Alignas(struct nlmsghdr) uint8_t buffer[BUFFER_BYTES];
    uint64_t now_ns = clock_unix_ns();
    for (;;) {
        ssize_t length = conntrack->source->ops->receive(conntrack->source, buffer, sizeof(buffer));
        if (length >= 0) {
            on_datagram(conntrack, buffer, (size_t)length);
        } else if (length == -EAGAIN) {
            if (!conntrack->dump_wanted && !conntrack->dumping) {
                conntrack->complete_ns = now_ns;
            }
            return 0;
        } else if (length == -ENOBUFS) {
            count(conntrack, &conntrack->counters.overruns);
            conntrack->dumping = false; /* part of it may be lost as well */
            want_dump(conntrack, RETRY_NS / 10);
        } else if (length != -EINTR) {
            return (int)length;
        }
    }
}

/* ---- The thread ------------------------------------------------------------------------------*/

static int wait_ms(const Conntrack *conntrack)
{
    if (!conntrack->dump_wanted || conntrack->dumping) {
        return -1;
    }
    uint64_t now_ns = clock_monotonic_ns();
    return now_ns >= conntrack->dump_at_ns ? 0
                                           : (int)((conntrack->dump_at_ns - now_ns) / 1000000u + 1);
}

static void look_again_if_asked(Conntrack *conntrack)
{
    if (!g_atomic_int_compare_and_exchange(&conntrack->look_again, 1, 0)) {
        return;
    }
    /* What found no room aside is in the kernel's table still. */
    if (conntrack_table_look_again(conntrack->table) && !conntrack->dump_wanted) {
        want_dump(conntrack, RETRY_NS);
    }
}

static void follow(Conntrack *conntrack)
{
    struct pollfd fds[2] = {
        {.fd = conntrack->wake_fd, .events = POLLIN},
        {.fd = conntrack->source->ops->fd(conntrack->source), .events = POLLIN}};
    int error = 0;
    want_dump(conntrack, 0);
    while (!error) {
        look_again_if_asked(conntrack);
        dump_if_due(conntrack);
        if (poll(fds, 2, wait_ms(conntrack)) < 0 && errno != EINTR) {
            error = -errno;
        }
        eventfd_t value;
        if (fds[0].revents) {
            eventfd_read(conntrack->wake_fd, &value);
        }
        if (g_atomic_int_get(&conntrack->stopping)) {
            return;
        }
        if (!error && fds[1].revents) {
            error = read_all(conntrack);
        }
    }
    tell_trouble(conntrack, "can no longer be followed", error);
}

static void *conntrack_thread(void *data)
{
    Conntrack *conntrack = data;
    int error = conntrack->source->ops->open(conntrack->source);
    if (error) {
        tell_trouble(conntrack, "cannot be followed", error);
    } else {
        follow(conntrack);
    }
    return NULL;
}

Conntrack *conntrack_new(ConntrackSource *source, const ConntrackCallbacks *callbacks,
                         void *userdata)
{
    Conntrack *conntrack = g_new0(Conntrack, 1);
    conntrack->source = source;
    conntrack->callbacks = callbacks;
    conntrack->userdata = userdata;
    conntrack->table = conntrack_table_new(0, tell, is_wanted, conntrack);
    conntrack->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    g_mutex_init(&conntrack->lock);
    conntrack->thread = g_thread_new("conntrack", conntrack_thread, conntrack);
    return conntrack;
}

Conntrack *conntrack_free(Conntrack *conntrack)
{
    if (conntrack) {
        g_atomic_int_set(&conntrack->stopping, 1);
        eventfd_write(conntrack->wake_fd, 1);
        g_thread_join(conntrack->thread);
        close(conntrack->wake_fd);
        conntrack_table_free(conntrack->table);
        conntrack->source->ops->free(conntrack->source);
        g_mutex_clear(&conntrack->lock);
        g_free(conntrack);
    }
    return NULL;
}

void conntrack_look_again(Conntrack *conntrack)
{
    g_atomic_int_set(&conntrack->look_again, 1);
    eventfd_write(conntrack->wake_fd, 1);
}

void conntrack_counters(Conntrack *conntrack, ConntrackCounters *ret)
{
    g_mutex_lock(&conntrack->lock);
    *ret = conntrack->counters;
    g_mutex_unlock(&conntrack->lock);
}

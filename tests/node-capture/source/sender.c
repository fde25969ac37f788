// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/node-capture/source/sender.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define NUMBER_OFFSET 14u
#define FILL_OFFSET   22u

void sender_open(Sender *sender, const char *device, size_t frame_length)
{
    g_assert_cmpuint(frame_length, >=, FILL_OFFSET);
    *sender =
        (Sender){.fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), .frame_length = frame_length};
    g_assert_cmpint(sender->fd, >=, 0);
    struct sockaddr_ll address = {.sll_family = AF_PACKET,
                                  .sll_ifindex = (int)if_nametoindex(device)};
    g_assert_cmpint(bind(sender->fd, (struct sockaddr *)&address, sizeof address), ==, 0);
}

void sender_close(Sender *sender)
{
    close(sender->fd);
}

/* Every byte behind the number follows from it, so that a mangled frame is seen. */
static uint8_t fill_byte(uint64_t sequence, size_t offset)
{
    return (uint8_t)(sequence * 31 + offset);
}

static void fill(const Sender *sender, uint8_t *frame)
{
    memset(frame, 0x02, 6); /* to nobody: PACKET_OTHERHOST */
    memset(frame + 6, 0x06, 6);
    frame[12] = SENDER_ETHERTYPE >> 8;
    frame[13] = SENDER_ETHERTYPE & 0xff;
    uint64_t number = GUINT64_TO_BE(sender->sent);
    memcpy(frame + NUMBER_OFFSET, &number, sizeof number);
    for (size_t i = FILL_OFFSET; i < sender->frame_length; i++)
        frame[i] = fill_byte(sender->sent, i);
}

void sender_send(Sender *sender, uint64_t count)
{
    uint8_t frame[SENDER_FRAME_MAX];
    for (; count; count--) {
        fill(sender, frame);
        g_assert_cmpint(send(sender->fd, frame, sender->frame_length, 0), ==, sender->frame_length);
        __atomic_store_n(&sender->sent, sender->sent + 1, __ATOMIC_RELAXED);
    }
}

static void *run(void *data)
{
    Sender *sender = data;
    gint64 start = g_get_monotonic_time();
    const uint64_t first = sender->sent, burst = 32;
    while (sender->sent - first < sender->count) {
        if (sender->per_second) {
            gint64 due = start + (gint64)((sender->sent - first) * 1000000 / sender->per_second);
            gint64 early = due - g_get_monotonic_time();
            if (early > 0)
                g_usleep((gulong)early);
        }
        sender_send(sender, MIN(burst, sender->count - (sender->sent - first)));
    }
    g_atomic_int_set(&sender->running, false);
    return NULL;
}

void sender_start(Sender *sender, uint64_t count, uint64_t per_second)
{
    sender->count = count;
    sender->per_second = per_second;
    sender->running = true;
    sender->thread = g_thread_new("sender", run, sender);
}

bool sender_is_running(Sender *sender)
{
    return g_atomic_int_get(&sender->running);
}

uint64_t sender_sent(Sender *sender)
{
    return __atomic_load_n(&sender->sent, __ATOMIC_RELAXED);
}

void sender_join(Sender *sender)
{
    g_thread_join(sender->thread);
}

int64_t sender_sequence(const uint8_t *data, size_t captured_length)
{
    if (captured_length < FILL_OFFSET || data[12] != SENDER_ETHERTYPE >> 8 ||
        data[13] != (SENDER_ETHERTYPE & 0xff))
        return -1;
    uint64_t number;
    memcpy(&number, data + NUMBER_OFFSET, sizeof number);
    number = GUINT64_FROM_BE(number);
    for (size_t i = FILL_OFFSET; i < captured_length; i++)
        if (data[i] != fill_byte(number, i))
            return -1;
    return (int64_t)number;
}

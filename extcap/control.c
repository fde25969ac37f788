// SPDX-License-Identifier: GPL-2.0-or-later
#include "extcap/control.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#ifdef G_OS_WIN32
#include <io.h>
#else
#include <unistd.h>
#endif
#ifndef O_BINARY
#define O_BINARY 0
#endif

/* Numbers of our controls, and Wireshark's commands. */
enum { CONTROL_STATUS = 0, CONTROL_LOG = 1, CONTROL_NONE = 255 };
enum { COMMAND_SET = 1, COMMAND_ADD = 2, COMMAND_STATUS_BAR = 6 };

#define MESSAGE_HEADER 6 /* 'T', length of the rest (3 bytes, network order), control, command */
#define MESSAGE_TEXT_MAX \
    2048 /* a whole message stays below PIPE_BUF: Wireshark takes it in one piece */
#define QUEUE_MAX     1000
#define OPEN_WAIT_US  (2 * G_USEC_PER_SEC)
#define CLOSE_WAIT_US (G_USEC_PER_SEC / 2)

struct Control {
    gint references; /* of the two threads and the owner */
    char *in_path, *out_path;
    GAsyncQueue *queue; /* of GBytes; an empty one ends the writer */
    GMutex mutex;
    GCond changed;
    bool opened;  /* Wireshark has opened control-in */
    bool written; /* the writer is through */
};

static void control_unref(Control *control)
{
    if (!g_atomic_int_dec_and_test(&control->references))
        return;
    g_async_queue_unref(control->queue);
    g_mutex_clear(&control->mutex);
    g_cond_clear(&control->changed);
    g_free(control->in_path);
    g_free(control->out_path);
    g_free(control);
}

static void tell(Control *control, bool *flag)
{
    g_mutex_lock(&control->mutex);
    *flag = true;
    g_cond_broadcast(&control->changed);
    g_mutex_unlock(&control->mutex);
}

static void wait_for(Control *control, const bool *flag, gint64 microseconds)
{
    gint64 end = g_get_monotonic_time() + microseconds;
    g_mutex_lock(&control->mutex);
    while (!*flag && g_cond_wait_until(&control->changed, &control->mutex, end))
        ;
    g_mutex_unlock(&control->mutex);
}

/* Our controls only show: what Wireshark sends is taken off the pipe, so that it never waits, and
 * left at that. */
static gpointer read_messages(gpointer userdata)
{
    Control *control = userdata;
    char discarded[512];
    int file = g_open(control->in_path, O_RDONLY | O_BINARY, 0);
    tell(control, &control->opened);
    if (file >= 0) {
        for (;;) {
            gssize n = read(file, discarded, sizeof discarded);
            if (n == 0 || (n < 0 && errno != EINTR))
                break;
        }
        g_close(file, NULL);
    }
    control_unref(control);
    return NULL;
}

static gpointer write_messages(gpointer userdata)
{
    Control *control = userdata;
    int file = g_open(control->out_path, O_WRONLY | O_BINARY, 0);
    for (;;) {
        g_autoptr(GBytes) message = g_async_queue_pop(control->queue);
        gsize length;
        const void *bytes = g_bytes_get_data(message, &length);
        if (length == 0)
            break;
        if (file >= 0 && write(file, bytes, length) != (gssize)length) {
            g_close(file, NULL);
            file = -1;
        }
    }
    if (file >= 0)
        g_close(file, NULL);
    tell(control, &control->written);
    control_unref(control);
    return NULL;
}

void control_print_sentences(void)
{
    printf("control {number=%d}{type=string}{display=Status}"
           "{tooltip=Nodes that are connected, packets so far, packets lost}\n",
           CONTROL_STATUS);
    printf("control {number=%d}{type=button}{role=logger}{display=Log}"
           "{tooltip=Nodes that came and went, and packets that were lost}\n",
           CONTROL_LOG);
}

Control *control_open(const char *in_path, const char *out_path)
{
    if (!in_path || !out_path)
        return NULL;
    Control *control = g_new0(Control, 1);
    control->references = 3;
    control->in_path = g_strdup(in_path);
    control->out_path = g_strdup(out_path);
    control->queue = g_async_queue_new_full((GDestroyNotify)g_bytes_unref);
    g_mutex_init(&control->mutex);
    g_cond_init(&control->changed);
    g_thread_unref(g_thread_new("control-in", read_messages, control));
    g_thread_unref(g_thread_new("control-out", write_messages, control));
    return control;
}

static void send(Control *control, uint8_t number, uint8_t command, const char *text)
{
    if (!control || g_async_queue_length(control->queue) > QUEUE_MAX)
        return;
    size_t length = MIN(strlen(text), (size_t)MESSAGE_TEXT_MAX);
    size_t rest = length + 2;
    uint8_t *message = g_malloc(MESSAGE_HEADER + length);
    message[0] = 'T';
    message[1] = (uint8_t)(rest >> 16);
    message[2] = (uint8_t)(rest >> 8);
    message[3] = (uint8_t)rest;
    message[4] = number;
    message[5] = command;
    memcpy(message + MESSAGE_HEADER, text, length);
    g_async_queue_push(control->queue, g_bytes_new_take(message, MESSAGE_HEADER + length));
}

void control_set_status(Control *control, const char *text)
{
    send(control, CONTROL_STATUS, COMMAND_SET, text);
}

void control_log(Control *control, const char *text)
{
    if (!control)
        return;
    g_autoptr(GDateTime) now = g_date_time_new_now_local();
    g_autofree char *time = g_date_time_format(now, "%H:%M:%S");
    g_autofree char *line = g_strdup_printf("%s %.*s\n", time, MESSAGE_TEXT_MAX - 16, text);
    send(control, CONTROL_LOG, COMMAND_ADD, line);
}

void control_warn(Control *control, const char *text)
{
    control_log(control, text);
    send(control, CONTROL_NONE, COMMAND_STATUS_BAR, text);
}

void control_wait_opened(Control *control)
{
    if (control)
        wait_for(control, &control->opened, OPEN_WAIT_US);
}

Control *control_close(Control *control)
{
    if (!control)
        return NULL;
    g_async_queue_push(control->queue, g_bytes_new(NULL, 0));
    wait_for(control, &control->written, CLOSE_WAIT_US);
    control_unref(control);
    return NULL;
}

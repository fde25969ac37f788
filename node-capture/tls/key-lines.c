// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/tls/key-lines.h"

#include <string.h>

#include <glib.h>

#include "common/recent-set.h"

/* What tells lines apart: the client random is chosen by the client alone, so that the secret
 * belongs to it. */
typedef struct Known {
    uint64_t netns_inode;
    uint8_t random[KEY_LINES_RANDOM];
    char label[KEY_LINES_LABEL_MAX]; /* zeroes behind it */
} Known;

/* What waits of one namespace; none: of length 0. */
typedef struct Waiting {
    uint64_t netns_inode, time_ns;
    size_t length;
    char text[TLS_KEYS_LINES_MAX];
} Waiting;

/* Both ends of a connection are often there: their lines come in turn. */
#define WAITING 8u

struct KeyLines {
    KeyLinesCallback callback;
    void *userdata;
    RecentSet *known; /* of Known */
    Waiting waiting[WAITING];
};

KeyLines *key_lines_new(KeyLinesCallback callback, void *userdata)
{
    KeyLines *lines = g_new0(KeyLines, 1);
    lines->callback = callback;
    lines->userdata = userdata;
    lines->known = recent_set_new(KEY_LINES_REMEMBERED);
    return lines;
}

KeyLines *key_lines_free(KeyLines *lines)
{
    if (lines) {
        recent_set_free(lines->known);
        memset(lines->waiting, 0, sizeof(lines->waiting));
        g_free(lines);
    }
    return NULL;
}

static bool is_label(const char *label, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (!g_ascii_isupper(label[i]) && !g_ascii_isdigit(label[i]) && label[i] != '_') {
            return false;
        }
    }
    return length > 0 && length < KEY_LINES_LABEL_MAX;
}

static void append_hex(Waiting *lines, const uint8_t *bytes, size_t length)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < length; i++) {
        lines->text[lines->length++] = digits[bytes[i] >> 4];
        lines->text[lines->length++] = digits[bytes[i] & 15];
    }
}

static void flush(const KeyLines *lines, Waiting *waiting)
{
    if (waiting->length > 0) {
        lines->callback(waiting->netns_inode, waiting->time_ns, waiting->text, waiting->length,
                        lines->userdata);
    }
    waiting->length = 0;
}

void key_lines_flush(KeyLines *lines)
{
    for (unsigned i = 0; i < WAITING; i++) {
        flush(lines, &lines->waiting[i]);
    }
}

/* Where that many bytes of that namespace find room. */
static Waiting *waiting_of(KeyLines *lines, uint64_t netns_inode, uint64_t time_ns, size_t length)
{
    Waiting *empty = NULL;
    for (unsigned i = 0; i < WAITING; i++) {
        Waiting *waiting = &lines->waiting[i];
        if (waiting->length > 0 && waiting->netns_inode == netns_inode) {
            if (waiting->length + length <= sizeof(waiting->text)) {
                return waiting;
            }
            flush(lines, waiting);
        }
        if (waiting->length == 0 && !empty) {
            empty = waiting;
        }
    }
    if (!empty) {
        key_lines_flush(lines);
        empty = lines->waiting;
    }
    empty->netns_inode = netns_inode;
    empty->time_ns = time_ns;
    return empty;
}

bool key_lines_add(KeyLines *lines, uint64_t netns_inode, uint64_t time_ns, const char *label,
                   size_t label_length, const uint8_t random[static KEY_LINES_RANDOM],
                   const uint8_t *secret, size_t secret_length)
{
    Known known = {.netns_inode = netns_inode};
    if (!is_label(label, label_length) || secret_length == 0 ||
        secret_length > KEY_LINES_SECRET_MAX) {
        return false;
    }
    memcpy(known.random, random, sizeof(known.random));
    memcpy(known.label, label, label_length);
    if (!recent_set_add(lines->known, &known, sizeof(known))) {
        return false;
    }
    size_t room = label_length + 2 * (KEY_LINES_RANDOM + secret_length) + 3;
    Waiting *waiting = waiting_of(lines, netns_inode, time_ns, room);
    memcpy(waiting->text + waiting->length, label, label_length);
    waiting->length += label_length;
    waiting->text[waiting->length++] = ' ';
    append_hex(waiting, random, KEY_LINES_RANDOM);
    waiting->text[waiting->length++] = ' ';
    append_hex(waiting, secret, secret_length);
    waiting->text[waiting->length++] = '\n';
    return true;
}

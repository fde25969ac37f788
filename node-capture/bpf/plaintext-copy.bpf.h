/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* The part of plaintext.bpf.c, in whose middle it stands, that copies bytes of a process into the
 * ring, in chunks. */
#pragma once

struct copy {
    __u64 from;
    __u64 left;
    __u64 is_over;                /* the rest cannot be read */
    struct plaintext_event event; /* of the next chunk */
};

static __always_inline void give_up(struct copy *copy, __u64 *counter)
{
    __sync_fetch_and_add(counter, copy->event.length);
}

/* A record of the ring that is waited for holds up those of everybody behind it. So what may sleep
 * is done first, and the copy itself does not. */
static __always_inline void fetch_pages(__u64 from, __u32 length)
{
    char byte;
    for (int i = 0; i < PLAINTEXT_CHUNK / PAGE_BYTES + 1; i++) {
        __u64 at = i == 0 ? from : (from & ~(__u64)(PAGE_BYTES - 1)) + (__u64)i * PAGE_BYTES;
        if (at >= from + length) {
            break;
        }
        bpf_copy_from_user(&byte, sizeof(byte), (void *)at);
    }
}

#define COPY_CHUNK(room)                                                                          \
    do {                                                                                          \
        struct plaintext_event *event = bpf_ringbuf_reserve(&events, sizeof(*event) + (room), 0); \
        __u32 length = copy->event.length;                                                        \
        if (!event) {                                                                             \
            give_up(copy, &lost);                                                                 \
            return;                                                                               \
        }                                                                                         \
        *event = copy->event;                                                                     \
        asm volatile("" : "+r"(length));                                                          \
        if (length > (room)) {                                                                    \
            length = (room);                                                                      \
        }                                                                                         \
        if (bpf_probe_read_user(event->data, length, (void *)copy->from) < 0) {                   \
            give_up(copy, &unreadable);                                                           \
            copy->is_over = 1;                                                                    \
            bpf_ringbuf_discard(event, 0);                                                        \
            return;                                                                               \
        }                                                                                         \
        __sync_fetch_and_add(&taken, length);                                                     \
        bpf_ringbuf_submit(event, how_to_submit());                                               \
    } while (0)

/* Records of the ring have a length that is known when the program is loaded. */
static __always_inline void copy_chunk(struct copy *copy)
{
    if (copy->event.length <= 256) {
        COPY_CHUNK(256);
    } else if (copy->event.length <= 1024) {
        COPY_CHUNK(1024);
    } else if (copy->event.length <= 4096) {
        COPY_CHUNK(4096);
    } else {
        COPY_CHUNK(PLAINTEXT_CHUNK);
    }
}

static long on_chunk(__u32 number, struct copy *copy)
{
    __u64 length = copy->left < PLAINTEXT_CHUNK ? copy->left : PLAINTEXT_CHUNK;
    copy->event.length = (__u32)length;
    fetch_pages(copy->from, (__u32)length);
    copy_chunk(copy);
    copy->from += length;
    copy->left -= length;
    copy->event.offset += length;
    copy->event.flags &= ~PLAINTEXT_SKIPPED;
    return copy->is_over != 0;
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* pcapng written by hand, in either byte order and as wrong as a test wants: no line of it is
 * shared with the builder. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct Handmade {
    GByteArray *bytes;
    bool big_endian;
    guint block;
} Handmade;

static inline void hand_number(Handmade *hand, unsigned size, uint64_t value)
{
    for (unsigned i = 0; i < size; i++) {
        unsigned shift = 8 * (hand->big_endian ? size - 1 - i : i);
        uint8_t byte = (uint8_t)(value >> shift);
        g_byte_array_append(hand->bytes, &byte, 1);
    }
}

static inline void hand_bytes(Handmade *hand, const void *data, guint length)
{
    static const uint8_t zeros[4];
    g_byte_array_append(hand->bytes, data, length);
    g_byte_array_append(hand->bytes, zeros, (4 - length % 4) % 4);
}

static inline void hand_begin(Handmade *hand, uint32_t type)
{
    hand->block = hand->bytes->len;
    hand_number(hand, 4, type);
    hand_number(hand, 4, 0);
}

/* Writes the length at both ends. */
static inline void hand_end(Handmade *hand)
{
    guint length = hand->bytes->len + 4 - hand->block;
    hand_number(hand, 4, length);
    memcpy(hand->bytes->data + hand->block + 4, hand->bytes->data + hand->bytes->len - 4, 4);
}

static inline void hand_option(Handmade *hand, uint16_t code, const void *data, uint16_t length)
{
    hand_number(hand, 2, code);
    hand_number(hand, 2, length);
    hand_bytes(hand, data, length);
}

static inline void hand_option_number(Handmade *hand, uint16_t code, unsigned size, uint64_t value)
{
    hand_number(hand, 2, code);
    hand_number(hand, 2, size);
    hand_number(hand, size, value);
}

static inline void hand_section(Handmade *hand)
{
    hand_begin(hand, 0x0A0D0D0A);
    hand_number(hand, 4, 0x1A2B3C4D);
    hand_number(hand, 2, 1);
    hand_number(hand, 2, 0);
    hand_number(hand, 8, UINT64_MAX);
    hand_end(hand);
}

static inline void hand_interface(Handmade *hand, uint16_t link_type, uint32_t snap_length,
                                  uint8_t tsresol, int64_t tsoffset)
{
    hand_begin(hand, 1);
    hand_number(hand, 2, link_type);
    hand_number(hand, 2, 0);
    hand_number(hand, 4, snap_length);
    hand_option(hand, 9, &tsresol, 1);
    hand_option_number(hand, 14, 8, (uint64_t)tsoffset);
    hand_number(hand, 4, 0);
    hand_end(hand);
}

/* An Enhanced Packet Block whose options and end are still to come. */
static inline void hand_packet(Handmade *hand, uint32_t interface_id, uint64_t time,
                               const char *data)
{
    hand_begin(hand, 6);
    hand_number(hand, 4, interface_id);
    hand_number(hand, 4, time >> 32);
    hand_number(hand, 4, time & UINT32_MAX);
    hand_number(hand, 4, strlen(data));
    hand_number(hand, 4, strlen(data));
    hand_bytes(hand, data, (guint)strlen(data));
}

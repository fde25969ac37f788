// SPDX-License-Identifier: GPL-2.0-or-later
/* Numbers in pcapng blocks. "swapped" means that the section is big endian. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "common/pcapng/pcapng.h"

/* Everything in a block is padded to a multiple of 4. Wider than the lengths on the wire, so that
 * it cannot wrap. */
static inline uint64_t pad4(uint64_t length)
{
    return (length + 3) & ~(uint64_t)3;
}

static inline uint16_t load16(const uint8_t *at, bool swapped)
{
    uint16_t value;
    memcpy(&value, at, sizeof value);
    return swapped ? GUINT16_FROM_BE(value) : GUINT16_FROM_LE(value);
}

static inline uint32_t load32(const uint8_t *at, bool swapped)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return swapped ? GUINT32_FROM_BE(value) : GUINT32_FROM_LE(value);
}

static inline uint64_t load64(const uint8_t *at, bool swapped)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return swapped ? GUINT64_FROM_BE(value) : GUINT64_FROM_LE(value);
}

/* Time stamps are two 32-bit halves, the high one first in either byte order (section 4.3). */
static inline uint64_t load_time(const uint8_t *at, bool swapped)
{
    return (uint64_t)load32(at, swapped) << 32 | load32(at + 4, swapped);
}

/* isb_starttime and isb_endtime are the only 8-byte options in that form; all others are plain
 * numbers (section 4.6). */
static inline bool option_is_time(uint32_t block_type, uint16_t code)
{
    return block_type == PCAPNG_STATISTICS &&
           (code == PCAPNG_ISB_STARTTIME || code == PCAPNG_ISB_ENDTIME);
}

static inline void store16(uint8_t *at, uint16_t value)
{
    value = GUINT16_TO_LE(value);
    memcpy(at, &value, sizeof value);
}

static inline void store32(uint8_t *at, uint32_t value)
{
    value = GUINT32_TO_LE(value);
    memcpy(at, &value, sizeof value);
}

static inline void store64(uint8_t *at, uint64_t value)
{
    value = GUINT64_TO_LE(value);
    memcpy(at, &value, sizeof value);
}

static inline void store_time(uint8_t *at, uint64_t value)
{
    store32(at, (uint32_t)(value >> 32));
    store32(at + 4, (uint32_t)value);
}

/* Copies and pads with zeros: `at` has room for pad4(length). */
static inline void store_padded(uint8_t *at, const void *data, size_t length)
{
    if (!length)
        return;
    store32(at + pad4(length) - 4, 0);
    memcpy(at, data, length);
}

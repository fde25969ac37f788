// SPDX-License-Identifier: GPL-2.0-or-later
/* One stream's filter in libpcap's syntax, compiled for every link type that interfaces can have.
 * Immutable, may be shared. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define FILTER_MAX 4096u /* bytes of text; proto/README.md, limits */

#define FILTER_ERROR (filter_error_quark())
GQuark filter_error_quark(void);
enum { FILTER_ERROR_SYNTAX, FILTER_ERROR_LIMIT };

typedef struct Filter Filter;

/* NULL with error (libpcap's message, and what to do) for a bad one. May block: libpcap looks up
 * host names in filters. */
Filter *filter_new(const char *expression, GError **error);
Filter *filter_free(Filter *filter); /* NULL is fine; returns NULL */
/* What the expression cannot be said of, such as "ether host" where there is no Ethernet header, is
 * not accepted. */
bool filter_accepts(const Filter *filter, uint16_t link_type, const uint8_t *packet,
                    uint32_t captured_length, uint32_t original_length);

// SPDX-License-Identifier: GPL-2.0-or-later
/* Which protocol the first bytes of one direction of a connection are of. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A name for the identity option's L7 (docs/tls.md has the list), static, or NULL if it is none
 * that is known. `is_first`: the bytes begin the direction; else only what can be told in the
 * middle is. */
const char *plaintext_protocol(const uint8_t *data, size_t length, bool is_first);

// SPDX-License-Identifier: GPL-2.0-or-later
/* Whether a packet is to wait for the secrets of its TLS connection. Wireshark needs those of TLS
 * 1.3 when it reads the ServerHello; the client makes its own only once it has that, and a busy
 * node tells of them late. Secrets of TLS 1.2 are not needed before the packets after these, which
 * come later anyway.
 *
 * Of a server of whose connections no secrets came in time three times in a row nothing is expected
 * until some do. Of fixed size: who is pushed out does not wait. No I/O, no clock, no allocation
 * per packet. One thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/packet.h"

#define KEY_WAIT_NS      300000000u /* at most, from a packet's arrival */
#define KEY_WAIT_IN_VAIN 3u

typedef struct KeyWait KeyWait;

KeyWait *key_wait_new(void);
KeyWait *key_wait_free(KeyWait *wait); /* NULL is fine; returns NULL */

/* Lines of a key log that go to the file. */
void key_wait_secrets(KeyWait *wait, const uint8_t *key_log, size_t length);
/* The next packet in the file. True: it is better written after the secrets of its connection,
 * which are not all there. */
bool key_wait_packet(KeyWait *wait, uint16_t link_type, const uint8_t *data, size_t length);
/* Whether what the last such packet waited for is there. */
bool key_wait_is_over(const KeyWait *wait);
/* It was not waited for any longer. */
void key_wait_give_up(KeyWait *wait);

// SPDX-License-Identifier: GPL-2.0-or-later
/* The beginning of a TLS connection in a captured packet. No I/O, no allocation; every length is
 * checked. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TLS_HELLO_RANDOM_BYTES 32u

typedef enum TlsHello {
    TLS_HELLO_NONE,
    TLS_HELLO_RANDOM, /* a ClientHello (RFC 8446, 4.1.2) at the beginning of a TCP payload */
    TLS_HELLO_SERVER, /* a ServerHello of TLS 1.3 there, that is no HelloRetryRequest */
    TLS_HELLO_HIDDEN, /* QUIC or DTLS, whose client random is not looked for */
} TlsHello;

/* What a ClientHello says, and who to whom. Pointers are into the packet. */
typedef struct TlsHelloFields {
    const uint8_t *random; /* the client's; NULL: it was none, and then the rest is not set */
    bool is_v6;
    const uint8_t *from, *to; /* addresses, 4 or 16 bytes */
    uint16_t from_port, to_port;
} TlsHelloFields;

/* `link_type` is a LINKTYPE_ value; of others than Ethernet and raw IP there is none. */
TlsHello tls_hello_find(uint16_t link_type, const uint8_t *packet, size_t length,
                        TlsHelloFields *ret);

/* Whether the ClientHello with the random that tls_hello_find() gave, of a packet that ends at
 * `end`, has the extension encrypted_client_hello (RFC 9849, 5), so that the connection's random
 * may be another one. Also true if it cannot be told, as not all of it is there. */
bool tls_hello_may_be_outer(const uint8_t *random, const uint8_t *end);

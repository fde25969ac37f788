// SPDX-License-Identifier: GPL-2.0-or-later
/* The first byte is the kind of link, the others are a packet. */
#include <stddef.h>
#include <stdint.h>

#include "common/tls-hello.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    TlsHelloFields fields;
    if (size > 0 && tls_hello_find(data[0], data + 1, size - 1, &fields) == TLS_HELLO_RANDOM) {
        tls_hello_may_be_outer(fields.random, data + size);
    }
    return 0;
}

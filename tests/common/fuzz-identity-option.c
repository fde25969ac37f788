// SPDX-License-Identifier: GPL-2.0-or-later
/* Any bytes as an identity option; what can be read is written again and must come out the same. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "k8s-enrich/identity-option.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    IdentityReader reader;
    int r = identity_reader_init(&reader, data, size);
    if (r < 0) {
        require(r == -EBADMSG || r == -ENOMSG || r == -EPROTO);
        return 0;
    }
    uint8_t memory[IDENTITY_MAX];
    IdentityWriter writer;
    identity_writer_init(&writer, memory, sizeof memory);
    identity_set_flags(&writer, reader.flags);
    IdentityTlv tlv;
    while ((r = identity_next(&reader, &tlv)) > 0) {
        uint8_t u8;
        uint32_t u32;
        uint64_t u64;
        require(tlv.value >= data && tlv.value + tlv.length <= data + size);
        require((identity_u8(&tlv, &u8) == 0) == (tlv.length == 1));
        require((identity_u32(&tlv, &u32) == 0) == (tlv.length == 4));
        require((identity_u64(&tlv, &u64) == 0) == (tlv.length == 8));
        identity_put_bytes(&writer, tlv.type, tlv.scope, tlv.value, tlv.length);
    }
    require(r == 0 || r == -EBADMSG);
    if (!writer.overflow)
        require(writer.length <= size && !memcmp(memory, data, writer.length));
    return 0;
}

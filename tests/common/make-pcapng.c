// SPDX-License-Identifier: GPL-2.0-or-later
/* Writes a file with every block and option that the builder has, for Wireshark's own tools to
 * judge. */
#include <stdio.h>
#include <stdlib.h>

#include "common/pcapng/pcapng.h"
#include "k8s-enrich/identity-option.h"

static void add_packet(PcapngBuilder *builder, unsigned number)
{
    /* Ethernet and an ARP request: 42 bytes, of which 60 were on the wire. */
    static const uint8_t arp[42] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0,  1, 8, 6,
                                    0,    1,    8,    0,    6,    4,    0, 1, 2, 0, 0,  0, 0, 1,
                                    10,   0,    0,    1,    0,    0,    0, 0, 0, 0, 10, 0, 0, 2};
    uint8_t memory[256];
    IdentityWriter identity;
    identity_writer_init(&identity, memory, sizeof memory);
    identity_put_text(&identity, IDENTITY_NAMESPACE, IDENTITY_SRC, "shop");
    identity_put_text(&identity, IDENTITY_POD, IDENTITY_SRC, "frontend-1");

    pcapng_build_packet(builder, number % 2, 1700000000123456789u + number, arp, sizeof arp, 60);
    pcapng_build_option_u32(builder, PCAPNG_EPB_FLAGS, PCAPNG_DIRECTION_OUTBOUND);
    pcapng_build_option_u64(builder, PCAPNG_EPB_DROPCOUNT, number);
    pcapng_build_option_u64(builder, PCAPNG_EPB_PACKETID, 1000 + number);
    pcapng_build_option_custom(builder, PCAPNG_OPT_CUSTOM_BINARY, IDENTITY_ENTERPRISE, memory,
                               identity.length);
    pcapng_build_option_string(builder, PCAPNG_OPT_COMMENT, "a comment");
    pcapng_build_end(builder);
}

int main(int argc, char **argv)
{
    static uint8_t memory[8192];
    PcapngBuilder builder;
    pcapng_builder_init(&builder, memory, sizeof memory);
    pcapng_build_section(&builder);
    pcapng_build_option_string(&builder, PCAPNG_SHB_HARDWARE, "a machine");
    pcapng_build_option_string(&builder, PCAPNG_SHB_OS, "an os");
    pcapng_build_option_string(&builder, PCAPNG_SHB_USERAPPL, "make-pcapng");
    pcapng_build_end(&builder);
    pcapng_build_interface(&builder, 1, 262144);
    pcapng_build_option_string(&builder, PCAPNG_IF_NAME, "shop/node-a");
    pcapng_build_option_string(&builder, PCAPNG_IF_DESCRIPTION, "eth0 of frontend-1");
    pcapng_build_option_string(&builder, PCAPNG_IF_HARDWARE, "veth");
    pcapng_build_option_string(&builder, PCAPNG_IF_OS, "Linux");
    pcapng_build_end(&builder);
    pcapng_build_interface(&builder, 1, 96);
    pcapng_build_option_string(&builder, PCAPNG_IF_NAME, "shop/node-b");
    pcapng_build_end(&builder);
    pcapng_build_secrets(&builder, PCAPNG_SECRETS_TLS, "# no keys\n", 10);
    pcapng_build_end(&builder);
    for (unsigned number = 0; number < 4; number++)
        add_packet(&builder, number);
    pcapng_build_custom(&builder, true, IDENTITY_ENTERPRISE, "12345678", 8);
    pcapng_build_end(&builder);
    pcapng_build_statistics(&builder, 0, 1700000001000000000u);
    pcapng_build_option_u64(&builder, PCAPNG_ISB_STARTTIME, 1700000000000000000u);
    pcapng_build_option_u64(&builder, PCAPNG_ISB_ENDTIME, 1700000001000000000u);
    pcapng_build_option_u64(&builder, PCAPNG_ISB_IFRECV, 10);
    pcapng_build_option_u64(&builder, PCAPNG_ISB_IFDROP, 3);
    if (pcapng_build_end(&builder) < 0)
        return EXIT_FAILURE;
    return fwrite(memory, 1, builder.length, stdout) == builder.length ? EXIT_SUCCESS
                                                                       : EXIT_FAILURE;
}

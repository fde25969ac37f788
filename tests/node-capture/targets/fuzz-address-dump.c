// SPDX-License-Identifier: GPL-2.0-or-later
#include <glib.h>
#include <stdint.h>

#include "node-capture/targets/address-dump.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_address(const NetnsAddress *address, void *userdata)
{
    g_assert(address->length == 4 || address->length == 16);
    g_assert(address->device[0] == '\0');
}

static void on_other(void *userdata)
{
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const AddressDumpEvents events = {on_address, on_other, on_other};
    address_dump_read(data, size, 1, &events, NULL);
    return 0;
}

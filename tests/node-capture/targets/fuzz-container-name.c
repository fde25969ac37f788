// SPDX-License-Identifier: GPL-2.0-or-later
/* Any /proc/PID/mountinfo: a name that is found is one that Kubernetes allows. */
#include "node-capture/targets/container-name.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
    char name[CONTAINER_NAME_SIZE];
    char *text = malloc(size ? size : 1); /* so that reading beyond it is noticed */
    memcpy(text, data, size);
    if (container_name_find(text, size, "", name) &&
        (name[0] == '\0' || strspn(name, allowed) != strlen(name))) {
        abort();
    }
    free(text);
    return 0;
}

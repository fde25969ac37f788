// SPDX-License-Identifier: GPL-2.0-or-later
/* A place where packets are captured: one network device of one pod. What the Interface message
 * says, kept. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef struct CapturePoint {
    uint32_t id;         /* unique in a collector, from 1 on */
    const char *cluster; /* "" where unknown, as the others */
    const char *node;
    const char *device;
    const char *target_uid; /* of the pod */
    uint16_t link_type;
    bool loopback;    /* both ends of its packets are the pod itself */
    bool plaintext;   /* of TLS: the packets were made up to carry it */
    bool alive;       /* a stream of its node is up ... */
    unsigned streams; /* ... so many: while a node's process is replaced there may be two */
    uint32_t output;  /* interface in the file */
} CapturePoint;

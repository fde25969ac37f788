// SPDX-License-Identifier: GPL-2.0-or-later
/* Packets on their way to the output get their names. These are fetched some packets ahead, so that
 * no packet waits for memory. One thread. */
#pragma once

#include "collector/annotate.h"
#include "collector/vantage.h"

typedef struct Namer Namer;

/* `write` gets the packets in their order. The annotator is borrowed. */
Namer *namer_new(Annotator *annotator,
                 void (*write)(const VantagePacket *packet, const Annotation *names,
                               void *userdata),
                 void *userdata);
/* Gives back the buffers of what was not flushed. NULL is fine; returns NULL. */
Namer *namer_free(Namer *namer);

/* Takes over the packet's reference of the buffer, and gives it back after write(). */
void namer_push(Namer *namer, const VantagePacket *packet);
/* Writes all that was pushed. */
void namer_flush(Namer *namer);

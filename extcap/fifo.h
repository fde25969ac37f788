// SPDX-License-Identifier: GPL-2.0-or-later
/* The fifo of a capture that never begins. */
#pragma once

/* For a capture that fails before writer_open(): dumpcap waits for a writer of its fifo, so it gets
 * one that has nothing to say. Waits at most some seconds for a fifo's reader. Does nothing for
 * what is no fifo. */
void fifo_release_reader(const char *fifo);

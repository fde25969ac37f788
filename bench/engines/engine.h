// SPDX-License-Identifier: GPL-2.0-or-later
/* What the two capture engines under test have in common: options, the output file, the course of a
 * run. */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct EngineValues {
    bool help;
    char **namespaces; /* names in /run/netns, or paths */
    char *output;
    uint64_t ring_bytes;
} EngineValues;

void engine_options(const char *program, int argc, char **argv,
                    EngineValues *ret); /* exits on errors */
int engine_open_namespace(const char *name);
int engine_open_output(const char *path); /* writes the section header */
void engine_write(int fd, const void *bytes, size_t length);
void engine_write_interface(int fd, const char *name);
/* Prints "ready". From then on engine_stopping() tells whether the run is to end. */
void engine_ready(void (*on_signal)(int signal_number));
extern volatile sig_atomic_t engine_stopping;
void engine_report(uint64_t packets, uint64_t lost, uint64_t ring_bytes);

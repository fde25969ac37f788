// SPDX-License-Identifier: GPL-2.0-or-later
/* Attributes of entities (UID, labels, containers). The file tells them once per entity, and again
 * when they change; this remembers them for the file that is open, by frame, so that every pass
 * gives a packet what was known at its place in the file. */
#pragma once

#include "plugins/k8s-identity.h"

typedef struct K8sContainer {
    const char *name, *image; /* image NULL: not told */
} K8sContainer;

typedef struct K8sAttributes {
    const char *uid;     /* NULL: not told */
    const char **labels; /* "key=value" */
    unsigned n_labels;
    K8sContainer *containers;
    unsigned n_containers;
} K8sAttributes;

/* Once, when the plugin registers. */
void k8s_entities_register(void);
/* The attributes in an option, for `frame` and those after it. To be called once per frame, when it
 * is seen first. A malformed option teaches nothing. */
void k8s_entities_learn(uint32_t frame, const uint8_t *option, size_t length);
/* NULL when nothing was told up to that frame. Valid while the file is open. */
const K8sAttributes *k8s_entities_lookup(uint64_t entity, uint32_t frame);

// SPDX-License-Identifier: GPL-2.0-or-later
/* Label selectors as kubectl -l takes them.
 *
 *   selector    := requirement { "," requirement }
 *   requirement := key | "!" key | key ("=" | "==" | "!=") value | key ("in" | "notin") "(" value {
 * "," value } ")"
 *
 * As in Kubernetes, != and notin also match objects without the key, and a value may be empty.
 * Source: k8s.io/apimachinery/pkg/labels, Parse(); keys and values:
 * k8s.io/apimachinery/pkg/util/validation. */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "k8s-enrich/inventory.h"

typedef struct LabelSelector LabelSelector;

/* NULL with error (SELECTOR_ERROR_SYNTAX) that names the column, counted from 1, and what was
 * expected there. */
LabelSelector *label_selector_new(const char *text, GError **error);
LabelSelector *label_selector_free(LabelSelector *selector); /* NULL is fine; returns NULL */
bool label_selector_matches(const LabelSelector *selector, const EntityLabel *labels,
                            size_t n_labels);

// SPDX-License-Identifier: GPL-2.0-or-later
/* A compiled TargetSelector: namespaces, pod patterns and labels must all agree. */
#include "node-capture/targets/targets.h"

#include <string.h>

#include "node-capture/targets/label-selector.h"

#define NAME_MAX_BYTES 1024u /* proto/README.md, limits */
#define NAMES_MAX      1000u
#define LABELS_MAX     4096u

typedef struct PodPattern {
    GPatternSpec *spec;
    bool qualified; /* has a slash: over "namespace/name" */
} PodPattern;

struct Selector {
    GHashTable *namespaces; /* set of char *; NULL: all */
    GArray *pods;           /* of PodPattern; NULL: all */
    LabelSelector *labels;  /* NULL: all */
};

GQuark selector_error_quark(void)
{
    return g_quark_from_static_string("remora-selector-error");
}

static bool check_names(const char *what, char *const *names, size_t n_names, GError **error)
{
    if (n_names > NAMES_MAX) {
        g_set_error(error, SELECTOR_ERROR, SELECTOR_ERROR_LIMIT, "%zu %ss, at most %u are allowed",
                    n_names, what, NAMES_MAX);
        return false;
    }
    for (size_t i = 0; i < n_names; i++) {
        size_t length = strlen(names[i]);
        const char *wrong = NULL;
        if (length == 0) {
            wrong = "is empty";
        } else if (length > NAME_MAX_BYTES) {
            wrong = "is longer than 1024 bytes";
        } else if (!g_utf8_validate(names[i], (gssize)length, NULL)) {
            wrong = "is not UTF-8";
        }
        if (wrong) {
            g_set_error(error, SELECTOR_ERROR, SELECTOR_ERROR_SYNTAX, "%s %zu of %zu %s", what,
                        i + 1, n_names, wrong);
            return false;
        }
    }
    return true;
}

static void pod_pattern_clear(void *pattern)
{
    g_pattern_spec_free(((PodPattern *)pattern)->spec);
}

static bool compile_namespaces(Selector *selector, const Remora__V1__TargetSelector *proto,
                               GError **error)
{
    if (!check_names("namespace", proto->namespaces, proto->n_namespaces, error)) {
        return false;
    }
    if (proto->n_namespaces > 0) {
        selector->namespaces = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    }
    for (size_t i = 0; i < proto->n_namespaces; i++) {
        g_hash_table_add(selector->namespaces, g_strdup(proto->namespaces[i]));
    }
    return true;
}

static bool compile_pods(Selector *selector, const Remora__V1__TargetSelector *proto,
                         GError **error)
{
    if (!check_names("pod pattern", proto->pods, proto->n_pods, error)) {
        return false;
    }
    if (proto->n_pods > 0) {
        selector->pods = g_array_new(FALSE, FALSE, sizeof(PodPattern));
        g_array_set_clear_func(selector->pods, pod_pattern_clear);
    }
    for (size_t i = 0; i < proto->n_pods; i++) {
        PodPattern pattern = {g_pattern_spec_new(proto->pods[i]),
                              strchr(proto->pods[i], '/') != NULL};
        g_array_append_val(selector->pods, pattern);
    }
    return true;
}

static bool compile_labels(Selector *selector, const Remora__V1__TargetSelector *proto,
                           GError **error)
{
    const char *text = proto->label_selector;
    if (!text || !*text) {
        return true;
    }
    if (strlen(text) > LABELS_MAX) {
        g_set_error(error, SELECTOR_ERROR, SELECTOR_ERROR_LIMIT,
                    "label selector of %zu bytes, at most %u are allowed", strlen(text),
                    LABELS_MAX);
        return false;
    }
    selector->labels = label_selector_new(text, error);
    return selector->labels != NULL;
}

Selector *selector_new(const Remora__V1__TargetSelector *proto, GError **error)
{
    Selector *selector = g_new0(Selector, 1);
    if (proto &&
        (!compile_namespaces(selector, proto, error) || !compile_pods(selector, proto, error) ||
         !compile_labels(selector, proto, error))) {
        return selector_free(selector);
    }
    return selector;
}

Selector *selector_free(Selector *selector)
{
    if (selector) {
        g_clear_pointer(&selector->namespaces, g_hash_table_unref);
        g_clear_pointer(&selector->pods, g_array_unref);
        label_selector_free(selector->labels);
        g_free(selector);
    }
    return NULL;
}

static bool pods_match(const GArray *patterns, const Entity *pod)
{
    g_autofree char *qualified = g_strdup_printf("%s/%s", pod->namespace_name, pod->name);
    for (guint i = 0; i < patterns->len; i++) {
        const PodPattern *pattern = &g_array_index(patterns, PodPattern, i);
        if (g_pattern_match_string(pattern->spec, pattern->qualified ? qualified : pod->name)) {
            return true;
        }
    }
    return false;
}

bool selector_matches(const Selector *selector, const Entity *pod)
{
    /* What its labels are is not known: "!secret" must not let it pass. */
    if (selector->labels && entity_is_provisional(pod)) {
        return false;
    }
    if (selector->namespaces && !g_hash_table_contains(selector->namespaces, pod->namespace_name)) {
        return false;
    }
    if (selector->pods && !pods_match(selector->pods, pod)) {
        return false;
    }
    return !selector->labels ||
           label_selector_matches(selector->labels, pod->labels, pod->n_labels);
}

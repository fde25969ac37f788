// SPDX-License-Identifier: GPL-2.0-or-later
/* A YAML file as a tree whose nodes know their line, for messages. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct YamlFile YamlFile;
/* A node of a file, or the absence of one. Borrowed from the file. */
typedef struct YamlNode {
    const YamlFile *file;
    const void *node; /* NULL: absent */
} YamlNode;

/* NULL with API_CONFIG_ERROR_SYNTAX naming file, line and column. Only the first document is read.
 */
YamlFile *yaml_file_parse(const char *text, size_t length, const char *name, GError **error);
YamlFile *yaml_file_free(YamlFile *file);
YamlNode yaml_file_root(const YamlFile *file);

/* Absent and null members read as empty, members of another type are an error that names file, line
 * and `key`; false then. */
bool yaml_member_mapping(YamlNode parent, const char *key, YamlNode *ret, GError **error);
bool yaml_member_sequence(YamlNode parent, const char *key, YamlNode *ret, GError **error);
/* *ret is NULL if absent or null. Borrowed. */
bool yaml_member_text(YamlNode parent, const char *key, const char **ret, GError **error);
bool yaml_member_bool(YamlNode parent, const char *key, bool *ret, GError **error);

size_t yaml_sequence_length(YamlNode sequence);
YamlNode yaml_sequence_at(YamlNode sequence, size_t index);
/* NULL if it is no scalar. */
const char *yaml_scalar(YamlNode node);
/* API_CONFIG_ERROR_FIELD: "FILE: line N: TEXT". */
void yaml_fail(YamlNode node, GError **error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

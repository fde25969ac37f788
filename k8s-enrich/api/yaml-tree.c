// SPDX-License-Identifier: GPL-2.0-or-later
#include "k8s-enrich/api/yaml-tree.h"

#include <string.h>
#include <yaml.h>

#include "k8s-enrich/api/config.h"

struct YamlFile {
    yaml_document_t document;
    char *name;
};

static yaml_node_t *node_of(YamlNode node)
{
    return (yaml_node_t *)node.node;
}

static yaml_node_t *node_at(const YamlFile *file, int index)
{
    return yaml_document_get_node((yaml_document_t *)&file->document, index);
}

YamlFile *yaml_file_parse(const char *text, size_t length, const char *name, GError **error)
{
    yaml_parser_t parser;
    YamlFile *file = g_new0(YamlFile, 1);
    if (!yaml_parser_initialize(&parser))
        g_error("out of memory");
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, length);
    if (yaml_parser_load(&parser, &file->document)) {
        file->name = g_strdup(name);
    } else {
        g_set_error(error, API_CONFIG_ERROR, API_CONFIG_ERROR_SYNTAX,
                    "%s: line %zu, column %zu: %s; expected a kubeconfig in YAML", name,
                    parser.problem_mark.line + 1, parser.problem_mark.column + 1,
                    parser.problem ? parser.problem : "cannot be read");
        g_clear_pointer(&file, g_free);
    }
    yaml_parser_delete(&parser);
    return file;
}

YamlFile *yaml_file_free(YamlFile *file)
{
    if (!file)
        return NULL;
    yaml_document_delete(&file->document);
    g_free(file->name);
    g_free(file);
    return NULL;
}

YamlNode yaml_file_root(const YamlFile *file)
{
    return (YamlNode){file, yaml_document_get_root_node((yaml_document_t *)&file->document)};
}

void yaml_fail(YamlNode node, GError **error, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    g_autofree char *what = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    g_set_error(error, API_CONFIG_ERROR, API_CONFIG_ERROR_FIELD, "%s: line %zu: %s",
                node.file->name, node.node ? node_of(node)->start_mark.line + 1 : (size_t)1, what);
}

const char *yaml_scalar(YamlNode node)
{
    yaml_node_t *scalar = node_of(node);
    if (!scalar || scalar->type != YAML_SCALAR_NODE)
        return NULL;
    return (const char *)scalar->data.scalar.value;
}

static bool is_null(const yaml_node_t *node)
{
    if (node->type != YAML_SCALAR_NODE || node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return false;
    const char *text = (const char *)node->data.scalar.value;
    return !*text || g_str_equal(text, "~") || g_str_equal(text, "null");
}

/* Of a key that is there twice the last counts, as in the other readers of these files. */
static yaml_node_t *member(YamlNode parent, const char *key)
{
    yaml_node_t *mapping = node_of(parent);
    if (!mapping || mapping->type != YAML_MAPPING_NODE)
        return NULL;
    for (yaml_node_pair_t *pair = mapping->data.mapping.pairs.top;
         pair > mapping->data.mapping.pairs.start;) {
        pair--;
        const char *name = yaml_scalar((YamlNode){parent.file, node_at(parent.file, pair->key)});
        if (name && g_str_equal(name, key)) {
            yaml_node_t *value = node_at(parent.file, pair->value);
            return value && !is_null(value) ? value : NULL;
        }
    }
    return NULL;
}

static bool member_typed(YamlNode parent, const char *key, yaml_node_type_t type, const char *what,
                         YamlNode *ret, GError **error)
{
    *ret = (YamlNode){parent.file, member(parent, key)};
    if (!ret->node || node_of(*ret)->type == type)
        return true;
    yaml_fail(*ret, error, "%s: expected %s", key, what);
    return false;
}

bool yaml_member_mapping(YamlNode parent, const char *key, YamlNode *ret, GError **error)
{
    return member_typed(parent, key, YAML_MAPPING_NODE, "a mapping", ret, error);
}

bool yaml_member_sequence(YamlNode parent, const char *key, YamlNode *ret, GError **error)
{
    return member_typed(parent, key, YAML_SEQUENCE_NODE, "a list", ret, error);
}

bool yaml_member_text(YamlNode parent, const char *key, const char **ret, GError **error)
{
    YamlNode scalar;
    if (!member_typed(parent, key, YAML_SCALAR_NODE, "a text", &scalar, error))
        return false;
    *ret = yaml_scalar(scalar);
    if (!*ret || strlen(*ret) == node_of(scalar)->data.scalar.length)
        return true;
    yaml_fail(scalar, error, "%s: has a zero byte in it", key);
    return false;
}

bool yaml_member_bool(YamlNode parent, const char *key, bool *ret, GError **error)
{
    const char *text;
    if (!yaml_member_text(parent, key, &text, error))
        return false;
    *ret = text && g_str_equal(text, "true");
    if (!text || *ret || g_str_equal(text, "false"))
        return true;
    yaml_fail((YamlNode){parent.file, member(parent, key)}, error, "%s: expected true or false",
              key);
    return false;
}

size_t yaml_sequence_length(YamlNode sequence)
{
    yaml_node_t *node = node_of(sequence);
    return node ? (size_t)(node->data.sequence.items.top - node->data.sequence.items.start) : 0;
}

YamlNode yaml_sequence_at(YamlNode sequence, size_t index)
{
    return (YamlNode){sequence.file,
                      node_at(sequence.file, node_of(sequence)->data.sequence.items.start[index])};
}

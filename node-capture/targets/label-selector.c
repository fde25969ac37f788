// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/targets/label-selector.h"

#include <string.h>

#include "node-capture/targets/targets.h"

#define LABEL_PREFIX_MAX 253u /* a DNS subdomain */
#define LABEL_NAME_MAX   63u

typedef enum LabelOperator { LABEL_EXISTS, LABEL_ABSENT, LABEL_IN, LABEL_NOT_IN } LabelOperator;

typedef struct Requirement {
    char *key;
    LabelOperator op;
    GPtrArray *values; /* of char *; = and != are sets of one */
} Requirement;

struct LabelSelector {
    GArray *requirements; /* of Requirement, all of which must hold */
};

typedef struct Parser {
    const char *text, *cursor;
    GError **error;
} Parser;

static void requirement_clear(void *data)
{
    Requirement *requirement = data;
    g_free(requirement->key);
    g_ptr_array_unref(requirement->values);
}

static bool fail(const Parser *parser, const char *at, const char *expected)
{
    char found[64] = "the end";
    if (*at) {
        g_autofree char *rest = g_strndup(at, strcspn(at, " \t,()=!"));
        g_autofree char *shown = g_strescape(*rest ? rest : (char[]){*at, '\0'}, NULL);
        g_snprintf(found, sizeof(found), "\"%.40s\"", shown);
    }
    g_set_error(parser->error, SELECTOR_ERROR, SELECTOR_ERROR_SYNTAX,
                "label selector, column %zu: found %s, expected %s",
                (size_t)(at - parser->text) + 1, found, expected);
    return false;
}

static void skip_spaces(Parser *parser)
{
    parser->cursor += strspn(parser->cursor, " \t");
}

static bool take(Parser *parser, const char *symbol)
{
    skip_spaces(parser);
    if (!g_str_has_prefix(parser->cursor, symbol)) {
        return false;
    }
    parser->cursor += strlen(symbol);
    return true;
}

/* The run of characters that no operator begins with: a key, a value, "in" or "notin". May be
 * empty. */
static size_t word_length(const Parser *parser)
{
    return strcspn(parser->cursor, " \t,()=!<>");
}

static bool take_word(Parser *parser, const char *word)
{
    skip_spaces(parser);
    if (word_length(parser) != strlen(word) || !g_str_has_prefix(parser->cursor, word)) {
        return false;
    }
    parser->cursor += strlen(word);
    return true;
}

/* Letters, digits and -_. inside; letters and digits at both ends. */
static bool name_valid(const char *name, size_t length)
{
    if (length == 0 || length > LABEL_NAME_MAX || !g_ascii_isalnum(name[0]) ||
        !g_ascii_isalnum(name[length - 1])) {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        if (!g_ascii_isalnum(name[i]) && !strchr("-_.", name[i])) {
            return false;
        }
    }
    return true;
}

static bool prefix_valid(const char *prefix, size_t length)
{
    if (length == 0 || length > LABEL_PREFIX_MAX) {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        bool edge = i == 0 || i + 1 == length || prefix[i - 1] == '.' || prefix[i + 1] == '.';
        bool plain = g_ascii_islower(prefix[i]) || g_ascii_isdigit(prefix[i]);
        if (!plain && (edge || (prefix[i] != '-' && prefix[i] != '.'))) {
            return false;
        }
    }
    return true;
}

static bool parse_key(Parser *parser, char **ret)
{
    skip_spaces(parser);
    const char *begin = parser->cursor;
    size_t length = word_length(parser);
    const char *slash = memchr(begin, '/', length);
    const char *name = slash ? slash + 1 : begin;
    if ((slash && !prefix_valid(begin, (size_t)(slash - begin))) ||
        !name_valid(name, length - (size_t)(name - begin))) {
        return fail(parser, begin, "a label key such as app or example.com/app");
    }
    *ret = g_strndup(begin, length);
    parser->cursor += length;
    return true;
}

static bool parse_value(Parser *parser, GPtrArray *values)
{
    skip_spaces(parser);
    size_t length = word_length(parser);
    if (length > 0 && !name_valid(parser->cursor, length)) {
        return fail(
            parser, parser->cursor,
            "a label value: up to 63 letters, digits, '-', '_' or '.', beginning and ending with "
            "a letter or digit");
    }
    g_ptr_array_add(values, g_strndup(parser->cursor, length));
    parser->cursor += length;
    return true;
}

static bool parse_set(Parser *parser, GPtrArray *values)
{
    if (!take(parser, "(")) {
        return fail(parser, parser->cursor, "'(' and a list of values");
    }
    do {
        if (!parse_value(parser, values)) {
            return false;
        }
    } while (take(parser, ","));
    return take(parser, ")") || fail(parser, parser->cursor, "',' or ')'");
}

static bool parse_requirement(Parser *parser, Requirement *requirement)
{
    bool negated = take(parser, "!");
    if (!parse_key(parser, &requirement->key)) {
        return false;
    }
    requirement->op = negated ? LABEL_ABSENT : LABEL_EXISTS;
    if (negated) {
        return true;
    }
    if (take(parser, "!=")) {
        requirement->op = LABEL_NOT_IN;
        return parse_value(parser, requirement->values);
    }
    if (take(parser, "==") || take(parser, "=")) {
        requirement->op = LABEL_IN;
        return parse_value(parser, requirement->values);
    }
    if (take_word(parser, "in")) {
        requirement->op = LABEL_IN;
        return parse_set(parser, requirement->values);
    }
    if (take_word(parser, "notin")) {
        requirement->op = LABEL_NOT_IN;
        return parse_set(parser, requirement->values);
    }
    return true;
}

static bool parse_selector(Parser *parser, GArray *requirements)
{
    skip_spaces(parser);
    if (!*parser->cursor) {
        return true;
    }
    for (;;) {
        Requirement requirement = {NULL, LABEL_EXISTS, g_ptr_array_new_with_free_func(g_free)};
        bool parsed = parse_requirement(parser, &requirement);
        g_array_append_val(requirements, requirement);
        if (!parsed) {
            return false;
        }
        skip_spaces(parser);
        if (!*parser->cursor) {
            return true;
        }
        if (!take(parser, ",")) {
            return fail(parser, parser->cursor,
                        requirement.op == LABEL_EXISTS ? "=, ==, !=, in, notin, ',' or the end"
                                                       : "',' or the end");
        }
    }
}

LabelSelector *label_selector_new(const char *text, GError **error)
{
    LabelSelector *selector = g_new0(LabelSelector, 1);
    selector->requirements = g_array_new(FALSE, FALSE, sizeof(Requirement));
    g_array_set_clear_func(selector->requirements, requirement_clear);
    Parser parser = {text, text, error};
    if (!parse_selector(&parser, selector->requirements)) {
        return label_selector_free(selector);
    }
    return selector;
}

LabelSelector *label_selector_free(LabelSelector *selector)
{
    if (selector) {
        g_array_unref(selector->requirements);
        g_free(selector);
    }
    return NULL;
}

static const char *label_value(const EntityLabel *labels, size_t n_labels, const char *key)
{
    for (size_t i = 0; i < n_labels; i++) {
        if (strcmp(labels[i].key, key) == 0) {
            return labels[i].value;
        }
    }
    return NULL;
}

static bool requirement_holds(const Requirement *requirement, const char *value)
{
    bool in =
        value && g_ptr_array_find_with_equal_func(requirement->values, value, g_str_equal, NULL);
    switch (requirement->op) {
    case LABEL_EXISTS:
        return value != NULL;
    case LABEL_ABSENT:
        return value == NULL;
    case LABEL_IN:
        return in;
    case LABEL_NOT_IN:
        return !in;
    }
    return false;
}

bool label_selector_matches(const LabelSelector *selector, const EntityLabel *labels,
                            size_t n_labels)
{
    for (guint i = 0; i < selector->requirements->len; i++) {
        const Requirement *requirement = &g_array_index(selector->requirements, Requirement, i);
        if (!requirement_holds(requirement, label_value(labels, n_labels, requirement->key))) {
            return false;
        }
    }
    return true;
}

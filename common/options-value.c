// SPDX-License-Identifier: GPL-2.0-or-later
/* Values of options: from text, and what is said where the text is wrong. */
#include "common/options-private.h"

#include <string.h>

#define QUOTE_MAX 80 /* bytes of a wrong value that a message repeats */

typedef struct Unit {
    const char *name;
    uint64_t factor;
} Unit;

/* Largest first: what is printed takes the first that divides the value. */
static const Unit size_units[] = {
    {"T", (uint64_t)1 << 40}, {"G", 1 << 30}, {"M", 1 << 20}, {"k", 1 << 10}, {"", 1}, {NULL, 0},
};
static const Unit duration_units[] = {
    {"d", 86400 * (uint64_t)1000000000},
    {"h", 3600 * (uint64_t)1000000000},
    {"m", 60 * (uint64_t)1000000000},
    {"s", 1000000000},
    {"ms", 1000000},
    {"us", 1000},
    {"ns", 1},
    {NULL, 0},
};

GQuark option_error_quark(void)
{
    return g_quark_from_static_string("remora-option-error");
}

char *option_quote(const char *text)
{
    size_t length = strnlen(text, QUOTE_MAX + 1);
    bool cut = length > QUOTE_MAX;
    g_autofree char *valid = g_utf8_make_valid(text, (gssize)(cut ? QUOTE_MAX : length));
    for (char *at = valid; *at; at++) {
        if (g_ascii_iscntrl(*at))
            *at = '?';
    }
    return g_strdup_printf("\"%s%s\"", valid, cut ? "..." : "");
}

static char *format_units(const Unit *units, uint64_t value)
{
    while (units->factor > 1 && (!value || value % units->factor))
        units++;
    return g_strdup_printf("%" G_GUINT64_FORMAT "%s", value / units->factor, units->name);
}

static char *format_number(OptionKind kind, uint64_t value)
{
    switch (kind) {
    case OPTION_SIZE:
        return format_units(size_units, value);
    case OPTION_DURATION:
        return format_units(duration_units, value);
    default:
        return g_strdup_printf("%" G_GUINT64_FORMAT, value);
    }
}

static char *expected_number(const Option *option, const char *what)
{
    if (!option->minimum && !option->maximum)
        return g_strdup(what);
    g_autofree char *minimum = format_number(option->kind, option->minimum);
    if (!option->maximum)
        return g_strdup_printf("%s, %s or more", what, minimum);
    g_autofree char *maximum = format_number(option->kind, option->maximum);
    return g_strdup_printf("%s from %s to %s", what, minimum, maximum);
}

char *option_value_expected(const Option *option)
{
    switch (option->kind) {
    case OPTION_FLAG:
        return g_strdup("true or false");
    case OPTION_UINT:
        return expected_number(option, "a whole number");
    case OPTION_SIZE:
        return expected_number(option, "a size such as 512, 64k, 16M or 1G");
    case OPTION_DURATION:
        return expected_number(option, "a duration such as 250ms, 2s, 5m or 1h30m");
    case OPTION_CHOICE: {
        g_autofree char *choices = g_strjoinv(", ", (char **)option->choices);
        return g_strdup_printf("one of %s", choices);
    }
    case OPTION_FILE:
        return g_strdup("a path");
    case OPTION_STRING:
    case OPTION_LIST:
        break;
    }
    return g_strdup("text in UTF-8");
}

static bool parse_flag(const char *text, bool *ret)
{
    static const char *const yes[] = {"true", "yes", "on", "1", NULL};
    static const char *const no[] = {"false", "no", "off", "0", NULL};
    g_autofree char *lower = g_ascii_strdown(text, -1);
    *ret = g_strv_contains(yes, lower);
    return *ret || g_strv_contains(no, lower);
}

/* Digits, and where they end. */
static bool parse_digits(const char **cursor, uint64_t *ret)
{
    const char *at = *cursor;
    uint64_t value = 0;
    for (; g_ascii_isdigit(*at); at++) {
        if (!g_uint64_checked_mul(&value, value, 10) ||
            !g_uint64_checked_add(&value, value, (uint64_t)(*at - '0')))
            return false;
    }
    bool found = at != *cursor;
    *cursor = at;
    *ret = value;
    return found;
}

static bool parse_uint(const char *text, uint64_t *ret)
{
    return parse_digits(&text, ret) && !*text;
}

/* "64k"; "64Ki" and "64KiB", as Kubernetes and others write it, mean the same. */
static bool parse_size(const char *text, uint64_t *ret)
{
    static const char *const endings[] = {"", "i", "b", "ib", NULL};
    if (!parse_digits(&text, ret))
        return false;
    if (!*text)
        return true;
    for (const Unit *unit = size_units; unit->factor > 1; unit++) {
        if (g_ascii_tolower(*text) != g_ascii_tolower(*unit->name))
            continue;
        g_autofree char *ending = g_ascii_strdown(text + 1, -1);
        return g_strv_contains(endings, ending) && g_uint64_checked_mul(ret, *ret, unit->factor);
    }
    return false;
}

/* "2s" or, as Go writes it, "1h30m". A number without unit is refused, for nobody could know what
 * it means; but 0 is 0. */
static bool parse_duration(const char *text, uint64_t *ret)
{
    uint64_t total = 0;
    if (!*text)
        return false;
    while (*text) {
        uint64_t value;
        if (!parse_digits(&text, &value))
            return false;
        size_t length = strcspn(text, "0123456789");
        const Unit *unit = duration_units;
        while (unit->name && (strlen(unit->name) != length || strncmp(unit->name, text, length)))
            unit++;
        if (!unit->name && (length || value))
            return false;
        if (unit->name && (!g_uint64_checked_mul(&value, value, unit->factor) ||
                           !g_uint64_checked_add(&total, total, value)))
            return false;
        text += length;
    }
    *ret = total;
    return true;
}

static bool set_number(const Option *option, const char *text, uint64_t *ret)
{
    uint64_t value;
    bool valid = option->kind == OPTION_UINT   ? parse_uint(text, &value)
                 : option->kind == OPTION_SIZE ? parse_size(text, &value)
                                               : parse_duration(text, &value);
    if (!valid || value < option->minimum || (option->maximum && value > option->maximum))
        return false;
    *ret = value;
    return true;
}

static bool set_text(const Option *option, const char *text, char **ret)
{
    bool valid = option->kind == OPTION_FILE     ? *text != '\0' /* a path may be in any encoding */
                 : option->kind == OPTION_CHOICE ? g_strv_contains(option->choices, text)
                                                 : g_utf8_validate(text, -1, NULL);
    if (!valid)
        return false;
    g_free(*ret);
    *ret = g_strdup(text);
    return true;
}

static bool add_to_list(const char *text, char ***ret)
{
    if (!g_utf8_validate(text, -1, NULL))
        return false;
    g_autoptr(GStrvBuilder) builder = g_strv_builder_new();
    if (*ret)
        g_strv_builder_addv(builder, (const char **)*ret);
    g_auto(GStrv) parts = g_strsplit(text, ",", -1);
    for (char **part = parts; *part; part++) {
        if (*g_strstrip(*part))
            g_strv_builder_add(builder, *part);
    }
    g_strfreev(*ret);
    *ret = g_strv_builder_end(builder);
    return true;
}

static bool set(const Option *option, const char *text, void *value)
{
    switch (option->kind) {
    case OPTION_FLAG:
        return parse_flag(text, value);
    case OPTION_UINT:
    case OPTION_SIZE:
    case OPTION_DURATION:
        return set_number(option, text, value);
    case OPTION_STRING:
    case OPTION_CHOICE:
    case OPTION_FILE:
        return set_text(option, text, value);
    case OPTION_LIST:
        return add_to_list(text, value);
    }
    return false;
}

bool option_value_set(const Option *option, const char *text, const char *origin, void *values,
                      GError **error)
{
    if (set(option, text, (char *)values + option->offset))
        return true;
    g_autofree char *given = option_quote(text);
    g_autofree char *expected = option_value_expected(option);
    g_set_error(error, OPTION_ERROR, OPTION_ERROR_VALUE, "%s: %s given, expected %s", origin, given,
                expected);
    return false;
}

void option_value_clear(const Option *option, void *values)
{
    void *value = (char *)values + option->offset;
    switch (option->kind) {
    case OPTION_STRING:
    case OPTION_CHOICE:
    case OPTION_FILE:
        g_clear_pointer((char **)value, g_free);
        break;
    case OPTION_LIST:
        g_clear_pointer((char ***)value, g_strfreev);
        break;
    case OPTION_FLAG:
    case OPTION_UINT:
    case OPTION_SIZE:
    case OPTION_DURATION:
        break;
    }
}

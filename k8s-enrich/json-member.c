// SPDX-License-Identifier: GPL-2.0-or-later
#include "k8s-enrich/json-member.h"

#include <glib.h>
#include <string.h>

#define SECOND_NS  UINT64_C(1000000000)
#define QUOTED_MAX 60 /* of a text that is repeated in a problem */

void problem_set(char **problem, const char *parent, const char *key, const char *format, ...)
{
    va_list arguments;
    if (*problem)
        return;
    va_start(arguments, format);
    g_autofree char *what = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    *problem = g_strdup_printf("%s%s%s: %s", parent, *parent ? "." : "", key, what);
}

static const char *type_name(json_type type)
{
    switch (type) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a number with a fraction";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a boolean";
    case JSON_NULL:
        break;
    }
    return "null";
}

static const json_t *member_any(const json_t *object, const char *key)
{
    const json_t *member = json_object_get(object, key);
    return json_is_null(member) ? NULL : member;
}

static const json_t *member_typed(const json_t *object, const char *parent, const char *key,
                                  json_type type, char **problem)
{
    const json_t *member = member_any(object, key);
    if (!member || json_typeof(member) == type)
        return member;
    problem_set(problem, parent, key, "expected %s, found %s", type_name(type),
                type_name(json_typeof(member)));
    return NULL;
}

const json_t *member_object(const json_t *object, const char *parent, const char *key,
                            char **problem)
{
    return member_typed(object, parent, key, JSON_OBJECT, problem);
}

const json_t *member_array(const json_t *object, const char *parent, const char *key,
                           char **problem)
{
    return member_typed(object, parent, key, JSON_ARRAY, problem);
}

const json_t *member_objects(const json_t *object, const char *parent, const char *key,
                             char **problem)
{
    const json_t *array = member_array(object, parent, key, problem);
    size_t index;
    const json_t *element;
    json_array_foreach(array, index, element)
    {
        if (json_is_object(element))
            continue;
        problem_set(problem, parent, key, "expected objects, found %s at index %zu",
                    type_name(json_typeof(element)), index);
        return NULL;
    }
    return array;
}

const char *member_text(const json_t *object, const char *parent, const char *key, char **problem)
{
    const json_t *member = member_typed(object, parent, key, JSON_STRING, problem);
    return member ? json_string_value(member) : "";
}

bool member_true(const json_t *object, const char *parent, const char *key, char **problem)
{
    const json_t *member = member_any(object, key);
    if (member && !json_is_boolean(member))
        problem_set(problem, parent, key, "expected a boolean, found %s",
                    type_name(json_typeof(member)));
    return json_is_true(member);
}

uint16_t member_port(const json_t *object, const char *parent, const char *key, char **problem)
{
    const json_t *member = member_typed(object, parent, key, JSON_INTEGER, problem);
    json_int_t port = json_integer_value(member);
    if (port >= 0 && port <= UINT16_MAX)
        return (uint16_t)port;
    problem_set(problem, parent, key, "%" JSON_INTEGER_FORMAT " is no port", port);
    return 0;
}

uint8_t member_protocol(const json_t *object, const char *parent, char **problem)
{
    const char *text = member_text(object, parent, "protocol", problem);
    if (!*text || g_str_equal(text, "TCP"))
        return 6;
    if (g_str_equal(text, "UDP"))
        return 17;
    if (g_str_equal(text, "SCTP"))
        return 132;
    problem_set(problem, parent, "protocol", "\"%.*s\" is none of TCP, UDP and SCTP", QUOTED_MAX,
                text);
    return 0;
}

uint64_t member_time(const json_t *object, const char *parent, const char *key, char **problem)
{
    const char *text = member_text(object, parent, key, problem);
    if (!*text)
        return 0;
    g_autoptr(GTimeZone) utc = g_time_zone_new_utc();
    g_autoptr(GDateTime) time = g_date_time_new_from_iso8601(text, utc);
    if (!time) {
        problem_set(problem, parent, key, "\"%.*s\" is no RFC 3339 time", QUOTED_MAX, text);
        return 0;
    }
    gint64 seconds = g_date_time_to_unix(time);
    if (seconds <= 0)
        return 0;
    if ((uint64_t)seconds >= UINT64_MAX / SECOND_NS) {
        problem_set(problem, parent, key, "\"%.*s\" is too far in the future", QUOTED_MAX, text);
        return 0;
    }
    return (uint64_t)seconds * SECOND_NS + (uint64_t)g_date_time_get_microsecond(time) * 1000u;
}

bool parse_address(const char *text, const char *parent, const char *key, IpAddress *ret,
                   char **problem)
{
    if (ip_address_from_text(ret, text))
        return true;
    problem_set(problem, parent, key, "\"%.*s\" is no IP address", QUOTED_MAX, text);
    return false;
}

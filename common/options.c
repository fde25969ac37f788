// SPDX-License-Identifier: GPL-2.0-or-later
/* Where the values of options come from: command line, environment, configuration file, default. */
#include "common/options.h"

#include <string.h>

#include "common/options-private.h"

#define CONFIG_GROUP "remora"

/* One occurrence on the command line. */
typedef struct Given {
    const Option *option;
    const char *value; /* into argv */
    char *origin;      /* as it was spelled: "--snap-length" or "-s" */
} Given;

typedef struct CommandLine {
    const OptionTable *table;
    int argc;
    char **argv;
    int next;
    GArray *given;       /* Given */
    GPtrArray *options;  /* arguments that are options or their values, in order */
    GPtrArray *operands; /* the rest */
} CommandLine;

static void given_clear(void *given)
{
    g_free(((Given *)given)->origin);
}

static const Option *find_long(const OptionTable *table, const char *name, size_t length)
{
    for (const Option *option = table->options; option->name; option++) {
        if (strlen(option->name) == length && !strncmp(option->name, name, length))
            return option;
    }
    return NULL;
}

static const Option *find_short(const OptionTable *table, char name)
{
    for (const Option *option = table->options; option->name; option++) {
        if (option->short_name && option->short_name == name)
            return option;
    }
    return NULL;
}

/* Levenshtein's distance; the names are short. */
static size_t distance(const char *a, const char *b)
{
    size_t width = strlen(b);
    g_autofree size_t *row = g_new(size_t, width + 1);
    for (size_t j = 0; j <= width; j++)
        row[j] = j;
    for (size_t i = 0; a[i]; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < width; j++) {
            size_t change = diagonal + (a[i] != b[j]);
            diagonal = row[j + 1];
            row[j + 1] = MIN(change, MIN(diagonal, row[j]) + 1);
        }
    }
    return row[width];
}

/* The name that was meant, or NULL where nothing is near: beginnings of a name count, and few wrong
 * letters. */
static const char *suggest(const OptionTable *table, const char *name)
{
    const char *nearest = NULL;
    size_t least = strlen(name) / 3 + 1;
    if (strlen(name) > 64)
        return NULL;
    for (const Option *option = table->options; option->name; option++) {
        if (option->hidden)
            continue;
        size_t away =
            *name && g_str_has_prefix(option->name, name) ? 0 : distance(name, option->name);
        if (away < least || (away == least && !nearest)) {
            least = away;
            nearest = option->name;
        }
    }
    return nearest;
}

static bool fail_unknown(const OptionTable *table, const char *name, const char *origin,
                         GError **error)
{
    g_autofree char *given = option_quote(origin);
    const char *meant = suggest(table, name);
    if (meant)
        g_set_error(error, OPTION_ERROR, OPTION_ERROR_UNKNOWN,
                    "unknown option %s, did you mean --%s?", given, meant);
    else
        g_set_error(error, OPTION_ERROR, OPTION_ERROR_UNKNOWN, "unknown option %s, see --help",
                    given);
    return false;
}

/* Takes the value of an option: what is attached to it, or the next argument. */
static bool take_value(CommandLine *line, const Option *option, const char *attached, char *origin,
                       GError **error)
{
    Given given = {.option = option, .value = attached, .origin = origin};
    if (!attached && option->kind == OPTION_FLAG)
        given.value = "true";
    else if (!attached && line->next < line->argc) {
        g_ptr_array_add(line->options, line->argv[line->next]);
        given.value = line->argv[line->next++];
    }
    g_array_append_val(line->given, given);
    if (given.value)
        return true;
    g_autofree char *expected = option_value_expected(option);
    g_set_error(error, OPTION_ERROR, OPTION_ERROR_VALUE, "%s: no value given, expected %s", origin,
                expected);
    return false;
}

static bool take_long(CommandLine *line, const char *argument, GError **error)
{
    const char *name = argument + 2;
    size_t length = strcspn(name, "=");
    const Option *option = find_long(line->table, name, length);
    if (!option) {
        g_autofree char *given = g_strndup(argument, length + 2);
        return fail_unknown(line->table, given + 2, given, error);
    }
    return take_value(line, option, name[length] ? name + length + 1 : NULL,
                      g_strdup_printf("--%s", option->name), error);
}

/* "-v", "-s64", or several flags together: "-vq". */
static bool take_short(CommandLine *line, const char *argument, GError **error)
{
    /* A long name with one dash too few would else be a short option with an odd value. */
    const char *name = argument + 1;
    if (name[1] && find_long(line->table, name, strcspn(name, "=")))
        return fail_unknown(line->table, name, argument, error);
    for (const char *at = name; *at; at++) {
        const Option *option = find_short(line->table, *at);
        if (!option)
            return fail_unknown(line->table, name, argument, error);
        bool is_flag = option->kind == OPTION_FLAG;
        if (!take_value(line, option, is_flag || !at[1] ? NULL : at + 1,
                        g_strdup_printf("-%c", *at), error))
            return false;
        if (!is_flag)
            break;
    }
    return true;
}

static bool read_command_line(CommandLine *line, GError **error)
{
    while (line->next < line->argc) {
        char *argument = line->argv[line->next++];
        if (argument[0] != '-' || !argument[1]) {
            g_ptr_array_add(line->operands, argument);
            continue;
        }
        g_ptr_array_add(line->options, argument);
        if (!strcmp(argument, "--")) {
            while (line->next < line->argc)
                g_ptr_array_add(line->operands, line->argv[line->next++]);
        } else if (!(argument[1] == '-' ? take_long : take_short)(line, argument, error)) {
            return false;
        }
    }
    return true;
}

/* Operands last. A "--" stays in front of them, so that reading the line again finds the same. */
static char **permute(CommandLine *line)
{
    int at = 1;
    for (guint i = 0; i < line->options->len; i++)
        line->argv[at++] = line->options->pdata[i];
    for (guint i = 0; i < line->operands->len; i++)
        line->argv[at + (int)i] = line->operands->pdata[i];
    return line->argv + at;
}

static bool check_config(const OptionTable *table, GKeyFile *config, const char *path,
                         GError **error)
{
    g_auto(GStrv) groups = g_key_file_get_groups(config, NULL);
    for (char **group = groups; *group; group++) {
        if (!strcmp(*group, CONFIG_GROUP))
            continue;
        g_autofree char *given = option_quote(*group);
        g_set_error(error, OPTION_ERROR, OPTION_ERROR_FILE, "%s: unknown group %s, expected [%s]",
                    path, given, CONFIG_GROUP);
        return false;
    }
    g_auto(GStrv) keys = g_key_file_get_keys(config, CONFIG_GROUP, NULL, NULL);
    for (char **key = keys; key && *key; key++) {
        if (find_long(table, *key, strlen(*key)))
            continue;
        g_autofree char *given = option_quote(*key);
        const char *meant = suggest(table, *key);
        g_set_error(error, OPTION_ERROR, OPTION_ERROR_UNKNOWN, "%s: unknown key %s, %s%s%s", path,
                    given, meant ? "did you mean " : "expected the long name of an option",
                    meant ? meant : "", meant ? "?" : "");
        return false;
    }
    return true;
}

/* *ret stays NULL where there is no file and none is required. */
static bool load_config(const OptionTable *table, const char *path, bool required, GKeyFile **ret,
                        GError **error)
{
    g_autoptr(GKeyFile) config = g_key_file_new();
    g_autoptr(GError) reason = NULL;
    if (!path)
        return true;
    if (g_key_file_load_from_file(config, path, G_KEY_FILE_NONE, &reason)) {
        if (!check_config(table, config, path, error))
            return false;
        *ret = g_steal_pointer(&config);
        return true;
    }
    if (!required && g_error_matches(reason, G_FILE_ERROR, G_FILE_ERROR_NOENT))
        return true;
    g_set_error(error, OPTION_ERROR, OPTION_ERROR_FILE, "%s: cannot read the configuration: %s",
                path, reason->message);
    return false;
}

static bool set_from_config(const Option *option, GKeyFile *config, const char *path, void *values,
                            GError **error)
{
    g_autofree char *origin = g_strdup_printf("%s: %s", path, option->name);
    g_autoptr(GError) reason = NULL;
    g_autofree char *text = g_key_file_get_string(config, CONFIG_GROUP, option->name, &reason);
    if (text)
        return option_value_set(option, text, origin, values, error);
    g_set_error(error, OPTION_ERROR, OPTION_ERROR_VALUE, "%s: %s", origin, reason->message);
    return false;
}

/* The first source that has the option gives its value. */
static bool set_option(const Option *option, GArray *given, GKeyFile *config,
                       const char *config_path, void *values, GError **error)
{
    bool found = false;
    if (option->kind == OPTION_LIST)
        *(char ***)((char *)values + option->offset) = g_new0(char *, 1);
    for (guint i = 0; i < given->len; i++) {
        const Given *one = &g_array_index(given, Given, i);
        if (one->option != option)
            continue;
        found = true;
        if (!option_value_set(option, one->value, one->origin, values, error))
            return false;
    }
    if (found)
        return true;
    const char *variable = option->environment ? g_getenv(option->environment) : NULL;
    if (variable && *variable) {
        g_autofree char *origin = g_strdup_printf("environment variable %s", option->environment);
        return option_value_set(option, variable, origin, values, error);
    }
    if (config && g_key_file_has_key(config, CONFIG_GROUP, option->name, NULL))
        return set_from_config(option, config, config_path, values, error);
    if (!option->fallback)
        return true;
    g_autofree char *origin = g_strdup_printf("default of --%s", option->name);
    return option_value_set(option, option->fallback, origin, values, error);
}

bool options_parse(const OptionTable *table, int argc, char **argv, const char *config_file,
                   bool config_required, void *values, char ***ret_operands, GError **error)
{
    g_autoptr(GArray) given = g_array_new(FALSE, FALSE, sizeof(Given));
    g_array_set_clear_func(given, given_clear);
    g_autoptr(GPtrArray) option_arguments = g_ptr_array_new();
    g_autoptr(GPtrArray) operands = g_ptr_array_new();
    CommandLine line = {
        .table = table,
        .argc = argc,
        .argv = argv,
        .next = 1,
        .given = given,
        .options = option_arguments,
        .operands = operands,
    };
    g_autoptr(GKeyFile) config = NULL;
    if (!read_command_line(&line, error) ||
        !load_config(table, config_file, config_required, &config, error))
        return false;
    for (const Option *option = table->options; option->name; option++) {
        if (!set_option(option, given, config, config_file, values, error)) {
            options_clear(table, values);
            return false;
        }
    }
    *ret_operands = argc > 0 ? permute(&line) : argv;
    return true;
}

void options_clear(const OptionTable *table, void *values)
{
    for (const Option *option = table->options; option->name; option++)
        option_value_clear(option, values);
}

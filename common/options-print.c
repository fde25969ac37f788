// SPDX-License-Identifier: GPL-2.0-or-later
/* What is printed from the option table: help, the manual page, and Wireshark's dialog. */
#include "common/options-private.h"

#include <string.h>

#define HELP_WIDTH  80
#define HELP_COLUMN 28 /* where the texts begin */

static const char *argument_of(const Option *option)
{
    switch (option->kind) {
    case OPTION_FLAG:
        return NULL;
    case OPTION_UINT:
        return option->argument ? option->argument : "N";
    case OPTION_SIZE:
        return option->argument ? option->argument : "SIZE";
    case OPTION_DURATION:
        return option->argument ? option->argument : "TIME";
    case OPTION_FILE:
        return option->argument ? option->argument : "FILE";
    case OPTION_LIST:
        return option->argument ? option->argument : "NAME[,...]";
    case OPTION_STRING:
    case OPTION_CHOICE:
        break;
    }
    return option->argument ? option->argument : "VALUE";
}

static const char *group_of(const Option *option)
{
    return option->group ? option->group : "Options";
}

/* Whether no shown option before this one has its group: groups come in the order of their first
 * option. */
static bool begins_group(const OptionTable *table, const Option *option)
{
    for (const Option *before = table->options; before < option; before++) {
        if (!before->hidden && !strcmp(group_of(before), group_of(option)))
            return false;
    }
    return !option->hidden;
}

/* What there is to know of the values beside the help: choices, range, default, variable. */
static char *facts(const Option *option)
{
    g_autoptr(GPtrArray) parts = g_ptr_array_new_with_free_func(g_free);
    bool is_number = option->kind == OPTION_UINT || option->kind == OPTION_SIZE ||
                     option->kind == OPTION_DURATION;
    if (option->kind == OPTION_CHOICE || (is_number && (option->minimum || option->maximum)))
        g_ptr_array_add(parts, option_value_expected(option));
    if (option->fallback && *option->fallback && option->kind != OPTION_FLAG)
        g_ptr_array_add(parts, g_strdup_printf("default: %s", option->fallback));
    if (option->environment)
        g_ptr_array_add(parts, g_strdup_printf("environment: %s", option->environment));
    g_ptr_array_add(parts, NULL);
    return g_strjoinv("; ", (char **)parts->pdata);
}

/* Words of `text` from column `used` on, further lines from `indent` on. Ends the line. */
static void print_wrapped(FILE *out, const char *text, glong used, int indent)
{
    g_auto(GStrv) words = g_strsplit_set(text, " \n", -1);
    bool first = true;
    for (char **word = words; *word; word++) {
        glong width = g_utf8_strlen(*word, -1);
        if (!width)
            continue;
        if (!first && used + 1 + width > HELP_WIDTH) {
            fprintf(out, "\n%*s", indent, "");
            used = indent;
            first = true;
        }
        fprintf(out, "%s%s", first ? "" : " ", *word);
        used += width + (first ? 0 : 1);
        first = false;
    }
    fputc('\n', out);
}

static void print_help_option(const Option *option, FILE *out)
{
    g_autofree char *more = facts(option);
    const char *argument = argument_of(option);
    char short_name[] = {'-', option->short_name, ',', ' ', '\0'};
    g_autofree char *head =
        g_strdup_printf("  %s--%s%s%s", option->short_name ? short_name : "    ", option->name,
                        argument ? "=" : "", argument ? argument : "");
    g_autofree char *text = g_strdup_printf("%s%s%s%s", option->help ? option->help : "",
                                            *more ? " (" : "", more, *more ? ")" : "");
    glong width = g_utf8_strlen(head, -1);
    if (width + 2 > HELP_COLUMN)
        fprintf(out, "%s\n%*s", head, HELP_COLUMN, "");
    else
        fprintf(out, "%s%*s", head, (int)(HELP_COLUMN - width), "");
    print_wrapped(out, text, HELP_COLUMN, HELP_COLUMN);
}

void options_print_help(const OptionTable *table, FILE *out)
{
    fprintf(out, "Usage: %s %s\n", table->program, table->usage ? table->usage : "[OPTION...]");
    if (table->summary)
        print_wrapped(out, table->summary, 0, 0);
    for (const Option *group = table->options; group->name; group++) {
        if (!begins_group(table, group))
            continue;
        fprintf(out, "\n%s:\n", group_of(group));
        for (const Option *option = group; option->name; option++) {
            if (!option->hidden && !strcmp(group_of(option), group_of(group)))
                print_help_option(option, out);
        }
    }
}

/* ---- Manual page -----------------------------------------------------------------------------*/

/* Text as roff takes it: no requests by chance, hyphens that can be copied as such. */
static void print_roff(FILE *out, const char *text)
{
    bool at_start = true;
    for (; *text; text++) {
        if (at_start && (*text == '.' || *text == '\''))
            fputs("\\&", out);
        if (*text == '\\')
            fputs("\\e", out);
        else if (*text == '-')
            fputs("\\-", out);
        else
            fputc(*text, out);
        at_start = *text == '\n';
    }
}

static void print_roff_paragraphs(FILE *out, const char *text)
{
    g_auto(GStrv) paragraphs = g_strsplit(text, "\n\n", -1);
    for (char **paragraph = paragraphs; *paragraph; paragraph++) {
        if (!*g_strstrip(*paragraph))
            continue;
        fputs(paragraph == paragraphs ? "" : ".PP\n", out);
        print_roff(out, *paragraph);
        fputc('\n', out);
    }
}

static void print_roff_option(const Option *option, FILE *out)
{
    g_autofree char *more = facts(option);
    const char *argument = argument_of(option);
    fputs(".TP\n", out);
    if (option->short_name)
        fprintf(out, "\\fB\\-%c\\fR, ", option->short_name);
    fputs("\\fB\\-\\-", out);
    print_roff(out, option->name);
    fputs("\\fR", out);
    if (argument) {
        fputs("=\\fI", out);
        print_roff(out, argument);
        fputs("\\fR", out);
    }
    fputc('\n', out);
    if (option->help) {
        print_roff(out, option->help);
        fputs(".\n", out);
    }
    if (option->details) {
        print_roff(out, option->details);
        fputc('\n', out);
    }
    if (*more) {
        fputc('(', out);
        print_roff(out, more);
        fputs(")\n", out);
    }
}

void options_print_manual(const OptionTable *table, FILE *out)
{
    g_autofree char *title = g_ascii_strup(table->program, -1);
    /* No date: the same sources give the same page. */
    fputs(".TH ", out);
    print_roff(out, title);
    fputs(" 1 \"\" \"Remora " REMORA_VERSION "\" \"Remora\"\n.SH NAME\n", out);
    print_roff(out, table->program);
    fputs(" \\- ", out);
    print_roff(out, table->summary ? table->summary : "");
    fputs("\n.SH SYNOPSIS\n\\fB", out);
    print_roff(out, table->program);
    fputs("\\fR ", out);
    print_roff(out, table->usage ? table->usage : "[OPTION...]");
    fputc('\n', out);
    if (table->description) {
        fputs(".SH DESCRIPTION\n", out);
        print_roff_paragraphs(out, table->description);
    }
    fputs(".SH OPTIONS\nThe command line goes before the environment, the environment before the "
          "configuration\nfile, and that before the default. The configuration file has the group "
          "[remora] with\nlines \"long\\-name=value\".\n",
          out);
    for (const Option *group = table->options; group->name; group++) {
        if (!begins_group(table, group))
            continue;
        fputs(".SS ", out);
        print_roff(out, group_of(group));
        fputc('\n', out);
        for (const Option *option = group; option->name; option++) {
            if (!option->hidden && !strcmp(group_of(option), group_of(group)))
                print_roff_option(option, out);
        }
    }
}

/* ---- Wireshark's dialog ----------------------------------------------------------------------*/

/* {key=text}. A sentence ends with its line and an element at "}": neither may stand in the text.
 */
static void print_element(FILE *out, const char *key, const char *text)
{
    if (!text)
        return;
    fprintf(out, "{%s=", key);
    for (; *text; text++)
        fputc(*text == '{' ? '(' : *text == '}' ? ')' : g_ascii_iscntrl(*text) ? ' ' : *text, out);
    fputc('}', out);
}

static const char *extcap_type(const Option *option)
{
    /* Of the types in Wireshark 4.0 only the selector has a button that reloads its values. */
    if (option->reload || option->kind == OPTION_CHOICE)
        return "selector";
    switch (option->kind) {
    case OPTION_FLAG:
        return "boolflag";
    case OPTION_UINT:
        return "unsigned";
    case OPTION_FILE:
        return "fileselect";
    default:
        return "string";
    }
}

static void print_extcap_value(FILE *out, unsigned number, const char *value, const char *display,
                               bool is_default)
{
    fprintf(out, "value {arg=%u}", number);
    print_element(out, "value", value);
    print_element(out, "display", display);
    print_element(out, "default", is_default ? "true" : "false");
    fputc('\n', out);
}

static void print_extcap_option(const Option *option, unsigned number, FILE *out)
{
    g_autofree char *call = g_strdup_printf("--%s", option->name);
    const char *type = extcap_type(option);
    bool is_selector = !strcmp(type, "selector");
    fprintf(out, "arg {number=%u}", number);
    print_element(out, "call", call);
    print_element(out, "display", option->display);
    print_element(out, "tooltip", option->help);
    print_element(out, "type", type);
    /* Wireshark keeps ranges in an int; a wider one would be cut to nonsense. We check the value
     * again in any case. */
    if (option->kind == OPTION_UINT && option->maximum && option->maximum <= G_MAXINT32)
        fprintf(out, "{range=%u,%u}", (unsigned)option->minimum, (unsigned)option->maximum);
    if (!is_selector)
        print_element(out, "default", option->fallback);
    if (option->kind == OPTION_FILE)
        print_element(out, "mustexist", "false");
    if (option->reload) {
        print_element(out, "reload", "true");
        print_element(out, "placeholder", "Load the list");
    }
    print_element(out, "group", option->group);
    fputc('\n', out);
    if (option->reload) { /* until the list is loaded */
        print_extcap_value(out, number, option->fallback ? option->fallback : "",
                           option->fallback ? option->fallback : "(all)", true);
        return;
    }
    for (const char *const *choice = option->choices; choice && *choice; choice++)
        print_extcap_value(out, number, *choice, *choice,
                           option->fallback && !strcmp(*choice, option->fallback));
}

void options_print_extcap(const OptionTable *table, FILE *out)
{
    unsigned number = 0;
    for (const Option *option = table->options; option->name; option++) {
        if (option->display)
            print_extcap_option(option, number++, out);
    }
}

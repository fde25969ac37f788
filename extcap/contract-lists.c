// SPDX-License-Identifier: GPL-2.0-or-later
/* The questions of Wireshark for which nodes or libpcap are asked. */
#include <stdio.h>
#include <string.h>

#include "extcap/contract.h"
#include "extcap/filter.h"
#include "extcap/lists.h"

/* Wireshark numbers a dialog's options as they come; options_print_extcap() writes those that have
 * a label. */
static int dialog_number(const char *name)
{
    int number = 0;
    for (const Option *option = remoradump_options.options; option->name; option++) {
        if (!option->display)
            continue;
        if (strcmp(option->name, name) == 0)
            return option->reload ? number : -1;
        number++;
    }
    return -1;
}

/* Braces end a value in the contract's grammar, and a new line ends the sentence. */
static char *sentence_text(const char *text)
{
    char *copy = g_utf8_make_valid(text, -1);
    for (char *c = copy; *c; c++) {
        if (*c == '{' || *c == '}' || g_ascii_iscntrl(*c))
            *c = '_';
    }
    return copy;
}

static void print_value(int number, const char *value, const char *display, bool is_default)
{
    g_autofree char *safe_value = sentence_text(value);
    g_autofree char *safe_display = sentence_text(display);
    printf("value {arg=%d}{value=%s}{display=%s}%s\n", number, safe_value, safe_display,
           is_default ? "{default=true}" : "");
}

bool contract_print_values(const RemoradumpOptions *options, GError **error)
{
    const char *name = options->reload_option;
    name += strspn(name, "-");
    int number = dialog_number(name);
    if (number < 0) {
        g_set_error(
            error, REMORADUMP_ERROR, REMORADUMP_ERROR_USAGE,
            "--extcap-reload-option: '%s' has no list of values; namespace and pod have one", name);
        return false;
    }

    bool pods = strcmp(name, "pod") == 0;
    g_autoptr(GError) problem = NULL;
    g_autoptr(GPtrArray) values = NULL;
    if (remoradump_check_endpoints(options, NULL))
        values = lists_names(options, pods, &problem);
    else
        g_set_error(&problem, REMORADUMP_ERROR, REMORADUMP_ERROR_USAGE,
                    "fill in the nodes first, then load again");

    if (!values) {
        /* Wireshark shows no standard error here, but it shows a value. */
        g_autofree char *text = g_strdup_printf("(%s)", problem->message);
        print_value(number, "", text, true);
        return true;
    }
    print_value(number, "", pods ? "all pods" : "all namespaces", true);
    for (guint i = 0; i < values->len; i++)
        print_value(number, values->pdata[i], values->pdata[i], false);
    return true;
}

void contract_check_filter(const char *filter)
{
    g_autoptr(GError) error = NULL;
    if (!filter_check(filter, &error))
        printf("%s\n", g_strdelimit(error->message, "\r\n", ' '));
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* Options declared once. From one table come: command line parsing, --help, the manual page,
 * environment variables, the configuration file and (extcap) the dialog that Wireshark shows.
 *
 * Order of precedence: command line, environment, configuration file, default. Errors are GError
 * (OPTION_ERROR) that name the option, its origin and what was expected. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef enum OptionKind {
    OPTION_FLAG,   /* bool; let it be false by default: Wireshark's dialog can only switch it on */
    OPTION_STRING, /* char *, owned by the values; NULL if not given and no default */
    OPTION_LIST, /* char **, NULL-terminated, never NULL; given several times or separated by commas
                  */
    OPTION_UINT, /* uint64_t, within minimum..maximum */
    OPTION_CHOICE,   /* char *, one of `choices` */
    OPTION_FILE,     /* char *, a path */
    OPTION_SIZE,     /* uint64_t bytes: 64k, 16M, 1G (powers of 1024; 64Ki is the same) */
    OPTION_DURATION, /* uint64_t ns: 250ms, 2s, 5m, 1h30m */
} OptionKind;

typedef struct Option {
    const char *name; /* long name without dashes: "snap-length" */
    char short_name;  /* or 0 */
    OptionKind kind;
    const char *argument; /* as help shows it: "FILE", "HOST:PORT[,...]" */
    const char *fallback; /* default, in the form a user would type; NULL: none */
    const char *help;     /* one sentence, no full stop */
    const char *details;  /* further sentences for the manual page; may be NULL */
    const char *group;    /* heading in help; in Wireshark a tab of the dialog */
    const char *const *choices;
    uint64_t minimum, maximum; /* of OPTION_UINT, _SIZE, _DURATION; maximum 0: no upper limit */
    const char *environment;   /* variable name, or NULL */
    const char *display;       /* label in Wireshark's dialog; NULL: not shown there */
    bool reload;               /* dialog: list filled by --extcap-reload-option */
    bool hidden;               /* not in help */
    size_t offset;             /* where the value goes in the caller's struct: offsetof() */
} Option;

typedef struct OptionTable {
    const char *program;
    const char *summary;     /* one line */
    const char *usage;       /* "[OPTION...] FILE", without the program's name */
    const char *description; /* paragraphs for the manual page, separated by blank lines */
    const Option *options;   /* ends with name == NULL */
} OptionTable;

#define OPTION_ERROR (option_error_quark())
GQuark option_error_quark(void);
enum { OPTION_ERROR_UNKNOWN, OPTION_ERROR_VALUE, OPTION_ERROR_FILE };

/* Fills `values` (the caller's zeroed struct) from all sources; on failure nothing in it is left to
 * free. *argv is permuted so that the operands come last; *ret_operands points at them
 * (NULL-terminated, not copied). `config_file` may be NULL or name a file that does not exist: then
 * it is left out, unless `config_required`. Its form is GKeyFile, group [remora], keys are the long
 * names. The same argv can be parsed again, for instance once for --config and then with that file.
 */
bool options_parse(const OptionTable *table, int argc, char **argv, const char *config_file,
                   bool config_required, void *values, char ***ret_operands, GError **error);
void options_clear(const OptionTable *table,
                   void *values); /* frees what options_parse() put there */

void options_print_help(const OptionTable *table, FILE *out);
void options_print_manual(const OptionTable *table, FILE *out); /* roff, man section 1 */
/* The "arg {...}" and "value {...}" lines of the extcap contract for every option with `display`.
 */
void options_print_extcap(const OptionTable *table, FILE *out);

// SPDX-License-Identifier: GPL-2.0-or-later
#include "extcap/program.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "extcap/contract.h"
#include "extcap/fifo.h"

enum { EXIT_USAGE = 2 };

void program_begin(void)
{
    log_set_program("remoradump");
    /* What a write cannot do is told by its error. */
#ifdef SIGPIPE
    signal(SIGPIPE, SIG_IGN);
#endif
#ifdef SIGXFSZ
    signal(SIGXFSZ, SIG_IGN);
#endif
}

int program_end(int code)
{
    if (fflush(stdout) != 0 && code == EXIT_SUCCESS) {
        fprintf(stderr, "remoradump: cannot write to standard output\n");
        code = EXIT_FAILURE;
    }
    return code;
}

/* The text may quote what came from the network or the command line; the collector has a line for
 * each node. */
void program_print_error(const GError *error)
{
    g_autofree char *text = g_strdup(error->message);
    for (char *c = text; *c; c++) {
        if (g_ascii_iscntrl(*c) && *c != '\n')
            *c = ' ';
    }
    fprintf(stderr, "remoradump: %s\n", text);
}

int program_exit_code(const GError *error)
{
    bool usage = error->domain == OPTION_ERROR ||
                 g_error_matches(error, REMORADUMP_ERROR, REMORADUMP_ERROR_USAGE);
    return usage ? EXIT_USAGE : EXIT_FAILURE;
}

bool program_parse(int argc, char **argv, RemoradumpOptions *ret, char ***ret_operands,
                   GError **error)
{
    /* Wireshark asks for interfaces and their options at each start: a configuration file with a
     * mistake shall be told when somebody captures, and not take the interface away. */
    bool lists = g_strv_contains((const char *const *)argv, "--extcap-interfaces") ||
                 (g_strv_contains((const char *const *)argv, "--extcap-config") &&
                  !remoradump_argument(argc, argv, "--extcap-reload-option"));
    const char *given = remoradump_argument(argc, argv, "--config");
    g_autofree char *config = lists ? NULL : given ? g_strdup(given) : remoradump_config_path();
    return options_parse(&remoradump_options, argc, argv, config, given && !lists, ret,
                         ret_operands, error);
}

/* To the dialog and the interfaces operands mean nothing; with all else they are a mistake. */
static bool is_plain_question(const RemoradumpOptions *options, char **operands)
{
    return strcmp(options->interface_name, REMORADUMP_INTERFACE) == 0 && !options->capture &&
           !options->write && !options->annotate && !options->keys_first &&
           remoradump_check_commands(options, NULL) &&
           (!operands[0] || options->dialog || options->interfaces);
}

bool program_answer(const RemoradumpOptions *options, char **operands)
{
    if (options->help)
        options_print_help(&remoradump_options, stdout);
    else if (options->manual)
        options_print_manual(&remoradump_options, stdout);
    else if (options->version)
        printf("remoradump " REMORA_VERSION "\n");
    else if (!is_plain_question(options, operands))
        return false;
    else if (options->interfaces)
        contract_print_interfaces();
    else if (options->dlts)
        contract_print_link_types();
    else if (options->dialog && !options->reload_option)
        contract_print_dialog();
    else
        return false;
    return true;
}

void program_release(int argc, char **argv, Control *control, bool opened)
{
    const char *fifo = remoradump_argument(argc, argv, "--fifo");
    control_wait_opened(control);
    if (fifo && !opened)
        fifo_release_reader(fifo);
}

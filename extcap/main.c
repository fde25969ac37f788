// SPDX-License-Identifier: GPL-2.0-or-later
/* remoradump: an extcap of Wireshark, and a program of its own. Contract: extcap(4). */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "extcap/capture.h"
#include "extcap/contract.h"
#include "extcap/lists.h"
#include "extcap/names.h"
#include "extcap/options.h"
#include "extcap/writer.h"

enum { EXIT_USAGE = 2 };

/* The text may quote what came from the network or the command line; the collector has a line for
 * each node. */
static void print_error(const GError *error)
{
    g_autofree char *text = g_strdup(error->message);
    for (char *c = text; *c; c++) {
        if (g_ascii_iscntrl(*c) && *c != '\n')
            *c = ' ';
    }
    fprintf(stderr, "remoradump: %s\n", text);
}

static int exit_code(const GError *error)
{
    bool usage = error->domain == OPTION_ERROR ||
                 g_error_matches(error, REMORADUMP_ERROR, REMORADUMP_ERROR_USAGE);
    return usage ? EXIT_USAGE : EXIT_FAILURE;
}

static bool parse(int argc, char **argv, RemoradumpOptions *ret, char ***ret_operands,
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

static void set_log_level(const char *name)
{
    static const struct {
        const char *name;
        LogLevel level;
    } levels[] = {{"error", LOG_LEVEL_ERROR},
                  {"warning", LOG_LEVEL_WARNING},
                  {"info", LOG_LEVEL_INFO},
                  {"debug", LOG_LEVEL_DEBUG}};
    for (size_t i = 0; i < G_N_ELEMENTS(levels); i++) {
        if (strcmp(levels[i].name, name) == 0)
            log_set_level(levels[i].level);
    }
}

/* Everything but the capture. */
static bool answer(const RemoradumpOptions *options, char **operands, GError **error)
{
    if (options->annotate)
        return names_annotate(options, operands, error);
    if (operands[0] && !options->dialog && !options->interfaces) {
        g_set_error(error, REMORADUMP_ERROR, REMORADUMP_ERROR_USAGE,
                    "'%s': a filter needs --write FILE, to capture; see remoradump --help",
                    operands[0]);
        return false;
    }
    if (options->interfaces)
        contract_print_interfaces();
    else if (options->dlts)
        contract_print_link_types();
    else if (options->dialog && options->reload_option)
        return contract_print_values(options, error);
    else if (options->dialog)
        contract_print_dialog();
    else if (options->filter)
        contract_check_filter(options->filter);
    else if (options->list_targets || options->status) {
        if (!remoradump_check_endpoints(options, error) ||
            !remoradump_check_selection(options, error))
            return false;
        if (!(options->status ? lists_print_status(options) : lists_print_targets(options))) {
            g_set_error(error, REMORADUMP_ERROR, REMORADUMP_ERROR_FAILED, "not all nodes answered");
            return false;
        }
    } else {
        g_set_error(error, REMORADUMP_ERROR, REMORADUMP_ERROR_USAGE,
                    "nothing to do: capture with --write FILE, or see remoradump --help");
        return false;
    }
    return true;
}

static bool is_known_interface(const RemoradumpOptions *options, GError **error)
{
    if (strcmp(options->interface_name, REMORADUMP_INTERFACE) == 0)
        return true;
    g_set_error(error, REMORADUMP_ERROR, REMORADUMP_ERROR_USAGE,
                "--extcap-interface: there is no interface '%s', expected " REMORADUMP_INTERFACE,
                options->interface_name);
    return false;
}

static int run(int argc, char **argv, Control *control)
{
    RemoradumpOptions options = {0};
    char **operands = NULL;
    g_autoptr(GError) error = NULL;
    bool captures = g_strv_contains((const char *const *)argv, "--capture"), opened = false;
    int code = EXIT_SUCCESS;

    bool ok = parse(argc, argv, &options, &operands, &error);
    if (ok) {
        captures = options.capture || options.write;
        set_log_level(options.log_level);
        if (options.help)
            options_print_help(&remoradump_options, stdout);
        else if (options.manual)
            options_print_manual(&remoradump_options, stdout);
        else if (options.version)
            printf("remoradump " REMORA_VERSION "\n");
        else if (!remoradump_check_commands(&options, &error) ||
                 !is_known_interface(&options, &error))
            ok = false;
        else if (captures)
            ok = capture_run(&options, operands, control, &opened, &error);
        else
            ok = answer(&options, operands, &error);
    }
    if (!ok) {
        print_error(error);
        code = exit_code(error);
    }
    if (!ok && captures) {
        const char *fifo = remoradump_argument(argc, argv, "--fifo");
        control_wait_opened(control);
        if (fifo && !opened)
            writer_release_reader(fifo);
    }
    options_clear(&remoradump_options, &options);
    return code;
}

int main(int argc, char **argv)
{
    log_set_program("remoradump");
    /* What a write cannot do is told by its error. */
#ifdef SIGPIPE
    signal(SIGPIPE, SIG_IGN);
#endif
#ifdef SIGXFSZ
    signal(SIGXFSZ, SIG_IGN);
#endif
    /* Before anything else: Wireshark waits for somebody to open its pipe. */
    Control *control = control_open(remoradump_argument(argc, argv, "--extcap-control-in"),
                                    remoradump_argument(argc, argv, "--extcap-control-out"));
    int code = run(argc, argv, control);
    control_close(control);
    if (fflush(stdout) != 0 && code == EXIT_SUCCESS) {
        fprintf(stderr, "remoradump: cannot write to standard output\n");
        code = EXIT_FAILURE;
    }
    return code;
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* remoradump: an extcap of Wireshark, and a program of its own. Contract: extcap(4). */
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "extcap/capture.h"
#include "extcap/contract.h"
#include "extcap/files.h"
#include "extcap/lists.h"
#include "extcap/program.h"

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

/* Everything but the capture and what program_answer() can. */
static bool answer(const RemoradumpOptions *options, char **operands, GError **error)
{
    if (options->annotate)
        return files_annotate(options, operands, error);
    if (options->keys_first)
        return files_keys_first(operands, error);
    if (operands[0] && !options->dialog && !options->interfaces) {
        g_set_error(error, REMORADUMP_ERROR, REMORADUMP_ERROR_USAGE,
                    "'%s': a filter needs --write FILE, to capture; see remoradump --help",
                    operands[0]);
        return false;
    }
    if (options->reload_option && options->dialog)
        return contract_print_values(options, error);
    if (options->filter)
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

    bool ok = program_parse(argc, argv, &options, &operands, &error);
    if (ok && !program_answer(&options, operands)) {
        captures = options.capture || options.write;
        set_log_level(options.log_level);
        if (!remoradump_check_commands(&options, &error) || !is_known_interface(&options, &error))
            ok = false;
        else if (captures)
            ok = capture_run(&options, operands, control, &opened, &error);
        else
            ok = answer(&options, operands, &error);
    }
    if (!ok) {
        program_print_error(error);
        code = program_exit_code(error);
    }
    if (!ok && captures)
        program_release(argc, argv, control, opened);
    options_clear(&remoradump_options, &options);
    return code;
}

int main(int argc, char **argv)
{
    program_begin();
    /* Before anything else: Wireshark waits for somebody to open its pipe. */
    Control *control = control_open(remoradump_argument(argc, argv, "--extcap-control-in"),
                                    remoradump_argument(argc, argv, "--extcap-control-out"));
    int code = run(argc, argv, control);
    control_close(control);
    return program_end(code);
}

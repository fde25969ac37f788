// SPDX-License-Identifier: GPL-2.0-or-later
/* The program that Wireshark and people start. Wireshark starts every extcap twice or more before
 * it captures, and gRPC alone is sixty libraries: so what needs no node is answered here, and for
 * all else main.c's program takes this one's place. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "extcap/program.h"

/* The file that was started, links followed; NULL if it cannot be found. The caller frees. */
static char *own_path(const char *name)
{
    g_autofree char *found = g_find_program_in_path(name);
    char *path = found ? realpath(found, NULL) : NULL;
    char *copy = g_strdup(path);
    free(path);
    return copy;
}

/* The other program beside this one, so that a tree works wherever it stands. */
static char *beside(const char *name)
{
    g_autofree char *own = own_path(name);
    g_autofree char *folder = own ? g_path_get_dirname(own) : NULL;
    return folder ? g_build_filename(folder, REMORA_COLLECT_BESIDE, NULL) : NULL;
}

/* Returns only if it fails. */
static void become(const char *path, char **argv, int *ret_error)
{
    execv(path, argv);
    *ret_error = errno;
}

static GError *hand_over(char **argv)
{
    int error = ENOENT;
    g_autofree char *path = beside(argv[0]);
    if (path)
        become(path, argv, &error);
    /* A lone copy of what was installed. */
    if (error == ENOENT)
        become(REMORA_COLLECT_INSTALLED, argv, &error);
    return g_error_new(REMORADUMP_ERROR, REMORADUMP_ERROR_FAILED,
                       "cannot start the part that talks to the nodes: %s: %s; it is installed "
                       "together with remoradump, and a copy of remoradump needs it at the same "
                       "place beside",
                       path && error != ENOENT ? path : REMORA_COLLECT_INSTALLED,
                       g_strerror(error));
}

/* Mistakes are told by the other program, which knows what Wireshark waits for then. */
static bool answer(int argc, char **argv)
{
    RemoradumpOptions options = {0};
    char **operands = NULL;
    bool answered =
        program_parse(argc, argv, &options, &operands, NULL) && program_answer(&options, operands);
    options_clear(&remoradump_options, &options);
    return answered;
}

int main(int argc, char **argv)
{
    program_begin();
    if (answer(argc, argv))
        return program_end(EXIT_SUCCESS);

    g_autoptr(GError) error = hand_over(argv);
    Control *control = control_open(remoradump_argument(argc, argv, "--extcap-control-in"),
                                    remoradump_argument(argc, argv, "--extcap-control-out"));
    program_print_error(error);
    program_release(argc, argv, control, false);
    control_close(control);
    return program_exit_code(error);
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/server/tls-target.h"

#include <string.h>

#define FIELD_BYTES 6u /* a tag and a length in a message */

typedef struct Listing {
    const Pod *pod;
    GPtrArray *programs; /* of Remora__V1__TlsProgram */
    size_t room;         /* bytes of the message */
    unsigned left_out;
} Listing;

/* By the id that the runtime gave it; of a pod with a single container it is that. */
static const char *container_name(const Entity *pod, const char *id)
{
    for (size_t i = 0; *id && i < pod->n_containers; i++) {
        if (strcmp(pod->containers[i].id, id) == 0) {
            return pod->containers[i].name;
        }
    }
    return pod->n_containers == 1 ? pod->containers[0].name : "";
}

static Remora__V1__TlsProcess *process_new(const Pod *pod, const TlsProcess *told)
{
    Remora__V1__TlsProcess *process = g_new0(Remora__V1__TlsProcess, 1);
    remora__v1__tls_process__init(process);
    process->pid = (uint32_t)told->pid;
    process->name = g_utf8_make_valid(told->name, -1);
    process->container = g_strdup(container_name(pod->entity, told->container));
    return process;
}

static Remora__V1__TlsProgram *program_new(const Pod *pod, const TlsProgram *told)
{
    Remora__V1__TlsProgram *program = g_new0(Remora__V1__TlsProgram, 1);
    _Static_assert((int)TLS_PROGRAM_HOOKED ==
                           (int)REMORA__V1__TLS_PROGRAM_STATE__TLS_PROGRAM_STATE_HOOKED &&
                       (int)TLS_PROGRAM_CALIBRATING ==
                           (int)REMORA__V1__TLS_PROGRAM_STATE__TLS_PROGRAM_STATE_CALIBRATING,
                   "the protocol's states are those of the programs");
    remora__v1__tls_program__init(program);
    program->path = g_strdup(told->path);
    program->library = g_strdup(told->library);
    program->state = (Remora__V1__TlsProgramState)told->state;
    program->reason = g_strdup(told->reason);
    program->processes = told->processes;
    program->n_some = told->n_some;
    program->some = g_new(Remora__V1__TlsProcess *, MAX(told->n_some, 1));
    for (unsigned i = 0; i < told->n_some; i++) {
        program->some[i] = process_new(pod, &told->some[i]);
    }
    program->key_lines = told->lines;
    program->last_unix_ns = told->last_unix_ns;
    return program;
}

static void program_free(Remora__V1__TlsProgram *program)
{
    for (size_t i = 0; i < program->n_some; i++) {
        g_free(program->some[i]->name);
        g_free(program->some[i]->container);
        g_free(program->some[i]);
    }
    g_free(program->some);
    g_free(program->path);
    g_free(program->library);
    g_free(program->reason);
    g_free(program);
}

static void on_program(const TlsProgram *told, void *userdata)
{
    Listing *listing = userdata;
    Remora__V1__TlsProgram *program = program_new(listing->pod, told);
    size_t size = remora__v1__tls_program__get_packed_size(program) + FIELD_BYTES;
    if (size > listing->room) {
        listing->left_out++;
        program_free(program);
        return;
    }
    listing->room -= size;
    g_ptr_array_add(listing->programs, program);
}

size_t tls_target_set(Remora__V1__Target *target, TlsPrograms *programs, const Pod *pod,
                      size_t room)
{
    Listing listing = {pod, g_ptr_array_new(), room, 0};
    if (programs && pod->netns_inode) {
        tls_programs_list(programs, pod->netns_inode, on_program, &listing);
        tls_programs_connections(programs, pod->netns_inode, &target->tls_connections,
                                 &target->tls_connections_with_secrets);
    }
    target->n_tls_programs = listing.programs->len;
    target->tls_programs =
        (Remora__V1__TlsProgram **)g_ptr_array_free(listing.programs, listing.programs->len == 0);
    target->tls_programs_left_out = listing.left_out;
    return room - listing.room;
}

void tls_target_clear(Remora__V1__Target *target)
{
    for (size_t i = 0; i < target->n_tls_programs; i++) {
        program_free(target->tls_programs[i]);
    }
    g_free(target->tls_programs);
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* Which processes of a network namespace run which library or program with TLS, and whether their
 * secrets are taken: for people. No I/O, no clock; it locks, so any thread. Bounded: of a namespace
 * TLS_PROGRAMS_MAX files, of each TLS_PROGRAM_PROCESSES processes; and if there are too many in
 * all, the namespaces with most files give some up. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define TLS_PROGRAMS_MAX         256u
#define TLS_PROGRAMS_ALL         4096u /* in all namespaces */
#define TLS_PROGRAM_PROCESSES    2048u
#define TLS_PROGRAM_SOME         8u            /* processes that are told one by one */
#define TLS_PROGRAM_KEPT_NS      300000000000u /* after the last process has ended */
#define TLS_PROGRAM_PROCESS_SIZE 17u           /* as in /proc/PID/comm, with the NUL */
#define TLS_PROGRAM_CONTAINER    65u           /* a runtime's id, with the NUL */

typedef enum TlsProgramState {
    TLS_PROGRAM_HOOKED = 1,
    TLS_PROGRAM_NOT_HOOKED,  /* cannot be, for what the file is */
    TLS_PROGRAM_FAILED,      /* could be, but attaching failed; it is tried again */
    TLS_PROGRAM_WITHDRAWN,   /* what the hook gave was not what it should be */
    TLS_PROGRAM_CALIBRATING, /* its first connections show what a hook needs to know */
} TlsProgramState;

typedef struct TlsProcess {
    pid_t pid; /* in the first PID namespace */
    char name[TLS_PROGRAM_PROCESS_SIZE];
    char container[TLS_PROGRAM_CONTAINER]; /* id; empty where not known */
} TlsProcess;

/* A file as processes of one namespace run it. */
typedef struct TlsProgram {
    const char *path; /* as the first process that was seen has it mapped */
    const char *library;
    const char *reason; /* "": hooked, and nothing to say of it */
    TlsProgramState state;
    unsigned processes;                /* that run it */
    TlsProcess some[TLS_PROGRAM_SOME]; /* those with the lowest numbers */
    unsigned n_some;
    uint64_t lines, last_unix_ns; /* of a key log that they gave; 0: none */
} TlsProgram;

typedef struct TlsPrograms TlsPrograms;

TlsPrograms *tls_programs_new(void);
TlsPrograms *tls_programs_free(TlsPrograms *programs); /* NULL is fine; returns NULL */

/* What is known of a file, by a number of the caller's. Once it is used it is kept as long as it is
 * used. Texts are copied; what they have that cannot be printed is replaced. */
void tls_programs_file(TlsPrograms *programs, uint64_t file, const char *path, const char *library,
                       TlsProgramState state, const char *reason);
/* False: it is to be told again before it is used. */
bool tls_programs_knows(TlsPrograms *programs, uint64_t file);
/* The file has another state than before. */
void tls_programs_state(TlsPrograms *programs, uint64_t file, TlsProgramState state,
                        const char *reason);
/* Whether it is known that the process runs it. */
bool tls_programs_has(TlsPrograms *programs, uint64_t netns_inode, uint64_t file, pid_t pid);
void tls_programs_use(TlsPrograms *programs, uint64_t netns_inode, uint64_t file,
                      const TlsProcess *process);
/* A line of a key log came from it. */
void tls_programs_gave(TlsPrograms *programs, uint64_t netns_inode, uint64_t file,
                       uint64_t time_unix_ns);

/* Between these two all processes are told again; those that are not are gone. */
void tls_programs_begin(TlsPrograms *programs);
void tls_programs_end(TlsPrograms *programs);
/* Asks of each process, without the lock, whether it is still there; then forgets what has not been
 * run for long. `now_ns`: any clock that never jumps back. Not on two threads at once. */
void tls_programs_tend(TlsPrograms *programs, uint64_t now_ns,
                       bool (*is_there)(uint64_t netns_inode, pid_t pid, void *userdata),
                       void *userdata);
/* Of a namespace; 0: of all. */
void tls_programs_forget(TlsPrograms *programs, uint64_t netns_inode);

/* TLS connections whose beginning was captured in a namespace, and those of which there are
 * secrets. */
void tls_programs_set_connections(TlsPrograms *programs, uint64_t netns_inode, uint64_t seen,
                                  uint64_t with_secrets);
void tls_programs_connections(TlsPrograms *programs, uint64_t netns_inode, uint64_t *ret_seen,
                              uint64_t *ret_with_secrets);

/* Changes with every file that is new in a namespace, and with every state. */
uint64_t tls_programs_generation(const TlsPrograms *programs);
/* In the order of their paths; with the lock, so it must not call back here. */
void tls_programs_list(TlsPrograms *programs, uint64_t netns_inode,
                       void (*callback)(const TlsProgram *program, void *userdata), void *userdata);
/* Why no secrets come from a process, in words (g_free); NULL: they do, or it
 * is not known to have TLS. */
char *tls_programs_why_none(TlsPrograms *programs, uint64_t netns_inode, pid_t pid);
const char *tls_program_state_name(TlsProgramState state); /* "not hooked"; static */

// SPDX-License-Identifier: GPL-2.0-or-later
/* The programs with TLS in ListTargets. */
#pragma once

#include "node-capture/server/pod.h"
#include "node-capture/tls/programs.h"
#include "proto/remora.pb-c.h"

/* Sets target->tls_programs, to be freed with tls_target_clear(), as many as take `room` bytes of a
 * message; returns how many bytes they take. `programs` may be NULL. */
size_t tls_target_set(Remora__V1__Target *target, TlsPrograms *programs, const Pod *pod,
                      size_t room);
void tls_target_clear(Remora__V1__Target *target);

// SPDX-License-Identifier: GPL-2.0-or-later
/* What processes of the targets run with TLS in it, as a table below that of the targets. */
#pragma once

#include "extcap/table.h"
#include "proto/remora.pb-c.h"

void tls_table_init(Table *table);
void tls_table_add(Table *table, const Remora__V1__Target *target, const char *pod);
void tls_table_print(Table *table); /* nothing if there is no program; frees */

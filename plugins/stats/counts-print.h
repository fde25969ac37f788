// SPDX-License-Identifier: GPL-2.0-or-later
/* CallCounts in a table, as CSV (RFC 4180) and as JSON. */
#pragma once

#include <wsutil/json_dumper.h>

#include "plugins/stats/counts.h"
#include "plugins/stats/table.h"

/* Titles of table_new(), and as many cells. */
#define COUNTS_TITLES \
    ">CALLS", ">PER SECOND", ">ERRORS", ">NO ANSWER", ">P50", ">P90", ">P99", ">MAX", ">BYTES"
void counts_add_cells(Table *table, const CallCounts *counts);

#define COUNTS_CSV_TITLES                                                                        \
    "calls,rate,errors,unanswered,pending,no_request,p50_ns,p90_ns,p99_ns,max_ns,request_bytes," \
    "response_bytes"
/* With the line's end. */
void counts_print_csv(const CallCounts *counts);
/* Members of the object that is open. */
void counts_print_json(json_dumper *json, const CallCounts *counts);
/* One field; NULL is empty. */
void csv_print(const char *text);

// SPDX-License-Identifier: GPL-2.0-or-later
/* Calls in groups: what -z k8s,calls and -z k8s,map have in common. */
#pragma once

#include "plugins/stats/counts.h"

#define CALL_ROW_TEXTS 4

/* A group. Texts are those that calls keep, so equal ones are one. */
typedef struct CallRow {
    const char *text[CALL_ROW_TEXTS];
    CallCounts counts;
} CallRow;

typedef enum CallBy {
    CALL_BY_OWNER,
    CALL_BY_NAMESPACE,
    CALL_BY_POD,
    CALL_BY_SERVICE,
    CALL_BY_NODE
} CallBy;

typedef struct CallStats CallStats;

/* What differs between the two. */
typedef struct CallReport {
    const char *command;        /* "k8s,map" */
    const char *const *formats; /* names, the first unless told; NULL ends them */
    /* The group of a call, in `row`; false: it is in none. */
    bool (*group)(const CallStats *stats, const Call *call, const char **text);
    /* `format` is a place in formats. */
    void (*print)(const CallStats *stats, unsigned format);
} CallReport;

struct CallStats {
    const CallReport *report;
    CallBy by;
    unsigned format;
    char *filter;        /* NULL: none */
    GHashTable *rows;    /* CallRow, by its texts */
    GHashTable *pending; /* Call, as a set: began, and has not ended yet */
    uint64_t left_out;   /* calls of groups for which there was no room */
};

/* Takes what follows -z: "k8s,map,by=pod,format=json,FILTER". Prints what is wrong with it and ends
 * the program, as tshark's own do. */
void call_stats_start(const char *argument, const CallReport *report);
/* What an end is called, by what calls are grouped. Never NULL. */
const char *call_stats_end(const CallStats *stats, const Call *call, CallSide side);
/* Rows with the most calls first; the caller frees the array, not the rows. */
GPtrArray *call_stats_rows(const CallStats *stats);

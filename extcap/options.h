// SPDX-License-Identifier: GPL-2.0-or-later
/* What remoradump can be told, and by which names. */
#pragma once

#include "common/options.h"

#define REMORADUMP_INTERFACE "k8s" /* the extcap interface: live capture */

/* Filled by options_parse() from remoradump_options; options_clear() frees it. */
typedef struct RemoradumpOptions {
    /* The nodes. */
    char **endpoints;
    bool insecure;
    uint64_t connect_timeout_ns; /* 0: default */
    char *cluster;

    /* Which packets. */
    char **namespaces, **pods;
    char *selector;
    char *filter; /* Wireshark's --extcap-capture-filter */
    uint64_t snap_length;
    char *vantage, *tls;

    /* What becomes of them. */
    char *write, *fifo;
    char *inventory;
    bool comments;
    uint64_t max_wait_ns;
    uint64_t packets, duration_ns; /* stop after; 0: never */

    /* What to do. */
    bool capture, annotate, keys_first, list_targets, status, help, version, manual;

    /* Wireshark's contract. */
    bool interfaces, dlts, dialog;
    char *wireshark_version, *interface_name, *reload_option;
    char *control_in, *control_out;

    char *config, *log_level;
} RemoradumpOptions;

extern const OptionTable remoradump_options;

#define REMORADUMP_ERROR (remoradump_error_quark())
GQuark remoradump_error_quark(void);
enum { REMORADUMP_ERROR_USAGE, REMORADUMP_ERROR_FAILED };

/* The value of an option that is needed even where options_parse() fails: the last "NAME VALUE" or
 * "NAME=VALUE". NULL if not there. */
const char *remoradump_argument(int argc, char **argv, const char *name);

/* $XDG_CONFIG_HOME/remora/remoradump.conf; the caller frees. */
char *remoradump_config_path(void);

/* Checks what the table cannot: namespaces are names, pods are patterns. */
bool remoradump_check_selection(const RemoradumpOptions *options, GError **error);
/* Whether at most one thing is asked for: capturing, --annotate, --keys-first, ... */
bool remoradump_check_commands(const RemoradumpOptions *options, GError **error);
/* Whether there is an endpoint at all; the error says how to give one. */
bool remoradump_check_endpoints(const RemoradumpOptions *options, GError **error);

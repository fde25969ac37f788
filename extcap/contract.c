// SPDX-License-Identifier: GPL-2.0-or-later
#include "extcap/contract.h"

#include <stdio.h>

#include "extcap/control.h"

#define HELP_URL "file://" REMORA_DOC_DIR "/extcap.md"

void contract_print_interfaces(void)
{
    printf("extcap {version=" REMORA_VERSION "}{help=" HELP_URL
           "}{display=Remora: Kubernetes capture}\n");
    printf("interface {value=" REMORADUMP_INTERFACE
           "}{display=Kubernetes cluster: pods' traffic}\n");
    control_print_sentences();
}

void contract_print_link_types(void)
{
    printf("dlt {number=1}{name=EN10MB}{display=Ethernet}\n");
}

void contract_print_dialog(void)
{
    options_print_extcap(&remoradump_options, stdout);
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* What tshark -z prints of calls. */
#pragma once

/* Each once, when the plugin registers. */
void calls_report_register(void); /* -z k8s,calls */
void map_report_register(void);   /* -z k8s,map */

// SPDX-License-Identifier: GPL-2.0-or-later
/* Conversations and endpoints by name: -z conv,k8s and -z endpoints,k8s, and their windows. */
#pragma once

/* Registers the two tables for the tap of K8sTap that bears the protocol's name. */
void k8s_conversations_register(int proto);

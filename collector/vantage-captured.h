// SPDX-License-Identifier: GPL-2.0-or-later
/* What is captured: which points of capture are alive, so which pods, and so which services by one
 * of their endpoints. No I/O. One thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "collector/capture-point.h"
#include "k8s-enrich/inventory.h"

typedef struct VantageCaptured VantageCaptured;

VantageCaptured *vantage_captured_new(const Inventory *inventory); /* borrowed */
VantageCaptured *vantage_captured_free(VantageCaptured *captured); /* returns NULL */
/* The point is new, or is alive no longer, or again. */
void vantage_captured_point_changed(VantageCaptured *captured, const CapturePoint *point);

bool vantage_captured_point(const VantageCaptured *captured, uint32_t point_id);
bool vantage_captured_pod(const VantageCaptured *captured, const char *uid);
bool vantage_captured_service(VantageCaptured *captured, const Entity *service);
/* Endpoints looked at so far for vantage_captured_service(): for tests of what that costs. */
uint64_t vantage_captured_examined(const VantageCaptured *captured);

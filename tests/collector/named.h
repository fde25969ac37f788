// SPDX-License-Identifier: GPL-2.0-or-later
/* What an annotator writes on a packet, in a form that tests can look into. */
#pragma once

#include "collector/annotate.h"
#include "fixture.h"

typedef struct Named {
    char *text; /* "type/scope=value" of all TLVs, a line each */
    char *comment;
    Annotation annotation;
    uint8_t flags; /* IDENTITY_FLAG_* */
} Named;

Named name(Annotator *annotator, const AnnotateRequest *request);
void named_clear(Named *named);
PacketInfo parse(const FixturePacket *packet);
bool named_has(const Named *named, unsigned type, unsigned scope, const char *value);

#define assert_has(NAMED, TYPE, SCOPE, VALUE) g_assert_true(named_has(&(NAMED), TYPE, SCOPE, VALUE))
#define assert_not(NAMED, TYPE, SCOPE, VALUE) \
    g_assert_false(named_has(&(NAMED), TYPE, SCOPE, VALUE))

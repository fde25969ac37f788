// SPDX-License-Identifier: GPL-2.0-or-later
/* What the files of the option table share. */
#pragma once

#include "common/options.h"

/* Sets the option's value from text. `origin` begins the error message ("--snap-length"). A list
 * grows; anything else is replaced. */
bool option_value_set(const Option *option, const char *text, const char *origin, void *values,
                      GError **error);
void option_value_clear(const Option *option, void *values);
/* What a value has to look like: "a size from 64k to 1G". g_free(). */
char *option_value_expected(const Option *option);
/* Text as an error message can show it: short, printable. g_free(). */
char *option_quote(const char *text);

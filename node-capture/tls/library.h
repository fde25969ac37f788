// SPDX-License-Identifier: GPL-2.0-or-later
/* Which implementation of TLS a file is, or has inside. */
#pragma once

#include "node-capture/tls/label-sites.h"

/* Found in the file, as `library`; `accessor` returns the client random of a session, 0 where there
 * is none. */
typedef struct Library {
    TlsLibrary library;
    const char *evidence;
    uint64_t accessor;
    const char *refusal; /* why it cannot be hooked whatever is found, or NULL */
} Library;

#define LIBRARIES_MAX 6

/* All but Go's; the number of those in `ret`. Labels in a Go program that end as Go's strings do
 * are Go's. */
unsigned library_recognise(ElfImage *image, const LabelSites *labels, bool is_go,
                           Library ret[static LIBRARIES_MAX]);
/* Something like "3.0.19" for people, or an empty string. */
void library_version(ElfImage *image, TlsLibrary library, char ret[static TLS_VERSION_SIZE]);

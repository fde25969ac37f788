// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/tls/finder.h"

#include <stdio.h>
#include <string.h>

#include "node-capture/tls/golang.h"
#include "node-capture/tls/key-log-function.h"
#include "node-capture/tls/library.h"
#include "node-capture/tls/points-find.h"
#include "node-capture/tls/probe-point.h"

static void refuse(TlsImplementation *implementation, const char *reason)
{
    implementation->verdict = TLS_NOT_HOOKED;
    snprintf(implementation->reason, sizeof(implementation->reason), "%s", reason);
}

static void find_function(ElfImage *image, const LabelSites *labels, const Library *library,
                          TlsImplementation *ret)
{
    ret->verdict = key_log_function_find(image, labels, &ret->key_log, ret->reason);
    if (ret->verdict == TLS_NOT_HOOKED) {
        return;
    }
    if (library->library == TLS_UNKNOWN && ret->verdict == TLS_HOOKED) {
        ret->verdict = TLS_DOUBTFUL;
        snprintf(ret->reason, sizeof(ret->reason),
                 "which library this is, and so what the function gets, is not known");
    }
    client_random_find(image, library->accessor, library->library == TLS_GNUTLS, &ret->key_log);
}

static void add(ElfImage *image, const LabelSites *labels, const Library *library, TlsFile *file)
{
    if (file->n_implementations == TLS_IMPLEMENTATIONS_MAX) {
        return;
    }
    TlsImplementation *ret = &file->implementations[file->n_implementations++];
    ret->library = library->library;
    ret->evidence = library->evidence;
    library_version(image, library->library, ret->version);
    /* A function that was compiled to nothing is the better reason. */
    if (!library->refusal || library->library == TLS_NSS) {
        find_function(image, labels, library, ret);
    }
    if (library->refusal && ret->verdict != TLS_NOT_HOOKED) {
        refuse(ret, library->refusal);
    }
}

/* What was found before the work ran out may be half of the truth. */
static void give_up(TlsFile *file)
{
    for (unsigned i = 0; i < file->n_implementations; i++) {
        if (file->implementations[i].verdict == TLS_HOOKED) {
            file->implementations[i].verdict = TLS_DOUBTFUL;
            snprintf(file->implementations[i].reason, sizeof(file->implementations[i].reason),
                     "the file took too much work and was not looked through");
        }
    }
}

/* The way to the client random, if the library is in the file. */
static TlsChain random_of(const TlsFile *file, bool is_gnutls)
{
    for (unsigned i = 0; i < file->n_implementations; i++) {
        const TlsImplementation *one = &file->implementations[i];
        if (is_gnutls ? one->library == TLS_GNUTLS
                      : one->library == TLS_OPENSSL || one->library == TLS_BORINGSSL) {
            return one->key_log.random_chain;
        }
    }
    return (TlsChain){0};
}

static void find_points(ElfImage *image, bool has_go_tls, TlsFile *file)
{
    const TlsChain openssl = random_of(file, false), gnutls = random_of(file, true);
    points_find_symbols(image, &openssl, &gnutls, &file->plaintext);
    if (has_go_tls) {
        points_find_golang(image, &file->plaintext);
    }
    if (elf_exhausted(image)) {
        file->plaintext.count = 0;
        snprintf(file->plaintext.reason, sizeof(file->plaintext.reason),
                 "the file took too much work and was not looked through");
    } else if (!file->plaintext.count && file->n_implementations && !*file->plaintext.reason) {
        snprintf(file->plaintext.reason, sizeof(file->plaintext.reason),
                 "its functions that read and write have no symbols, or are not known");
    }
}

int tls_find(const uint8_t *bytes, size_t length, TlsFile *ret)
{
    ElfImage image;
    memset(ret, 0, sizeof(*ret));
    int error = elf_image_init(&image, bytes, length);
    if (error) {
        return error;
    }
    ret->arch = image.arch == ELF_X86_64 ? TLS_X86_64 : TLS_ARM64;
    ret->is_fixed = image.is_fixed;
    memcpy(ret->build_id, image.build_id, image.build_id_length);
    ret->build_id_length = image.build_id_length;
    bool has_go_tls;
    ret->is_go = golang_find(&image, &ret->implementations[0], &has_go_tls);
    ret->n_implementations = has_go_tls;
    LabelSites labels;
    Library libraries[LIBRARIES_MAX];
    label_sites_find(&image, &labels);
    unsigned count = library_recognise(&image, &labels, ret->is_go, libraries);
    for (unsigned i = 0; i < count; i++) {
        add(&image, &labels, &libraries[i], ret);
    }
    if (!has_go_tls && !count) {
        memset(ret->implementations, 0, sizeof(ret->implementations));
    }
    for (unsigned i = 0; i < ret->n_implementations; i++) {
        probe_point_find(&image, &ret->implementations[i].key_log);
    }
    find_points(&image, has_go_tls, ret);
    ret->work = image.work;
    ret->work_limit = image.work_limit;
    if (elf_exhausted(&image)) {
        give_up(ret);
    }
    return 0;
}

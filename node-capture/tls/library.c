// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/tls/library.h"

#include <string.h>

const char *tls_library_name(TlsLibrary library)
{
    static const char *const names[] = {
        [TLS_LIBRARY_NONE] = "none", [TLS_OPENSSL] = "OpenSSL",  [TLS_BORINGSSL] = "BoringSSL",
        [TLS_GNUTLS] = "GnuTLS",     [TLS_GO] = "Go crypto/tls", [TLS_NSS] = "NSS",
        [TLS_RUSTLS] = "rustls",     [TLS_JAVA] = "Java (JSSE)", [TLS_LIBRESSL] = "LibreSSL",
        [TLS_MBEDTLS] = "Mbed TLS",  [TLS_WOLFSSL] = "wolfSSL",  [TLS_S2N] = "s2n-tls",
        [TLS_UNKNOWN] = "unknown",
    };
    return library < sizeof(names) / sizeof(*names) ? names[library] : "unknown";
}

enum {
    SYMBOL_OPENSSL,
    SYMBOL_OPENSSL_RANDOM,
    SYMBOL_BORINGSSL,
    SYMBOL_GNUTLS,
    SYMBOL_GNUTLS_RANDOM,
    SYMBOL_NSS,
    SYMBOL_JAVA,
    SYMBOL_MBEDTLS,
    SYMBOL_WOLFSSL,
    SYMBOL_S2N,
    SYMBOLS,
};

static const char *const symbols[SYMBOLS] = {
    [SYMBOL_OPENSSL] = "SSL_CTX_set_keylog_callback",
    [SYMBOL_OPENSSL_RANDOM] = "SSL_get_client_random",
    [SYMBOL_BORINGSSL] = "SSL_CTX_set_grease_enabled",
    [SYMBOL_GNUTLS] = "gnutls_session_set_keylog_function",
    [SYMBOL_GNUTLS_RANDOM] = "gnutls_session_get_random",
    [SYMBOL_NSS] = "SSL_ImportFD",
    [SYMBOL_JAVA] = "JNI_CreateJavaVM",
    [SYMBOL_MBEDTLS] = "mbedtls_ssl_handshake",
    [SYMBOL_WOLFSSL] = "wolfSSL_connect",
    [SYMBOL_S2N] = "s2n_negotiate",
};

/* These are known by a symbol and no more. */
static const struct {
    unsigned symbol;
    TlsLibrary library;
    const char *refusal;
} refused[] = {
    {SYMBOL_JAVA, TLS_JAVA,
     "its TLS is Java code that is compiled while it runs: no function in a file"},
    {SYMBOL_MBEDTLS, TLS_MBEDTLS,
     "it has no key-log function, only a callback that a program must set"},
    {SYMBOL_WOLFSSL, TLS_WOLFSSL, "it has no key-log function unless it was built for debugging"},
    {SYMBOL_S2N, TLS_S2N, "its key-log function is not understood yet"},
};

#define RUSTLS "rustls-0." /* in the names of source files, which messages of panics have */

static bool has_string(ElfImage *image, const char *text)
{
    for (unsigned i = 0; i < image->n_loads; i++) {
        if (elf_search(image, elf_load_range(image, i), text, strlen(text))) {
            return true;
        }
    }
    return false;
}

/* Of those that keep the labels as C strings. What a symbol does not tell, the names of source
 * files in messages do. */
static Library by_labels(ElfImage *image, const ElfSymbol found[static SYMBOLS], unsigned strings)
{
    if (found[SYMBOL_GNUTLS].address) {
        return (Library){TLS_GNUTLS, symbols[SYMBOL_GNUTLS], found[SYMBOL_GNUTLS_RANDOM].address,
                         NULL};
    }
    if (found[SYMBOL_NSS].address) {
        return (Library){
            TLS_NSS, symbols[SYMBOL_NSS], 0,
            "its key-log function gets a key object (PK11SymKey), not the bytes of the key"};
    }
    uint64_t random = found[SYMBOL_OPENSSL_RANDOM].address;
    if (found[SYMBOL_BORINGSSL].address) {
        return (Library){TLS_BORINGSSL, symbols[SYMBOL_BORINGSSL], random, NULL};
    }
    if (found[SYMBOL_OPENSSL].address) {
        return (Library){strings ? TLS_OPENSSL : TLS_LIBRESSL, symbols[SYMBOL_OPENSSL], random,
                         NULL};
    }
    if (!strings) {
        return (Library){.library = TLS_LIBRARY_NONE};
    }
    static const struct {
        const char *text;
        TlsLibrary library;
    } texts[] = {{"ssl/ssl_lib.cc", TLS_BORINGSSL},
                 {"ssl/ssl_lib.c", TLS_OPENSSL},
                 {"GNUTLS_DEBUG_LEVEL", TLS_GNUTLS}};
    for (unsigned i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        if (has_string(image, texts[i].text)) {
            return (Library){texts[i].library, texts[i].text, random, NULL};
        }
    }
    return (Library){TLS_UNKNOWN, "labels of the key log", random, NULL};
}

/* A program may know some of the labels for other reasons. Rust does not end its strings with a
 * zero byte. */
static unsigned count_labels(const LabelSites *labels, bool is_terminated)
{
    unsigned known = 0;
    for (unsigned i = 0; i < labels->n_strings; i++) {
        known |=
            labels->strings[i].is_terminated == is_terminated ? 1u << labels->strings[i].label : 0;
    }
    return (unsigned)__builtin_popcount(known);
}

unsigned library_recognise(ElfImage *image, const LabelSites *labels, bool is_go,
                           Library ret[static LIBRARIES_MAX])
{
    ElfSymbol found[SYMBOLS];
    unsigned count = 0;
    unsigned strings = count_labels(labels, true),
             unterminated = is_go ? 0 : count_labels(labels, false);
    bool has_rustls = unterminated && has_string(image, RUSTLS);
    elf_find_symbols(image, symbols, SYMBOLS, found);
    Library by_label = by_labels(image, found, strings + unterminated);
    if (by_label.library == TLS_LIBRESSL) {
        by_label.refusal =
            "it has the functions that set a key log, but no labels: they do nothing";
    }
    bool is_other =
        by_label.library == TLS_UNKNOWN && (has_rustls || strings < 3 || !labels->n_sites);
    if (by_label.library != TLS_LIBRARY_NONE && !is_other) {
        ret[count++] = by_label;
    }
    for (unsigned i = 0; i < sizeof(refused) / sizeof(*refused) && count < LIBRARIES_MAX - 1; i++) {
        if (found[refused[i].symbol].address) {
            ret[count++] =
                (Library){refused[i].library, symbols[refused[i].symbol], 0, refused[i].refusal};
        }
    }
    if (has_rustls) {
        ret[count++] = (Library){TLS_RUSTLS, RUSTLS, 0,
                                 "it makes key-log lines only for a program that asked for them"};
    }
    return count;
}

void library_version(ElfImage *image, TlsLibrary library, char ret[static TLS_VERSION_SIZE])
{
    const char *prefix = library == TLS_OPENSSL  ? "OpenSSL "
                         : library == TLS_GNUTLS ? "GnuTLS "
                                                 : NULL;
    ret[0] = '\0';
    for (unsigned i = 0; prefix && i < image->n_loads; i++) {
        ElfRange range = elf_load_range(image, i);
        const uint8_t *at = range.bytes, *end = range.bytes + range.length;
        while ((at = elf_search(image, (ElfRange){at, (size_t)(end - at), 0}, prefix,
                                strlen(prefix)))) {
            at += strlen(prefix);
            size_t length = 0;
            while (length < (size_t)(end - at) && length < TLS_VERSION_SIZE - 1 &&
                   strchr("0123456789.", at[length]) && at[length]) {
                length++;
            }
            if (length >= 3) {
                memcpy(ret, at, length);
                ret[length] = '\0';
                return;
            }
        }
    }
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/tls/points-find.h"

#include <string.h>

/* Functions of one library stand together: where it has neither read nor write, the others are
 * somebody else's of that name. */
typedef enum Family { OPENSSL, GNUTLS, NSS, MBEDTLS, WOLFSSL, S2N, FAMILIES } Family;

static const struct {
    const char *name;
    Family family;
    TlsPointKind kind;
} functions[] = {
    /* OpenSSL, BoringSSL, LibreSSL */
    {"SSL_read", OPENSSL, TLS_POINT_READ},
    {"SSL_read_ex", OPENSSL, TLS_POINT_READ_EX},
    {"SSL_write", OPENSSL, TLS_POINT_WRITE},
    {"SSL_write_ex", OPENSSL, TLS_POINT_WRITE_EX},
    {"SSL_write_ex2", OPENSSL, TLS_POINT_WRITE_EX2},
    {"SSL_new", OPENSSL, TLS_POINT_NEW},
    {"SSL_clear", OPENSSL, TLS_POINT_BEGIN},
    {"SSL_free", OPENSSL, TLS_POINT_END},
    {"SSL_set_connect_state", OPENSSL, TLS_POINT_CLIENT},
    {"SSL_set_accept_state", OPENSSL, TLS_POINT_SERVER},
    {"SSL_connect", OPENSSL, TLS_POINT_CLIENT},
    {"SSL_accept", OPENSSL, TLS_POINT_SERVER},
    {"SSL_do_handshake", OPENSSL, TLS_POINT_HANDSHAKE},
    {"SSL_read_early_data", OPENSSL, TLS_POINT_READ_EX},
    {"SSL_write_early_data", OPENSSL, TLS_POINT_WRITE_EX},
    {"gnutls_init", GNUTLS, TLS_POINT_NEW_AT},
    {"gnutls_deinit", GNUTLS, TLS_POINT_END},
    {"gnutls_handshake", GNUTLS, TLS_POINT_HANDSHAKE},
    {"gnutls_record_recv", GNUTLS, TLS_POINT_READ},
    {"gnutls_record_recv_seq", GNUTLS, TLS_POINT_READ},
    {"gnutls_record_send", GNUTLS, TLS_POINT_WRITE},
    {"gnutls_record_send2", GNUTLS, TLS_POINT_WRITE},
    {"mbedtls_ssl_setup", MBEDTLS, TLS_POINT_BEGIN},
    {"mbedtls_ssl_session_reset", MBEDTLS, TLS_POINT_BEGIN},
    {"mbedtls_ssl_free", MBEDTLS, TLS_POINT_END},
    {"mbedtls_ssl_handshake", MBEDTLS, TLS_POINT_HANDSHAKE},
    {"mbedtls_ssl_read", MBEDTLS, TLS_POINT_READ},
    {"mbedtls_ssl_write", MBEDTLS, TLS_POINT_WRITE},
    {"wolfSSL_new", WOLFSSL, TLS_POINT_NEW},
    {"wolfSSL_clear", WOLFSSL, TLS_POINT_BEGIN},
    {"wolfSSL_free", WOLFSSL, TLS_POINT_END},
    {"wolfSSL_connect", WOLFSSL, TLS_POINT_HANDSHAKE},
    {"wolfSSL_accept", WOLFSSL, TLS_POINT_HANDSHAKE},
    {"wolfSSL_read", WOLFSSL, TLS_POINT_READ},
    {"wolfSSL_write", WOLFSSL, TLS_POINT_WRITE},
    {"SSL_sendfile", OPENSSL, TLS_POINT_UNSEEN_WRITE},
    {"gnutls_record_recv_packet", GNUTLS, TLS_POINT_UNSEEN_READ},
    {"gnutls_record_recv_early_data", GNUTLS, TLS_POINT_READ},
    {"SSL_ImportFD", NSS, TLS_POINT_NEW},
    {"SSL_ResetHandshake", NSS, TLS_POINT_ROLE},
    {"s2n_connection_new", S2N, TLS_POINT_NEW},
    {"s2n_connection_wipe", S2N, TLS_POINT_BEGIN},
    {"s2n_connection_free", S2N, TLS_POINT_END},
    {"s2n_negotiate", S2N, TLS_POINT_HANDSHAKE},
    {"s2n_recv", S2N, TLS_POINT_READ},
    {"s2n_send", S2N, TLS_POINT_WRITE},
};

#define FUNCTIONS (sizeof(functions) / sizeof(*functions))

bool tls_point_returns(TlsPointKind kind)
{
    switch (kind) {
    case TLS_POINT_NEW:
    case TLS_POINT_NEW_AT:
    case TLS_POINT_HANDSHAKE:
    case TLS_POINT_READ:
    case TLS_POINT_WRITE:
    case TLS_POINT_READ_EX:
    case TLS_POINT_WRITE_EX:
    case TLS_POINT_WRITE_EX2:
    case TLS_POINT_RECV:
    case TLS_POINT_WRITEV:
    case TLS_POINT_UNSEEN_READ:
    case TLS_POINT_UNSEEN_WRITE:
        return true;
    default:
        return false;
    }
}

const char *tls_point_kind_name(TlsPointKind kind)
{
    static const char *const names[TLS_POINT_KINDS] = {
        [TLS_POINT_NEW] = "new",
        [TLS_POINT_NEW_AT] = "new",
        [TLS_POINT_BEGIN] = "begin",
        [TLS_POINT_END] = "end",
        [TLS_POINT_CLIENT] = "client",
        [TLS_POINT_SERVER] = "server",
        [TLS_POINT_HANDSHAKE] = "handshake",
        [TLS_POINT_READ] = "read",
        [TLS_POINT_WRITE] = "write",
        [TLS_POINT_READ_EX] = "read",
        [TLS_POINT_WRITE_EX] = "write",
        [TLS_POINT_WRITE_EX2] = "write",
        [TLS_POINT_RECV] = "read",
        [TLS_POINT_WRITEV] = "write",
        [TLS_POINT_ROLE] = "role",
        [TLS_POINT_UNSEEN_READ] = "read unseen",
        [TLS_POINT_UNSEEN_WRITE] = "write unseen",
        [TLS_POINT_GO_CLIENT] = "client handshake",
        [TLS_POINT_GO_SERVER] = "server handshake",
        [TLS_POINT_GO_WRITE] = "write",
        [TLS_POINT_GO_END] = "end",
        [TLS_POINT_GO_READ] = "read",
    };
    return (unsigned)kind < TLS_POINT_KINDS && names[kind] ? names[kind] : "unknown";
}

bool points_add(const ElfImage *image, TlsPoints *points, TlsPoint point)
{
    if (points->count == TLS_POINTS_MAX || !elf_is_code(image, point.address) ||
        !elf_offset(image, point.address, &point.offset)) {
        return false;
    }
    /* One place has one meaning: linkers fold functions of the same code into one. */
    for (unsigned i = 0; i < points->count; i++) {
        if (points->points[i].offset == point.offset) {
            return false;
        }
    }
    points->points[points->count++] = point;
    return true;
}

static uint64_t address_of(const ElfSymbol *found, const char *name)
{
    for (size_t i = 0; i < FUNCTIONS; i++) {
        if (strcmp(functions[i].name, name) == 0) {
            return found[i].address;
        }
    }
    return 0;
}

/* Then the functions that call them are not needed. */
static bool add_openssl_internal(ElfImage *image, const ElfSymbol *found, const TlsChain *random,
                                 TlsPoints *points)
{
    const OpensslFunctions known = {
        .read = address_of(found, "SSL_read"),
        .read_ex = address_of(found, "SSL_read_ex"),
        .write = address_of(found, "SSL_write"),
        .write_ex = address_of(found, "SSL_write_ex"),
        .write_ex2 = address_of(found, "SSL_write_ex2"),
    };
    TlsPoint read, write;
    if (!known.read || !known.read_ex || !known.write || !known.write_ex ||
        !points_find_openssl(image, &known, &read, &write)) {
        return false;
    }
    read.random = write.random = *random;
    return points_add(image, points, read) && points_add(image, points, write);
}

static bool is_reading(TlsPointKind kind)
{
    return kind == TLS_POINT_READ || kind == TLS_POINT_READ_EX;
}

static bool is_writing(TlsPointKind kind)
{
    return kind == TLS_POINT_WRITE || kind == TLS_POINT_WRITE_EX || kind == TLS_POINT_WRITE_EX2;
}

void points_find_symbols(ElfImage *image, const TlsChain *openssl, const TlsChain *gnutls,
                         TlsPoints *points)
{
    const TlsChain randoms[FAMILIES] = {[OPENSSL] = *openssl, [GNUTLS] = *gnutls};
    const char *names[FUNCTIONS];
    ElfSymbol found[FUNCTIONS];
    bool reads[FAMILIES] = {false}, writes[FAMILIES] = {false}, ends[FAMILIES] = {false};
    for (size_t i = 0; i < FUNCTIONS; i++) {
        names[i] = functions[i].name;
    }
    elf_find_symbols(image, names, FUNCTIONS, found);
    for (size_t i = 0; i < FUNCTIONS; i++) {
        bool is_there = found[i].address && elf_is_code(image, found[i].address);
        reads[functions[i].family] |= is_there && is_reading(functions[i].kind);
        writes[functions[i].family] |= is_there && is_writing(functions[i].kind);
        ends[functions[i].family] |= is_there && functions[i].kind == TLS_POINT_END;
    }
    /* Its others are in no symbol table. */
    reads[NSS] = writes[NSS] = ends[NSS] =
        address_of(found, "SSL_ImportFD") && points_find_nss(image, points);
    bool has_internal = add_openssl_internal(image, found, openssl, points);
    for (size_t i = 0; i < FUNCTIONS; i++) {
        Family family = functions[i].family;
        bool is_covered = has_internal && family == OPENSSL &&
                          (is_reading(functions[i].kind) || is_writing(functions[i].kind));
        if (reads[family] && writes[family] && ends[family] && found[i].address && !is_covered) {
            points_add(image, points,
                       (TlsPoint){.kind = functions[i].kind,
                                  .by_descriptor = family == NSS,
                                  .name = functions[i].name,
                                  .address = found[i].address,
                                  .random = randoms[family]});
        }
    }
}

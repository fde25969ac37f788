// SPDX-License-Identifier: GPL-2.0-or-later
/* Begins a handshake and says whether a chain of dereferences leads from the session to its client
 * random. usage: random openssl|gnutls OFFSET... */
#include <errno.h>
#include <gnutls/gnutls.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *follow(const void *session, int count, char **offsets)
{
    const char *at = session;
    for (int i = 0; i < count; i++) {
        at += strtol(offsets[i], NULL, 0);
        if (i + 1 < count) {
            memcpy(&at, at, sizeof(at));
        }
    }
    return at;
}

static int tell(const void *session, const unsigned char *random, int count, char **offsets)
{
    static const unsigned char zeros[32];
    if (memcmp(random, zeros, 32) == 0) {
        puts("there is no client random yet");
        return 1;
    }
    int differs = memcmp(follow(session, count, offsets), random, 32) != 0;
    puts(differs ? "something else" : "the client random");
    return differs;
}

static int with_openssl(int count, char **offsets)
{
    unsigned char random[32];
    SSL *ssl = SSL_new(SSL_CTX_new(TLS_client_method()));
    SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_connect(ssl);
    SSL_get_client_random(ssl, random, sizeof(random));
    return tell(ssl, random, count, offsets);
}

static ssize_t refuse(gnutls_transport_ptr_t transport, void *bytes, size_t length)
{
    gnutls_transport_set_errno(transport, EAGAIN);
    return -1;
}

static ssize_t swallow(gnutls_transport_ptr_t transport, const void *bytes, size_t length)
{
    return (ssize_t)length;
}

static int with_gnutls(int count, char **offsets)
{
    gnutls_session_t session;
    gnutls_certificate_credentials_t credentials;
    gnutls_datum_t random;
    gnutls_init(&session, GNUTLS_CLIENT);
    gnutls_certificate_allocate_credentials(&credentials);
    gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials);
    gnutls_set_default_priority(session);
    gnutls_transport_set_ptr(session, session);
    gnutls_transport_set_pull_function(session, refuse);
    gnutls_transport_set_push_function(session, swallow);
    gnutls_handshake(session);
    gnutls_session_get_random(session, &random, NULL);
    return tell(session, random.data, count, offsets);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        return 2;
    }
    return strcmp(argv[1], "openssl") == 0 ? with_openssl(argc - 2, argv + 2)
                                           : with_gnutls(argc - 2, argv + 2);
}

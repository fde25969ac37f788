// SPDX-License-Identifier: GPL-2.0-or-later
/* A client with an OpenSSL of its own (static), which is asked line by line for a URL, and prints
 * the answer's body. WRAPS: its key-log function is one around OpenSSL's, which tells nothing of
 * where the client random is. LIES: what it exports as the accessor of the client random returns
 * the server's. usage: odd CERTIFICATE HOST PORT */
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef WRAPS
int real_ssl_log_secret(SSL *ssl, const char *label, const unsigned char *secret, size_t length);
int (*volatile wrapped)(SSL *ssl, const char *label, const unsigned char *secret,
                        size_t length) = real_ssl_log_secret;
volatile unsigned count;

/* What the rest of OpenSSL calls. */
int ssl_log_secret(SSL *ssl, const char *label, const unsigned char *secret, size_t length);
int ssl_log_secret(SSL *ssl, const char *label, const unsigned char *secret, size_t length)
{
    count++;
    int result = wrapped(ssl, label, secret, length);
    count++;
    return result;
}
#endif

#ifdef LIES
#define SERVER_RANDOM 0x140 /* OpenSSL 3.0, x86-64: the client's is behind it */

__attribute__((visibility("default"))) size_t SSL_get_client_random(const SSL *ssl,
                                                                    unsigned char *out,
                                                                    size_t length)
{
    if (length > 32) {
        length = 32;
    }
    memcpy(out, (const char *)ssl + SERVER_RANDOM, length);
    return length;
}
#endif

int main(int argc, char **argv)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_load_verify_locations(context, argv[1], NULL);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    char url[256], where[64], answer[4096];
    snprintf(where, sizeof(where), "%s:%s", argv[2], argv[3]);
    puts("ready");
    fflush(stdout);
    while (fgets(url, sizeof(url), stdin)) {
        url[strcspn(url, "\n")] = '\0';
        BIO *bio = BIO_new_ssl_connect(context);
        BIO_set_conn_hostname(bio, where);
        if (BIO_do_connect(bio) <= 0) {
            fprintf(stderr, "no connection\n");
            return 1;
        }
        BIO_printf(bio, "GET %s HTTP/1.0\r\n\r\n", url);
        size_t got = 0;
        int more;
        while (got < sizeof(answer) - 1 &&
               (more = BIO_read(bio, answer + got, (int)(sizeof(answer) - 1 - got))) > 0) {
            got += (size_t)more;
        }
        answer[got] = '\0';
        const char *body = strstr(answer, "\r\n\r\n");
        fputs(body ? body + 4 : "no answer\n", stdout);
        fflush(stdout);
        BIO_free_all(bio);
    }
    return 0;
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* As client.py, with GnuTLS. Under a strict seccomp filter if STRICT is in the environment. */
#include <arpa/inet.h>
#include <gnutls/gnutls.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "strict.h"

static void check(int result, const char *what)
{
    if (result < 0) {
        fprintf(stderr, "%s: %s\n", what, gnutls_strerror(result));
        exit(1);
    }
}

static int connect_to(const char *host, const char *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    inet_pton(AF_INET, host, &address.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        perror("connect");
        exit(1);
    }
    return fd;
}

int main(int argc, char **argv)
{
    const char *host = argv[2];
    gnutls_certificate_credentials_t trust;
    gnutls_datum_t ticket = {NULL, 0};
    char priorities[64], answer[65536];
    snprintf(priorities, sizeof(priorities), "NORMAL:-VERS-ALL:+VERS-TLS%s", argv[4]);
    check(gnutls_certificate_allocate_credentials(&trust), "credentials");
    check(gnutls_certificate_set_x509_trust_file(trust, argv[1], GNUTLS_X509_FMT_PEM), argv[1]);
    if (getenv("STRICT")) {
        be_strict();
    }
    for (int i = 5; i < argc; i++) {
        gnutls_session_t session;
        check(gnutls_init(&session, GNUTLS_CLIENT), "session");
        check(gnutls_priority_set_direct(session, priorities, NULL), priorities);
        check(gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, trust), "credentials");
        gnutls_session_set_verify_cert(session, host, 0);
        if (ticket.data) {
            check(gnutls_session_set_data(session, ticket.data, ticket.size), "ticket");
        }
        int fd = connect_to(host, argv[3]);
        gnutls_transport_set_int(session, fd);
        check(gnutls_handshake(session), "handshake");
        char request[256];
        int length =
            snprintf(request, sizeof(request),
                     "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", argv[i], host);
        check((int)gnutls_record_send(session, request, (size_t)length), "send");
        /* No further than the body: a server that then closes without farewell ends the session. */
        size_t got = 0;
        const char *body = NULL;
        while (!body || !strchr(body + 4, '\n')) {
            ssize_t more = gnutls_record_recv(session, answer + got, sizeof(answer) - 1 - got);
            if (more != GNUTLS_E_AGAIN) {
                check((int)more - (more == 0), "receive");
                got += (size_t)more;
            }
            answer[got] = '\0';
            body = strstr(answer, "\r\n\r\n");
        }
        printf("%s %s", gnutls_session_is_resumed(session) ? "resumed" : "full", body + 4);
        fflush(stdout);
        gnutls_free(ticket.data);
        check(gnutls_session_get_data2(session, &ticket), "ticket");
        gnutls_deinit(session);
        close(fd);
    }
    gnutls_free(ticket.data);
    gnutls_certificate_free_credentials(trust);
    return 0;
}

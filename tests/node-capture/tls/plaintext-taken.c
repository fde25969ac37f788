// SPDX-License-Identifier: GPL-2.0-or-later
/* What processes in a network namespace say over TLS, as TlsKeys tells it: the bytes of each
 * connection and direction go to FOLDER/CONNECTION.r and .w at their offsets, and a line tells each
 * piece: "PID CONNECTION DIRECTION OFFSET LENGTH FROM-START SECRETS SERVER FAMILY LOCAL REMOTE",
 * "PID CONNECTION end", "key NAMESPACE LABEL", "problem TEXT". A line of standard input is what is
 * wanted of the namespace from then on, as a number (TlsTake); its end ends it. FOLDER "-": bytes
 * are counted and no more.
 *
 * usage: tls-plaintext-taken FOLDER NAMESPACE TAKE */
#include <arpa/inet.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "node-capture/tls/keys-kernel.h"

static const char *folder;
static uint64_t counted; /* bytes */

static void print_address(uint8_t family, const TlsAddress *address)
{
    char text[INET6_ADDRSTRLEN] = "-";
    if (family) {
        inet_ntop(family, address->bytes, text, sizeof(text));
    }
    printf(" %s/%u", text, address->port);
}

static void keep(const TlsPlaintext *plaintext)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%" PRIu64 ".%c", folder, plaintext->connection,
             plaintext->direction == TLS_READ ? 'r' : 'w');
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || pwrite(fd, plaintext->data, plaintext->length, (off_t)plaintext->offset) !=
                      (ssize_t)plaintext->length) {
        perror(path);
        exit(1);
    }
    close(fd);
}

static void on_plaintext(const TlsPlaintext *plaintext, void *userdata)
{
    counted += plaintext->length;
    if (strcmp(folder, "-") == 0) {
        return;
    }
    printf("%u %" PRIu64, plaintext->pid, plaintext->connection);
    if (plaintext->end) {
        puts(" end");
        fflush(stdout);
        return;
    }
    keep(plaintext);
    printf(" %c %" PRIu64 " %zu %d %d %d %d", plaintext->direction == TLS_READ ? 'r' : 'w',
           plaintext->offset, plaintext->length, plaintext->from_start, plaintext->secrets_ns != 0,
           plaintext->is_server,
           plaintext->family == AF_INET ? 4
           : plaintext->family          ? 6
                                        : 0);
    print_address(plaintext->family, &plaintext->local);
    print_address(plaintext->family, &plaintext->remote);
    putchar('\n');
    fflush(stdout);
}

static void on_secrets(uint64_t netns_inode, uint64_t time_unix_ns, const char *lines,
                       size_t length, void *userdata)
{
    for (const char *line = lines; line < lines + length; line = strchr(line, '\n') + 1) {
        printf("key %" PRIu64 " %.*s\n", netns_inode, (int)strcspn(line, " "), line);
    }
    fflush(stdout);
}

static void on_problem(const char *subject, const char *message, void *userdata)
{
    printf("problem %s: %s\n", subject, message ? message : "none");
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static const TlsKeysCallbacks callbacks = {
        .secrets = on_secrets, .plaintext = on_plaintext, .problem = on_problem};
    char line[64];
    if (argc != 4) {
        return 2;
    }
    folder = argv[1];
    TlsWanted wanted = {.netns_inode = strtoull(argv[2], NULL, 10),
                        .take = (unsigned)atoi(argv[3])};
    TlsKeys *keys = tls_keys_kernel_new(&callbacks, NULL);
    do {
        keys->ops->follow(keys, &wanted, wanted.take ? 1 : 0);
    } while (fgets(line, sizeof(line), stdin) && (wanted.take = (unsigned)atoi(line), true));
    keys->ops->free(keys);
    fprintf(stderr, "%" PRIu64 " bytes\n", counted);
    return 0;
}

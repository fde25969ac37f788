// SPDX-License-Identifier: GPL-2.0-or-later
/* datagram ADDRESS PORT TEXT [MILLISECONDS]: sends "TEXT 0" and ends; with an interval it goes on
 * with "TEXT 1" and so on, from the same port. A program that does it sooner after its start cannot
 * be had. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct sockaddr_in to = {.sin_family = AF_INET};
    if (argc < 4 || argc > 5 || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1) {
        return 2;
    }
    to.sin_port = htons((unsigned short)atoi(argv[2]));
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    for (unsigned number = 0;; number++) {
        char text[1024];
        int length = snprintf(text, sizeof(text), "%s %u", argv[3], number);
        if (fd < 0 || length >= (int)sizeof(text) ||
            sendto(fd, text, (size_t)length, 0, (struct sockaddr *)&to, sizeof(to)) != length) {
            return 1;
        }
        if (argc < 5) {
            return 0;
        }
        usleep((useconds_t)atoi(argv[4]) * 1000);
    }
}

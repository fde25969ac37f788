// SPDX-License-Identifier: GPL-2.0-or-later
/* datagram ADDRESS PORT TEXT: sends one datagram and ends. A program that does it sooner after its
 * start cannot be had. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

int main(int argc, char **argv)
{
    struct sockaddr_in to = {.sin_family = AF_INET};
    if (argc != 4 || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1) {
        return 2;
    }
    to.sin_port = htons((unsigned short)atoi(argv[2]));
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    size_t length = strlen(argv[3]);
    return fd < 0 ||
           sendto(fd, argv[3], length, 0, (struct sockaddr *)&to, sizeof(to)) != (ssize_t)length;
}

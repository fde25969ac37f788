// SPDX-License-Identifier: GPL-2.0-or-later
#include "k8s-enrich/address.h"

#include <arpa/inet.h>
#include <string.h>

static const uint8_t mapped_prefix[12] = {[10] = 0xff, [11] = 0xff};

bool ip_address_is_ipv4(const IpAddress *address)
{
    return memcmp(address->bytes, mapped_prefix, sizeof mapped_prefix) == 0;
}

bool ip_address_from_bytes(IpAddress *ret, const void *bytes, size_t length)
{
    if (length == sizeof ret->bytes) {
        memcpy(ret->bytes, bytes, length);
        return true;
    }
    if (length != 4)
        return false;
    memcpy(ret->bytes, mapped_prefix, sizeof mapped_prefix);
    memcpy(ret->bytes + sizeof mapped_prefix, bytes, length);
    return true;
}

bool ip_address_from_text(IpAddress *ret, const char *text)
{
    uint8_t bytes[16];
    if (inet_pton(AF_INET, text, bytes) == 1)
        return ip_address_from_bytes(ret, bytes, 4);
    if (inet_pton(AF_INET6, text, bytes) == 1)
        return ip_address_from_bytes(ret, bytes, 16);
    return false;
}

bool ip_address_equal(const IpAddress *a, const IpAddress *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

void ip_address_format(const IpAddress *address, char *out)
{
    if (ip_address_is_ipv4(address))
        inet_ntop(AF_INET, address->bytes + sizeof mapped_prefix, out, INET6_ADDRSTRLEN);
    else
        inet_ntop(AF_INET6, address->bytes, out, INET6_ADDRSTRLEN);
}

/* IANA special-purpose registries: 0/8, 127/8, 169.254/16, 224/4 and 240/4 with the broadcast. */
static bool ipv4_is_host(const uint8_t *bytes)
{
    return bytes[0] != 0 && bytes[0] != 127 && bytes[0] < 224 &&
           !(bytes[0] == 169 && bytes[1] == 254);
}

/* Neither :: nor ::1, fe80::/10, ff00::/8. */
static bool ipv6_is_host(const uint8_t *bytes)
{
    static const uint8_t zeros[15];
    if (memcmp(bytes, zeros, sizeof zeros) == 0 && bytes[15] <= 1)
        return false;
    return bytes[0] != 0xff && !(bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80);
}

bool ip_address_is_host(const IpAddress *address)
{
    if (ip_address_is_ipv4(address))
        return ipv4_is_host(address->bytes + sizeof mapped_prefix);
    return ipv6_is_host(address->bytes);
}

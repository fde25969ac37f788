// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/tls/plaintext-protocol.h"

#include <string.h>

typedef struct Bytes {
    const uint8_t *at;
    size_t length;
} Bytes;

static uint32_t get32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static uint32_t get32_little(const uint8_t *at)
{
    return (uint32_t)at[3] << 24 | (uint32_t)at[2] << 16 | (uint32_t)at[1] << 8 | at[0];
}

static bool begins(Bytes bytes, const char *text)
{
    size_t length = strlen(text);
    return bytes.length >= length && memcmp(bytes.at, text, length) == 0;
}

/* RFC 9112: a request or a status line. */
static bool is_http(Bytes bytes)
{
    static const char *const starts[] = {"GET ",     "POST ",  "PUT ",     "HEAD ",  "DELETE ",
                                         "OPTIONS ", "PATCH ", "CONNECT ", "TRACE ", "HTTP/1."};
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        if (begins(bytes, starts[i])) {
            return true;
        }
    }
    return false;
}

/* RFC 9113, 4.1. Frames one behind the other, and nothing else. */
static bool is_http2_frames(Bytes bytes)
{
    enum { HEADER = 9, TYPES = 10, FRAME_MAX = 1 << 20 };
    while (bytes.length >= HEADER) {
        size_t length = HEADER + (get32(bytes.at) >> 8);
        if (length > FRAME_MAX || bytes.at[3] >= TYPES || bytes.at[5] & 0x80 ||
            bytes.length < length) {
            return false;
        }
        bytes.at += length;
        bytes.length -= length;
        if (!bytes.length) {
            return true;
        }
    }
    return false;
}

/* The server's part of the beginning is a SETTINGS frame of stream 0. */
static bool is_http2(Bytes bytes, bool is_first)
{
    if (begins(bytes, "PRI * HTTP/2.0\r\n")) {
        return true;
    }
    if (!is_first) {
        return is_http2_frames(bytes);
    }
    return bytes.length >= 9 && bytes.at[0] == 0 && bytes.at[3] == 4 && bytes.at[4] <= 1 &&
           get32(bytes.at + 5) == 0 && (get32(bytes.at) >> 8) % 6 == 0;
}

/* RESP: an array of texts, as clients send it. */
static bool is_redis(Bytes bytes)
{
    size_t i = 1;
    if (bytes.length < 5 || bytes.at[0] != '*') {
        return false;
    }
    while (i < bytes.length && i < 8 && bytes.at[i] >= '0' && bytes.at[i] <= '9') {
        i++;
    }
    return i > 1 && i + 2 < bytes.length && bytes.at[i] == '\r' && bytes.at[i + 1] == '\n' &&
           bytes.at[i + 2] == '$';
}

/* A startup message: length, version 3, then names and values. */
static bool is_postgresql(Bytes bytes)
{
    return bytes.length >= 9 && get32(bytes.at) >= 9 && get32(bytes.at) <= 10000 &&
           get32(bytes.at + 4) >> 16 == 3 && bytes.at[8] >= 'a' && bytes.at[8] <= 'z';
}

/* RFC 4511: SEQUENCE { messageID INTEGER, protocolOp [APPLICATION n] }. */
static bool is_ldap(Bytes bytes)
{
    size_t at = 2;
    if (bytes.length < 7 || bytes.at[0] != 0x30) {
        return false;
    }
    if (bytes.at[1] & 0x80) {
        at += bytes.at[1] & 0x7f;
    }
    if (at > 6 || at + 3 > bytes.length || bytes.at[at] != 2 || bytes.at[at + 1] < 1 ||
        bytes.at[at + 1] > 4) {
        return false;
    }
    at += 2u + bytes.at[at + 1];
    return at < bytes.length && ((bytes.at[at] & 0xc0) == 0x40);
}

/* CONNECT: a fixed header, then the protocol's name with its length. */
static bool is_mqtt(Bytes bytes)
{
    for (size_t at = 2; bytes.length >= at + 6 && bytes.at[0] == 0x10 && at <= 5; at++) {
        if (memcmp(bytes.at + at, "\0\4MQTT", 6) == 0) {
            return true;
        }
    }
    return false;
}

/* OP_MSG and OP_QUERY, whose whole length stands in front. */
static bool is_mongodb(Bytes bytes)
{
    if (bytes.length < 16) {
        return false;
    }
    uint32_t operation = get32_little(bytes.at + 12), length = get32_little(bytes.at);
    return length >= 16 && length <= 48000000 && (operation == 2013 || operation == 2004);
}

/* ApiVersions, with which clients begin: size, key 18, a version, a number, the client's name. */
static bool is_kafka(Bytes bytes)
{
    return bytes.length >= 14 && get32(bytes.at) == bytes.length - 4 &&
           get32(bytes.at + 4) >> 16 == 18 && (get32(bytes.at + 4) & 0xffff) < 16;
}

const char *plaintext_protocol(const uint8_t *data, size_t length, bool is_first)
{
    const Bytes bytes = {data, length};
    if (is_http(bytes)) {
        return "http";
    }
    if (is_http2(bytes, is_first)) {
        return "http2";
    }
    if (!is_first) {
        return NULL;
    }
    if (begins(bytes, "AMQP")) {
        return "amqp";
    }
    return is_redis(bytes)        ? "redis"
           : is_postgresql(bytes) ? "postgresql"
           : is_ldap(bytes)       ? "ldap"
           : is_mqtt(bytes)       ? "mqtt"
           : is_mongodb(bytes)    ? "mongodb"
           : is_kafka(bytes)      ? "kafka"
                                  : NULL;
}

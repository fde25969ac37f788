// SPDX-License-Identifier: GPL-2.0-or-later
/* The way of OpenSSL and its descendants to log keys, in little, to be compiled in many ways. */
#include <stddef.h>

#define EXPORT __attribute__((visibility("default")))
#define APART  __attribute__((noinline))

struct state {
    long spare[9];
    unsigned char random[32];
};

struct session {
    const struct context *context;
    long spare[7];
    struct state *state;
};

struct context {
    void (*callback)(const struct session *, const char *);
};

void *memcpy(void *to, const void *from, size_t length);
size_t strlen(const char *text);
EXPORT void SSL_CTX_set_keylog_callback(struct context *context,
                                        void (*callback)(const struct session *, const char *));
EXPORT size_t SSL_get_client_random(const struct session *session, unsigned char *out,
                                    size_t length);
EXPORT int handshake(struct session *session, const unsigned char *secret, size_t length, int kind);
EXPORT int finish(struct session *session, const unsigned char *secret, size_t length);

EXPORT void SSL_CTX_set_keylog_callback(struct context *context,
                                        void (*callback)(const struct session *, const char *))
{
    context->callback = callback;
}

EXPORT size_t SSL_get_client_random(const struct session *session, unsigned char *out,
                                    size_t length)
{
    if (length == 0) {
        return 32;
    }
    if (length > 32) {
        length = 32;
    }
    memcpy(out, session->state->random, length);
    return length;
}

static APART char *put_hex(char *to, const unsigned char *bytes, size_t length)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < length; i++) {
        *to++ = digits[bytes[i] >> 4];
        *to++ = digits[bytes[i] & 15];
    }
    return to;
}

static APART int log_secret(struct session *session, const char *label, const unsigned char *secret,
                            size_t length)
{
    char line[512], *to = line;
    if (!session->context->callback) {
        return 1;
    }
    memcpy(to, label, strlen(label));
    to = put_hex(to + strlen(label), session->state->random, 32);
    to = put_hex(to, secret, length);
    *to = 0;
    session->context->callback(session, line);
    return 1;
}

EXPORT int handshake(struct session *session, const unsigned char *secret, size_t length, int kind)
{
    if (kind == 1) {
        return log_secret(session, "CLIENT_HANDSHAKE_TRAFFIC_SECRET", secret, length) &&
               log_secret(session, "SERVER_HANDSHAKE_TRAFFIC_SECRET", secret + length, length);
    }
    if (kind == 2 && !log_secret(session, "CLIENT_TRAFFIC_SECRET_0", secret, length)) {
        return 0;
    }
    return log_secret(session, "EXPORTER_SECRET", secret, length);
}

EXPORT int finish(struct session *session, const unsigned char *secret, size_t length)
{
    return log_secret(session, "CLIENT_RANDOM", secret, length);
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* Members of JSON objects by their expected type. What is absent or null reads as empty; what has
 * another type is a problem: a text that names the member, as "spec.ports.port: expected an
 * integer, found a string". Only the first problem is kept; the caller frees it. `parent` is the
 * path of `object`, for that text; an `object` that is NULL or no object has no members. Results
 * are borrowed. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "k8s-enrich/inventory.h"

void problem_set(char **problem, const char *parent, const char *key, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

const json_t *member_object(const json_t *object, const char *parent, const char *key,
                            char **problem);
/* Its elements are objects, or the problem is set and NULL returned. */
const json_t *member_objects(const json_t *object, const char *parent, const char *key,
                             char **problem);
const json_t *member_array(const json_t *object, const char *parent, const char *key,
                           char **problem);
const char *member_text(const json_t *object, const char *parent, const char *key, char **problem);
bool member_true(const json_t *object, const char *parent, const char *key, char **problem);
/* 0 to 65535. */
uint16_t member_port(const json_t *object, const char *parent, const char *key, char **problem);
/* TCP, UDP or SCTP as its IANA number; absent is TCP, as everywhere in Kubernetes. */
uint8_t member_protocol(const json_t *object, const char *parent, char **problem);
/* RFC 3339 as nanoseconds since the epoch; 0 if absent or before it. */
uint64_t member_time(const json_t *object, const char *parent, const char *key, char **problem);
/* False with the problem set if `text` is no IP address. */
bool parse_address(const char *text, const char *parent, const char *key, IpAddress *ret,
                   char **problem);

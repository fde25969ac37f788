// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/targets/cgroup-path.h"

#include <string.h>

#define UUID_LENGTH      36
#define HASH_LENGTH      32
#define CONTAINER_LENGTH (CGROUP_CONTAINER_SIZE - 1)
#define HIERARCHY_MAX    100000

/* Part of somebody else's text. */
typedef struct Span {
    const char *at;
    size_t length;
} Span;

static bool span_is(Span span, const char *text)
{
    return span.length == strlen(text) && memcmp(span.at, text, span.length) == 0;
}

static bool span_skip(Span *span, const char *prefix)
{
    size_t length = strlen(prefix);
    if (span->length < length || memcmp(span->at, prefix, length) != 0) {
        return false;
    }
    span->at += length;
    span->length -= length;
    return true;
}

static bool span_cut_end(Span *span, const char *suffix)
{
    size_t length = strlen(suffix);
    if (span->length < length || memcmp(span->at + span->length - length, suffix, length) != 0) {
        return false;
    }
    span->length -= length;
    return true;
}

/* Up to the next `separator`, which goes as well. False at the end. */
static bool span_next(Span *rest, char separator, Span *ret_part)
{
    if (!rest->at) {
        return false;
    }
    const char *end = memchr(rest->at, separator, rest->length);
    ret_part->at = rest->at;
    if (!end) {
        ret_part->length = rest->length;
        rest->at = NULL;
        return true;
    }
    ret_part->length = (size_t)(end - rest->at);
    rest->length -= ret_part->length + 1;
    rest->at = end + 1;
    return true;
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

static bool all_hex(Span span)
{
    for (size_t i = 0; i < span.length; i++) {
        if (!is_hex(span.at[i])) {
            return false;
        }
    }
    return true;
}

static bool take_uid(Span span, char separator, char ret_uid[static CGROUP_UID_SIZE])
{
    if (span.length == HASH_LENGTH && all_hex(span)) {
        memcpy(ret_uid, span.at, HASH_LENGTH);
        ret_uid[HASH_LENGTH] = '\0';
        return true;
    }
    if (span.length != UUID_LENGTH) {
        return false;
    }
    for (size_t i = 0; i < UUID_LENGTH; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? span.at[i] != separator : !is_hex(span.at[i])) {
            return false;
        }
        ret_uid[i] = dash ? '-' : span.at[i];
    }
    ret_uid[UUID_LENGTH] = '\0';
    return true;
}

/* The pod's group made by the cgroupfs driver. The group above tells it from somebody else's
 * "pod...". */
static bool take_plain_pod(Span part, Span above, CgroupPod *pod)
{
    return (span_is(above, "kubepods") || span_is(above, "burstable") ||
            span_is(above, "besteffort") || span_is(above, "..")) &&
           span_skip(&part, "pod") && take_uid(part, '-', pod->uid);
}

/* The pod's slice: "kubepods", its class and its UID; kubelets with a root of their own put that
 * before. */
static bool take_slice(Span part, CgroupPod *pod)
{
    static const char kubepods[] = "kubepods";
    const char *start = memmem(part.at, part.length, kubepods, strlen(kubepods));
    if (!start || (start > part.at && start[-1] != '-') || !span_cut_end(&part, ".slice")) {
        return false;
    }
    part.length -= (size_t)(start - part.at);
    part.at = start;
    if (!span_skip(&part, kubepods)) {
        return false;
    }
    if (!span_skip(&part, "-burstable")) {
        span_skip(&part, "-besteffort");
    }
    return span_skip(&part, "-pod") && take_uid(part, '_', pod->uid);
}

static bool take_container(Span part, CgroupPod *pod)
{
    static const char *const runtimes[] = {"cri-containerd-", "crio-", "docker-", "libpod-"};
    span_cut_end(&part, ".scope");
    for (size_t i = 0; i < sizeof(runtimes) / sizeof(runtimes[0]); i++) {
        if (span_skip(&part, runtimes[i])) {
            break;
        }
    }
    if (part.length != CONTAINER_LENGTH || !all_hex(part)) {
        return false;
    }
    memcpy(pod->container, part.at, CONTAINER_LENGTH);
    pod->container[CONTAINER_LENGTH] = '\0';
    return true;
}

/* "SLICE:cri-containerd:ID": containerd with the cgroupfs driver under a kubelet with the other. */
static bool take_mixed(Span part, CgroupPod *pod)
{
    Span slice, runtime, id;
    return span_next(&part, ':', &slice) && span_next(&part, ':', &runtime) &&
           span_next(&part, ':', &id) && !part.at && take_slice(slice, pod) &&
           take_container(id, pod);
}

static bool below(Span *path, const char *prefix)
{
    if (!prefix) {
        return true;
    }
    Span wanted = {prefix, strlen(prefix)};
    span_cut_end(&wanted, "/");
    if (path->length < wanted.length || memcmp(path->at, wanted.at, wanted.length) != 0) {
        return false;
    }
    return path->length == wanted.length || path->at[wanted.length] == '/';
}

bool cgroup_path_pod(const char *path, size_t length, const char *prefix, CgroupPod *ret_pod)
{
    Span rest = {path, length}, above = {"", 0}, part;
    if (!below(&rest, prefix)) {
        return false;
    }
    CgroupPod pod = {.uid = ""};
    bool found = false;
    while (span_next(&rest, '/', &part)) {
        if (take_mixed(part, &pod)) {
            found = true;
            break;
        }
        if (take_plain_pod(part, above, &pod) || take_slice(part, &pod)) {
            found = true;
            if (span_next(&rest, '/', &part) && !take_container(part, &pod)) {
                pod.below = true;
            }
            break;
        }
        above = part;
    }
    if (found) {
        pod.below = pod.below || rest.at;
        *ret_pod = pod;
    }
    return found;
}

/* "HIERARCHY:CONTROLLERS:PATH" */
static bool take_line(Span line, const char *prefix, CgroupPod *pod)
{
    Span number, controllers;
    if (!span_next(&line, ':', &number) || !span_next(&line, ':', &controllers) || !line.at) {
        return false;
    }
    int hierarchy = 0;
    for (size_t i = 0; i < number.length; i++) {
        char c = number.at[i];
        if (c < '0' || c > '9' || hierarchy > HIERARCHY_MAX) {
            return false;
        }
        hierarchy = hierarchy * 10 + (c - '0');
    }
    if (number.length == 0 || !cgroup_path_pod(line.at, line.length, prefix, pod)) {
        return false;
    }
    pod->hierarchy = hierarchy;
    return true;
}

bool cgroup_file_pod(const char *text, size_t length, const char *prefix, CgroupPod *ret_pod)
{
    Span rest = {text, length}, line;
    bool found = false;
    while (span_next(&rest, '\n', &line)) {
        CgroupPod pod;
        if (!take_line(line, prefix, &pod) || (found && pod.container[0] == '\0')) {
            continue;
        }
        *ret_pod = pod;
        found = true;
        if (pod.container[0] != '\0') {
            break;
        }
    }
    return found;
}

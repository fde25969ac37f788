// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/targets/container-name.h"

#include <string.h>

#define ROOT_FIELD     3 /* of a line, from 0 on: proc(5) */
#define HASH_LENGTH    8
#define PARTS          5 /* of the path, counted from its end */
#define UID_LENGTH_MAX 36

typedef struct Part {
    const char *at;
    size_t length;
} Part;

static bool is_word(const Part *part, const char *word)
{
    return part->length == strlen(word) && memcmp(part->at, word, part->length) == 0;
}

static bool is_label(const Part *part)
{
    if (part->length == 0 || part->length >= CONTAINER_NAME_SIZE) {
        return false;
    }
    for (size_t i = 0; i < part->length; i++) {
        char c = part->at[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-')) {
            return false;
        }
    }
    return true;
}

static bool is_hash(const Part *part)
{
    for (size_t i = 0; i < part->length; i++) {
        char c = part->at[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) {
            return false;
        }
    }
    return part->length == HASH_LENGTH;
}

/* The last parts of a path, the last one first. False if it has fewer. */
static bool split_end(const char *path, size_t length, Part parts[static PARTS])
{
    size_t end = length;
    for (size_t i = 0; i < PARTS; i++) {
        size_t start = end;
        while (start > 0 && path[start - 1] != '/') {
            start--;
        }
        if (start == 0) {
            return false;
        }
        parts[i] = (Part){path + start, end - start};
        end = start - 1;
    }
    return true;
}

static bool take_root(const char *path, size_t length, const char *uid,
                      char ret_name[static CONTAINER_NAME_SIZE])
{
    enum { HASH, NAME, CONTAINERS, UID, PODS };
    Part parts[PARTS];
    if (!split_end(path, length, parts) || !is_hash(&parts[HASH]) || !is_label(&parts[NAME]) ||
        !is_word(&parts[CONTAINERS], "containers") || !is_word(&parts[PODS], "pods") ||
        parts[UID].length > UID_LENGTH_MAX || (*uid && !is_word(&parts[UID], uid))) {
        return false;
    }
    memcpy(ret_name, parts[NAME].at, parts[NAME].length);
    ret_name[parts[NAME].length] = '\0';
    return true;
}

/* The fields are separated by single spaces; spaces within are escaped. */
static bool take_line(const char *line, size_t length, const char *uid,
                      char ret_name[static CONTAINER_NAME_SIZE])
{
    const char *at = line, *end = line + length;
    for (unsigned i = 0; i < ROOT_FIELD; i++) {
        const char *space = memchr(at, ' ', (size_t)(end - at));
        if (!space) {
            return false;
        }
        at = space + 1;
    }
    const char *space = memchr(at, ' ', (size_t)(end - at));
    return space && take_root(at, (size_t)(space - at), uid, ret_name);
}

bool container_name_find(const char *text, size_t length, const char *uid,
                         char ret_name[static CONTAINER_NAME_SIZE])
{
    const char *end = text + length;
    while (text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        const char *line_end = newline ? newline : end;
        if (take_line(text, (size_t)(line_end - text), uid, ret_name)) {
            return true;
        }
        text = line_end + 1;
    }
    return false;
}

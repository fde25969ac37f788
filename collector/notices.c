// SPDX-License-Identifier: GPL-2.0-or-later
#include "collector/notices.h"

#include <glib.h>

#include "common/recent-set.h"
#include "common/seeded-hash.h"

typedef struct Cause {
    char *message;
    GString *subjects;
    unsigned count;
    uint64_t since_ns;
} Cause;

struct Notices {
    void (*say)(const char *sentence, void *userdata);
    void *userdata;
    RecentSet *said;
    GHashTable *by_message; /* message -> Cause, in `waiting` */
    GQueue waiting;         /* of Cause, oldest first */
};

static void cause_free(void *data)
{
    Cause *cause = data;
    g_free(cause->message);
    g_string_free(cause->subjects, TRUE);
    g_free(cause);
}

Notices *notices_new(void (*say)(const char *sentence, void *userdata), void *userdata)
{
    Notices *notices = g_new0(Notices, 1);
    notices->say = say;
    notices->userdata = userdata;
    notices->said = recent_set_new(NOTICES_REMEMBERED);
    notices->by_message = g_hash_table_new(seeded_str_hash, g_str_equal);
    return notices;
}

Notices *notices_free(Notices *notices)
{
    if (notices) {
        recent_set_free(notices->said);
        g_hash_table_unref(notices->by_message);
        g_queue_clear_full(&notices->waiting, cause_free);
        g_free(notices);
    }
    return NULL;
}

static char *printable(const char *text)
{
    g_autofree char *cut = g_strndup(text, NOTICES_TEXT_MAX);
    char *valid = g_utf8_make_valid(cut, -1);
    for (char *c = valid; *c; c++) {
        if (g_ascii_iscntrl(*c))
            *c = '?';
    }
    return valid;
}

static Cause *find_cause(Notices *notices, uint64_t now_ns, const char *message)
{
    Cause *cause = g_hash_table_lookup(notices->by_message, message);
    if (!cause && notices->waiting.length < NOTICES_CAUSES) {
        cause = g_new0(Cause, 1);
        cause->message = g_strdup(message);
        cause->subjects = g_string_new(NULL);
        cause->since_ns = now_ns;
        g_hash_table_insert(notices->by_message, cause->message, cause);
        g_queue_push_tail(&notices->waiting, cause);
    }
    return cause;
}

bool notices_add(Notices *notices, NodeQuota *quota, uint64_t now_ns, const char *subject,
                 const char *message)
{
    g_autofree char *who = printable(subject), *what = printable(message);
    g_autofree char *both = g_strdup_printf("%s\n%s", who, what);
    if (recent_set_contains(notices->said, both, strlen(both)))
        return true;
    bool is_sentence = !g_hash_table_contains(notices->by_message, what);
    if (quota && !node_quota_notice(quota, now_ns, is_sentence))
        return false;
    recent_set_add(notices->said, both, strlen(both));
    Cause *cause = find_cause(notices, now_ns, what);
    if (cause && cause->count++ < NOTICES_NAMED)
        g_string_append_printf(cause->subjects, "%s%s", cause->subjects->len ? ", " : "", who);
    return true;
}

static void say(Notices *notices, const Cause *cause)
{
    g_autoptr(GString) text = g_string_new(cause->subjects->str);
    if (cause->count > NOTICES_NAMED)
        g_string_append_printf(text, " and %u more", cause->count - NOTICES_NAMED);
    g_string_append_printf(text, ": %s", cause->message);
    notices->say(text->str, notices->userdata);
}

void notices_flush(Notices *notices, uint64_t now_ns, bool all)
{
    const Cause *first;
    while ((first = g_queue_peek_head(&notices->waiting)) &&
           (all || now_ns >= first->since_ns + NOTICES_INTERVAL_NS)) {
        g_hash_table_remove(notices->by_message, first->message);
        say(notices, first);
        cause_free(g_queue_pop_head(&notices->waiting));
    }
}

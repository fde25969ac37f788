// SPDX-License-Identifier: GPL-2.0-or-later
/* Which processes run which files with TLS: grouped by file, bounded, and gone when they are. */
#include <glib.h>
#include <string.h>

#include "node-capture/tls/programs.h"

enum { NETNS = 7, OTHER = 8, SSL = 1, NSS = 2 };

static TlsPrograms *with_files(void)
{
    TlsPrograms *programs = tls_programs_new();
    tls_programs_file(programs, SSL, "/lib/libssl.so.3", "OpenSSL", TLS_PROGRAM_HOOKED, "");
    tls_programs_file(programs, NSS, "/lib/libnss3.so", "NSS", TLS_PROGRAM_NOT_HOOKED, "because");
    return programs;
}

static void use(TlsPrograms *programs, uint64_t netns, uint64_t file, pid_t pid, const char *name)
{
    TlsProcess process = {.pid = pid};
    g_strlcpy(process.name, name, sizeof(process.name));
    tls_programs_use(programs, netns, file, &process);
}

static void append(const TlsProgram *program, void *userdata)
{
    GString *text = userdata;
    g_string_append_printf(text, "%s %s %s [%s] %u:", program->path, program->library,
                           tls_program_state_name(program->state), program->reason,
                           program->processes);
    for (unsigned i = 0; i < program->n_some; i++) {
        g_string_append_printf(text, " %s/%d", program->some[i].name, (int)program->some[i].pid);
    }
    g_string_append_printf(text, " lines %u at %u\n", (unsigned)program->lines,
                           (unsigned)program->last_unix_ns);
}

static void assert_listed(TlsPrograms *programs, uint64_t netns, const char *expected)
{
    g_autoptr(GString) text = g_string_new(NULL);
    tls_programs_list(programs, netns, append, text);
    g_assert_cmpstr(text->str, ==, expected);
}

static bool is_even(uint64_t netns_inode, pid_t pid, void *userdata)
{
    return pid % 2 == 0;
}

static bool is_there(uint64_t netns_inode, pid_t pid, void *userdata)
{
    return true;
}

static bool is_gone(uint64_t netns_inode, pid_t pid, void *userdata)
{
    return false;
}

static void test_by_namespace(void)
{
    TlsPrograms *programs = with_files();
    use(programs, NETNS, SSL, 12, "curl");
    use(programs, NETNS, SSL, 11, "curl");
    use(programs, OTHER, NSS, 13, "firefox");
    g_assert_true(tls_programs_has(programs, NETNS, SSL, 11));
    g_assert_false(tls_programs_has(programs, NETNS, NSS, 11));
    tls_programs_gave(programs, NETNS, SSL, 50);
    tls_programs_gave(programs, NETNS, SSL, 40);
    assert_listed(programs, NETNS,
                  "/lib/libssl.so.3 OpenSSL hooked [] 2: curl/11 curl/12 lines 2 at 50\n");
    assert_listed(programs, OTHER,
                  "/lib/libnss3.so NSS not hooked [because] 1: firefox/13 lines 0 at 0\n");
    assert_listed(programs, 9, "");
    tls_programs_forget(programs, NETNS);
    assert_listed(programs, NETNS, "");
    tls_programs_forget(programs, 0);
    assert_listed(programs, OTHER, "");
    tls_programs_free(programs);
}

static void test_why_none(void)
{
    TlsPrograms *programs = with_files();
    use(programs, NETNS, SSL, 11, "both");
    use(programs, NETNS, NSS, 11, "both");
    use(programs, NETNS, NSS, 12, "nss");
    g_assert_null(tls_programs_why_none(programs, NETNS, 11));
    g_assert_null(tls_programs_why_none(programs, NETNS, 99));
    g_assert_null(tls_programs_why_none(programs, OTHER, 12));
    g_autofree char *why = tls_programs_why_none(programs, NETNS, 12);
    g_assert_cmpstr(why, ==, "NSS is not hooked: because");
    tls_programs_state(programs, SSL, TLS_PROGRAM_WITHDRAWN, "its randoms are none");
    g_autofree char *now = tls_programs_why_none(programs, NETNS, 11);
    g_assert_nonnull(now);
    tls_programs_free(programs);
}

/* What is new or different is seen by the number alone; a process more is not. */
static void test_generation(void)
{
    TlsPrograms *programs = with_files();
    uint64_t before = tls_programs_generation(programs);
    tls_programs_state(programs, SSL, TLS_PROGRAM_FAILED, "nobody runs it");
    g_assert_cmpuint(tls_programs_generation(programs), ==, before);
    use(programs, NETNS, SSL, 11, "a");
    uint64_t used = tls_programs_generation(programs);
    g_assert_cmpuint(used, !=, before);
    use(programs, NETNS, SSL, 12, "a");
    tls_programs_state(programs, SSL, TLS_PROGRAM_FAILED, "nobody runs it");
    g_assert_cmpuint(tls_programs_generation(programs), ==, used);
    tls_programs_state(programs, SSL, TLS_PROGRAM_HOOKED, "");
    g_assert_cmpuint(tls_programs_generation(programs), !=, used);
    tls_programs_free(programs);
}

static void test_ended(void)
{
    TlsPrograms *programs = with_files();
    for (pid_t pid = 1; pid <= 20; pid++) {
        use(programs, NETNS, SSL, pid, "p");
    }
    tls_programs_tend(programs, 1, is_even, NULL);
    assert_listed(programs, NETNS,
                  "/lib/libssl.so.3 OpenSSL hooked [] 10: p/2 p/4 p/6 p/8 p/10 p/12 p/14 p/16 "
                  "lines 0 at 0\n");
    tls_programs_tend(programs, 2, is_gone, NULL);
    tls_programs_tend(programs, 1 + TLS_PROGRAM_KEPT_NS, is_gone, NULL);
    assert_listed(programs, NETNS, "/lib/libssl.so.3 OpenSSL hooked [] 0: lines 0 at 0\n");
    use(programs, NETNS, SSL, 30, "again");
    tls_programs_tend(programs, 3 + TLS_PROGRAM_KEPT_NS, is_there, NULL);
    assert_listed(programs, NETNS, "/lib/libssl.so.3 OpenSSL hooked [] 1: again/30 lines 0 at 0\n");
    tls_programs_tend(programs, 4 + TLS_PROGRAM_KEPT_NS, is_gone, NULL);
    tls_programs_tend(programs, 4 + 2 * TLS_PROGRAM_KEPT_NS, is_gone, NULL);
    assert_listed(programs, NETNS, "");
    tls_programs_free(programs);
}

/* A number that another program has by now is not told for it. */
static void test_rounds(void)
{
    TlsPrograms *programs = with_files();
    use(programs, NETNS, SSL, 1, "old");
    use(programs, NETNS, SSL, 2, "stays");
    tls_programs_begin(programs);
    g_assert_true(tls_programs_has(programs, NETNS, SSL, 2));
    use(programs, NETNS, SSL, 3, "new");
    tls_programs_end(programs);
    assert_listed(programs, NETNS,
                  "/lib/libssl.so.3 OpenSSL hooked [] 2: stays/2 new/3 lines 0 at 0\n");
    tls_programs_free(programs);
}

static void count(const TlsProgram *program, void *userdata)
{
    unsigned *counted = userdata;
    counted[0]++;
    counted[1] = MAX(counted[1], program->processes);
    g_assert_cmpuint(program->n_some, <=, TLS_PROGRAM_SOME);
}

static void test_bounded(void)
{
    TlsPrograms *programs = tls_programs_new();
    unsigned counted[2] = {0};
    for (uint64_t file = 1; file <= 2 * TLS_PROGRAMS_MAX; file++) {
        tls_programs_file(programs, file, "/a\x1b\xff", "OpenSSL", TLS_PROGRAM_HOOKED, "");
        use(programs, NETNS, file, 5, "p");
    }
    for (pid_t pid = 1; pid <= 2 * (pid_t)TLS_PROGRAM_PROCESSES; pid++) {
        use(programs, NETNS, 1, pid, "p");
    }
    tls_programs_list(programs, NETNS, count, counted);
    g_assert_cmpuint(counted[0], ==, TLS_PROGRAMS_MAX);
    g_assert_cmpuint(counted[1], ==, TLS_PROGRAM_PROCESSES);
    tls_programs_free(programs);
}

/* Sixteen pods with as many files as they may have do not keep another one's from being told. */
static void test_room_for_all(void)
{
    TlsPrograms *programs = tls_programs_new();
    unsigned counted[2] = {0};
    uint64_t file = 0;
    for (uint64_t netns = 100; file < TLS_PROGRAMS_ALL; netns++) {
        for (unsigned i = 0; i < TLS_PROGRAMS_MAX; i++) {
            tls_programs_file(programs, ++file, "/a", "OpenSSL", TLS_PROGRAM_HOOKED, "");
            use(programs, netns, file, 5, "p");
        }
    }
    tls_programs_file(programs, ++file, "/b", "OpenSSL", TLS_PROGRAM_HOOKED, "");
    g_assert_true(tls_programs_knows(programs, file));
    use(programs, NETNS, file, 6, "p");
    assert_listed(programs, NETNS, "/b OpenSSL hooked [] 1: p/6 lines 0 at 0\n");
    tls_programs_list(programs, 101, count, counted);
    g_assert_cmpuint(counted[0], >=, TLS_PROGRAMS_MAX / 2);
    /* What nobody uses goes first, and is to be told again. */
    for (uint64_t other = file + 1; other <= file + TLS_PROGRAMS_ALL; other++) {
        tls_programs_file(programs, other, "/c", "OpenSSL", TLS_PROGRAM_HOOKED, "");
    }
    g_assert_false(tls_programs_knows(programs, file + 1));
    assert_listed(programs, NETNS, "/b OpenSSL hooked [] 1: p/6 lines 0 at 0\n");
    tls_programs_free(programs);
}

static void check_text(const TlsProgram *program, void *userdata)
{
    g_assert_true(g_utf8_validate(program->path, -1, NULL));
    g_assert_null(strchr(program->path, '\x1b'));
    g_assert_cmpuint(strlen(program->path), <=, 2048);
    g_assert_null(strchr(program->reason, '\n'));
}

static void test_strange_names(void)
{
    TlsPrograms *programs = tls_programs_new();
    g_autofree char *path = g_strnfill(8000, '\x1b');
    memcpy(path, "/\xff\xfe", 3);
    tls_programs_file(programs, 1, path, "OpenSSL", TLS_PROGRAM_NOT_HOOKED, "a\nb");
    use(programs, NETNS, 1, 5, "p");
    tls_programs_list(programs, NETNS, check_text, NULL);
    tls_programs_free(programs);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/programs/by-namespace", test_by_namespace);
    g_test_add_func("/programs/why-none", test_why_none);
    g_test_add_func("/programs/generation", test_generation);
    g_test_add_func("/programs/ended", test_ended);
    g_test_add_func("/programs/rounds", test_rounds);
    g_test_add_func("/programs/bounded", test_bounded);
    g_test_add_func("/programs/room-for-all", test_room_for_all);
    g_test_add_func("/programs/strange-names", test_strange_names);
    return g_test_run();
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* Where a client random stands is told by copies of sessions and by what was on the wire, and not
 * by chance. */
#include <glib.h>
#include <string.h>

#include "node-capture/tls/random-search.h"

enum { OBJECT = 256, POINTED = 128, POINTERS = 2 };

typedef struct Session {
    uint8_t object[OBJECT];
    uint16_t places[POINTERS];
    uint8_t pointed[POINTERS][POINTED];
} Session;

static void random_of(unsigned number, uint8_t random[static 32])
{
    for (unsigned i = 0; i < 32; i++) {
        random[i] = (uint8_t)(number * 131 + i * 7);
    }
}

static Session session_new(void)
{
    Session session = {.places = {16, 48}};
    memset(session.object, 0x55, sizeof(session.object));
    memset(session.pointed, 0x55, sizeof(session.pointed));
    return session;
}

/* Randoms 1 to `seen` were on the wire. */
static bool add(RandomSearch *search, const Session *session, unsigned seen)
{
    uint8_t randoms[64][32];
    for (unsigned i = 0; i < seen; i++) {
        random_of(i + 1, randoms[i]);
    }
    const RandomSample sample = {session->object,     OBJECT, POINTERS, session->places,
                                 session->pointed[0], POINTED};
    return random_search_add(search, &sample, randoms[0], seen);
}

static void test_in_the_object(void)
{
    RandomSearch search = {0};
    TlsChain chain;
    for (unsigned number = 1; number <= 2; number++) {
        Session session = session_new();
        random_of(number, session.object + 101);
        g_assert_false(random_search_result(&search, &chain));
        g_assert_true(add(&search, &session, 10));
    }
    g_assert_true(random_search_result(&search, &chain));
    g_assert_cmpuint(chain.count, ==, 1);
    g_assert_cmpint(chain.offsets[0], ==, 101);
}

/* To the last byte of what the second pointer leads to. */
static void test_behind_a_pointer(void)
{
    RandomSearch search = {0};
    TlsChain chain;
    for (unsigned number = 1; number <= 2; number++) {
        Session session = session_new();
        random_of(number, session.pointed[1] + POINTED - 32);
        g_assert_true(add(&search, &session, 10));
    }
    g_assert_true(random_search_result(&search, &chain));
    g_assert_cmpuint(chain.count, ==, 2);
    g_assert_cmpint(chain.offsets[0], ==, 48);
    g_assert_cmpint(chain.offsets[1], ==, POINTED - 32);
}

/* One connection may be looked at twice; two are needed. */
static void test_one_is_not_enough(void)
{
    RandomSearch search = {0};
    TlsChain chain;
    Session session = session_new();
    random_of(1, session.object + 8);
    for (unsigned i = 0; i < 5; i++) {
        g_assert_true(add(&search, &session, 10));
        g_assert_false(random_search_result(&search, &chain));
    }
}

/* What is not there in the next connection was chance; what was never on the wire is nothing. */
static void test_chance(void)
{
    RandomSearch search = {0};
    TlsChain chain;
    Session session = session_new();
    random_of(20, session.object + 8);
    g_assert_false(add(&search, &session, 10));
    random_of(1, session.object + 8);
    random_of(1, session.pointed[0] + 3);
    g_assert_true(add(&search, &session, 10));
    session = session_new();
    random_of(2, session.pointed[0] + 3);
    g_assert_true(add(&search, &session, 10));
    g_assert_true(random_search_result(&search, &chain));
    g_assert_cmpuint(chain.count, ==, 2);
    g_assert_cmpint(chain.offsets[1], ==, 3);
    session = session_new();
    random_of(3, session.object + 40); /* contradicts */
    g_assert_true(add(&search, &session, 10));
    g_assert_false(random_search_result(&search, &chain));
}

/* Of two ways that are both right the shorter one, but later. */
static void test_two_ways(void)
{
    RandomSearch search = {0};
    TlsChain chain;
    for (unsigned number = 1; number <= 4; number++) {
        g_assert_false(random_search_result(&search, &chain));
        Session session = session_new();
        random_of(number, session.pointed[0] + 9);
        random_of(number, session.object + 200);
        g_assert_true(add(&search, &session, 10));
    }
    g_assert_true(random_search_result(&search, &chain));
    g_assert_cmpuint(chain.count, ==, 1);
    g_assert_cmpint(chain.offsets[0], ==, 200);
}

/* A memory full of what was on the wire is no session. */
static void test_too_many(void)
{
    RandomSearch search = {0};
    Session session = session_new();
    for (unsigned i = 0; i < OBJECT / 32; i++) {
        random_of(i + 1, session.object + i * 32);
    }
    for (unsigned i = 0; i < POINTERS * POINTED / 32; i++) {
        random_of(i + 1, session.pointed[0] + i * 32);
    }
    g_assert_true(add(&search, &session, 8));
    random_of(9, session.object + 224);
    RandomSearch other = {0};
    uint8_t all[OBJECT + POINTERS * POINTED];
    memcpy(all, session.object, OBJECT);
    memcpy(all + OBJECT, session.pointed, sizeof(session.pointed));
    const RandomSample long_one = {
        all, sizeof(all), POINTERS, session.places, session.pointed[0], POINTED};
    uint8_t randoms[16][32];
    for (unsigned i = 0; i < 16; i++) {
        random_of(i + 1, randoms[i]);
    }
    g_assert_false(random_search_add(&other, &long_one, randoms[0], 16));
}

static void test_is_random(void)
{
    uint8_t bytes[32] = {0};
    g_assert_false(random_search_is_random(bytes));
    memcpy(bytes, "DOWNGRD", 8);
    g_assert_false(random_search_is_random(bytes));
    random_of(1, bytes);
    g_assert_true(random_search_is_random(bytes));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tls-random-search/in-the-object", test_in_the_object);
    g_test_add_func("/tls-random-search/behind-a-pointer", test_behind_a_pointer);
    g_test_add_func("/tls-random-search/one-is-not-enough", test_one_is_not_enough);
    g_test_add_func("/tls-random-search/chance", test_chance);
    g_test_add_func("/tls-random-search/two-ways", test_two_ways);
    g_test_add_func("/tls-random-search/too-many", test_too_many);
    g_test_add_func("/tls-random-search/is-random", test_is_random);
    return g_test_run();
}

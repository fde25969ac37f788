// SPDX-License-Identifier: GPL-2.0-or-later
/* plaintext-node: a node whose kernel is this program: the pod shop/cart, and as plaintext what
 * standard input tells (plaintext-calls.h) from the moment on that a stream asks for some. Prints
 * the endpoint; a second line when that moment has come. Ends when standard input does. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "helpers.h"
#include "service-fixture.h"
#include "tls/plaintext-calls.h"

typedef struct Told {
    ServiceFixture fixture;
    uint64_t netns_inode;
} Told;

/* In the network namespace of the pod, and now. */
static void tell(const TlsPlaintext *plaintext, void *userdata)
{
    Told *told = userdata;
    TlsPlaintext now = *plaintext;
    now.netns_inode = told->netns_inode;
    now.time_unix_ns = clock_unix_ns();
    tls_keys_fake_tell_plaintext(told->fixture.keys, &now);
    g_usleep(100); /* a clock that moves on */
}

static uint64_t wait_asked(ServiceFixture *fixture)
{
    for (;;) {
        unsigned times;
        g_autoptr(GArray) followed = tls_keys_fake_followed(fixture->keys, &times);
        if (followed->len > 0) {
            return g_array_index(followed, TlsWanted, 0).netns_inode;
        }
        g_usleep(1000);
    }
}

static gpointer tell_time(gpointer data)
{
    Told *told = data;
    for (;;) {
        source_fake_watermark(told->fixture.source, clock_unix_ns());
        g_usleep(10000);
    }
    return NULL;
}

int main(void)
{
    Told told = {0};
    service_set_up(&told.fixture, NULL);
    printf("unix:%s/node.sock\n", told.fixture.folder);
    fflush(stdout);
    told.netns_inode = wait_asked(&told.fixture);
    puts("asked");
    fflush(stdout);
    g_thread_unref(g_thread_new("time", tell_time, &told));
    char *line = NULL;
    size_t room = 0;
    while (getline(&line, &room, stdin) > 0) {
        plaintext_call(line, tell, &told);
    }
    free(line);
    _Exit(EXIT_SUCCESS); /* with its socket's folder, which is the caller's to remove */
}

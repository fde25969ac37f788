// SPDX-License-Identifier: GPL-2.0-or-later
#include "fake-dns.h"

#include "fixture.h"

#define PATIENCE_S 20

/* Cancelling wakes it. */
static void on_cancelled(GCancellable *cancellable, gpointer userdata)
{
    FakeDns *dns = userdata;
    g_mutex_lock(&dns->lock);
    g_cond_broadcast(&dns->asked);
    g_mutex_unlock(&dns->lock);
}

static char **lookup(void *userdata, const char *name, GCancellable *cancellable, GError **error)
{
    FakeDns *dns = userdata;
    gulong handler = g_cancellable_connect(cancellable, G_CALLBACK(on_cancelled), dns, NULL);
    g_mutex_lock(&dns->lock);
    dns->questions++;
    g_free(dns->last);
    dns->last = g_strdup(name);
    g_cond_broadcast(&dns->asked);
    while (!dns->addresses && dns->error < 0 && !g_cancellable_is_cancelled(cancellable))
        g_cond_wait(&dns->asked, &dns->lock);
    char **answer = g_strdupv(dns->addresses);
    if (!answer && !g_cancellable_set_error_if_cancelled(cancellable, error))
        g_set_error_literal(error, G_RESOLVER_ERROR, dns->error, "as the test says");
    g_mutex_unlock(&dns->lock);
    g_cancellable_disconnect(cancellable, handler);
    return answer;
}

void fake_dns_init(FakeDns *dns)
{
    *dns = (FakeDns){.resolver = {lookup, dns}, .error = G_RESOLVER_ERROR_NOT_FOUND};
    g_mutex_init(&dns->lock);
    g_cond_init(&dns->asked);
}

void fake_dns_clear(FakeDns *dns)
{
    g_strfreev(dns->addresses);
    g_free(dns->last);
    g_mutex_clear(&dns->lock);
    g_cond_clear(&dns->asked);
}

static void set(FakeDns *dns, char **addresses, int error)
{
    g_mutex_lock(&dns->lock);
    g_strfreev(dns->addresses);
    dns->addresses = addresses;
    dns->error = error;
    g_cond_broadcast(&dns->asked);
    g_mutex_unlock(&dns->lock);
}

void fake_dns_answer(FakeDns *dns, const char *addresses)
{
    set(dns, g_strsplit(addresses, " ", -1), 0);
}

void fake_dns_fail(FakeDns *dns, int error)
{
    set(dns, NULL, error);
}

void fake_dns_wait(FakeDns *dns, unsigned questions)
{
    gint64 end = g_get_monotonic_time() + PATIENCE_S * G_TIME_SPAN_SECOND;
    g_mutex_lock(&dns->lock);
    while (dns->questions < questions)
        g_assert_true(g_cond_wait_until(&dns->asked, &dns->lock, end));
    g_mutex_unlock(&dns->lock);
}

void fake_dns_wait_heard(FakeDns *dns)
{
    g_mutex_lock(&dns->lock);
    unsigned questions = dns->questions;
    g_mutex_unlock(&dns->lock);
    /* The one under way, one with this answer, and one more that is asked after that was taken. */
    fake_dns_wait(dns, questions + 3);
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* A name server that says what the test tells it to. */
#pragma once

#include "collector/resolve.h"

typedef struct FakeDns {
    Resolver resolver; /* to hand to who asks */
    GMutex lock;
    GCond asked;
    char **addresses; /* NULL: the error below */
    int error;        /* of G_RESOLVER_ERROR; -1: says nothing until the question is cancelled */
    unsigned questions;
    char *last; /* name that was asked for */
} FakeDns;

void fake_dns_init(FakeDns *dns);
void fake_dns_clear(FakeDns *dns);
void fake_dns_answer(FakeDns *dns, const char *addresses); /* separated by spaces */
void fake_dns_fail(FakeDns *dns, int error);
/* Waits until it was asked so many times in all. */
void fake_dns_wait(FakeDns *dns, unsigned questions);
/* Waits until it was asked so often that what it says now was heard and acted upon. */
void fake_dns_wait_heard(FakeDns *dns);

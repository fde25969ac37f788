// SPDX-License-Identifier: GPL-2.0-or-later
/* Network namespaces for tests, without names: they go when nobody holds them. */
#pragma once

#include <stdbool.h>

/* First in main(): moves the process into a namespace of its own, so that nothing of the machine is
 * touched. Returns false and says why if that is not possible: exit with 77 then. */
bool netns_enter_own(void);

/* A new namespace with lo up and no IPv6 (whose own packets would be in the way). A file
 * descriptor. */
int netns_new(void);
/* Runs `function` inside the namespace, on a thread of its own. */
void netns_run(int netns_fd, void (*function)(void *data), void *data);
/* A command line inside the namespace (negative: in our own); the test fails if it does. */
void netns_shell(int netns_fd, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Waits until a device of our namespace is gone: with the namespace that has its other end, some
 * time after that was closed. */
void netns_await_gone(const char *device);
/* A veth pair, up: `outside` here, `inside` in the namespace. One of the same name, of a namespace
 * closed before, is waited for. */
void netns_veth(int netns_fd, const char *outside, const char *inside);

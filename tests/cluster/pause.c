// SPDX-License-Identifier: GPL-2.0-or-later
// The first process of each pod: holds its namespaces and, where they share pids, reaps orphans.
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/wait.h>

int main(void)
{
    sigset_t signals;

    // Process 1 is not killed by signals that it does not handle: they are taken here, one by one.
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGCHLD);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    for (;;) {
        int signum = sigwaitinfo(&signals, NULL);

        if (signum == SIGINT || signum == SIGTERM)
            return 0;
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
    }
}

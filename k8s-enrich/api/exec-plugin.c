// SPDX-License-Identifier: GPL-2.0-or-later
#include "k8s-enrich/api/exec-plugin.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define OUTPUT_MAX (1024u * 1024u)

static void fail(const ApiExec *exec, GError **error, const char *what)
{
    g_set_error(error, API_CONFIG_ERROR, API_CONFIG_ERROR_PLUGIN, "credential plugin %s: %s%s%s",
                exec->argv[0], what, exec->install_hint ? "; " : "",
                exec->install_hint ? exec->install_hint : "");
}

static char **environment(const ApiExec *exec)
{
    char **env = g_get_environ();
    for (size_t i = 0; exec->env && exec->env[i]; i++) {
        char *equals = strchr(exec->env[i], '=');
        g_autofree char *name = g_strndup(exec->env[i], (size_t)(equals - exec->env[i]));
        env = g_environ_setenv(env, name, equals + 1, TRUE);
    }
    g_autofree char *info = g_strdup_printf(
        "{\"apiVersion\":\"%s\",\"kind\":\"ExecCredential\",\"spec\":{%s%s%s\"interactive\":"
        "false}}",
        exec->api_version, exec->cluster_info ? "\"cluster\":" : "",
        exec->cluster_info ? exec->cluster_info : "", exec->cluster_info ? "," : "");
    return g_environ_setenv(env, "KUBERNETES_EXEC_INFO", info, TRUE);
}

/* In a process group of its own, so that what it started ends with it. */
static int start(const ApiExec *exec, int output, pid_t *ret)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    char **env = environment(exec);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    int r = posix_spawnp(ret, exec->argv[0], &actions, &attributes, exec->argv, env);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    g_strfreev(env);
    return -r;
}

/* Until the end of its output: NULL, or what went wrong. */
static const char *read_output(int fd, int timeout_ms, int cancel_fd, GByteArray *output)
{
    gint64 deadline_us = g_get_monotonic_time() + (gint64)timeout_ms * 1000;
    for (;;) {
        struct pollfd polled[2] = {{fd, POLLIN, 0}, {cancel_fd, POLLIN, 0}};
        gint64 left_us = deadline_us - g_get_monotonic_time();
        if (left_us <= 0)
            return "took too long";
        if (poll(polled, 2, (int)(left_us / 1000) + 1) < 0 && errno != EINTR)
            return g_strerror(errno);
        if (polled[1].revents)
            return "was stopped";
        if (!polled[0].revents)
            continue;
        uint8_t bytes[4096];
        ssize_t got = read(fd, bytes, sizeof bytes);
        if (got == 0)
            return NULL;
        if (got < 0 && errno != EINTR && errno != EAGAIN)
            return g_strerror(errno);
        if (got > 0)
            g_byte_array_append(output, bytes, (guint)got);
        if (output->len > OUTPUT_MAX)
            return "printed more than 1 MiB";
    }
}

static int wait_end(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return status;
}

char *exec_plugin_run(const ApiExec *exec, int timeout_ms, int cancel_fd, GError **error)
{
    int pipe_fds[2];
    pid_t pid;
    if (pipe2(pipe_fds, O_CLOEXEC) < 0) {
        fail(exec, error, g_strerror(errno));
        return NULL;
    }
    int r = start(exec, pipe_fds[1], &pid);
    close(pipe_fds[1]);
    if (r < 0) {
        close(pipe_fds[0]);
        fail(exec, error, g_strerror(-r));
        return NULL;
    }
    GByteArray *output = g_byte_array_new();
    const char *problem = read_output(pipe_fds[0], timeout_ms, cancel_fd, output);
    close(pipe_fds[0]);
    /* One that closed its output and goes on has no more to say. */
    if (problem)
        kill(-pid, SIGKILL);
    int status = wait_end(pid);
    g_autofree char *text = NULL;
    if (!problem && WIFEXITED(status) && WEXITSTATUS(status) != 0)
        problem = text =
            g_strdup_printf("ended with status %d; run it by hand to see why", WEXITSTATUS(status));
    else if (!problem && !WIFEXITED(status))
        problem = "was killed";
    g_byte_array_append(output, (const uint8_t *)"", 1);
    if (!problem)
        return (char *)g_byte_array_free(output, FALSE);
    fail(exec, error, problem);
    g_byte_array_unref(output);
    return NULL;
}

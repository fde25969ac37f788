// SPDX-License-Identifier: GPL-2.0-or-later
#include "bench/engines/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/options.h"
#include "common/pcapng/pcapng.h"

volatile sig_atomic_t engine_stopping;

static const Option options[] = {
    {"help", 'h', OPTION_FLAG, NULL, NULL, "show this help",
     .offset = offsetof(EngineValues, help)},
    {"namespace", 'n', OPTION_LIST, "NAME[,...]", NULL, "network namespaces to capture in",
     .offset = offsetof(EngineValues, namespaces)},
    {"output", 'w', OPTION_FILE, "FILE", "/dev/null", "where packets go, as pcapng",
     .offset = offsetof(EngineValues, output)},
    {"rings", 'r', OPTION_SIZE, "BYTES", "256M", "memory for capture rings",
     .offset = offsetof(EngineValues, ring_bytes)},
    {0},
};

static void fail(const char *what, const char *name)
{
    fprintf(stderr, "%s: %s\n", name, what);
    exit(1);
}

void engine_options(const char *program, int argc, char **argv, EngineValues *ret)
{
    const OptionTable table = {
        .program = program,
        .summary = "capture in network namespaces into a file",
        .usage = "--namespace NAME[,...] [OPTION...]",
        .options = options,
    };
    char **operands;
    g_autoptr(GError) error = NULL;
    *ret = (EngineValues){0};
    if (!options_parse(&table, argc, argv, NULL, false, ret, &operands, &error))
        fail(error->message, program);
    if (ret->help) {
        options_print_help(&table, stdout);
        exit(0);
    }
    if (!ret->namespaces || !*ret->namespaces)
        fail("--namespace is missing", program);
}

int engine_open_namespace(const char *name)
{
    g_autofree char *path = *name == '/' ? g_strdup(name) : g_strdup_printf("/run/netns/%s", name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        fail(strerror(errno), path);
    return fd;
}

int engine_open_output(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        fail(strerror(errno), path);
    uint8_t block[64];
    PcapngBuilder builder;
    pcapng_builder_init(&builder, block, sizeof block);
    pcapng_build_section(&builder);
    pcapng_build_end(&builder);
    engine_write(fd, block, builder.length);
    return fd;
}

void engine_write(int fd, const void *bytes, size_t length)
{
    for (size_t done = 0; done < length;) {
        ssize_t count = write(fd, (const uint8_t *)bytes + done, length - done);
        if (count < 0 && errno != EINTR)
            fail(strerror(errno), "write");
        if (count > 0)
            done += (size_t)count;
    }
}

void engine_write_interface(int fd, const char *name)
{
    uint8_t block[256];
    PcapngBuilder builder;
    pcapng_builder_init(&builder, block, sizeof block);
    pcapng_build_interface(&builder, 1, PCAPNG_PACKET_MAX);
    pcapng_build_option_string(&builder, PCAPNG_IF_NAME, name);
    pcapng_build_end(&builder);
    engine_write(fd, block, builder.length);
}

void engine_ready(void (*on_signal)(int signal_number))
{
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    puts("ready");
    fflush(stdout);
}

void engine_report(uint64_t packets, uint64_t lost, uint64_t ring_bytes)
{
    printf("{\"packets\": %" G_GUINT64_FORMAT ", \"lost\": %" G_GUINT64_FORMAT
           ", \"ring_bytes\": %" G_GUINT64_FORMAT "}\n",
           packets, lost, ring_bytes);
}

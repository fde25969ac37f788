// SPDX-License-Identifier: GPL-2.0-or-later
/* Watches an API server and prints what it is told, a line each, until standard input ends. A line
 * "stats" on standard input is answered by the counters.
 *
 *   watch-print KUBECONFIG|--in-cluster=[DIRECTORY] NODE|- [WATCH_S STALL_S REFUSED_RETRY_S]
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "k8s-enrich/api/watch.h"

static const char *kind_name(EntityKind kind)
{
    static const char *const names[] = {"?", "pod", "service", "slice", "node", "namespace"};
    return names[kind];
}

static bool quiet;
static uint64_t told;

static void print_identity(const Entity *entity, uint64_t deleted_ns, void *userdata)
{
    told++;
    if (quiet)
        return;
    printf("%s %s %s/%s uid=%s node=%s owner=%s/%s service=%s from=%" PRIu64 " to=%" PRIu64
           " deleted=%" PRIu64 " addresses=",
           deleted_ns ? "gone" : "known", kind_name(entity->kind), entity->namespace_name,
           entity->name, entity->uid, entity->node, entity->owner_kind, entity->owner_name,
           entity->service_name, entity->from_ns, entity->to_ns, deleted_ns);
    for (size_t i = 0; i < entity->n_addresses; i++) {
        char text[46];
        ip_address_format(&entity->addresses[i], text);
        printf("%s%s", i ? "," : "", text);
    }
    printf(" endpoints=%u labels=%u containers=%u\n", entity->n_endpoints, entity->n_labels,
           entity->n_containers);
}

static void print_synced(void *userdata)
{
    printf("synced %" PRIu64 "\n", told);
}

static void print_problem(const char *subject, const char *message, void *userdata)
{
    if (message)
        printf("problem %s: %s\n", subject, message);
    else
        printf("well %s\n", subject);
}

static void print_stats(const ApiWatch *watch)
{
    ApiWatchStats stats;
    api_watch_stats(watch, &stats);
    printf("stats lists=%" PRIu64 " watches=%" PRIu64 " gets=%" PRIu64 " events=%" PRIu64
           " errors=%" PRIu64 " relists=%" PRIu64 " malformed=%" PRIu64 " bytes=%" PRIu64,
           stats.lists, stats.watches, stats.gets, stats.events, stats.errors, stats.relists,
           stats.malformed, stats.bytes);
    for (size_t i = 0; i < API_RESOURCE_WATCHED; i++)
        printf(" %s=%" PRIu64, stats.resources[i].name, stats.resources[i].objects);
    printf("\n");
}

static const ApiCallbacks callbacks = {print_identity, print_synced, print_problem};

static ApiConfig *read_config(const char *argument, GError **error)
{
    const char *prefix = "--in-cluster=";
    if (!g_str_has_prefix(argument, prefix))
        return api_config_kubeconfig(argument, NULL, error);
    const char *directory = argument + strlen(prefix);
    return api_config_in_cluster(*directory ? directory : NULL, error);
}

/* False at the end of standard input. */
static bool read_commands(ApiWatch *watch)
{
    char bytes[256];
    ssize_t got = read(STDIN_FILENO, bytes, sizeof bytes - 1);
    if (got <= 0)
        return false;
    bytes[got] = 0;
    if (strstr(bytes, "stats"))
        print_stats(watch);
    if (strstr(bytes, "hurry"))
        api_watch_hurry(watch);
    return true;
}

int main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    if (argc < 3) {
        fprintf(stderr, "usage: watch-print KUBECONFIG NODE|- [WATCH_S STALL_S RETRY_S]\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    quiet = g_getenv("WATCH_PRINT_QUIET") != NULL;
    ApiScope scope = {
        .node_name = g_str_equal(argv[2], "-") ? NULL : argv[2],
        .watch_s = argc > 3 ? (unsigned)atoi(argv[3]) : 0,
        .stall_s = argc > 4 ? (unsigned)atoi(argv[4]) : 0,
        .refused_retry_s = argc > 5 ? (unsigned)atoi(argv[5]) : 0,
    };
    ApiConfig *config = read_config(argv[1], &error);
    ApiWatch *watch = config ? api_watch_new(config, &scope, &callbacks, NULL, &error) : NULL;
    api_config_unref(config);
    if (!watch) {
        fprintf(stderr, "watch-print: %s\n", error->message);
        return 1;
    }
    struct pollfd polled[2] = {{api_watch_fd(watch), POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
    while (poll(polled, 2, -1) >= 0 || errno == EINTR) {
        if (polled[0].revents)
            api_watch_dispatch(watch);
        if (polled[1].revents && !read_commands(watch))
            break;
    }
    api_watch_free(watch);
    return 0;
}

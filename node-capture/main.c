// SPDX-License-Identifier: GPL-2.0-or-later
/* remora-node: starts the capture thread and the service, then waits for signals and for news of
 * the targets. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "node-capture/capabilities.h"
#include "node-capture/connections/conntrack-socket.h"
#include "node-capture/options.h"
#include "node-capture/server/http.h"
#include "node-capture/server/node.h"
#include "node-capture/server/service.h"
#include "node-capture/targets/kubernetes.h"
#include "node-capture/tls/keys-kernel.h"
#include "node-capture/tls/explain.h"

static bool fail(const char *message, GError **error)
{
    g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "%s: %s", message, g_strerror(errno));
    return false;
}

static LogLevel log_level(const char *name)
{
    static const char *const names[] = {"error", "warning", "info", "debug"};
    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
        if (strcmp(name, names[i]) == 0) {
            return (LogLevel)i;
        }
    }
    return LOG_LEVEL_INFO;
}

/* What --namespaces, --pods and --selector allow. */
static Selector *allowed_selector(const NodeOptions *options, GError **error)
{
    Remora__V1__TargetSelector proto = REMORA__V1__TARGET_SELECTOR__INIT;
    proto.namespaces = options->namespaces;
    proto.n_namespaces = g_strv_length(options->namespaces);
    proto.pods = options->pods;
    proto.n_pods = g_strv_length(options->pods);
    if (options->selector) {
        proto.label_selector = options->selector;
    }
    Selector *selector = selector_new(&proto, error);
    if (!selector) {
        g_prefix_error(error, "--namespaces, --pods, --selector: ");
    }
    return selector;
}

/* The folder of the default socket is ours to make: nobody else knows of it. */
static void make_socket_folders(char **endpoints)
{
    for (size_t i = 0; endpoints[i]; i++) {
        if (g_str_has_prefix(endpoints[i], "unix:/run/remora/")) {
            g_mkdir_with_parents("/run/remora", 0755);
        }
    }
}

static bool watch(int epoll_fd, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};
    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

/* Until SIGTERM or SIGINT; returns its name in *ret_signal. The targets are dispatched by the
 * capture thread, so their descriptor is watched edge-triggered: it is told once, and stays
 * readable until that thread has come to it. */
static bool wait_for_signal(Node *node, const Targets *targets, int signal_fd,
                            const char **ret_signal, GError **error)
{
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    int targets_fd = targets->ops->fd(targets);
    if (epoll_fd < 0 || !watch(epoll_fd, signal_fd, EPOLLIN) ||
        !watch(epoll_fd, targets_fd, EPOLLIN | EPOLLET)) {
        return fail("epoll", error);
    }
    for (;;) {
        struct epoll_event event;
        int count = epoll_wait(epoll_fd, &event, 1, -1);
        struct signalfd_siginfo info;
        if (count < 0 && errno != EINTR) {
            close(epoll_fd);
            return fail("epoll", error);
        }
        if (count == 1 && event.data.fd == targets_fd) {
            node_targets_ready(node);
        } else if (count == 1 && read(signal_fd, &info, sizeof(info)) == sizeof(info)) {
            *ret_signal = info.ssi_signo == SIGTERM ? "SIGTERM" : "SIGINT";
            close(epoll_fd);
            return true;
        }
    }
}

static bool serve(const NodeOptions *options, const NodeInfo *info, Node *node,
                  const Targets *targets, int signal_fd, GError **error)
{
    ServiceConfig config = {
        .endpoints = (const char *const *)options->listen,
        .insecure = options->insecure,
        .snap_length = (uint32_t)options->snap_length,
        .queue_bytes = options->queue_size,
        .max_streams = (unsigned)options->max_streams,
        .tls_keys = strcmp(options->tls, "off") != 0,
        .tls_plaintext = strcmp(options->tls, "all") == 0,
    };
    make_socket_folders(options->listen);
    Service *service = service_new(node, info, &config, error);
    if (!service) {
        return false;
    }
    Http *http = NULL;
    if (options->metrics && !(http = http_new(options->metrics, node, info, error))) {
        service_free(service);
        return false;
    }
    g_autofree char *endpoints = g_strjoinv(", ", options->listen);
    log_info("version %s, node %s, serving on %s", info->version, info->node, endpoints);
    if (http) {
        log_info("metrics on %s, port %u", options->metrics, http_port(http));
    }
    const char *signal_name = NULL;
    bool served = wait_for_signal(node, targets, signal_fd, &signal_name, error);
    if (served) {
        log_info("%s: ending all streams", signal_name);
    }
    http_free(http);
    node_stop(node, "remora-node is going down; come back");
    service_free(service);
    return served;
}

static ApiConfig *api_config(const NodeOptions *options, GError **error)
{
    ApiConfig *config = options->kubeconfig || options->context
                            ? api_config_kubeconfig(options->kubeconfig, options->context, error)
                            : api_config_default(error);
    if (!config) {
        g_prefix_error(error, "the API server is not known: ");
        g_autofree char *message = g_strdup((*error)->message);
        g_free((*error)->message);
        (*error)->message = g_strdup_printf(
            "%s; or give --inventory FILE, which needs none: what kubectl get "
            "pods,services,endpointslices,nodes,namespaces -A -o json printed, pods with the "
            "annotation remora.dev/netns",
            message);
    }
    return config;
}

/* From an inventory file if one is named, else from Kubernetes. */
static Targets *targets_new(const NodeOptions *options, const char *node_name, Node *node,
                            GError **error)
{
    if (options->inventory) {
        return targets_static_new(options->inventory, node_name, &node_targets_callbacks, node,
                                  error);
    }
    ApiConfig *config = api_config(options, error);
    if (!config) {
        return NULL;
    }
    const PodWatchOptions pods = {.host_netns = options->host_netns,
                                  .cgroup_prefix = options->cgroup_prefix};
    log_info("API server: %s (from %s)", config->server, config->origin);
    capabilities_tell_missing(node_targets_callbacks.problem, node);
    Targets *targets =
        targets_kubernetes_new(config, &pods, node_name, &node_targets_callbacks, node, error);
    api_config_unref(config);
    return targets;
}

/* Where pods come from a file there need not be a host: then the addresses are rewritten in our own
 * namespace. */
static void follow_connections(const NodeOptions *options, Node *node)
{
    const char *netns = options->host_netns;
    if (!netns && !options->inventory) {
        netns = "/proc/1/ns/net";
    }
    node_set_connections(node, conntrack_socket_new(netns));
}

/* What is wrong with that, or NULL. */
static char *follow_sockets(const NodeOptions *options, Node *node)
{
    if (options->no_processes) {
        return NULL;
    }
    const SocketOwnersOptions sockets = {.host_netns = options->host_netns};
    SocketOwners *owners;
    char *message;
    if (socket_owners_kernel_new(&sockets, &owners_socket_callbacks, node_owners(node), &owners,
                                 &message) == 0) {
        node_set_socket_owners(node, owners);
    }
    return message;
}

static void give_tls(const NodeOptions *options, Node *node)
{
    if (strcmp(options->tls, "off") != 0) {
        Secrets *secrets = node_secrets(node);
        secrets_set_source(secrets, tls_keys_kernel_new(&secrets_keys_callbacks, secrets));
    }
}

static bool run(const NodeOptions *options, const NodeInfo *info, int signal_fd, GError **error)
{
    Selector *allowed = allowed_selector(options, error);
    if (!allowed) {
        return false;
    }
    if (!capabilities_check(error)) {
        selector_free(allowed);
        return false;
    }
    Node *node = node_new(info, allowed);
    bool ok = false;
    Targets *targets = targets_new(options, info->node, node, error);
    Source *source = targets ? source_afpacket_new(options->ring_budget, &capture_source_callbacks,
                                                   node_capture(node))
                             : NULL;
    if (source) {
        g_autofree char *problem = follow_sockets(options, node);
        follow_connections(options, node);
        give_tls(options, node);
        node_start(node, source, targets);
        if (problem) {
            node_tell_problem(node, "processes of connections", problem);
        }
        ok = serve(options, info, node, targets, signal_fd, error);
    } else if (targets) {
        targets->ops->free(targets);
        fail("the capture source cannot be opened", error);
    }
    node_free(node);
    return ok;
}

/* Before any thread starts, so that all of them inherit it. */
static int block_signals(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &signals, SFD_CLOEXEC);
}

static bool run_with_info(const NodeOptions *options, GError **error)
{
    struct utsname host;
    uname(&host);
    g_autofree char *boot_id = g_uuid_string_random();
    g_autofree char *os = g_strdup_printf("%s %s", host.sysname, host.release);
    NodeInfo info = {
        .cluster = options->cluster ? options->cluster : "",
        .node = options->node_name ? options->node_name : host.nodename,
        .version = REMORA_VERSION,
        .boot_id = boot_id,
        .hardware = host.machine,
        .os = os,
        .start_unix_ns = clock_unix_ns(),
    };
    int signal_fd = block_signals();
    bool ok = signal_fd >= 0 ? run(options, &info, signal_fd, error) : fail("signalfd", error);
    if (signal_fd >= 0) {
        close(signal_fd);
    }
    return ok;
}

int main(int argc, char **argv)
{
    log_set_program("remora-node");
    g_autoptr(GError) error = NULL;
    NodeOptions options = {0};
    char **operands;
    if (!options_parse(&node_option_table, argc, argv, NULL, false, &options, &operands, &error)) {
        log_error("%s (see remora-node --help)", error->message);
        return EXIT_FAILURE;
    }
    bool ok = true;
    if (options.help) {
        options_print_help(&node_option_table, stdout);
    } else if (options.manual) {
        options_print_manual(&node_option_table, stdout);
    } else if (options.version) {
        puts("remora-node " REMORA_VERSION);
    } else if (*operands) {
        log_error("unexpected operand %s (see remora-node --help)", *operands);
        ok = false;
    } else if (options.explain_tls) {
        ok = tls_explain(options.explain_tls, stdout, &error);
        if (!ok) {
            log_error("%s", error->message);
        }
    } else {
        log_set_level(log_level(options.log_level));
        ok = run_with_info(&options, &error);
        if (!ok) {
            log_error("%s", error->message);
        }
    }
    options_clear(&node_option_table, &options);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

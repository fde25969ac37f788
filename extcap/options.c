// SPDX-License-Identifier: GPL-2.0-or-later
#include "extcap/options.h"

#include <string.h>

static const char *const vantages[] = {"one", "all", NULL};
static const char *const tls_modes[] = {"off", "keys", "auto", "plaintext", NULL};
static const char *const levels[] = {"error", "warning", "info", "debug", NULL};

#define AT(member) .offset = offsetof(RemoradumpOptions, member)

/* Options with a field in Wireshark's dialog have no default here, selectors excepted: Wireshark
 * would hand it over as if the user had chosen it, and so overrule the configuration file. */
static const Option table[] = {
    {.name = "endpoint",
     .kind = OPTION_LIST,
     .argument = "HOST:PORT[,...]",
     .help = "Nodes to capture on: where remora-node listens, or dns:///NAME[:PORT]",
     .details = "An endpoint is HOST:PORT, [IPv6]:PORT or unix:/path. dns:///NAME[:PORT] stands "
                "for all addresses of a name, such as that of a headless service; nodes that join "
                "and leave are followed; the port is 7470 if none is given. All nodes are merged "
                "into one capture.",
     .group = "Nodes",
     .environment = "REMORA_ENDPOINT",
     .display = "Nodes (host:port, dns:///name, ...)",
     AT(endpoints)},
    {.name = "insecure",
     .kind = OPTION_FLAG,
     .help = "Allow unencrypted connections to nodes that are not on this machine",
     .group = "Nodes",
     .display = "Allow unencrypted connections",
     AT(insecure)},
    {.name = "connect-timeout",
     .kind = OPTION_DURATION,
     .argument = "TIME",
     .help = "How long to try for a first node before giving up; 1s by default",
     .details = "Once a node was there, nodes that go away are tried again for as long as the "
                "capture lasts.",
     .group = "Nodes",
     .display = "Time to reach a node",
     AT(connect_timeout_ns)},
    {.name = "cluster",
     .kind = OPTION_STRING,
     .argument = "NAME",
     .help = "Name of the cluster in the capture, in place of the one that the nodes tell",
     .group = "Nodes",
     .display = "Name of the cluster",
     AT(cluster)},

    {.name = "namespace",
     .short_name = 'n',
     .kind = OPTION_LIST,
     .argument = "NAME[,...]",
     .help = "Only pods in these namespaces",
     .group = "Packets",
     .display = "Namespace",
     .reload = true,
     AT(namespaces)},
    {.name = "pod",
     .short_name = 'p',
     .kind = OPTION_LIST,
     .argument = "PATTERN[,...]",
     .help = "Only these pods: names or NAMESPACE/NAME, with * and ?",
     .group = "Packets",
     .display = "Pod",
     .reload = true,
     AT(pods)},
    {.name = "selector",
     .short_name = 'l',
     .kind = OPTION_STRING,
     .argument = "SELECTOR",
     .help = "Only pods with these labels, in the syntax of kubectl -l",
     .group = "Packets",
     .display = "Label selector",
     AT(selector)},
    {.name = "extcap-capture-filter",
     .short_name = 'f',
     .kind = OPTION_STRING,
     .argument = "FILTER",
     .help = "Only packets that match, in the syntax of tcpdump",
     .details = "The nodes apply it before a packet is copied. It may also stand at the end of the "
                "command line, as "
                "with tcpdump. Without --capture or --write the filter is checked and nothing else "
                "happens.",
     .group = "Packets",
     AT(filter)},
    {.name = "snap-length",
     .short_name = 's',
     .kind = OPTION_UINT,
     .argument = "BYTES",
     .help = "Bytes to keep of each packet; 0, the default, keeps all",
     .group = "Packets",
     .maximum = 262144,
     .display = "Bytes kept of a packet (0: all)",
     AT(snap_length)},
    {.name = "vantage",
     .kind = OPTION_CHOICE,
     .argument = "one|all",
     .fallback = "one",
     .help = "See each connection from one pod, or from every pod that saw it",
     .details = "The same packet seen in two pods looks like a retransmission. With 'one' each "
                "connection is shown as "
                "the server's pod saw it; with 'all' every sight of it is kept.",
     .group = "Packets",
     .choices = vantages,
     .display = "Vantage points of a connection",
     AT(vantage)},
    {.name = "tls",
     .kind = OPTION_CHOICE,
     .argument = "MODE",
     .fallback = "off",
     .help = "TLS: off, keys (the secrets of connections, so that they are decrypted), auto "
             "(also the plaintext of those whose secrets cannot be had), plaintext (of all)",
     .details = "The nodes take secrets and plaintext out of the memory of the pods' processes and "
                "they go into the capture: whoever has the file can read these connections. "
                "Plaintext costs the processes time at each read and write.",
     .group = "Packets",
     .display = "TLS",
     .choices = tls_modes,
     AT(tls)},

    {.name = "write",
     .short_name = 'w',
     .kind = OPTION_FILE,
     .argument = "FILE",
     .help = "Capture, and write pcapng to FILE; - is standard output",
     .group = "Output",
     AT(write)},
    {.name = "packets",
     .short_name = 'c',
     .kind = OPTION_UINT,
     .argument = "COUNT",
     .help = "Stop after COUNT packets",
     .group = "Output",
     AT(packets)},
    {.name = "duration",
     .kind = OPTION_DURATION,
     .argument = "TIME",
     .help = "Stop after this time, such as 30s or 5m",
     .group = "Output",
     AT(duration_ns)},
    {.name = "comments",
     .kind = OPTION_FLAG,
     .help = "Also write a readable comment on every packet, for readers without the plugin",
     .group = "Output",
     .display = "Comment on every packet",
     AT(comments)},
    {.name = "inventory",
     .kind = OPTION_FILE,
     .argument = "FILE",
     .help = "Further names, as kubectl get pods,services,endpointslices,nodes,namespaces -A -o "
             "json prints them",
     .group = "Output",
     .display = "File with further names",
     AT(inventory)},
    {.name = "max-wait",
     .kind = OPTION_DURATION,
     .argument = "TIME",
     .help = "How long a silent node may hold back the packets of the others; 1s by default",
     .group = "Output",
     .display = "Wait for a silent node",
     AT(max_wait_ns)},

    {.name = "annotate",
     .kind = OPTION_FLAG,
     .help =
         "Name the packets of the capture file IN and write it to OUT as pcapng; needs --inventory",
     .group = "Commands",
     AT(annotate)},
    {.name = "keys-first",
     .kind = OPTION_FLAG,
     .help =
         "Write the pcapng file IN anew as OUT, with all secrets ahead of the packets that they "
         "decrypt",
     .details =
         "Wireshark and tshark do not decrypt packets whose secrets come behind them in the "
         "file. Every block is kept as it is; the secrets of each section are put behind its "
         "header and its first interfaces. IN may be -, and is then kept in a temporary file "
         "(in TMPDIR), as it is read twice.",
     .group = "Commands",
     AT(keys_first)},
    {.name = "list-targets",
     .kind = OPTION_FLAG,
     .help = "Print the pods that the nodes know, and whether they are captured",
     .group = "Commands",
     AT(list_targets)},
    {.name = "status",
     .kind = OPTION_FLAG,
     .help = "Print how the nodes do: counters and problems",
     .group = "Commands",
     AT(status)},
    {.name = "config",
     .kind = OPTION_FILE,
     .argument = "FILE",
     .help = "Read options from FILE, in place of remora/remoradump.conf in the user's "
             "configuration folder",
     .group = "Commands",
     AT(config)},
    {.name = "log-level",
     .kind = OPTION_CHOICE,
     .argument = "LEVEL",
     .fallback = "info",
     .help = "Least urgent messages to print: error, warning, info or debug",
     .group = "Commands",
     .choices = levels,
     AT(log_level)},
    {.name = "manual",
     .kind = OPTION_FLAG,
     .help = "Print the manual page, for man -l -",
     .group = "Commands",
     AT(manual)},
    {.name = "help",
     .short_name = 'h',
     .kind = OPTION_FLAG,
     .help = "Print this help",
     .group = "Commands",
     AT(help)},
    {.name = "version",
     .short_name = 'V',
     .kind = OPTION_FLAG,
     .help = "Print the version",
     .group = "Commands",
     AT(version)},

    {.name = "capture",
     .kind = OPTION_FLAG,
     .help = "Capture; needs --fifo or --write",
     .group = "Wireshark's extcap contract",
     AT(capture)},
    {.name = "fifo",
     .kind = OPTION_FILE,
     .argument = "FILE",
     .help = "Where Wireshark reads the packets; - is standard output",
     .group = "Wireshark's extcap contract",
     AT(fifo)},
    {.name = "extcap-interfaces",
     .kind = OPTION_FLAG,
     .help = "List the interfaces",
     .group = "Wireshark's extcap contract",
     AT(interfaces)},
    {.name = "extcap-interface",
     .kind = OPTION_STRING,
     .argument = "NAME",
     .fallback = REMORADUMP_INTERFACE,
     .help = "Interface that is meant",
     .group = "Wireshark's extcap contract",
     AT(interface_name)},
    {.name = "extcap-dlts",
     .kind = OPTION_FLAG,
     .help = "List the interface's link types",
     .group = "Wireshark's extcap contract",
     AT(dlts)},
    {.name = "extcap-config",
     .kind = OPTION_FLAG,
     .help = "Describe the dialog with the interface's options",
     .group = "Wireshark's extcap contract",
     AT(dialog)},
    {.name = "extcap-reload-option",
     .kind = OPTION_STRING,
     .argument = "OPTION",
     .help = "With --extcap-config: list the values of one option, namespace or pod",
     .group = "Wireshark's extcap contract",
     AT(reload_option)},
    {.name = "extcap-control-in",
     .kind = OPTION_FILE,
     .argument = "FILE",
     .help = "Where messages from Wireshark's toolbar come from",
     .group = "Wireshark's extcap contract",
     AT(control_in)},
    {.name = "extcap-control-out",
     .kind = OPTION_FILE,
     .argument = "FILE",
     .help = "Where messages to Wireshark's toolbar go",
     .group = "Wireshark's extcap contract",
     AT(control_out)},
    {.name = "extcap-version",
     .kind = OPTION_STRING,
     .argument = "VERSION",
     .help = "Version of Wireshark that asks",
     .group = "Wireshark's extcap contract",
     AT(wireshark_version)},
    {.name = NULL},
};

const OptionTable remoradump_options = {
    .program = "remoradump",
    .summary =
        "capture the traffic of a Kubernetes cluster's pods, for Wireshark, tshark and files",
    .usage = "[OPTION...] --write FILE [FILTER] | --annotate IN OUT | --keys-first IN OUT | "
             "--list-targets | --status",
    .description = "remoradump connects to remora-node on each node, merges what they capture by "
                   "time, names both ends of every "
                   "packet (pod, service, namespace, node) and hands it on as one pcapng stream. "
                   "Wireshark and tshark run it as "
                   "the interface k8s; it is also of use alone.\n"
                   "\n"
                   "Options are taken from the command line, then from the environment, then from "
                   "a configuration file: keys "
                   "with the long names of the options in a group [remora]. Wireshark keeps its "
                   "own as preferences: "
                   "tshark -i k8s -o extcap.k8s.endpoint:10.0.0.1:7470, with the dashes of an "
                   "option's name left out.\n"
                   "\n"
                   "Packets that were lost on the way are counted where that happened, and told in "
                   "the capture file, in "
                   "Wireshark's toolbar, or at the end on standard error.",
    .options = table,
};

GQuark remoradump_error_quark(void)
{
    return g_quark_from_static_string("remoradump-error");
}

const char *remoradump_argument(int argc, char **argv, const char *name)
{
    size_t length = strlen(name);
    const char *value = NULL;
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], name, length) != 0)
            continue;
        if (argv[i][length] == '=')
            value = argv[i] + length + 1;
        else if (argv[i][length] == '\0' && i + 1 < argc)
            value = argv[i + 1];
    }
    return value;
}

char *remoradump_config_path(void)
{
    return g_build_filename(g_get_user_config_dir(), "remora", "remoradump.conf", NULL);
}

/* All of `text` are lower-case letters, digits or one of `further`: what names of Kubernetes are
 * made of. */
static bool made_of(const char *text, const char *further)
{
    for (; *text; text++) {
        if (!g_ascii_islower(*text) && !g_ascii_isdigit(*text) && !strchr(further, *text))
            return false;
    }
    return true;
}

bool remoradump_check_selection(const RemoradumpOptions *options, GError **error)
{
    for (char **name = options->namespaces; name && *name; name++) {
        if (!made_of(*name, "-") || strlen(*name) > 63) {
            g_set_error(error, REMORADUMP_ERROR, REMORADUMP_ERROR_USAGE,
                        "--namespace: '%s' is no namespace: expected exact names of lower-case "
                        "letters, digits and "
                        "dashes; for patterns use --pod 'PATTERN/*'",
                        *name);
            return false;
        }
    }
    for (char **pattern = options->pods; pattern && *pattern; pattern++) {
        const char *slash = strchr(*pattern, '/');
        if (!made_of(*pattern, "-.*?/") || (slash && strchr(slash + 1, '/'))) {
            g_set_error(error, REMORADUMP_ERROR, REMORADUMP_ERROR_USAGE,
                        "--pod: '%s' is no pattern for pods: expected NAME or NAMESPACE/NAME of "
                        "lower-case letters, "
                        "digits, dashes and dots, with * and ? as wildcards",
                        *pattern);
            return false;
        }
    }
    return true;
}

bool remoradump_check_commands(const RemoradumpOptions *options, GError **error)
{
    const struct {
        const char *name;
        bool given;
    } commands[] = {
        {options->write ? "--write" : "--capture", options->write || options->capture},
        {"--annotate", options->annotate},
        {"--keys-first", options->keys_first},
        {"--list-targets", options->list_targets},
        {"--status", options->status},
    };
    const char *first = NULL;
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        if (commands[i].given && first) {
            g_set_error(error, REMORADUMP_ERROR, REMORADUMP_ERROR_USAGE,
                        "%s and %s: give only one of them at a time", first, commands[i].name);
            return false;
        }
        if (commands[i].given)
            first = commands[i].name;
    }
    return true;
}

bool remoradump_check_endpoints(const RemoradumpOptions *options, GError **error)
{
    if (options->endpoints && options->endpoints[0])
        return true;
    g_autofree char *config = remoradump_config_path();
    g_set_error(error, REMORADUMP_ERROR, REMORADUMP_ERROR_USAGE,
                "no endpoint: name the nodes where remora-node listens (HOST:PORT,..., "
                "unix:/path or dns:///NAME) in one of: the "
                "option --endpoint; the environment variable REMORA_ENDPOINT; a line 'endpoint = "
                "...' under [remora] "
                "in %s; Wireshark's options of the interface " REMORADUMP_INTERFACE
                "; tshark -o extcap." REMORADUMP_INTERFACE ".endpoint:HOST:PORT",
                config);
    return false;
}

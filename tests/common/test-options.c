// SPDX-License-Identifier: GPL-2.0-or-later
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>

#include "common/options.h"

typedef struct Values {
    bool verbose, quiet;
    char *filter;
    char **endpoints;
    uint64_t port;
    char *vantage;
    char *file;
    uint64_t memory;
    uint64_t wait_ns;
    char **namespaces;
    uint64_t any;
} Values;

static const char *const vantages[] = {"server", "client", "all", NULL};

#define VALUE(field) .offset = offsetof(Values, field)

static const Option options[] = {
    {"verbose", 'v', OPTION_FLAG, .help = "Tell more", .group = "Output", .display = "Verbose",
     .environment = "REMORA_TEST_VERBOSE", VALUE(verbose)},
    {"quiet", 'q', OPTION_FLAG, .help = "Tell less", .group = "Output", VALUE(quiet)},
    {"filter", 'f', OPTION_STRING, "EXPRESSION", .help = "Packets to take", .display = "Filter {x}",
     VALUE(filter)},
    {"endpoint", 'e', OPTION_LIST, "HOST:PORT[,...]", .environment = "REMORA_TEST_ENDPOINT",
     .help = "Nodes {or relays}\nto ask", .group = "Connection", .display = "Endpoints",
     VALUE(endpoints)},
    {"port", 'p', OPTION_UINT, "PORT", "4711", "Port to listen on", .minimum = 1, .maximum = 65535,
     .environment = "REMORA_TEST_PORT", .display = "Port", VALUE(port)},
    {"vantage", 0, OPTION_CHOICE, NULL, "server", "Where to look from", .choices = vantages,
     .display = "Vantage", VALUE(vantage)},
    {"write-to", 'w', OPTION_FILE, .help = "File to write", .display = "File", VALUE(file)},
    {"memory", 0, OPTION_SIZE, NULL, "64M",
     "Memory for packets, which is a long help text that does "
     "not fit into one line of eighty columns",
     .minimum = 65536, .maximum = 1073741824, .display = "Memory", VALUE(memory)},
    {"wait", 0, OPTION_DURATION, NULL, "500ms", "Time to wait for a silent node",
     "Longer means later.\n.Not a request. A back\\slash.", .display = "Wait", VALUE(wait_ns)},
    {"namespace", 'n', OPTION_LIST, .help = "Namespaces to take", .group = "Connection",
     .display = "Namespaces", .reload = true, VALUE(namespaces)},
    {"any-number", 0, OPTION_UINT, .hidden = true, .display = "Any", VALUE(any)},
    {NULL},
};

static const OptionTable table = {
    .program = "remora-test",
    .summary = "tests the options",
    .usage = "[OPTION...] FILE...",
    .description = "First paragraph.\n\n'Second' paragraph.",
    .options = options,
};

typedef struct Run {
    char **argv;
    Values values;
    char **operands;
    GError *error;
} Run;

static bool parse(Run *run, const char *command, const char *config, bool required)
{
    int argc;
    *run = (Run){0};
    g_assert_true(g_shell_parse_argv(command, &argc, &run->argv, NULL));
    return options_parse(&table, argc, run->argv, config, required, &run->values, &run->operands,
                         &run->error);
}

static void clear(Run *run)
{
    options_clear(&table, &run->values);
    g_strfreev(run->argv);
    g_clear_error(&run->error);
}

static void assert_list(char **list, const char *expected)
{
    g_autofree char *joined = g_strjoinv("|", list);
    g_assert_cmpstr(joined, ==, expected);
}

static void assert_fails(const char *command, int code, const char *message)
{
    Run run;
    g_assert_false(parse(&run, command, NULL, false));
    g_assert_error(run.error, OPTION_ERROR, code);
    g_assert_cmpstr(run.error->message, ==, message);
    clear(&run);
}

static void test_defaults(void)
{
    Run run;
    g_assert_true(parse(&run, "remora-test", NULL, false));
    g_assert_false(run.values.verbose);
    g_assert_null(run.values.filter);
    assert_list(run.values.endpoints, "");
    g_assert_cmpuint(run.values.port, ==, 4711);
    g_assert_cmpstr(run.values.vantage, ==, "server");
    g_assert_null(run.values.file);
    g_assert_cmpuint(run.values.memory, ==, 67108864);
    g_assert_cmpuint(run.values.wait_ns, ==, 500000000);
    assert_list(run.operands, "");
    clear(&run);
}

static void test_spellings(void)
{
    Run run;
    g_assert_true(parse(&run,
                        "remora-test one --filter 'tcp port 80' --endpoint=a:1,b:2 -e c:3 -p80 "
                        "two -vq --vantage all -w - --memory=1Gi --wait 1m30s -- --three -e",
                        NULL, false));
    g_assert_true(run.values.verbose);
    g_assert_true(run.values.quiet);
    g_assert_cmpstr(run.values.filter, ==, "tcp port 80");
    assert_list(run.values.endpoints, "a:1|b:2|c:3");
    g_assert_cmpuint(run.values.port, ==, 80);
    g_assert_cmpstr(run.values.vantage, ==, "all");
    g_assert_cmpstr(run.values.file, ==, "-");
    g_assert_cmpuint(run.values.memory, ==, 1073741824);
    g_assert_cmpuint(run.values.wait_ns, ==, 90000000000);
    assert_list(run.operands, "one|two|--three|-e");
    assert_list(run.argv, "remora-test|--filter|tcp port 80|--endpoint=a:1,b:2|-e|c:3|-p80|-vq|"
                          "--vantage|all|-w|-|--memory=1Gi|--wait|1m30s|--|one|two|--three|-e");

    /* The permuted line says the same. */
    Values again = {0};
    char **operands;
    g_assert_true(options_parse(&table, (int)g_strv_length(run.argv), run.argv, NULL, false, &again,
                                &operands, NULL));
    assert_list(again.endpoints, "a:1|b:2|c:3");
    assert_list(operands, "one|two|--three|-e");
    options_clear(&table, &again);
    clear(&run);
}

static void test_flags(void)
{
    static const struct {
        const char *command;
        bool verbose;
    } cases[] = {
        {"remora-test --verbose", true},        {"remora-test --verbose=true", true},
        {"remora-test --verbose=false", false}, {"remora-test -v --verbose=no", false},
        {"remora-test --verbose=off -v", true}, {"remora-test --verbose=1", true},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        Run run;
        g_assert_true(parse(&run, cases[i].command, NULL, false));
        g_assert_true(run.values.verbose == cases[i].verbose);
        clear(&run);
    }
}

static void test_numbers(void)
{
    static const struct {
        const char *command;
        uint64_t memory, wait_ns;
    } cases[] = {
        {"remora-test --memory 65536 --wait 0", 65536, 0},
        {"remora-test --memory 64k --wait 1ns", 65536, 1},
        {"remora-test --memory 64KiB --wait 3us", 65536, 3000},
        {"remora-test --memory 1m --wait 250ms", 1048576, 250000000},
        {"remora-test --memory 2MB --wait 2s", 2097152, 2000000000},
        {"remora-test --memory 1G --wait 5m", 1073741824, 300000000000},
        {"remora-test --memory 1g --wait 1h30m", 1073741824, 5400000000000},
        {"remora-test --memory 1Gi --wait 2d", 1073741824, 172800000000000},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        Run run;
        g_assert_true(parse(&run, cases[i].command, NULL, false));
        g_assert_cmpuint(run.values.memory, ==, cases[i].memory);
        g_assert_cmpuint(run.values.wait_ns, ==, cases[i].wait_ns);
        clear(&run);
    }
    Run run;
    g_assert_true(parse(&run, "remora-test --any-number 18446744073709551615", NULL, false));
    g_assert_cmpuint(run.values.any, ==, UINT64_MAX);
    clear(&run);
}

static void test_wrong_values(void)
{
    static const char *const sizes[] = {"",
                                        "k",
                                        "63k",
                                        "2G",
                                        "1X",
                                        "1kk",
                                        "-1",
                                        "1 M",
                                        "99999999999999999999",
                                        "18014398509481985k",
                                        NULL};
    for (const char *const *size = sizes; *size; size++) {
        g_autofree char *command = g_strdup_printf("remora-test '--memory=%s'", *size);
        g_autofree char *message =
            g_strdup_printf("--memory: \"%s\" given, expected a size such as "
                            "512, 64k, 16M or 1G from 64k to 1G",
                            *size);
        assert_fails(command, OPTION_ERROR_VALUE, message);
    }
    static const char *const durations[] = {"", "5", "s", "1x", "1s5", "300000000d", "-1s", NULL};
    for (const char *const *duration = durations; *duration; duration++) {
        g_autofree char *command = g_strdup_printf("remora-test '--wait=%s'", *duration);
        g_autofree char *message = g_strdup_printf(
            "--wait: \"%s\" given, expected a duration such as 250ms, 2s, 5m or 1h30m", *duration);
        assert_fails(command, OPTION_ERROR_VALUE, message);
    }
    static const char *const ports[] = {"", "0", "65536", "+1", "1.5", "0x10", " 1", NULL};
    for (const char *const *port = ports; *port; port++) {
        g_autofree char *command = g_strdup_printf("remora-test -p '%s'", *port);
        g_autofree char *message =
            g_strdup_printf("-p: \"%s\" given, expected a whole number from 1 to 65535", *port);
        assert_fails(command, OPTION_ERROR_VALUE, message);
    }
    assert_fails("remora-test --vantage sever", OPTION_ERROR_VALUE,
                 "--vantage: \"sever\" given, expected one of server, client, all");
    assert_fails("remora-test --verbose=maybe", OPTION_ERROR_VALUE,
                 "--verbose: \"maybe\" given, expected true or false");
    assert_fails("remora-test -w ''", OPTION_ERROR_VALUE, "-w: \"\" given, expected a path");
    assert_fails("remora-test --port", OPTION_ERROR_VALUE,
                 "--port: no value given, expected a whole number from 1 to 65535");
    assert_fails("remora-test '--filter=\xff'", OPTION_ERROR_VALUE,
                 "--filter: \"\xEF\xBF\xBD\" given, expected text in UTF-8");
    assert_fails("remora-test '--vantage=\033[2J'", OPTION_ERROR_VALUE,
                 "--vantage: \"?[2J\" given, expected one of server, client, all");
}

static void test_long_value(void)
{
    g_autofree char *value = g_strnfill(5000, 'x');
    g_autofree char *command = g_strdup_printf("remora-test --port=%s", value);
    value[80] = '\0';
    g_autofree char *message =
        g_strdup_printf("--port: \"%s...\" given, expected a whole number from 1 to 65535", value);
    assert_fails(command, OPTION_ERROR_VALUE, message);
}

static void test_unknown(void)
{
    assert_fails("remora-test --endpiont=x", OPTION_ERROR_UNKNOWN,
                 "unknown option \"--endpiont\", did you mean --endpoint?");
    assert_fails("remora-test --write file", OPTION_ERROR_UNKNOWN,
                 "unknown option \"--write\", did you mean --write-to?");
    /* Not -e with the value "ndpoint". */
    assert_fails("remora-test -endpoint x", OPTION_ERROR_UNKNOWN,
                 "unknown option \"-endpoint\", did you mean --endpoint?");
    assert_fails("remora-test -x", OPTION_ERROR_UNKNOWN, "unknown option \"-x\", see --help");
    assert_fails("remora-test --something-else", OPTION_ERROR_UNKNOWN,
                 "unknown option \"--something-else\", see --help");
    assert_fails("remora-test --any-numbr", OPTION_ERROR_UNKNOWN,
                 "unknown option \"--any-numbr\", see --help");
    assert_fails("remora-test --=x", OPTION_ERROR_UNKNOWN, "unknown option \"--\", see --help");
}

/* ---- Sources ---------------------------------------------------------------------------------*/

typedef struct Config {
    char *folder, *path;
} Config;

static void config_setup(Config *config, gconstpointer text)
{
    config->folder = g_dir_make_tmp("remora-options-XXXXXX", NULL);
    config->path = g_build_filename(config->folder, "remora.conf", NULL);
    g_assert_true(g_file_set_contents(config->path, text, -1, NULL));
}

static void config_teardown(Config *config, gconstpointer text)
{
    g_unsetenv("REMORA_TEST_PORT");
    g_unsetenv("REMORA_TEST_ENDPOINT");
    g_remove(config->path);
    g_rmdir(config->folder);
    g_free(config->path);
    g_free(config->folder);
}

static void test_precedence(Config *config, gconstpointer text)
{
    Run run;
    g_assert_true(parse(&run, "remora-test", config->path, true));
    g_assert_cmpuint(run.values.port, ==, 1);
    assert_list(run.values.endpoints, "from:config|second:config");
    g_assert_true(run.values.verbose);
    clear(&run);

    g_setenv("REMORA_TEST_PORT", "2", TRUE);
    g_setenv("REMORA_TEST_ENDPOINT", "from:environment", TRUE);
    g_assert_true(parse(&run, "remora-test", config->path, true));
    g_assert_cmpuint(run.values.port, ==, 2);
    assert_list(run.values.endpoints, "from:environment");
    clear(&run);

    g_assert_true(parse(&run, "remora-test -p 3 -e from:line --verbose=false", config->path, true));
    g_assert_cmpuint(run.values.port, ==, 3);
    assert_list(run.values.endpoints, "from:line");
    g_assert_false(run.values.verbose);
    clear(&run);

    /* An empty variable counts as none; a wrong one is named. */
    g_setenv("REMORA_TEST_PORT", "", TRUE);
    g_assert_true(parse(&run, "remora-test", config->path, true));
    g_assert_cmpuint(run.values.port, ==, 1);
    clear(&run);
    g_setenv("REMORA_TEST_PORT", "x", TRUE);
    assert_fails(
        "remora-test", OPTION_ERROR_VALUE,
        "environment variable REMORA_TEST_PORT: \"x\" given, expected a whole number from 1 "
        "to 65535");
}

static void assert_config_fails(const Config *config, int code, const char *expected)
{
    Run run;
    g_assert_false(parse(&run, "remora-test", config->path, true));
    g_assert_error(run.error, OPTION_ERROR, code);
    g_assert_true(g_str_has_prefix(run.error->message, config->path));
    g_assert_cmpstr(run.error->message + strlen(config->path), ==, expected);
    clear(&run);
}

static void test_config_value(Config *config, gconstpointer text)
{
    assert_config_fails(config, OPTION_ERROR_VALUE,
                        ": port: \"many\" given, expected a whole number from 1 to 65535");
}

static void test_config_key(Config *config, gconstpointer text)
{
    assert_config_fails(config, OPTION_ERROR_UNKNOWN, ": unknown key \"prot\", did you mean port?");
}

static void test_config_group(Config *config, gconstpointer text)
{
    assert_config_fails(config, OPTION_ERROR_FILE, ": unknown group \"remroa\", expected [remora]");
}

static void test_config_missing(Config *config, gconstpointer text)
{
    Run run;
    g_assert_cmpint(g_remove(config->path), ==, 0);
    g_assert_true(parse(&run, "remora-test", config->path, false));
    clear(&run);
    assert_config_fails(config, OPTION_ERROR_FILE,
                        ": cannot read the configuration: No such file or directory");
}

static void test_config_broken(Config *config, gconstpointer text)
{
    Run run;
    g_assert_false(parse(&run, "remora-test", config->path, false));
    g_assert_error(run.error, OPTION_ERROR, OPTION_ERROR_FILE);
    clear(&run);
}

/* ---- Printing --------------------------------------------------------------------------------*/

static char *print(void (*printer)(const OptionTable *, FILE *))
{
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    printer(&table, out);
    fclose(out);
    return text;
}

static void test_help(void)
{
    char *text = print(options_print_help);
    g_assert_cmpstr(
        text, ==,
        "Usage: remora-test [OPTION...] FILE...\n"
        "tests the options\n"
        "\n"
        "Output:\n"
        "  -v, --verbose             Tell more (environment: REMORA_TEST_VERBOSE)\n"
        "  -q, --quiet               Tell less\n"
        "\n"
        "Options:\n"
        "  -f, --filter=EXPRESSION   Packets to take\n"
        "  -p, --port=PORT           Port to listen on (a whole number from 1 to 65535;\n"
        "                            default: 4711; environment: REMORA_TEST_PORT)\n"
        "      --vantage=VALUE       Where to look from (one of server, client, all;\n"
        "                            default: server)\n"
        "  -w, --write-to=FILE       File to write\n"
        "      --memory=SIZE         Memory for packets, which is a long help text that\n"
        "                            does not fit into one line of eighty columns (a size\n"
        "                            such as 512, 64k, 16M or 1G from 64k to 1G; default:\n"
        "                            64M)\n"
        "      --wait=TIME           Time to wait for a silent node (default: 500ms)\n"
        "\n"
        "Connection:\n"
        "  -e, --endpoint=HOST:PORT[,...]\n"
        "                            Nodes {or relays} to ask (environment:\n"
        "                            REMORA_TEST_ENDPOINT)\n"
        "  -n, --namespace=NAME[,...]\n"
        "                            Namespaces to take\n");
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++)
        g_assert_cmpint(g_utf8_strlen(*line, -1), <=, 80);
    free(text);
}

/* Lines as Wireshark's own parser takes them: {key=value} followed by the next brace, white space
 * or the end. */
static void test_extcap(void)
{
    char *text = print(options_print_extcap);
    g_assert_cmpstr(
        text, ==,
        "arg {number=0}{call=--verbose}{display=Verbose}{tooltip=Tell more}{type=boolflag}"
        "{group=Output}\n"
        "arg {number=1}{call=--filter}{display=Filter (x)}{tooltip=Packets to take}{type=string}\n"
        "arg {number=2}{call=--endpoint}{display=Endpoints}{tooltip=Nodes (or relays) to ask}"
        "{type=string}{group=Connection}\n"
        "arg {number=3}{call=--port}{display=Port}{tooltip=Port to listen on}{type=unsigned}"
        "{range=1,65535}{default=4711}\n"
        "arg {number=4}{call=--vantage}{display=Vantage}{tooltip=Where to look from}"
        "{type=selector}\n"
        "value {arg=4}{value=server}{display=server}{default=true}\n"
        "value {arg=4}{value=client}{display=client}{default=false}\n"
        "value {arg=4}{value=all}{display=all}{default=false}\n"
        "arg {number=5}{call=--write-to}{display=File}{tooltip=File to write}{type=fileselect}"
        "{mustexist=false}\n"
        "arg {number=6}{call=--memory}{display=Memory}{tooltip=Memory for packets, which is a long "
        "help text that does not fit into one line of eighty columns}{type=string}{default=64M}\n"
        "arg {number=7}{call=--wait}{display=Wait}{tooltip=Time to wait for a silent node}"
        "{type=string}{default=500ms}\n"
        "arg {number=8}{call=--namespace}{display=Namespaces}{tooltip=Namespaces to take}"
        "{type=selector}{reload=true}{placeholder=Load the list}{group=Connection}\n"
        "value {arg=8}{value=}{display=(all)}{default=true}\n"
        "arg {number=9}{call=--any-number}{display=Any}{type=unsigned}\n");
    free(text);
}

static void test_manual(void)
{
    char *text = print(options_print_manual);
    g_assert_true(g_str_has_prefix(text, ".TH REMORA\\-TEST 1 \"\" \"Remora "));
    static const char *const parts[] = {
        ".SH NAME\nremora\\-test \\- tests the options\n",
        ".SH SYNOPSIS\n\\fBremora\\-test\\fR [OPTION...] FILE...\n",
        ".SH DESCRIPTION\nFirst paragraph.\n.PP\n\\&'Second' paragraph.\n",
        ".SS Connection\n.TP\n\\fB\\-e\\fR, \\fB\\-\\-endpoint\\fR=\\fIHOST:PORT[,...]\\fR\n",
        "\n\\&.Not a request. A back\\eslash.\n",
        "(one of server, client, all; default: server)\n",
    };
    for (size_t i = 0; i < G_N_ELEMENTS(parts); i++) {
        g_test_message("%s", parts[i]);
        g_assert_nonnull(strstr(text, parts[i]));
    }
    g_assert_null(strstr(text, "any"));
    free(text);
}

static void add_config(const char *path, const char *text, void (*test)(Config *, gconstpointer))
{
    g_test_add(path, Config, text, config_setup, test, config_teardown);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/options/defaults", test_defaults);
    g_test_add_func("/options/spellings", test_spellings);
    g_test_add_func("/options/flags", test_flags);
    g_test_add_func("/options/numbers", test_numbers);
    g_test_add_func("/options/wrong-values", test_wrong_values);
    g_test_add_func("/options/long-value", test_long_value);
    g_test_add_func("/options/unknown", test_unknown);
    add_config("/options/precedence",
               "[remora]\nport=1\nendpoint=from:config, second:config\nverbose=yes\n",
               test_precedence);
    add_config("/options/config/value", "[remora]\nport=many\n", test_config_value);
    add_config("/options/config/key", "[remora]\nprot=1\n", test_config_key);
    add_config("/options/config/group", "[remroa]\nport=1\n", test_config_group);
    add_config("/options/config/missing", "", test_config_missing);
    add_config("/options/config/broken", "port=1\n", test_config_broken);
    g_test_add_func("/options/help", test_help);
    g_test_add_func("/options/extcap", test_extcap);
    g_test_add_func("/options/manual", test_manual);
    return g_test_run();
}

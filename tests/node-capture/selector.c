// SPDX-License-Identifier: GPL-2.0-or-later
/* Which pods a TargetSelector means, and what it says of a broken one. */
#include "node-capture/targets/targets.h"

#include <string.h>

#include "helpers.h"

static Selector *labels_only(const char *text, GError **error)
{
    Remora__V1__TargetSelector proto = REMORA__V1__TARGET_SELECTOR__INIT;
    proto.label_selector = (char *)(uintptr_t)text;
    return selector_new(&proto, error);
}

static void test_labels(void)
{
    static const struct {
        const char *selector;
        bool matches; /* a pod with app=cart, tier="", in=x */
    } cases[] = {
        {"", true},
        {"  ", true},
        {"app", true},
        {"missing", false},
        {"!app", false},
        {"! missing", true},
        {"app=cart", true},
        {"app==cart", true},
        {"app = cart", true},
        {"app=shop", false},
        {"app!=cart", false},
        {"app!=shop", true},
        {"missing!=cart", true},
        {"missing=", false},
        {"tier=", true},
        {"tier!=", false},
        {"tier in (a,)", true},
        {"app in (cart)", true},
        {"app in ( shop , cart )", true},
        {"app in(cart)", true},
        {"app in (shop)", false},
        {"app notin (shop)", true},
        {"app notin (cart, shop)", false},
        {"missing notin (cart)", true},
        {"missing in (cart)", false},
        {"in", true},
        {"in=x", true},
        {"in in (x)", true},
        {"notin", false},
        {"app=cart,tier=,!missing", true},
        {"app=cart,missing", false},
        {"example.com/app", false},
    };
    Entity *pod =
        test_pod("shop", "cart-1", (const char *[]){"app", "cart", "tier", "", "in", "x", NULL});
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        Selector *selector = labels_only(cases[i].selector, &error);
        g_assert_no_error(error);
        if (selector_matches(selector, pod) != cases[i].matches) {
            g_error("\"%s\" should %smatch", cases[i].selector, cases[i].matches ? "" : "not ");
        }
        selector_free(selector);
    }
    entity_unref(pod);
}

static void test_label_errors(void)
{
    static const struct {
        const char *selector, *column, *expected;
    } cases[] = {
        {"=cart", "column 1:", "a label key"},
        {"app=cart,", "column 10:", "a label key"},
        {"app cart", "column 5:", "notin"},
        {"app=a b", "column 7:", "','"},
        {"app in cart", "column 8:", "'('"},
        {"app in (cart", "column 13:", "')'"},
        {"app in (a b)", "column 11:", "')'"},
        {"app=-x", "column 5:", "a label value"},
        {"-app", "column 1:", "a label key"},
        {"/app", "column 1:", "a label key"},
        {"Example.com/app", "column 1:", "a label key"},
        {"a..b/app", "column 1:", "a label key"},
        {"!", "column 2:", "a label key"},
        {"!app=x", "column 5:", "','"},
        {"app>5", "column 4:", "notin"},
        {"app=\x01", "column 5:", "a label value"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_null(labels_only(cases[i].selector, &error));
        g_assert_error(error, SELECTOR_ERROR, SELECTOR_ERROR_SYNTAX);
        if (!strstr(error->message, cases[i].column) ||
            !strstr(error->message, cases[i].expected)) {
            g_error("\"%s\": %s", cases[i].selector, error->message);
        }
    }
    /* 63 characters are allowed, 64 are not. */
    g_autofree char *longest = g_strnfill(63, 'x');
    g_autofree char *too_long = g_strnfill(64, 'x');
    g_autoptr(GError) error = NULL;
    Selector *selector = labels_only(longest, &error);
    g_assert_no_error(error);
    selector_free(selector);
    g_assert_null(labels_only(too_long, &error));
}

static bool matches(const char *const *namespaces, const char *const *pods, const Entity *pod)
{
    Remora__V1__TargetSelector proto = REMORA__V1__TARGET_SELECTOR__INIT;
    proto.namespaces = (char **)(uintptr_t)namespaces;
    proto.n_namespaces = namespaces ? g_strv_length((char **)(uintptr_t)namespaces) : 0;
    proto.pods = (char **)(uintptr_t)pods;
    proto.n_pods = pods ? g_strv_length((char **)(uintptr_t)pods) : 0;
    g_autoptr(GError) error = NULL;
    Selector *selector = selector_new(&proto, &error);
    g_assert_no_error(error);
    bool result = selector_matches(selector, pod);
    selector_free(selector);
    return result;
}

#define LIST(...) ((const char *[]){__VA_ARGS__, NULL})

static void test_names(void)
{
    Entity *pod = test_pod("shop", "cart-1", NULL);
    Selector *all = selector_new(NULL, NULL);
    g_assert_true(selector_matches(all, pod));
    selector_free(all);
    g_assert_true(matches(LIST("dev", "shop"), NULL, pod));
    g_assert_false(matches(LIST("sho"), NULL, pod));
    g_assert_false(matches(LIST("shop*"), NULL, pod)); /* namespaces are no patterns */
    g_assert_true(matches(NULL, LIST("cart-?"), pod));
    g_assert_true(matches(NULL, LIST("web*", "*-1"), pod));
    g_assert_false(matches(NULL, LIST("cart"), pod));
    g_assert_true(matches(NULL, LIST("shop/cart*"), pod));
    g_assert_true(matches(NULL, LIST("*/cart-1"), pod));
    g_assert_false(matches(NULL, LIST("dev/*"), pod));
    g_assert_false(matches(LIST("dev"), LIST("cart-1"), pod)); /* all parts must agree */
    entity_unref(pod);
}

static void check_refused(const char *const *pods, size_t n_pods, int code, const char *part)
{
    Remora__V1__TargetSelector proto = REMORA__V1__TARGET_SELECTOR__INIT;
    proto.pods = (char **)(uintptr_t)pods;
    proto.n_pods = n_pods;
    g_autoptr(GError) error = NULL;
    g_assert_null(selector_new(&proto, &error));
    g_assert_error(error, SELECTOR_ERROR, code);
    g_assert_nonnull(strstr(error->message, part));
}

static void test_limits(void)
{
    g_autofree char *too_long = g_strnfill(1025, 'x');
    check_refused(LIST("a", too_long), 2, SELECTOR_ERROR_SYNTAX, "pod pattern 2 of 2");
    check_refused(LIST(""), 1, SELECTOR_ERROR_SYNTAX, "empty");
    check_refused(LIST("\xff*"), 1, SELECTOR_ERROR_SYNTAX, "UTF-8");
    g_autofree const char **many = g_new(const char *, 1001);
    for (size_t i = 0; i < 1001; i++) {
        many[i] = "a";
    }
    check_refused(many, 1001, SELECTOR_ERROR_LIMIT, "1001");
    g_autofree char *labels = g_strnfill(4097, 'x');
    g_autoptr(GError) error = NULL;
    g_assert_null(labels_only(labels, &error));
    g_assert_error(error, SELECTOR_ERROR, SELECTOR_ERROR_LIMIT);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/selector/labels", test_labels);
    g_test_add_func("/selector/label-errors", test_label_errors);
    g_test_add_func("/selector/names", test_names);
    g_test_add_func("/selector/limits", test_limits);
    return g_test_run();
}

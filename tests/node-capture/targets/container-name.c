// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/targets/container-name.h"

#include <glib.h>
#include <string.h>

#define UID "0a1b2c3d-0000-4000-8000-00000000cafe"
/* As proc(5) describes the file, with the mounts that a kubelet makes. */
#define OVERLAY "611 500 0:52 / / rw,relatime - overlay overlay rw,lowerdir=/a:/b\n"
#define HOSTS                                                                              \
    "620 611 254:1 /var/lib/kubelet/pods/" UID "/etc-hosts /etc/hosts rw,relatime - ext4 " \
    "/dev/vda1 rw\n"
#define LOG                                                                                     \
    "621 611 254:1 /var/lib/kubelet/pods/" UID "/containers/web/1a2b3c4d /dev/termination-log " \
    "rw,relatime shared:3 - ext4 /dev/vda1 rw\n"

static const char *find(const char *text, const char *uid)
{
    static char name[CONTAINER_NAME_SIZE];
    return container_name_find(text, strlen(text), uid, name) ? name : NULL;
}

static void test_found(void)
{
    g_assert_cmpstr(find(OVERLAY HOSTS LOG, UID), ==, "web");
    g_assert_cmpstr(find(OVERLAY HOSTS LOG, ""), ==, "web");
    /* /var/lib/kubelet is a file system of its own; the file has no newline at its end. */
    g_assert_cmpstr(find("1 2 0:1 /pods/" UID "/containers/a-1/00000000 /x rw", UID), ==, "a-1");
}

static void test_not_found(void)
{
    g_assert_null(find(OVERLAY HOSTS, UID));
    g_assert_null(find("", UID));
    g_assert_null(find(LOG, "ffffffff-0000-4000-8000-00000000cafe"));
    g_assert_null(find("1 2 0:1 /pods/" UID "/containers/web/1a2b3c4d", UID)); /* torn */
    g_assert_null(find("1 2 0:1 pods/" UID "/containers/web/1a2b3c4d /x", UID));
    g_assert_null(find("1 2 0:1 /pods/" UID "/containers/WEB/1a2b3c4d /x", UID));
    g_assert_null(find("1 2 0:1 /pods/" UID "/containers//1a2b3c4d /x", UID));
    g_assert_null(find("1 2 0:1 /pods/" UID "/containers/web/1a2b3c4 /x", UID));
    g_assert_null(find("1 2 0:1 /pods/" UID "/volumes/web/1a2b3c4d /x", UID));
    g_assert_null(find("1 2 0:1 /x /pods/" UID "/containers/web/1a2b3c4d rw", UID));
}

static void test_long_name(void)
{
    g_autofree char *label = g_strnfill(63, 'a');
    g_autofree char *fits = g_strdup_printf("1 2 0:1 /pods/u/containers/%s/1a2b3c4d /x", label);
    g_assert_cmpstr(find(fits, ""), ==, label);
    g_autofree char *more = g_strdup_printf("1 2 0:1 /pods/u/containers/%sa/1a2b3c4d /x", label);
    g_assert_null(find(more, ""));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/container-name/found", test_found);
    g_test_add_func("/container-name/not-found", test_not_found);
    g_test_add_func("/container-name/long", test_long_name);
    return g_test_run();
}

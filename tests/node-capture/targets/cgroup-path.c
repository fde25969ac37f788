// SPDX-License-Identifier: GPL-2.0-or-later
/* Forms of control group paths, as kubelets, containerd, CRI-O and Docker make them. */
#include "node-capture/targets/cgroup-path.h"

#include <glib.h>
#include <string.h>

#define UID  "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9"
#define UID_ "0a1b2c3d_4e5f_6071_8293_a4b5c6d7e8f9"
#define HASH "0123456789abcdef0123456789abcdef"
#define ID   "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static const struct {
    const char *path;
    const char *uid; /* NULL: no pod's */
    const char *container;
    bool below;
} paths[] = {
    /* cgroupfs driver */
    {"/kubepods/burstable/pod" UID "/" ID, UID, ID, false},
    {"/kubepods/besteffort/pod" UID "/" ID, UID, ID, false},
    {"/kubepods/pod" UID "/" ID, UID, ID, false},
    {"/kubepods/burstable/pod" UID "/crio-" ID, UID, ID, false},
    {"/kubepods/burstable/pod" HASH "/" ID, HASH, ID, false},
    {"/node2/kubepods/burstable/pod" UID "/" ID, UID, ID, false},
    {"/kubelet/kubepods/pod" UID "/" ID "/init.scope", UID, ID, true},
    {"/kubepods/burstable/pod" UID, UID, "", false},
    {"/kubepods/burstable/pod" UID "/crio-conmon-" ID, UID, "", true},
    /* systemd driver */
    {"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" UID_
     ".slice/cri-containerd-" ID ".scope",
     UID, ID, false},
    {"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" UID_ ".slice/crio-" ID
     ".scope",
     UID, ID, false},
    {"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" UID_ ".slice/crio-" ID
     ".scope/container",
     UID, ID, true},
    {"/kubepods.slice/kubepods-pod" UID_ ".slice/docker-" ID ".scope", UID, ID, false},
    {"/kubepods.slice/kubepods-pod" UID_ ".slice/libpod-" ID ".scope", UID, ID, false},
    {"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" UID_ ".slice/crio-conmon-" ID
     ".scope",
     UID, "", true},
    {"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" HASH
     ".slice/cri-containerd-" ID ".scope",
     HASH, ID, false},
    {"/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/"
     "kubelet-kubepods-burstable-pod" UID_ ".slice/cri-containerd-" ID ".scope",
     UID, ID, false},
    {"/docker/" ID "/kubepods.slice/kubepods-pod" UID_ ".slice/cri-containerd-" ID ".scope", UID,
     ID, false},
    /* containerd without SystemdCgroup under a kubelet with the systemd driver */
    {"/system.slice/containerd.service/kubepods-burstable-pod" UID_ ".slice:cri-containerd:" ID,
     UID, ID, false},
    /* from within a cgroup namespace */
    {"/../../kubepods-besteffort-pod" UID_ ".slice/cri-containerd-" ID ".scope", UID, ID, false},
    {"/../../pod" UID "/" ID, UID, ID, false},
    /* none */
    {"/", NULL, NULL, false},
    {"", NULL, NULL, false},
    {"/system.slice/kubelet.service", NULL, NULL, false},
    {"/kubepods.slice", NULL, NULL, false},
    {"/kubepods/burstable", NULL, NULL, false},
    {"/docker/" ID, NULL, NULL, false},
    {"/machine.slice/pod" UID "/" ID, NULL, NULL, false},
    {"/kubepods/burstable/pod0a1b2c3d-4e5f-6071-8293", NULL, NULL, false},
    {"/kubepods/burstable/pod" UID_ "/" ID, NULL, NULL, false},
    {"/kubepods.slice/kubepods-pod" UID ".slice/docker-" ID ".scope", NULL, NULL, false},
    {"/kubepods.slice/notkubepods-pod" UID_ ".slice/docker-" ID ".scope", NULL, NULL, false},
    {"/kubepods/burstable/pod" UID "0/" ID, NULL, NULL, false},
    {"/kubepods/burstable/pod" UID "/" ID "0", UID, "", true},
    {"/kubepods/burstable/pod" UID "/" ID " (deleted)", UID, "", true},
    {"/kubepods/burstable/pod" UID "/cri-containerd-00112233.scope", UID, "", true},
};

static void test_paths(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(paths); i++) {
        CgroupPod pod = {.uid = "untouched"};
        bool found = cgroup_path_pod(paths[i].path, strlen(paths[i].path), NULL, &pod);
        g_test_message("%s", paths[i].path);
        g_assert_cmpint(found, ==, paths[i].uid != NULL);
        g_assert_cmpstr(pod.uid, ==, found ? paths[i].uid : "untouched");
        if (found) {
            g_assert_cmpstr(pod.container, ==, paths[i].container);
            g_assert_cmpint(pod.below, ==, paths[i].below);
        }
    }
}

static bool below(const char *path, const char *prefix)
{
    CgroupPod pod;
    return cgroup_path_pod(path, strlen(path), prefix, &pod);
}

static void test_prefix(void)
{
    static const char path[] = "/node2/kubepods/pod" UID "/" ID;
    g_assert_true(below(path, ""));
    g_assert_true(below(path, "/"));
    g_assert_true(below(path, "/node2"));
    g_assert_true(below(path, "/node2/"));
    g_assert_true(below(path, "/node2/kubepods/pod" UID));
    g_assert_false(below(path, "/node"));
    g_assert_false(below(path, "/node1"));
    g_assert_false(below(path, "/node2/kubepods/pod" UID "/" ID "/more"));
}

static void expect_file(const char *text, const char *prefix, int hierarchy, const char *uid,
                        const char *container)
{
    CgroupPod pod;
    g_assert_true(cgroup_file_pod(text, strlen(text), prefix, &pod));
    g_assert_cmpint(pod.hierarchy, ==, hierarchy);
    g_assert_cmpstr(pod.uid, ==, uid);
    g_assert_cmpstr(pod.container, ==, container);
}

static void test_files(void)
{
    expect_file("0::/kubepods/pod" UID "/" ID "\n", NULL, 0, UID, ID);
    expect_file("0::/kubepods/pod" UID "/" ID, NULL, 0, UID, ID);
    /* Hybrid: version 2 is there, and empty. */
    expect_file("12:cpu,cpuacct:/kubepods/burstable/pod" UID "/" ID "\n"
                "1:name=systemd:/kubepods/burstable/pod" UID "/" ID "\n0::/\n",
                NULL, 12, UID, ID);
    /* On its way into its groups. */
    expect_file("9:pids:/\n8:memory:/kubepods/pod" UID "\n7:cpu:/kubepods/pod" UID "/" ID "\n",
                NULL, 7, UID, ID);
    expect_file("8:memory:/kubepods/pod" UID "\n0::/\n", NULL, 8, UID, "");
    expect_file("8:memory:/kubepods/pod" UID "/" ID "\n7:cpu:/node2/kubepods/pod" HASH "/" ID "\n",
                "/node2", 7, HASH, ID);
}

static void test_broken_files(void)
{
    static const char *const texts[] = {
        "",
        "\n\n",
        "0::/\n",
        "::/kubepods/pod" UID "/" ID "\n",
        "x::/kubepods/pod" UID "/" ID "\n",
        "99999999999999999999::/kubepods/pod" UID "/" ID "\n",
        "0:/kubepods/pod" UID "/" ID "\n",
        "/kubepods/pod" UID "/" ID "\n",
    };
    CgroupPod pod;
    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_assert_false(cgroup_file_pod(texts[i], strlen(texts[i]), NULL, &pod));
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cgroup-path/paths", test_paths);
    g_test_add_func("/cgroup-path/prefix", test_prefix);
    g_test_add_func("/cgroup-path/files", test_files);
    g_test_add_func("/cgroup-path/broken-files", test_broken_files);
    return g_test_run();
}

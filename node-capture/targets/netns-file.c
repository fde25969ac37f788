// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/targets/netns-file.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

void netns_file_init(NetnsFile *file, char *path)
{
    *file = (NetnsFile){.path = path, .fd = -1};
}

void netns_file_clear(NetnsFile *file)
{
    if (file->fd >= 0) {
        close(file->fd);
    }
    g_free(file->path);
    netns_file_init(file, NULL);
}

/* Non-blocking, as anything may stand at that path: a FIFO must not hold us. */
static int netns_open(const char *path, struct stat *ret_stat, char **ret_reason)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        *ret_reason = errno == ENOENT
                          ? g_strdup_printf("network namespace %s does not exist (yet)", path)
                          : g_strdup_printf("network namespace %s: %s", path, g_strerror(errno));
        return -1;
    }
    struct statfs system;
    if (fstatfs(fd, &system) < 0 || system.f_type != NSFS_MAGIC ||
        ioctl(fd, NS_GET_NSTYPE) != CLONE_NEWNET || fstat(fd, ret_stat) < 0) {
        /* "ip netns add" creates an empty file and mounts the namespace on it a moment later. */
        *ret_reason = g_strdup_printf("%s is no network namespace (yet)", path);
        close(fd);
        return -1;
    }
    return fd;
}

NetnsChange netns_file_check(NetnsFile *file, char **ret_reason)
{
    struct stat status;
    *ret_reason = NULL;
    int fd = netns_open(file->path, &status, ret_reason);
    if (fd < 0) {
        if (file->fd < 0) {
            return NETNS_SAME;
        }
        close(file->fd);
        file->fd = -1;
        return NETNS_VANISHED;
    }
    if (file->fd >= 0 && status.st_dev == file->device && status.st_ino == file->inode) {
        close(fd);
        return NETNS_SAME;
    }
    NetnsChange change = file->fd >= 0 ? NETNS_REPLACED : NETNS_APPEARED;
    if (file->fd >= 0) {
        close(file->fd);
    }
    file->fd = fd;
    file->device = status.st_dev;
    file->inode = status.st_ino;
    return change;
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/targets/proc-process.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A dozen hierarchies of version 1, nested twice, with names of 200 bytes. */
#define CGROUP_FILE_BYTES 16384
#define NAME_BYTES        64
#define MOUNTS_BYTES      65536 /* some hundred mounts */

static ssize_t read_file(int proc_fd, pid_t pid, const char *file, char *buffer, size_t size)
{
    char name[NAME_BYTES];
    snprintf(name, sizeof(name), "%d/%s", (int)pid, file);
    int fd = openat(proc_fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    size_t length = 0;
    ssize_t got = 0;
    while (length < size && (got = read(fd, buffer + length, size - length)) > 0) {
        length += (size_t)got;
    }
    int error = got < 0 ? -errno : 0;
    close(fd);
    /* A process that ended between the two calls. */
    return error == -ESRCH ? -ENOENT : error ? error : (ssize_t)length;
}

int proc_process_pod(int proc_fd, pid_t pid, const char *prefix, CgroupPod *ret_pod)
{
    char text[CGROUP_FILE_BYTES];
    ssize_t length = read_file(proc_fd, pid, "cgroup", text, sizeof(text));
    if (length < 0) {
        return (int)length;
    }
    return cgroup_file_pod(text, (size_t)length, prefix, ret_pod) ? 0 : -ENOENT;
}

int proc_process_netns(int proc_fd, pid_t pid, ino_t *ret_inode)
{
    char name[NAME_BYTES];
    struct stat status;
    snprintf(name, sizeof(name), "%d/ns/net", (int)pid);
    int fd = openat(proc_fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) < 0) {
        int error = -errno;
        if (fd >= 0) {
            close(fd);
        }
        return error;
    }
    *ret_inode = status.st_ino;
    return fd;
}

int proc_process_netns_inode(int proc_fd, pid_t pid, ino_t *ret_inode)
{
    char name[NAME_BYTES];
    struct stat status;
    snprintf(name, sizeof(name), "%d/ns/net", (int)pid);
    if (fstatat(proc_fd, name, &status, 0) < 0) {
        return -errno;
    }
    *ret_inode = status.st_ino;
    return 0;
}

int proc_process_name(int proc_fd, pid_t pid, char *ret_name, size_t size)
{
    char text[NAME_BYTES];
    ssize_t length = read_file(proc_fd, pid, "comm", text, sizeof(text));
    if (length < 0) {
        return (int)length;
    }
    length -= length > 0 && text[length - 1] == '\n';
    snprintf(ret_name, size, "%.*s", (int)length, text);
    return 0;
}

int proc_process_container(int proc_fd, pid_t pid, const char *uid,
                           char ret_name[static CONTAINER_NAME_SIZE])
{
    char text[MOUNTS_BYTES];
    ssize_t length = read_file(proc_fd, pid, "mountinfo", text, sizeof(text));
    if (length < 0) {
        return (int)length;
    }
    return container_name_find(text, (size_t)length, uid, ret_name) ? 0 : -ENODATA;
}

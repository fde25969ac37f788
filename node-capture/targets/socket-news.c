// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/targets/socket-news.h"

#include <glib.h>
#include <string.h>

/* Between reading the clocks and the packet's own stamp, which must not be earlier. */
#define CLOCKS_NS 100000u
/* An accepted socket is known at the end of the handshake, whose packets are its own as well. */
#define HANDSHAKE_NS 1000000000u

/* Bytes as somebody wrote them with prctl(). The kernel may have cut within a character. */
static void take_name(const char *name, char ret[static SOCKET_PROCESS_SIZE])
{
    _Static_assert(SOCKETS_NAME_SIZE + 1 == SOCKET_PROCESS_SIZE, "with the NUL");
    size_t length = strnlen(name, SOCKETS_NAME_SIZE);
    memcpy(ret, name, length);
    ret[length] = '\0';
    for (size_t i = 0; i < length; i++) {
        if ((unsigned char)ret[i] < 0x20 || ret[i] == 0x7f) {
            ret[i] = '?';
        }
    }
    const char *bad = ret;
    while (!g_utf8_validate(bad, -1, &bad)) {
        ret[bad - ret] = '?';
    }
}

/* IPv4 stays so in sockets of IPv6. An address of zeros is any. */
static uint8_t take_address(const uint8_t bytes[static 16], bool is_v6, uint8_t ret[static 16])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff}, any[16];
    const uint8_t *from = bytes;
    uint8_t length = is_v6 ? 16 : 4;
    if (is_v6 && memcmp(bytes, mapped, sizeof(mapped)) == 0) {
        from = bytes + sizeof(mapped);
        length = 4;
    }
    memset(ret, 0, 16);
    if (memcmp(from, any, length) == 0) {
        return 0;
    }
    memcpy(ret, from, length);
    return length;
}

static uint64_t start_of(const struct sockets_owner *owner, uint64_t unix_offset_ns)
{
    if (owner->from_ns == 0) {
        return 0;
    }
    uint64_t early_ns = owner->flags & SOCKETS_PASSIVE ? HANDSHAKE_NS : CLOCKS_NS;
    return owner->from_ns + unix_offset_ns - early_ns;
}

bool socket_news_from_event(const void *data, size_t size, uint64_t unix_offset_ns, SocketNews *ret)
{
    const struct sockets_event *event = data;
    if (size < sizeof(*event) || (event->kind != SOCKETS_OWNED && event->kind != SOCKETS_ENDED)) {
        return false;
    }
    const struct sockets_owner *owner = &event->owner;
    bool ended = event->kind == SOCKETS_ENDED;
    *ret = (SocketNews){
        .ended = ended,
        .netns_inode = owner->netns,
        .protocol = owner->protocol,
        .local_port = owner->local_port,
        .remote_port = owner->remote_port,
        .from_ns = start_of(owner, unix_offset_ns),
        .to_ns = ended ? event->time_ns + unix_offset_ns : 0,
        .pid = (pid_t)owner->pid,
    };
    ret->local_length = take_address(owner->local, owner->is_v6, ret->local);
    if (owner->remote_port) {
        ret->remote_length = take_address(owner->remote, owner->is_v6, ret->remote);
    }
    if (!ret->remote_length) { /* listens, or has no peer */
        ret->remote_port = 0;
    }
    take_name(owner->name, ret->process);
    return true;
}

void socket_news_group(const struct sockets_group *group, CgroupPod *ret)
{
    char path[SOCKETS_GROUP_DEPTH * (SOCKETS_GROUP_NAME + 1) + 1];
    size_t length = 0;
    for (int i = SOCKETS_GROUP_DEPTH - 1; i >= 0; i--) {
        const char *name = group->names[i];
        size_t size = strnlen(name, SOCKETS_GROUP_NAME);
        if (size > 0 && *name != '/') { /* the root's is "/" or empty */
            path[length++] = '/';
            memcpy(path + length, name, size);
            length += size;
        }
    }
    CgroupPod pod = {.uid = ""};
    *ret = cgroup_path_pod(path, length, NULL, &pod) ? pod : (CgroupPod){.uid = ""};
}

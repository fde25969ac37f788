// SPDX-License-Identifier: GPL-2.0-or-later
#include "plugins/ws_compat.h"

#include "plugins/calls/message.h"

#include <string.h>

#include <epan/tvbuff.h>

/* A field that an adapter wants, or its protocol. */
typedef struct Wanted {
    const CallAdapter *adapter;
    int place; /* in its fields; -1: the protocol */
} Wanted;

static GHashTable *wanted; /* number of the field -> Wanted */
static GArray *numbers;

/* ---- What is wanted --------------------------------------------------------------------------*/

static void want(int number, const CallAdapter *adapter, int place)
{
    Wanted *entry = g_new(Wanted, 1);

    *entry = (Wanted){adapter, place};
    g_hash_table_insert(wanted, GINT_TO_POINTER(number), entry);
    g_array_append_val(numbers, number);
}

/* One name may have several fields; filters know the first of them. */
static void want_all(const char *name, const CallAdapter *adapter, int place)
{
    const header_field_info *info = proto_registrar_get_byname(name);

    while (info && info->same_name_prev_id != -1)
        info = proto_registrar_get_nth((unsigned)info->same_name_prev_id);
    for (; info; info = info->same_name_next)
        want(info->id, adapter, place);
}

void call_messages_handoff(void)
{
    wanted = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    numbers = g_array_new(FALSE, FALSE, sizeof(int));
    for (unsigned i = 0; call_adapters[i]; i++) {
        const CallAdapter *adapter = call_adapters[i];
        int protocol = proto_get_id_by_filter_name(adapter->protocol);

        if (protocol == -1)
            continue;
        want(protocol, adapter, -1);
        for (unsigned j = 0; j < adapter->n_fields; j++)
            want_all(adapter->fields[j], adapter, (int)j);
    }
}

GArray *call_messages_wanted(void)
{
    return g_array_copy(numbers);
}

/* As epan_dissect_prime_with_hfid() does it, which wants a dissection that only its caller has. */
static void prime(header_field_info *field)
{
    field->ref_type = HF_REF_TYPE_DIRECT;
    if (field->parent != -1) {
        header_field_info *protocol = proto_registrar_get_nth((unsigned)field->parent);

        if (protocol->ref_type == HF_REF_TYPE_NONE)
            protocol->ref_type = HF_REF_TYPE_INDIRECT;
    }
}

void call_messages_prime(void)
{
    for (unsigned i = 0; i < numbers->len; i++)
        prime(proto_registrar_get_nth((unsigned)g_array_index(numbers, int, i)));
}

/* ---- Walking the tree ------------------------------------------------------------------------*/

typedef struct Walk {
    CallMessage message;
} Walk;

static void send(Walk *walk)
{
    if (walk->message.n_parts > 0)
        walk->message.adapter->message(&walk->message);
    walk->message.n_parts = 0;
}

static const Wanted *wanted_of(const field_info *info)
{
    return info ? g_hash_table_lookup(wanted, GINT_TO_POINTER(info->hfinfo->id)) : NULL;
}

static void collect(proto_node *node, void *data)
{
    Walk *walk = data;
    CallMessage *message = &walk->message;
    const Wanted *found = wanted_of(PNODE_FINFO(node));

    if (found && found->adapter == message->adapter && found->place >= 0 &&
        message->n_parts < CALL_PARTS_MAX)
        message->parts[message->n_parts++] = (CallPart){(unsigned)found->place, PNODE_FINFO(node)};
    proto_tree_children_foreach(node, collect, walk);
}

static void collect_child(proto_node *node, void *data)
{
    Walk *walk = data;
    const field_info *info = PNODE_FINFO(node);
    const Wanted *found = wanted_of(info);

    if (found && found->adapter == walk->message.adapter) {
        send(walk);
        walk->message.bytes = (uint32_t)MAX(info->length, 0);
    }
    collect(node, walk);
}

static void each_protocol(proto_node *node, void *data)
{
    Walk *walk = data;
    const field_info *info = PNODE_FINFO(node);
    const Wanted *found = wanted_of(info);

    if (!found || found->place >= 0)
        return;
    walk->message.adapter = found->adapter;
    walk->message.bytes = (uint32_t)MAX(info->length, 0);
    proto_tree_children_foreach(node, found->adapter->by_child ? collect_child : collect, walk);
    send(walk);
}

void call_messages_each(packet_info *pinfo, proto_tree *tree)
{
    Walk walk;

    walk.message.pinfo = pinfo;
    walk.message.conversation = find_conversation_pinfo(pinfo, 0);
    walk.message.n_parts = 0;
    if (walk.message.conversation)
        proto_tree_children_foreach(tree, each_protocol, &walk);
}

/* ---- What a message has ----------------------------------------------------------------------*/

const field_info *call_part(const CallMessage *message, unsigned field)
{
    for (unsigned i = 0; i < message->n_parts; i++) {
        if (message->parts[i].field == field)
            return message->parts[i].info;
    }
    return NULL;
}

const char *call_info_text(const CallMessage *message, const field_info *info)
{
    enum ftenum type = info->hfinfo->type;

    if (IS_FT_STRING(type))
        return ws_value_string(info);
    if (type != FT_BYTES || info->length <= 0 || !info->ds_tvb ||
        !tvb_bytes_exist(info->ds_tvb, info->start, info->length))
        return NULL;
    return (const char *)tvb_get_string_enc(message->pinfo->pool, info->ds_tvb, info->start,
                                            info->length, ENC_UTF_8);
}

const char *call_part_text(const CallMessage *message, unsigned field)
{
    const field_info *info = call_part(message, field);

    return info ? call_info_text(message, info) : NULL;
}

int64_t call_info_number(const field_info *info)
{
    return ws_value_number(info);
}

int64_t call_part_number(const CallMessage *message, unsigned field, int64_t otherwise)
{
    const field_info *info = call_part(message, field);

    return info ? call_info_number(info) : otherwise;
}

const char *call_code_name(const CallMessage *message, const value_string *names, int64_t code)
{
    const char *name = try_val_to_str((uint32_t)code, names);

    return name ? name : wmem_strdup_printf(message->pinfo->pool, "%d", (int)code);
}

const char *call_info_name(const CallMessage *message, const field_info *info)
{
    const header_field_info *field = info->hfinfo;
    int64_t number = call_info_number(info);
    const char *name = NULL, *bracket;

    if (field->strings && (field->display & BASE_EXT_STRING))
        name = try_val_to_str_ext((uint32_t)number, (value_string_ext *)field->strings);
    else if (field->strings && !(field->display & (BASE_RANGE_STRING | BASE_VAL64_STRING)) &&
             field->type != FT_BOOLEAN)
        name = try_val_to_str((uint32_t)number, (const value_string *)field->strings);
    if (!name)
        return wmem_strdup_printf(message->pinfo->pool, "%" PRId64, number);
    bracket = strstr(name, " (");
    return bracket ? wmem_strndup(message->pinfo->pool, name, (size_t)(bracket - name)) : name;
}

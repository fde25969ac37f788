// SPDX-License-Identifier: GPL-2.0-or-later
#include "k8s-enrich/inventory-file.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "k8s-enrich/inventory-object.h"

/* 50,000 pods are about 170 MB. */
#define FILE_MAX_BYTES (1024u * 1024u * 1024u)
#define READ_STEP      (64u * 1024u)

G_DEFINE_QUARK(remora - inventory - error - quark, inventory_error)

/* An object of the file and where it stands. */
typedef struct Item {
    const json_t *object;
    const char *kind; /* borrowed from the JSON or interned */
    size_t document, index;
    bool in_list;
} Item;

typedef struct Parser {
    const char *text, *name;
    size_t length, offset;
    GPtrArray *documents; /* of json_t: they own everything */
    GArray *items;
    InventoryFile *file;
} Parser;

static void document_free(gpointer document)
{
    json_decref(document);
}

static void entity_free(gpointer entity)
{
    entity_unref(entity);
}

static void fail_at(const Parser *parser, size_t offset, const char *message, GError **error)
{
    size_t line = 1, start = 0;
    for (size_t i = 0; i < offset && i < parser->length; i++) {
        if (parser->text[i] == '\n') {
            line++;
            start = i + 1;
        }
    }
    g_set_error(error, INVENTORY_ERROR, INVENTORY_ERROR_SYNTAX,
                "%s: line %zu, column %zu: %s; expected the output of kubectl get ... -o json",
                parser->name, line, offset - start + 1, message);
}

static void skip_space(Parser *parser)
{
    while (parser->offset < parser->length && memchr(" \t\r\n", parser->text[parser->offset], 4))
        parser->offset++;
}

/* jansson bounds the depth of nesting (2048) and checks UTF-8. */
static bool parse_documents(Parser *parser, GError **error)
{
    static const char byte_order_mark[3] = "\xef\xbb\xbf";
    if (parser->length >= 3 && memcmp(parser->text, byte_order_mark, 3) == 0)
        parser->offset = 3;
    skip_space(parser);
    if (parser->offset == parser->length) {
        fail_at(parser, parser->offset, "the file is empty", error);
        return false;
    }
    while (parser->offset < parser->length) {
        json_error_t problem;
        json_t *document =
            json_loadb(parser->text + parser->offset, parser->length - parser->offset,
                       JSON_DISABLE_EOF_CHECK | JSON_DECODE_ANY, &problem);
        if (!document) {
            fail_at(parser, parser->offset + (size_t)MAX(problem.position - 1, 0), problem.text,
                    error);
            return false;
        }
        g_ptr_array_add(parser->documents, document);
        parser->offset += (size_t)problem.position;
        skip_space(parser);
    }
    return true;
}

/* "Pod" for a PodList, "" for a List, NULL for what is no list at all (a custom resource may be
 * called AccessList). */
static const char *list_item_kind(const json_t *document)
{
    const char *kind = json_string_value(json_object_get(document, "kind"));
    if (!kind || !g_str_has_suffix(kind, "List") ||
        (!json_object_get(document, "items") && !g_str_equal(kind, "List")))
        return NULL;
    g_autofree char *item_kind = g_strndup(kind, strlen(kind) - strlen("List"));
    return g_intern_string(item_kind);
}

static bool add_document(Parser *parser, size_t number, GError **error)
{
    const json_t *document = g_ptr_array_index(parser->documents, number - 1);
    if (!json_is_object(document)) {
        g_set_error(error, INVENTORY_ERROR, INVENTORY_ERROR_OBJECT,
                    "%s: document %zu is no object; expected a List as kubectl get ... -o json "
                    "prints",
                    parser->name, number);
        return false;
    }
    const char *item_kind = list_item_kind(document);
    if (!item_kind) {
        Item item = {document, object_kind(document, ""), number, 0, false};
        g_array_append_val(parser->items, item);
        return true;
    }
    const json_t *objects = json_object_get(document, "items");
    if (!json_is_array(objects) && !json_is_null(objects)) {
        g_autofree char *what =
            object_describe(document, json_string_value(json_object_get(document, "kind")));
        g_set_error(error, INVENTORY_ERROR, INVENTORY_ERROR_OBJECT,
                    "%s: document %zu (%s) is a list without an array of items", parser->name,
                    number, what);
        return false;
    }
    size_t index;
    const json_t *object;
    json_array_foreach(objects, index, object)
    {
        Item item = {object, object_kind(object, item_kind), number, index, true};
        g_array_append_val(parser->items, item);
    }
    return true;
}

static void warn(Parser *parser, const Item *item, const char *problem)
{
    g_autofree char *what = object_describe(item->object, item->kind);
    GString *text = g_string_new(parser->name);
    g_string_append(text, ":");
    if (parser->documents->len > 1)
        g_string_append_printf(text, " document %zu,", item->document);
    if (item->in_list)
        g_string_append_printf(text, " item %zu", item->index);
    g_string_append_printf(text, " (%s) is left out: %s", what, problem);
    g_ptr_array_add(parser->file->warnings, g_string_free(text, FALSE));
}

static void add_item(Parser *parser, const Item *item, const OwnerTable *owners)
{
    if (!json_is_object(item->object)) {
        warn(parser, item, "it is no object");
        return;
    }
    g_autofree char *problem = NULL;
    Entity *entity = object_to_entity(item->object, item->kind, owners, &problem);
    if (problem)
        warn(parser, item, problem);
    if (!entity)
        return;
    g_ptr_array_add(parser->file->entities, entity);
    const char *netns = object_annotation(item->object, INVENTORY_NETNS_ANNOTATION);
    if (entity->kind == ENTITY_POD && netns)
        g_hash_table_insert(parser->file->netns, g_strdup(entity->uid), g_strdup(netns));
}

static bool parse(Parser *parser, GError **error)
{
    if (!parse_documents(parser, error))
        return false;
    for (size_t number = 1; number <= parser->documents->len; number++)
        if (!add_document(parser, number, error))
            return false;

    /* Owners stand anywhere in the file: they are all noted before the first pod is read. */
    g_autoptr(GHashTable) owners = owner_table_new();
    for (guint i = 0; i < parser->items->len; i++) {
        const Item *item = &g_array_index(parser->items, Item, i);
        owner_table_note(owners, item->kind, item->object);
    }
    for (guint i = 0; i < parser->items->len; i++)
        add_item(parser, &g_array_index(parser->items, Item, i), owners);
    return true;
}

InventoryFile *inventory_file_parse(const char *text, size_t length, const char *name,
                                    GError **error)
{
    Parser parser = {.text = text, .name = name, .length = length};
    if (length > FILE_MAX_BYTES) {
        g_set_error(error, INVENTORY_ERROR, INVENTORY_ERROR_READ, "%s: larger than %u bytes", name,
                    FILE_MAX_BYTES);
        return NULL;
    }
    parser.documents = g_ptr_array_new_with_free_func(document_free);
    parser.items = g_array_new(FALSE, FALSE, sizeof(Item));
    parser.file = g_new0(InventoryFile, 1);
    parser.file->entities = g_ptr_array_new_with_free_func(entity_free);
    parser.file->netns = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    parser.file->warnings = g_ptr_array_new_with_free_func(g_free);

    if (!parse(&parser, error))
        parser.file = inventory_file_free(parser.file);
    g_array_unref(parser.items);
    g_ptr_array_unref(parser.documents);
    return parser.file;
}

/* Also from what has no size, such as the pipe of <(kubectl get ...). */
static GByteArray *read_bounded(const char *path, GError **error)
{
    FILE *stream = fopen(path, "rb");
    if (!stream) {
        g_set_error(error, INVENTORY_ERROR, INVENTORY_ERROR_READ, "%s: %s", path,
                    g_strerror(errno));
        return NULL;
    }
    GByteArray *bytes = g_byte_array_new();
    size_t got;
    do {
        guint used = bytes->len;
        g_byte_array_set_size(bytes, used + READ_STEP);
        got = fread(bytes->data + used, 1, READ_STEP, stream);
        g_byte_array_set_size(bytes, used + (guint)got);
    } while (got > 0 && bytes->len <= FILE_MAX_BYTES);
    int failure = ferror(stream) ? errno : 0;
    fclose(stream);
    if (!failure)
        return bytes;
    g_set_error(error, INVENTORY_ERROR, INVENTORY_ERROR_READ, "%s: %s", path, g_strerror(failure));
    g_byte_array_unref(bytes);
    return NULL;
}

InventoryFile *inventory_file_read(const char *path, GError **error)
{
    g_autoptr(GByteArray) bytes = read_bounded(path, error);
    if (!bytes)
        return NULL;
    return inventory_file_parse((const char *)bytes->data, bytes->len, path, error);
}

InventoryFile *inventory_file_free(InventoryFile *file)
{
    if (!file)
        return NULL;
    g_ptr_array_unref(file->entities);
    g_hash_table_unref(file->netns);
    g_ptr_array_unref(file->warnings);
    g_free(file);
    return NULL;
}

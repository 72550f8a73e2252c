// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <weft_plugin.h>

enum { KEY = 3, VALUE = 2, CAPACITY = 8 };

struct state {
    const struct weft_host *host;
    struct weft_table *table;
    unsigned left; // Packets that the input node has yet to bring.
};

static struct state *all;

// Brings packets 0, 1, ... to `first`, three at most in a turn.
static uint32_t bring(struct weft_vector *v)
{
    uint32_t buffers[3];
    uint32_t wanted = all->left < 3 ? all->left : 3;
    uint32_t given = v->host->allocate(v, buffers, wanted);
    for (uint32_t i = 0; i < given; i++) {
        struct weft_metadata *m = &v->metadata[buffers[i]];
        v->slots[(size_t)buffers[i] * WEFT_SLOT_SIZE + m->data_offset] = (uint8_t)--all->left;
        m->length = 60;
        m->rx_interface = 0;
    }
    v->host->send(v, v->edges[0], buffers, given);
    return WEFT_SEND_DEFAULT;
}

// Packets whose number is a key of the table go to `other` and count in its value.
static uint32_t look_up(struct weft_vector *v)
{
    uint64_t keys[WEFT_VECTOR_SIZE][KEY] = {{0}}, values[WEFT_VECTOR_SIZE][VALUE];
    struct weft_found found[WEFT_VECTOR_SIZE];
    for (unsigned i = 0; i < v->count; i++) {
        const struct weft_metadata *m = &v->metadata[v->buffers[i]];
        keys[i][0] = v->slots[(size_t)v->buffers[i] * WEFT_SLOT_SIZE + m->data_offset];
    }
    v->host->table_find(all->table, keys[0], v->count, found, values[0]);
    for (unsigned i = 0; i < v->count; i++) {
        if (found[i].version && values[i][0] == keys[i][0] * 10) {
            uint64_t *hits = v->host->table_word(all->table, found[i], 1);
            __atomic_store_n(hits, __atomic_load_n(hits, __ATOMIC_RELAXED) + 1, __ATOMIC_RELAXED);
            v->host->table_touch(all->table, found[i], 7);
            v->nexts[i] = v->edges[0];
        } else {
            v->nexts[i] = v->chain[++v->metadata[v->buffers[i]].feature];
        }
    }
    return WEFT_SEND_EACH;
}

static uint32_t untouched(void *user, const struct weft_table_entry *entry)
{
    ++*(unsigned *)user;
    return entry->seen != 7;
}

static void print(const struct weft_host *host, struct weft_text *text, unsigned number)
{
    uint8_t digits[] = {(uint8_t)('0' + number / 10 % 10), (uint8_t)('0' + number % 10), ' '};
    host->write(text, digits, sizeof digits);
}

// Takes out what no packet has touched; says how many it saw and took, and of the others key and hits.
static int32_t run(void *user, void *state, struct weft_main *main, const uint8_t *line, size_t length,
                   struct weft_text *text, struct weft_text *json)
{
    (void)user, (void)main, (void)line, (void)length, (void)json;
    struct state *s = state;
    unsigned seen = 0;
    unsigned taken = s->host->table_sweep(s->table, 2 * CAPACITY, untouched, &seen);
    print(s->host, text, seen);
    print(s->host, text, taken);
    struct weft_table_entry entry;
    for (uint32_t from = 0; s->host->table_next(s->table, from, &entry); from = entry.found.slot + 1) {
        print(s->host, text, (unsigned)entry.key[0]);
        print(s->host, text, (unsigned)entry.value[1]);
    }
    return WEFT_OK;
}

static int32_t init(const struct weft_host *host, struct weft_main *main, void **state)
{
    static const char *const first[] = {"first", 0}, *const other[] = {"other", 0};
    struct weft_node input = {.size = sizeof input, .kind = WEFT_NODE_INPUT, .name = "bringer", .edges = first,
                              .process = bring};
    struct weft_node node = {.size = sizeof node, .name = "looker", .edges = other, .process = look_up};
    struct weft_feature feature = {.size = sizeof feature, .arc = "test", .node = "looker"};
    struct weft_command command = {.size = sizeof command, .path = "show looker", .run = run};
    struct state *s = calloc(1, sizeof *s);
    *state = all = s;
    s->host = host;
    s->left = 8;
    // Not a size of keys, and no capacity.
    if (host->table_new(main, 4, VALUE, CAPACITY) || host->table_new(main, KEY, VALUE, 0))
        return WEFT_REFUSED;
    s->table = host->table_new(main, KEY, VALUE, CAPACITY);
    for (uint64_t number = 0; s->table && number < CAPACITY; number++) {
        uint64_t key[KEY] = {number}, value[VALUE] = {number * 10};
        // Twice: the second value replaces the first one.
        if (host->table_put(s->table, key, key, 1, 0) || host->table_put(s->table, key, value, 1, 0))
            return WEFT_REFUSED;
    }
    uint64_t one_too_many[KEY] = {CAPACITY}, gone[KEY] = {4};
    if (!s->table || host->table_put(s->table, one_too_many, one_too_many, 1, 0) != WEFT_REFUSED ||
        host->table_remove(s->table, gone) || host->table_remove(s->table, gone) != WEFT_REFUSED ||
        host->table_length(s->table) != CAPACITY - 1)
        return WEFT_REFUSED;
    return host->add_node(main, &input) || host->add_node(main, &node) || host->add_feature(main, &feature) ||
           host->add_command(main, &command);
}

static void end(void *state)
{
    struct state *s = state;
    s->host->table_free(s->table);
    free(s);
}

WEFT_EXPORT const struct weft_plugin weft_plugin = {
    .magic = WEFT_MAGIC,
    .abi_version = WEFT_ABI_VERSION,
    .size = sizeof weft_plugin,
    .fingerprint = WEFT_ABI_FINGERPRINT,
    .name = "bringer",
    .version = "1",
    .init = init,
    .exit = end,
};

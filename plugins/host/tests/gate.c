// SPDX-License-Identifier: Apache-2.0
#include <weft_plugin.h>

// A feature that starts an arc of the plugin's own, on which there is another feature of it.

// Packets of an interface with features on the arc pass them; others go to what follows it.
static uint32_t gate(struct weft_vector *v)
{
    struct weft_arc_start arc = v->arcs[0];
    for (unsigned i = 0; i < v->count; i++) {
        struct weft_metadata *m = &v->metadata[v->buffers[i]];
        uint32_t place = m->rx_interface < arc.length ? arc.starts[m->rx_interface] : 0;
        if (place)
            m->feature = place;
        v->nexts[i] = place ? v->chain[place] : v->edges[0];
    }
    return WEFT_SEND_EACH;
}

// Packets with even numbers leave the arc.
static uint32_t even(struct weft_vector *v)
{
    for (unsigned i = 0; i < v->count; i++) {
        struct weft_metadata *m = &v->metadata[v->buffers[i]];
        unsigned number = v->slots[(size_t)v->buffers[i] * WEFT_SLOT_SIZE + m->data_offset];
        v->nexts[i] = number % 2 ? v->chain[++m->feature] : v->edges[0];
    }
    return WEFT_SEND_EACH;
}

static int32_t init(const struct weft_host *host, struct weft_main *main, void **state)
{
    (void)state;
    static const char *const other[] = {"other", 0}, *const last[] = {"last", 0};
    struct weft_arc arc = {.size = sizeof arc, .name = "gate", .next = "other"};
    struct weft_node node = {.size = sizeof node, .name = "gate", .edges = other, .process = gate};
    struct weft_node of_arc = {.size = sizeof of_arc, .name = "even", .edges = last, .process = even};
    struct weft_feature on_test = {.size = sizeof on_test, .arc = "test", .node = "gate"};
    struct weft_feature on_own = {.size = sizeof on_own, .arc = "gate", .node = "even"};
    if (host->add_arc(main, &arc) || host->add_node(main, &node) || host->add_node(main, &of_arc) ||
        host->add_feature(main, &on_test) || host->add_feature(main, &on_own)) {
        uint8_t why[256];
        size_t length = host->why(main, why, sizeof why);
        host->fail(main, why, length < sizeof why ? length : sizeof why);
        return WEFT_REFUSED;
    }
    return WEFT_OK;
}

WEFT_EXPORT const struct weft_plugin weft_plugin = {
    .magic = WEFT_MAGIC,
    .abi_version = WEFT_ABI_VERSION,
    .size = sizeof weft_plugin,
    .fingerprint = WEFT_ABI_FINGERPRINT,
    .name = "gate",
    .version = "1",
    .init = init,
};

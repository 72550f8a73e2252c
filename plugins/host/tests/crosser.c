// SPDX-License-Identifier: Apache-2.0
#include <weft_plugin.h>

// Even packets go to worker 2, those above 100 to one that is not there; the others on along the arc.
static uint32_t process(struct weft_vector *v)
{
    for (unsigned i = 0; i < v->count; i++) {
        struct weft_metadata *m = &v->metadata[v->buffers[i]];
        unsigned number = v->slots[(size_t)v->buffers[i] * WEFT_SLOT_SIZE + m->data_offset];
        if (number > 100)
            v->nexts[i] = WEFT_NEXT_WORKER + 9;
        else if (number % 2 == 0 && v->thread == 1 && v->workers == 2)
            v->nexts[i] = WEFT_NEXT_WORKER + 2;
        else
            v->nexts[i] = v->chain[++m->feature];
    }
    return WEFT_SEND_EACH;
}

static int32_t init(const struct weft_host *host, struct weft_main *main, void **state)
{
    static const struct weft_node node = {.size = sizeof node, .name = "crosser", .hands_off = 1, .process = process};
    static const struct weft_feature feature = {.size = sizeof feature, .arc = "test", .node = "crosser"};
    (void)state;
    return host->add_node(main, &node) || host->add_feature(main, &feature);
}

WEFT_EXPORT const struct weft_plugin weft_plugin = {
    .magic = WEFT_MAGIC,
    .abi_version = WEFT_ABI_VERSION,
    .size = sizeof weft_plugin,
    .fingerprint = WEFT_ABI_FINGERPRINT,
    .name = "crosser",
    .version = "1",
    .init = init,
};

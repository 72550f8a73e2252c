// SPDX-License-Identifier: Apache-2.0
#include <weft_plugin.h>

// A feature of another plugin's arc: packets of number 3 leave it.
static uint32_t guest(struct weft_vector *v)
{
    for (unsigned i = 0; i < v->count; i++) {
        struct weft_metadata *m = &v->metadata[v->buffers[i]];
        unsigned number = v->slots[(size_t)v->buffers[i] * WEFT_SLOT_SIZE + m->data_offset];
        v->nexts[i] = number == 3 ? v->edges[0] : v->chain[++m->feature];
    }
    return WEFT_SEND_EACH;
}

static int32_t init(const struct weft_host *host, struct weft_main *main, void **state)
{
    (void)state;
    static const char *const last[] = {"last", 0};
    struct weft_node node = {.size = sizeof node, .name = "guest", .edges = last, .process = guest};
    struct weft_feature on_gate = {.size = sizeof on_gate, .arc = "gate", .node = "guest"};
    return host->add_node(main, &node) || host->add_feature(main, &on_gate) ? WEFT_REFUSED : WEFT_OK;
}

WEFT_EXPORT const struct weft_plugin weft_plugin = {
    .magic = WEFT_MAGIC,
    .abi_version = WEFT_ABI_VERSION,
    .size = sizeof weft_plugin,
    .fingerprint = WEFT_ABI_FINGERPRINT,
    .name = "guest",
    .version = "1",
    .init = init,
};

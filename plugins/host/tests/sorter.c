// SPDX-License-Identifier: Apache-2.0
#include <weft_plugin.h>

static uint32_t process(struct weft_vector *v)
{
    for (unsigned i = 0; i < v->count; i++) {
        struct weft_metadata *m = &v->metadata[v->buffers[i]];
        unsigned number = v->slots[(size_t)v->buffers[i] * WEFT_SLOT_SIZE + m->data_offset];
        if (number % 5 == 4) {
            m->reason = (uint16_t)(v->reason_base + 1);
            v->nexts[i] = WEFT_NODE_DROP;
        } else if (number % 2 == 0) {
            v->nexts[i] = v->edges[0];
        } else {
            ++v->events[1];
            v->nexts[i] = v->chain[++m->feature];
        }
    }
    return WEFT_SEND_EACH;
}

static int32_t init(const struct weft_host *host, struct weft_main *main, void **state)
{
    static const char *const edges[] = {"other", 0};
    static const struct weft_reason drops[] = {{"unused", "never", WEFT_SEVERITY_WARN},
                                               {"fifth", "every fifth", WEFT_SEVERITY_INFO}};
    static const struct weft_reason events[] = {{"never", "never", WEFT_SEVERITY_INFO},
                                                {"odd", "odd packets", WEFT_SEVERITY_INFO}};
    static const struct weft_node node = {.size = sizeof node, .name = "sorter", .edges = edges, .drops = drops,
                                          .drops_length = 2, .events = events, .events_length = 2, .process = process};
    static const struct weft_feature feature = {.size = sizeof feature, .arc = "test", .node = "sorter"};
    (void)state;
    return host->add_node(main, &node) || host->add_feature(main, &feature);
}

WEFT_EXPORT const struct weft_plugin weft_plugin = {
    .magic = WEFT_MAGIC,
    .abi_version = WEFT_ABI_VERSION,
    .size = sizeof weft_plugin,
    .fingerprint = WEFT_ABI_FINGERPRINT,
    .name = "sorter",
    .version = "1",
    .init = init,
};

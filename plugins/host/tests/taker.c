// SPDX-License-Identifier: Apache-2.0
#include <weft_plugin.h>

// Handles a number of one registry, and a reason of another plugin's node.
static uint32_t process(struct weft_vector *v)
{
    (void)v;
    return WEFT_SEND_DEFAULT;
}

static int32_t init(const struct weft_host *host, struct weft_main *main, void **state)
{
    (void)state;
    static const char *const last[] = {"last", 0};
    struct weft_node node = {.size = sizeof node, .name = "taker", .edges = last, .process = process};
    struct weft_handler number = {.size = sizeof number, .registry = "type", .number = 7, .node = "taker"};
    struct weft_handler reason = {.size = sizeof reason, .registry = "reason", .reason = "sorter/fifth", .node = "taker"};
    return host->add_node(main, &node) || host->add_handler(main, &number) || host->add_handler(main, &reason)
        ? WEFT_REFUSED
        : WEFT_OK;
}

WEFT_EXPORT const struct weft_plugin weft_plugin = {
    .magic = WEFT_MAGIC,
    .abi_version = WEFT_ABI_VERSION,
    .size = sizeof weft_plugin,
    .fingerprint = WEFT_ABI_FINGERPRINT,
    .name = "taker",
    .version = "1",
    .init = init,
};

// @NAME@: counts packets and bytes.
#include <stdio.h>
#include <stdlib.h>
#include "weft_plugin.h"

enum { PACKETS, BYTES, COLUMNS };

struct counter {
    const struct weft_host *host;
};

// One thread writes a cell, others read it at any time.
static void add(uint64_t *cell, uint64_t n)
{
    __atomic_store_n(cell, __atomic_load_n(cell, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}

static uint32_t process(struct weft_vector *vector)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < vector->count; i++) {
        const struct weft_metadata *packet = &vector->metadata[vector->buffers[i]];
        bytes += packet->length + packet->rest_length;
    }
    if (vector->counters_length > 0 && vector->counters[0].length >= COLUMNS) {
        add(&vector->counters[0].cells[PACKETS], vector->count);
        add(&vector->counters[0].cells[BYTES], bytes);
    }
    return WEFT_SEND_DEFAULT;
}

static int32_t show(void *user, void *state, struct weft_main *main, const uint8_t *line, size_t length,
                    struct weft_text *text, struct weft_text *json)
{
    (void)user;
    (void)line;
    const struct weft_host *host = ((struct counter *)state)->host;
    if (length > 0) {
        static const char why[] = "show @NAME@ takes no arguments";
        host->fail(main, (const uint8_t *)why, sizeof why - 1);
        return WEFT_REFUSED;
    }
    unsigned long long packets = host->counter(main, 0, PACKETS), bytes = host->counter(main, 0, BYTES);
    char line_out[96];
    int written = snprintf(line_out, sizeof line_out, "%llu packets, %llu bytes", packets, bytes);
    host->write(text, (const uint8_t *)line_out, (size_t)written);
    written = snprintf(line_out, sizeof line_out, "{\"packets\":%llu,\"bytes\":%llu}", packets, bytes);
    host->write(json, (const uint8_t *)line_out, (size_t)written);
    return WEFT_OK;
}

static int32_t init(const struct weft_host *host, struct weft_main *main, void **state)
{
    static const struct weft_node node = {.size = sizeof node, .name = "@NAME@", .process = process};
    static const struct weft_feature feature = {.size = sizeof feature, .arc = "ip4-unicast", .node = "@NAME@"};
    static const struct weft_command command = {
        .size = sizeof command, .path = "show @NAME@", .help = "Packets and bytes that the plugin has counted", .run = show};
    if (host->add_node(main, &node) || host->add_feature(main, &feature) || host->add_command(main, &command) ||
        host->add_counter(main, "seen", COLUMNS)) {
        uint8_t why[256];
        size_t length = host->why(main, why, sizeof why);
        host->fail(main, why, length < sizeof why ? length : sizeof why);
        return WEFT_REFUSED;
    }
    struct counter *counter = malloc(sizeof *counter);
    if (!counter)
        return WEFT_REFUSED;
    counter->host = host;
    *state = counter;
    return WEFT_OK;
}

WEFT_EXPORT const struct weft_plugin weft_plugin = {
    .magic = WEFT_MAGIC,
    .abi_version = WEFT_ABI_VERSION,
    .size = sizeof weft_plugin,
    .fingerprint = WEFT_ABI_FINGERPRINT,
    .name = "@NAME@",
    .version = "1.0",
    .summary = "Counts packets and bytes, in C",
    .init = init,
    .exit = free,
};

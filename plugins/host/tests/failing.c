// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <weft_plugin.h>

static uint32_t process(struct weft_vector *v)
{
    ++*(unsigned *)v->state;
    for (unsigned i = 0; i < v->count; i++) {
        struct weft_metadata *m = &v->metadata[v->buffers[i]];
        if (v->slots[(size_t)v->buffers[i] * WEFT_SLOT_SIZE + m->data_offset] == 7) {
            v->done = (uint16_t)i;
            m->feature += 1000; // half done
            v->host->write(v->failure, (const uint8_t *)"seven", 5);
            return WEFT_SEND_FAILED;
        }
        v->nexts[i] = v->edges[0];
    }
    v->counters[0].cells[0] += v->count;
    return WEFT_SEND_EACH;
}

static int32_t open_worker(void *user, uint32_t thread, void **state)
{
    (void)user;
    (void)thread;
    return !(*state = calloc(1, sizeof(unsigned)));
}

static int32_t run(void *user, void *state, struct weft_main *main, const uint8_t *line, size_t length,
                   struct weft_text *text, struct weft_text *json)
{
    (void)user;
    (void)state;
    (void)main;
    (void)line;
    (void)length;
    (void)text;
    (void)json;
    return WEFT_OK;
}

static int32_t init(const struct weft_host *host, struct weft_main *main, void **state)
{
    static const char *const edges[] = {"other", 0};
    struct weft_node node = {.size = sizeof node, .name = "failing", .edges = edges, .user = malloc(8),
                             .open = open_worker, .process = process, .close = free, .forget = free};
    struct weft_feature feature = {.size = sizeof feature, .arc = "test", .node = "failing"};
    struct weft_command command = {
        .size = sizeof command, .path = "show failing", .user = malloc(8), .run = run, .forget = free};
    *state = malloc(8);
    return host->add_node(main, &node) || host->add_feature(main, &feature) || host->add_command(main, &command) ||
           host->add_counter(main, "sent", 2);
}

WEFT_EXPORT const struct weft_plugin weft_plugin = {
    .magic = WEFT_MAGIC,
    .abi_version = WEFT_ABI_VERSION,
    .size = sizeof weft_plugin,
    .fingerprint = WEFT_ABI_FINGERPRINT,
    .name = "failing",
    .version = "1",
    .init = init,
    .exit = free,
};

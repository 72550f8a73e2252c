// SPDX-License-Identifier: Apache-2.0
// Declares a setting; the test fills in which, and its words.
#include <weft_plugin.h>

static int32_t init(const struct weft_host *host, struct weft_main *main, void **state)
{
    static const char *const words[] = {WORDS 0};
    static const struct weft_setting setting = {
        .size = sizeof setting, .name = "one", .help = "Test", .words = words, .initial = "", SETTING};
    (void)state;
    if (host->add_setting(main, &setting)) {
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
    .name = "declares",
    .version = "1",
    .init = init,
};

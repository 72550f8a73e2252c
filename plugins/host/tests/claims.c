// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <weft_plugin.h>

// Claims as many packet fields as there is room for.
static int32_t init(const struct weft_host *host, struct weft_main *main, void **state)
{
    (void)state;
    static const uint8_t failed[] = "claimed, and failed";
    for (unsigned i = 0; i < 8; i++) {
        char name[64];
        uint32_t offset;
        snprintf(name, sizeof name, NAME "%u", i);
        if (host->add_field(main, name, BYTES, &offset)) {
            uint8_t why[256];
            size_t length = host->why(main, why, sizeof why);
            host->fail(main, why, length < sizeof why ? length : sizeof why);
            return WEFT_REFUSED;
        }
    }
    if (FAILS) {
        host->fail(main, failed, sizeof failed - 1);
        return WEFT_REFUSED;
    }
    return WEFT_OK;
}

WEFT_EXPORT const struct weft_plugin weft_plugin = {
    .magic = WEFT_MAGIC,
    .abi_version = WEFT_ABI_VERSION,
    .size = sizeof weft_plugin,
    .fingerprint = WEFT_ABI_FINGERPRINT,
    .name = "claims",
    .version = "1",
    .init = init,
};

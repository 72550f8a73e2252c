// SPDX-License-Identifier: Apache-2.0
// Drops or counts packets between two hosts: the classifier of VPP's plugin tutorials, as a plugin in C.
//
// Rules are kept by the main thread in an array, by id. Workers find those of a pair of hosts in a table of Weft's, which the
// main thread changes while they search. A worker counts into columns of its own.
#include <arpa/inet.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weft_plugin.h>

enum { MOST_RULES = 256, PACKETS = 0, BYTES = 1, COLUMNS = 2 };
// Words of a key, and of a value: the rules of a pair of hosts on an interface, in the order of their ids.
enum { KEY = 2, MOST_OF_PAIR = 8 };
enum { PASS, DROP }; // As in the messages.
enum { REASON_DENIED };
enum { STATE_VERSION = 2 };
// Return values of the binary API.
enum { INVALID_SW_IF_INDEX = -2, INVALID_VALUE = -7, UNSUPPORTED = -126, LIMIT_EXCEEDED = -162 };

// The messages of the tutorials. Addresses are numbers there.
static const char api[] =
    "option version = \"1.0.0\";\n"
    "import \"vnet/interface_types.api\";\n"
    "autoreply define classify_add_rule {\n"
    "    u32 client_index; u32 context;\n"
    "    vl_api_interface_index_t sw_if_index;\n"
    "    u32 src_ip; u32 dst_ip; u16 src_port; u16 dst_port; u8 protocol; u8 action; u32 redirect_sw_if_index;\n"
    "};\n"
    "define classify_rule_dump { u32 client_index; u32 context; };\n"
    "define classify_rule_details {\n"
    "    u32 context; u32 rule_index; vl_api_interface_index_t sw_if_index;\n"
    "    u32 src_ip; u32 dst_ip; u16 src_port; u16 dst_port; u8 protocol; u8 action; u64 packet_count; u64 byte_count;\n"
    "};\n";

struct rule {
    uint32_t interface;
    uint32_t source, destination; // As in the packet.
    uint16_t ports[2];            // Of source and destination, as in the packet. 0: any, and none need be there.
    uint8_t protocol;             // 0: any.
    uint8_t action;
    uint16_t used;
    uint64_t base[COLUMNS]; // What the columns held when the rule came.
};

struct classify {
    const struct weft_host *host;
    struct rule rules[MOST_RULES]; // By id.
    struct weft_table *table;      // What workers search.
};

static void key_of(uint32_t interface, uint32_t source, uint32_t destination, uint64_t key[KEY])
{
    key[0] = (uint64_t)interface << 32 | source;
    key[1] = destination;
}

// A rule as workers see it, never 0: its id, action, protocol and ports.
static uint64_t pack(uint32_t id, const struct rule *rule)
{
    return 1ull << 63 | (uint64_t)id << 48 | (uint64_t)rule->action << 40 | (uint64_t)rule->protocol << 32 |
           (uint64_t)rule->ports[0] << 16 | rule->ports[1];
}

// One thread writes a cell, others read it at any time.
static void add(uint64_t *cell, uint64_t n)
{
    __atomic_store_n(cell, __atomic_load_n(cell, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}

// Whether the ports are those of the rule. TCP and UDP have some, but not in later fragments.
static bool ports_match(uint64_t rule, const struct weft_metadata *packet, const uint8_t *ip)
{
    size_t header = (size_t)(ip[0] & 15) * 4;
    uint16_t source = (uint16_t)(rule >> 16), destination = (uint16_t)rule, ports[2];
    if (!source && !destination)
        return true;
    if ((ip[9] != 6 && ip[9] != 17) || (ip[6] & 0x1f) || ip[7] || packet->length < header + sizeof ports)
        return false;
    memcpy(ports, ip + header, sizeof ports);
    return (!source || source == ports[0]) && (!destination || destination == ports[1]);
}

// What the first of these rules that matches says.
static int action(struct weft_vector *vector, const uint64_t rules[MOST_OF_PAIR], const struct weft_metadata *packet,
                  const uint8_t *ip)
{
    for (unsigned i = 0; i < MOST_OF_PAIR && rules[i]; i++) {
        uint8_t protocol = (uint8_t)(rules[i] >> 32);
        if ((protocol && protocol != ip[9]) || !ports_match(rules[i], packet, ip))
            continue;
        uint64_t *cells = &vector->counters[0].cells[(rules[i] >> 48 & (MOST_RULES - 1)) * COLUMNS];
        add(&cells[PACKETS], 1);
        add(&cells[BYTES], (uint64_t)packet->length + packet->rest_length);
        return rules[i] >> 40 & 1;
    }
    return PASS;
}

// All workers share what the main thread keeps.
static int32_t open_node(void *user, uint32_t thread, void **state)
{
    (void)thread;
    *state = user;
    return WEFT_OK;
}

static uint32_t process(struct weft_vector *vector)
{
    const struct classify *classify = vector->state;
    uint64_t keys[WEFT_VECTOR_SIZE][KEY], rules[WEFT_VECTOR_SIZE][MOST_OF_PAIR];
    struct weft_found found[WEFT_VECTOR_SIZE];
    const uint8_t *ips[WEFT_VECTOR_SIZE];
    if (vector->counters_length < 1 || vector->counters[0].length < MOST_RULES * COLUMNS)
        return WEFT_SEND_DEFAULT;
    for (unsigned i = 0; i < vector->count; i++) {
        const struct weft_metadata *packet = &vector->metadata[vector->buffers[i]];
        uint32_t interface = WEFT_NO_INTERFACE, addresses[2] = {0};
        ips[i] = vector->slots + (size_t)vector->buffers[i] * WEFT_SLOT_SIZE + packet->data_offset;
        if (packet->length >= 20) {
            interface = packet->rx_interface;
            memcpy(addresses, ips[i] + 12, sizeof addresses);
        }
        key_of(interface, addresses[0], addresses[1], keys[i]);
    }
    vector->host->table_find(classify->table, keys[0], vector->count, found, rules[0]);
    for (unsigned i = 0; i < vector->count; i++) {
        struct weft_metadata *packet = &vector->metadata[vector->buffers[i]];
        if (found[i].version && action(vector, rules[i], packet, ips[i]) == DROP) {
            packet->reason = vector->reason_base + REASON_DENIED;
            vector->nexts[i] = WEFT_NODE_DROP;
        } else {
            vector->nexts[i] = vector->chain[++packet->feature];
        }
    }
    return WEFT_SEND_EACH;
}

static int32_t refuse(const struct classify *classify, struct weft_main *main, const char *why)
{
    classify->host->fail(main, (const uint8_t *)why, strlen(why));
    return WEFT_REFUSED;
}

// Passes on why the host has refused the last call.
static int32_t refused(const struct weft_host *host, struct weft_main *main)
{
    uint8_t why[256];
    size_t length = host->why(main, why, sizeof why);
    host->fail(main, why, length < sizeof why ? length : sizeof why);
    return WEFT_REFUSED;
}

// Has workers see the rules that are for the same packets as this one, or that there is none any more.
static int32_t publish(struct classify *classify, struct weft_main *main, const struct rule *like)
{
    uint64_t key[KEY], value[MOST_OF_PAIR] = {0};
    unsigned count = 0;
    key_of(like->interface, like->source, like->destination, key);
    for (uint32_t id = 0; id < MOST_RULES; id++) {
        const struct rule *rule = &classify->rules[id];
        if (!rule->used || rule->interface != like->interface || rule->source != like->source ||
            rule->destination != like->destination)
            continue;
        if (count == MOST_OF_PAIR)
            return refuse(classify, main, "there are 8 rules for this pair of hosts, and no more are possible");
        value[count++] = pack(id, rule);
    }
    // There is room for all rules, and no rule means no entry.
    if (count)
        (void)classify->host->table_put(classify->table, key, value, 0, NULL);
    else
        (void)classify->host->table_remove(classify->table, key);
    return WEFT_OK;
}

static uint64_t counted(const struct classify *classify, struct weft_main *main, uint32_t id, uint32_t column)
{
    return classify->host->counter(main, 0, id * COLUMNS + column) - classify->rules[id].base[column];
}

// The feature is on where there are rules.
static int32_t enable(struct classify *classify, struct weft_main *main, uint32_t interface)
{
    uint32_t on = 0;
    for (uint32_t id = 0; id < MOST_RULES; id++)
        on |= classify->rules[id].used && classify->rules[id].interface == interface;
    if (classify->host->set_feature(main, "ip4-unicast", "pkt-classify", interface, on))
        return refused(classify->host, main);
    return WEFT_OK;
}

// A copy of a line that ends in NUL, in which strtok_r can write.
static bool copy(char *to, size_t size, const uint8_t *line, size_t length)
{
    if (length >= size || memchr(line, 0, length))
        return false;
    memcpy(to, line, length);
    to[length] = 0;
    return true;
}

static bool number(const char *word, unsigned long most, unsigned long *value)
{
    char *end;
    *value = word ? strtoul(word, &end, 10) : 0;
    return word && *word >= '0' && *word <= '9' && !*end && *value <= most;
}

static bool is_full(const struct classify *classify, uint32_t *id)
{
    for (*id = 0; *id < MOST_RULES && classify->rules[*id].used;)
        ++*id;
    return *id == MOST_RULES;
}

// A rule begins, in the free place `id`.
static int32_t insert(struct classify *classify, struct weft_main *main, uint32_t id, struct rule rule)
{
    rule.used = 1;
    for (uint32_t column = 0; column < COLUMNS; column++)
        rule.base[column] = classify->host->counter(main, 0, id * COLUMNS + column);
    classify->rules[id] = rule;
    int32_t code = publish(classify, main, &rule);
    if (code == WEFT_OK)
        code = enable(classify, main, rule.interface);
    if (code != WEFT_OK) {
        classify->rules[id].used = 0;
        (void)publish(classify, main, &rule);
    }
    return code;
}

static int32_t add_rule(void *user, void *state, struct weft_main *main, const uint8_t *line, size_t length,
                        struct weft_text *text, struct weft_text *json)
{
    (void)user;
    struct classify *classify = state;
    struct rule rule = {0};
    char words[256], *rest;
    bool source = false, destination = false;
    if (!copy(words, sizeof words, line, length))
        return refuse(classify, main, "the rule is too long");
    const char *name = strtok_r(words, " ", &rest);
    if (!name)
        return refuse(classify, main, "expected interface, src, dst and more; found nothing");
    rule.interface = classify->host->interface(main, (const uint8_t *)name, strlen(name));
    if (rule.interface == WEFT_NO_INTERFACE)
        return refuse(classify, main, "expected interface: there is none of that name");
    for (const char *word; (word = strtok_r(NULL, " ", &rest));) {
        const char *value = NULL;
        unsigned long protocol, port;
        if (!strcmp(word, "drop"))
            rule.action = DROP;
        else if (!strcmp(word, "pass"))
            rule.action = PASS;
        else if (!strcmp(word, "src") && (value = strtok_r(NULL, " ", &rest)) &&
                 inet_pton(AF_INET, value, &rule.source) == 1)
            source = true;
        else if (!strcmp(word, "dst") && (value = strtok_r(NULL, " ", &rest)) &&
                 inet_pton(AF_INET, value, &rule.destination) == 1)
            destination = true;
        else if (!strcmp(word, "sport") && number(strtok_r(NULL, " ", &rest), 65535, &port))
            rule.ports[0] = htons((uint16_t)port);
        else if (!strcmp(word, "dport") && number(strtok_r(NULL, " ", &rest), 65535, &port))
            rule.ports[1] = htons((uint16_t)port);
        else if (!strcmp(word, "proto") && number(strtok_r(NULL, " ", &rest), 255, &protocol))
            rule.protocol = (uint8_t)protocol;
        else
            return refuse(classify, main, "expected src ADDRESS, dst ADDRESS, proto, sport or dport NUMBER, drop or pass");
    }
    if (!source || !destination)
        return refuse(classify, main, "a rule needs src and dst");
    uint32_t id;
    if (is_full(classify, &id))
        return refuse(classify, main, "there are 256 rules, and no more are possible");
    int32_t code = insert(classify, main, id, rule);
    if (code != WEFT_OK)
        return code;
    char out[64];
    int written = snprintf(out, sizeof out, "rule %u added", id);
    classify->host->write(text, (const uint8_t *)out, (size_t)written);
    written = snprintf(out, sizeof out, "{\"id\":%u}", id);
    classify->host->write(json, (const uint8_t *)out, (size_t)written);
    return WEFT_OK;
}

static int32_t delete_rule(void *user, void *state, struct weft_main *main, const uint8_t *line, size_t length,
                           struct weft_text *text, struct weft_text *json)
{
    (void)user, (void)text, (void)json;
    struct classify *classify = state;
    char words[32];
    unsigned long id;
    if (!copy(words, sizeof words, line, length) || !number(words, MOST_RULES - 1, &id) || !classify->rules[id].used)
        return refuse(classify, main, "expected the id of a rule; show pkt-classify lists them");
    classify->rules[id].used = 0;
    int32_t code = publish(classify, main, &classify->rules[id]);
    return code == WEFT_OK ? enable(classify, main, classify->rules[id].interface) : code;
}

static int32_t show(void *user, void *state, struct weft_main *main, const uint8_t *line, size_t length,
                    struct weft_text *text, struct weft_text *json)
{
    (void)user;
    struct classify *classify = state;
    const struct weft_host *host = classify->host;
    uint32_t only = WEFT_NO_INTERFACE;
    if (length > 0 && (only = host->interface(main, line, length)) == WEFT_NO_INTERFACE)
        return refuse(classify, main, "expected interface: there is none of that name");
    char out[384], source[INET_ADDRSTRLEN], destination[INET_ADDRSTRLEN], name[64];
    int written = snprintf(out, sizeof out, "%-5s %-15s %-16s %-16s %-6s %-6s %-6s %-6s %10s %12s\n", "ID",
                           "INTERFACE", "SRC", "DST", "PROTO", "SPORT", "DPORT", "ACTION", "PACKETS", "BYTES");
    host->write(text, (const uint8_t *)out, (size_t)written);
    const char *separator = "";
    host->write(json, (const uint8_t *)"{\"rules\":[", 10);
    for (uint32_t id = 0; id < MOST_RULES; id++) {
        const struct rule *rule = &classify->rules[id];
        if (!rule->used || (only != WEFT_NO_INTERFACE && rule->interface != only))
            continue;
        inet_ntop(AF_INET, &rule->source, source, sizeof source);
        inet_ntop(AF_INET, &rule->destination, destination, sizeof destination);
        size_t bytes = host->interface_name(main, rule->interface, (uint8_t *)name, sizeof name - 1);
        name[bytes < sizeof name - 1 ? bytes : sizeof name - 1] = 0;
        unsigned long long packets = counted(classify, main, id, PACKETS), total = counted(classify, main, id, BYTES);
        unsigned sport = ntohs(rule->ports[0]), dport = ntohs(rule->ports[1]);
        const char *action = rule->action == DROP ? "DROP" : "PASS";
        written = snprintf(out, sizeof out, "%-5u %-15s %-16s %-16s %-6u %-6u %-6u %-6s %10llu %12llu\n", id, name,
                           source, destination, rule->protocol, sport, dport, action, packets, total);
        host->write(text, (const uint8_t *)out, (size_t)written);
        // Weft gives interfaces no name that needs an escape.
        written = snprintf(out, sizeof out,
                           "%s{\"id\":%u,\"interface\":\"%s\",\"src\":\"%s\",\"dst\":\"%s\",\"proto\":%u,"
                           "\"sport\":%u,\"dport\":%u,\"action\":\"%s\",\"packets\":%llu,\"bytes\":%llu}",
                           separator, id, name, source, destination, rule->protocol, sport, dport, action, packets, total);
        host->write(json, (const uint8_t *)out, (size_t)written);
        separator = ",";
    }
    host->write(json, (const uint8_t *)"]}", 2);
    return WEFT_OK;
}

// Reads and writes numbers of a message, each moving `at` on.
static uint64_t take(const uint8_t **at, unsigned bytes)
{
    uint64_t value = 0;
    while (bytes--)
        value = value << 8 | *(*at)++;
    return value;
}

static void put(uint8_t **at, uint64_t value, unsigned bytes)
{
    while (bytes--)
        *(*at)++ = (uint8_t)(value >> 8 * bytes);
}

static int32_t add_rule_message(void *user, void *state, struct weft_main *main, const struct weft_api_request *request,
                                struct weft_api_reply *reply)
{
    (void)user;
    struct classify *classify = state;
    const uint8_t *at = request->body;
    struct rule rule = {0};
    uint8_t name[1];
    uint32_t id;
    rule.interface = (uint32_t)take(&at, 4);
    rule.source = htonl((uint32_t)take(&at, 4));
    rule.destination = htonl((uint32_t)take(&at, 4));
    rule.ports[0] = htons((uint16_t)take(&at, 2));
    rule.ports[1] = htons((uint16_t)take(&at, 2));
    rule.protocol = (uint8_t)take(&at, 1);
    rule.action = (uint8_t)take(&at, 1);
    if (!classify->host->interface_name(main, rule.interface, name, sizeof name))
        reply->retval = INVALID_SW_IF_INDEX;
    else if (rule.action > DROP)
        reply->retval = rule.action == DROP + 1 ? UNSUPPORTED : INVALID_VALUE; // A redirection, or nothing known.
    else if (is_full(classify, &id))
        reply->retval = LIMIT_EXCEEDED;
    else
        return insert(classify, main, id, rule);
    return WEFT_OK;
}

static int32_t dump_message(void *user, void *state, struct weft_main *main, const struct weft_api_request *request,
                            struct weft_api_reply *reply)
{
    (void)user;
    const struct classify *classify = state;
    for (uint64_t id = request->place; id < MOST_RULES; id++) {
        const struct rule *rule = &classify->rules[id];
        if (!rule->used)
            continue;
        uint8_t body[38], *at = body;
        put(&at, id, 4);
        put(&at, rule->interface, 4);
        put(&at, ntohl(rule->source), 4);
        put(&at, ntohl(rule->destination), 4);
        put(&at, ntohs(rule->ports[0]), 2);
        put(&at, ntohs(rule->ports[1]), 2);
        put(&at, rule->protocol, 1);
        put(&at, rule->action, 1);
        put(&at, counted(classify, main, (uint32_t)id, PACKETS), 8);
        put(&at, counted(classify, main, (uint32_t)id, BYTES), 8);
        classify->host->write(reply->body, body, (size_t)(at - body));
        reply->next = id + 1;
        break;
    }
    return WEFT_OK;
}

static int32_t export_state(void *state, struct weft_main *main, uint32_t *version, struct weft_text *bytes)
{
    (void)main;
    const struct classify *classify = state;
    *version = STATE_VERSION;
    classify->host->write(bytes, (const uint8_t *)classify->rules, sizeof classify->rules);
    return WEFT_OK;
}

static int32_t import_state(void *state, struct weft_main *main, uint32_t version, const uint8_t *bytes, size_t length)
{
    struct classify *classify = state;
    if (version != STATE_VERSION || length != sizeof classify->rules)
        return refuse(classify, main, "the rules are of another version of the plugin");
    memcpy(classify->rules, bytes, length);
    for (uint32_t id = 0; id < MOST_RULES; id++)
        if (classify->rules[id].used && publish(classify, main, &classify->rules[id]))
            return WEFT_REFUSED;
    return WEFT_OK;
}

static int32_t init(const struct weft_host *host, struct weft_main *main, void **state)
{
    static const struct weft_reason drops[] = {
        [REASON_DENIED] = {.name = "denied", .text = "a rule of pkt-classify says drop", .severity = WEFT_SEVERITY_INFO}};
    static const struct weft_feature feature = {
        .size = sizeof feature, .arc = "ip4-unicast", .node = "pkt-classify", .set_by = "classify add rule"};
    static const struct weft_command commands[] = {
        {.size = sizeof *commands,
         .path = "classify add rule",
         .synopsis = "<interface> src <address> dst <address> [proto <number>] [sport <port>] [dport <port>] [drop|pass]",
         .help = "Add a rule to pkt-classify; it passes by default",
         .run = add_rule},
        {.size = sizeof *commands,
         .path = "classify del rule",
         .synopsis = "<id>",
         .help = "Delete a rule of pkt-classify",
         .run = delete_rule},
        {.size = sizeof *commands,
         .path = "show pkt-classify",
         .synopsis = "[<interface>]",
         .help = "Rules of pkt-classify and what they have matched",
         .run = show},
    };
    static const struct weft_api_message messages[] = {
        {.size = sizeof *messages, .name = "classify_add_rule", .run = add_rule_message},
        {.size = sizeof *messages, .name = "classify_rule_dump", .run = dump_message},
    };
    struct classify *classify = calloc(1, sizeof *classify);
    if (!classify) {
        static const char why[] = "out of memory";
        host->fail(main, (const uint8_t *)why, sizeof why - 1);
        return WEFT_REFUSED;
    }
    classify->host = host;
    classify->table = host->table_new(main, KEY, MOST_OF_PAIR, MOST_RULES);
    if (!classify->table) {
        free(classify);
        return refused(host, main);
    }
    const struct weft_node node = {.size = sizeof node,
                                   .name = "pkt-classify",
                                   .drops = drops,
                                   .drops_length = sizeof drops / sizeof *drops,
                                   .user = classify,
                                   .open = open_node,
                                   .process = process};
    int32_t failed = host->add_node(main, &node) || host->add_feature(main, &feature) ||
                     host->add_counter(main, "rules", MOST_RULES * COLUMNS);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        failed = failed || host->add_command(main, &commands[i]);
    failed = failed || host->define_api(main, "classify_rules", api);
    for (size_t i = 0; i < sizeof messages / sizeof *messages; i++)
        failed = failed || host->add_api_message(main, &messages[i]);
    if (failed) {
        host->table_free(classify->table);
        free(classify);
        return refused(host, main);
    }
    *state = classify;
    return WEFT_OK;
}

// A rule ends with its interface.
static int32_t event(void *state, struct weft_main *main, const struct weft_event *event)
{
    struct classify *classify = state;
    for (uint32_t id = 0; id < MOST_RULES && event->kind == WEFT_EVENT_INTERFACE_REMOVED; id++) {
        struct rule *rule = &classify->rules[id];
        if (rule->used && rule->interface == event->object) {
            rule->used = 0;
            (void)publish(classify, main, rule);
        }
    }
    return WEFT_OK;
}

static void end(void *state)
{
    struct classify *classify = state;
    classify->host->table_free(classify->table);
    free(classify);
}

WEFT_EXPORT const struct weft_plugin weft_plugin = {
    .magic = WEFT_MAGIC,
    .abi_version = WEFT_ABI_VERSION,
    .size = sizeof weft_plugin,
    .fingerprint = WEFT_ABI_FINGERPRINT,
    .name = "classify",
    .version = "1.0",
    .summary = "Drops or counts packets between two hosts, in C",
    .init = init,
    .exit = end,
    .export_state = export_state,
    .import_state = import_state,
    .event = event,
};

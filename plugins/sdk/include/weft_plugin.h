// SPDX-License-Identifier: Apache-2.0
// Made from plugins/sdk/src/abi.rs, which says what everything means; do not edit.

#ifndef WEFT_PLUGIN_H
#define WEFT_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

// Tells apart two states of this file, which both are version 0.
#define WEFT_ABI_FINGERPRINT 0xbddc3cb3dd5c9723ull

// What a plugin exports: WEFT_EXPORT const struct weft_plugin weft_plugin = { ... };
#define WEFT_EXPORT __attribute__((visibility("default")))
#define WEFT_ALIGNED(n) __attribute__((aligned(n)))

struct weft_main;
struct weft_worker;
struct weft_table;
struct weft_text;
struct weft_vector;

// "WEFTPLUG", read as a little-endian number.
#define WEFT_MAGIC 5140098457608275287

// The version that this file describes.
#define WEFT_ABI_VERSION 0

// A call did what it should.
#define WEFT_OK 0

// A call did nothing; `weft_host.fail` was called with a sentence that says why.
#define WEFT_REFUSED 1

// The code of the plugin has failed in the call: it is cut out of the graph. The sentence stands as for `WEFT_REFUSED`.
#define WEFT_PANICKED 2

// `weft_command.run`: the answer comes later; `text` is a name for it, which is given to `weft_command.later`.
// `weft_command.later`: not yet.
#define WEFT_LATER 3

// `weft_node.process`: each packet goes where packets go without the node. Nothing need be written.
#define WEFT_SEND_DEFAULT 0

// `weft_node.process`: each packet goes to its entry of `weft_vector.nexts`.
#define WEFT_SEND_EACH 1

// `weft_node.process`: the plugin has failed. The first `weft_vector.done` packets go to their entries of `weft_vector.nexts`, the
// next one is dropped, the others go where packets go without the node. The node is not called again.
#define WEFT_SEND_FAILED 2

// `weft_vector.nexts`, of a node that hands off: this plus the number of another worker has the packet go on in this node there, at
// the same place of its arc. It is dropped (`handoff_full` of the node) if that worker takes no more.
#define WEFT_NEXT_WORKER 65280

// `weft_node.kind`: runs when packets wait for it and, if it has a period, every so often.
#define WEFT_NODE_INTERNAL 0

// `weft_node.kind`: runs in every turn of the worker, with an empty vector; brings packets in by `weft_host.allocate` and
// `weft_host.send`.
#define WEFT_NODE_INPUT 1

// The node that ends packets; `weft_metadata.reason` says why.
#define WEFT_NODE_DROP 0

// No interface.
#define WEFT_NO_INTERFACE 4294967295

// Bytes of a packet buffer.
#define WEFT_SLOT_SIZE 2048

// Most bytes of `weft_host.trace`.
#define WEFT_TRACE_BYTES 32

// Most packets of a vector.
#define WEFT_VECTOR_SIZE 256

// `weft_metadata.flags`: the packet is followed by a trace.
#define WEFT_FLAG_TRACED (1 << 0)

// `weft_metadata.flags`: the packet continues in the buffer `next_segment`.
#define WEFT_FLAG_CHAINED (1 << 1)

// `weft_metadata.flags`: the packet's `weft_fields` hold something.
#define WEFT_FLAG_FIELDS (1 << 2)

// `weft_metadata.flags`: the link layer destination was a broadcast or multicast address.
#define WEFT_FLAG_LINK_BROADCAST (1 << 8)

// `weft_metadata.flags`: the packet was made by this host, not received.
#define WEFT_FLAG_LOCALLY_ORIGINATED (1 << 9)

// `weft_reason.severity`: a packet was lost that its sender expected to arrive.
#define WEFT_SEVERITY_ERROR 0

// `weft_reason.severity`: worth a look.
#define WEFT_SEVERITY_WARN 1

// `weft_reason.severity`: normal operation.
#define WEFT_SEVERITY_INFO 2

// `weft_host.log`.
#define WEFT_LOG_ERROR 0

// `weft_host.log`.
#define WEFT_LOG_WARN 1

// `weft_host.log`.
#define WEFT_LOG_INFO 2

// `weft_event.kind`: an interface is new. Those that were there before the plugin are not told.
#define WEFT_EVENT_INTERFACE_ADDED 0

// `weft_event.kind`: an interface is another than before; `weft_event.changes` says in what.
#define WEFT_EVENT_INTERFACE_CHANGED 1

// `weft_event.kind`: an interface is about to be deleted; it can still be looked at.
#define WEFT_EVENT_INTERFACE_REMOVING 2

// `weft_event.kind`: an interface is deleted; another one will have its index, and perhaps its name.
#define WEFT_EVENT_INTERFACE_REMOVED 3

// `weft_event.kind`: an IPv4 forwarding table is deleted; another one will have its index.
#define WEFT_EVENT_TABLE_REMOVED 4

// `weft_event.kind`: an IPv6 forwarding table is deleted. Each family has its own indices.
#define WEFT_EVENT_TABLE6_REMOVED 5

// `weft_event.changes`: up or down, by the operator or by its link, or by those of the port below.
#define WEFT_CHANGED_STATE 1

// `weft_event.changes`: the largest IP packet.
#define WEFT_CHANGED_MTU 2

// `weft_event.changes`: the MAC address.
#define WEFT_CHANGED_MAC 4

// `weft_event.changes`: its addresses of any family, or those that it borrows.
#define WEFT_CHANGED_ADDRESSES 8

// `weft_event.changes`: the forwarding table of packets of some family that arrive there.
#define WEFT_CHANGED_TABLE 16

// `weft_event.changes`: anything else.
#define WEFT_CHANGED_SETTINGS 32

// `weft_setting.kind`: on or off; `words` are the two words for them.
#define WEFT_SETTING_SWITCH 0

// `weft_setting.kind`: a number from `low` to `high`; `words` may have one, for no number.
#define WEFT_SETTING_NUMBER 1

// `weft_setting.kind`: one of `words`.
#define WEFT_SETTING_CHOICE 2

// `weft_setting.kind`: an ASCII text of at most `high` bytes.
#define WEFT_SETTING_TEXT 3

// `weft_setting.kind`: the MAC address of a station.
#define WEFT_SETTING_MAC 4

// `weft_rule_set.exempt`: packets of flows that a rule of the interface has admitted, in both directions.
#define WEFT_EXEMPT_ADMITTED 1

// `weft_rule_set.exempt`: packets that Weft makes itself.
#define WEFT_EXEMPT_OWN 2

// `weft_attachment.direction`: packets that come in.
#define WEFT_DIRECTION_INPUT 0

// `weft_attachment.direction`: packets that leave.
#define WEFT_DIRECTION_OUTPUT 1

// Something has happened to an interface or a table; see `weft_plugin.event`.
struct weft_event {
    // Bytes of this structure.
    uint32_t size;
    // `WEFT_EVENT_INTERFACE_ADDED` and the others.
    uint32_t kind;
    // The index of the interface or the table.
    uint32_t object;
    // `WEFT_CHANGED_STATE` and the others.
    uint32_t changes;
};

// What a node counts: a reason to drop, or an event.
struct weft_reason {
    // Identifier, as in `/err/<node>/<name>`.
    const char *name;
    // The sentence that `show errors` prints.
    const char *text;
    // `WEFT_SEVERITY_ERROR` and the others.
    uint32_t severity;
};

// What the graph knows of a packet beside its bytes: the first cache line of a buffer.
struct WEFT_ALIGNED(64) weft_metadata {
    // First byte of the packet in its slot. `data_offset + length` is at most `WEFT_SLOT_SIZE`.
    uint16_t data_offset;
    // Bytes in this buffer.
    uint16_t length;
    // `WEFT_FLAG_CHAINED` and the others; leave bits alone that have no name here.
    uint32_t flags;
    // Where it came in.
    uint32_t rx_interface;
    // Where it goes out; set with the next hop.
    uint32_t tx_interface;
    // Place in the feature chain that the packet walks.
    uint32_t feature;
    // Hash of the flow, 0 when not computed yet.
    uint32_t hash;
    // Forwarding table (VRF) to look the destination up in.
    uint32_t table;
    // Next hop, set by the lookup.
    uint32_t next_hop;
    // The buffer that continues the packet.
    uint32_t next_segment;
    // Bytes in the segments that follow.
    uint32_t rest_length;
    // Of the host.
    uint32_t trace;
    // Offset of the network header in the slot.
    uint16_t network_offset;
    // Offset of the first byte of the link header that it came with; of the network header itself if it came without one.
    uint16_t link_offset;
    // Why the packet is on its way to `WEFT_NODE_DROP`.
    uint16_t reason;
    // For the node that has the packet now; the next one may overwrite it.
    uint32_t scratch[3];
};

// A thread's numbers of one counter.
struct weft_counter_row {
    // Written by this thread alone, with plain (C: relaxed atomic) loads and stores; read by others at any time.
    uint64_t *cells;
    // How many.
    uint32_t length;
};

// What nodes keep with a packet by name: the second cache line of a buffer. It holds nothing unless the packet's
// `WEFT_FLAG_FIELDS` is set; who writes to it first clears it and sets the flag.
struct WEFT_ALIGNED(64) weft_fields {
    // A field lies at its offset in bytes.
    uint8_t bytes[64];
};

// Where packets begin an arc.
struct weft_arc_start {
    // By interface, the place in `weft_vector.chain` of its first feature: that is the packet's `weft_metadata.feature`, and the node
    // there its next one. 0: it has none.
    const uint32_t *starts;
    // Interfaces from here on have none.
    uint32_t length;
};

// A vector of packets, and what a node needs to work on them.
struct weft_vector {
    // Bytes of this structure.
    uint32_t size;
    // Packets.
    uint16_t count;
    // Worker, from 1 on.
    uint16_t thread;
    // The packets, each once.
    const uint32_t *buffers;
    // Where each goes: the id of a node.
    uint16_t *nexts;
    // By buffer, one line each.
    struct weft_metadata *metadata;
    // By buffer, `WEFT_SLOT_SIZE` bytes each.
    uint8_t *slots;
    // What packets pass on their arcs: the next node of a packet is at `++metadata.feature`.
    const uint16_t *chain;
    uint32_t chain_length;
    // With `WEFT_SEND_FAILED`: packets whose `nexts` are good.
    uint16_t done;
    // The id of the node's first reason to drop; `weft_metadata.reason` is this plus the place in `weft_node.drops`.
    uint16_t reason_base;
    // The ids of the nodes named in `weft_node.edges`.
    const uint16_t *edges;
    uint32_t edges_length;
    // The node that hands packets to the host.
    uint16_t punt;
    // Workers: they are numbered from 1 on.
    uint16_t workers;
    // Time stamp counter at the begin of the call.
    uint64_t now;
    // Of this node on this worker.
    void *state;
    // How often each of the node's events occurred, by place in `weft_node.events`. Drops are counted where packets end.
    uint64_t *events;
    uint32_t events_length;
    uint32_t counters_length;
    // The plugin's counters, in the order in which they were added.
    const struct weft_counter_row *counters;
    // The host's functions.
    const struct weft_host *host;
    // For those.
    struct weft_worker *worker;
    // With `WEFT_SEND_FAILED`: what has happened.
    struct weft_text *failure;
    // By buffer, one line each.
    struct weft_fields *fields;
    // Where in a packet's `weft_fields` the `uint32_t` is that classifier rules write, and keeps with the packet.
    uint32_t mark;
    // Whether packets of the vector are traced.
    uint32_t tracing;
    // As [`weft_node.hands_off`].
    uint32_t hands_off;
    // As [`weft_node.drops_length`].
    uint32_t drops_length;
    // The plugin's arcs, in the order in which they were added.
    const struct weft_arc_start *arcs;
    uint32_t arcs_length;
};

// What wakes a worker for an input node.
struct weft_wait {
    // Bytes of this structure.
    uint32_t size;
    // Not 0: there is work already, do not sleep.
    uint32_t busy;
    // A descriptor that wakes the worker when it can be read; -1: none.
    int32_t fd;
    // Sleep no longer than this; 0: no bound.
    uint32_t within_ms;
    // With `WEFT_PANICKED`: what has happened.
    struct weft_text *failure;
    // The host's functions.
    const struct weft_host *host;
};

// One packet in one node, as a trace has kept it.
struct weft_trace {
    // Bytes of this structure.
    uint32_t size;
    // Bytes of `data`.
    uint32_t length;
    // As the node left it.
    const struct weft_metadata *metadata;
    // The first bytes of the packet, as the node left them.
    const uint8_t *data;
    // As the node left them.
    const struct weft_fields *fields;
    // As [`weft_vector.mark`].
    uint32_t mark;
    // Bytes of `record`.
    uint32_t record_length;
    // What the node has told the trace of the packet (`weft_host.trace`).
    const uint8_t *record;
};

// A node of the graph.
struct weft_node {
    // Bytes of this structure.
    uint32_t size;
    // `WEFT_NODE_INTERNAL` or `WEFT_NODE_INPUT`.
    uint32_t kind;
    // Of an internal node, if not 0: it runs every so many milliseconds too, on every worker, with an empty vector.
    uint32_t period_ms;
    // Not 0: entries of `weft_vector.nexts` may name workers (`WEFT_NEXT_WORKER`).
    uint32_t hands_off;
    // Unique in the graph.
    const char *name;
    // Names of the nodes that it sends to, closed by a null pointer; or null.
    const char *const *edges;
    // Why packets end in it.
    const struct weft_reason *drops;
    uint32_t drops_length;
    // Of `events`.
    uint32_t events_length;
    // What else it counts: what happens without an end to a packet.
    const struct weft_reason *events;
    // Given to `open`, and to `forget` when no instance will be made any more.
    void *user;
    // Makes the state of worker `thread` (from 1 on); called on the main thread. Null: the node has no state.
    int32_t (*open)(void *user, uint32_t thread, void **state);
    // Does the work; called by the worker. Returns `WEFT_SEND_DEFAULT`, `WEFT_SEND_EACH` or `WEFT_SEND_FAILED`.
    uint32_t (*process)(struct weft_vector *vector);
    // Of an input node: called by the worker before it sleeps, to say what wakes it. Null: packets of the node wait up to
    // 100 ms for a worker that sleeps.
    int32_t (*wait)(void *state, struct weft_wait *wait);
    // Ends the state of a worker; called on the main thread.
    void (*close)(void *state);
    // Prints what a trace has kept of a packet; called on the main thread.
    int32_t (*trace)(void *user, const struct weft_trace *trace, struct weft_text *text);
    // Ends `user`; called on the main thread.
    void (*forget)(void *user);
};

// A point of the graph where features can be added. Who has reached it sends a packet to the first feature of the packet's
// interface (`weft_arc_start`), or on by itself if there is none. When its plugin goes, an arc stays as long as others have features
// there; the one that comes back finds it then.
struct weft_arc {
    // Bytes of this structure.
    uint32_t size;
    // Which interface decides what features a packet passes: the one where it came in (0), or where it goes out (1).
    uint32_t by_tx;
    // Its name: `gtp-uplink`, say.
    const char *name;
    // The node that follows the features. Null, of an arc where the interface out decides: transmission on that.
    const char *next;
};

// A node as a feature of an arc.
struct weft_feature {
    // Bytes of this structure.
    uint32_t size;
    // The arc: `ip4-unicast` and the others of `show features`.
    const char *arc;
    // A node of the same plugin.
    const char *node;
    // Features that come before it, where enabled; closed by a null pointer, or null.
    const char *const *after;
    // Features that come after it, likewise.
    const char *const *before;
    // The command of the plugin that enables and disables it on an interface, if it belongs to something else; nobody but the
    // plugin then sets it. Null: `set interface feature` does.
    const char *set_by;
};

// A node as the one that handles packets of a number. It gets them from their network header on, the link header in front of
// it in the buffer; without the node, or when the plugin has failed, they go where packets of that number go that nobody handles.
struct weft_handler {
    // Bytes of this structure.
    uint32_t size;
    // An EtherType, an IP protocol, a UDP port; 0 in a registry of reasons.
    uint32_t number;
    // The registry: `ethertype`, `ip4-protocol`, `udp4-port`, `punt-reason` and the others of `show registrations`.
    const char *registry;
    // In a registry of reasons: `<node>/<reason>`, as in `show punt reasons`. Null in the others.
    const char *reason;
    // A node of the same plugin.
    const char *node;
};

// A command of the command line.
struct weft_command {
    // Bytes of this structure.
    uint32_t size;
    // Its words: `show acl`.
    const char *path;
    // Its arguments: `<interface> [in|out]`; or null.
    const char *synopsis;
    // One sentence.
    const char *help;
    // Given to `run`, and to `forget` when the command is gone.
    void *user;
    // Answers: as text, and the same as JSON. `line` is all behind the words of the command.
    int32_t (*run)(void *user,
                   void *state,
                   struct weft_main *main,
                   const uint8_t *line,
                   size_t length,
                   struct weft_text *text,
                   struct weft_text *json);
    // Ends `user`.
    void (*forget)(void *user);
    // Asked every now and then for an answer that comes later, until it returns something else than `WEFT_LATER`. Arguments
    // as of `run`, with the name of the answer as `line`. Null if `run` never returns `WEFT_LATER`.
    int32_t (*later)(void *user,
                     void *state,
                     struct weft_main *main,
                     const uint8_t *line,
                     size_t length,
                     struct weft_text *text,
                     struct weft_text *json);
    // Nobody waits for the answer of that name any more. May be null.
    int32_t (*cancel)(void *user, void *state, struct weft_main *main, const uint8_t *line, size_t length);
};

// Something that the main thread does every so often.
struct weft_timer {
    // Bytes of this structure.
    uint32_t size;
    // Milliseconds from one call to the next; at least 10.
    uint32_t period_ms;
    // Given to `run`, and to `forget` when the timer is gone.
    void *user;
    int32_t (*run)(void *user, void *state, struct weft_main *main);
    // Ends `user`.
    void (*forget)(void *user);
};

// A value of a setting; it is one of its kind.
struct weft_setting_value {
    // Bytes of this structure.
    uint32_t size;
    // Whose it is; `WEFT_NO_INTERFACE`: the dataplane's.
    uint32_t interface;
    // Of a number, not 0: the word for no number.
    uint32_t none;
    // Bytes of `text`.
    uint32_t text_length;
    // 1 or 0 of a switch, a number, the place of a choice in `words`, or the 48 bits of a MAC address.
    uint64_t number;
    // Of a text.
    const uint8_t *text;
};

// What operators and programs can set. Weft reads and checks values, keeps them with their owners, and tells the plugin.
struct weft_setting {
    // Bytes of this structure.
    uint32_t size;
    // `WEFT_SETTING_SWITCH` and the others.
    uint32_t kind;
    // Not 0: each interface has a value of its own. 0: the dataplane has one.
    uint32_t of_interface;
    // Unique in the plugin. In front ends it is `<plugin>.<name>`, in commands `<plugin> <name>`.
    const char *name;
    // What it does, in one sentence.
    const char *help;
    // Of a number or a text: what it is, with its unit.
    const char *what;
    // What the kind says; closed by a null pointer, or null.
    const char *const *words;
    // The lowest number.
    uint64_t low;
    // The highest number, or the bytes of the longest text.
    uint64_t high;
    // Its value while nobody wants another, as it is written.
    const char *initial;
    // Given to `changed`, and to `forget` when the plugin is gone.
    void *user;
    // Hears a value: that of the dataplane, and those of interfaces that are not the initial one, when the plugin has started
    // or taken over; then each that is another than before. A refusal is a line in the log. The value of an interface
    // that is deleted goes with it, which is not told.
    int32_t (*changed)(void *user, void *state, struct weft_main *main, const struct weft_setting_value *value);
    // Ends `user`.
    void (*forget)(void *user);
};

// A command of vplaned. It may come again, after a resync too: taking it twice must do no more than taking it once.
struct weft_message {
    // Bytes of this structure.
    uint32_t size;
    // The first word of a text, or the type of an envelope.
    const char *name;
    // Given to `run`, and to `forget` when the plugin is gone.
    void *user;
    // Does what it says. `data` is the whole text, or the inside of the envelope.
    int32_t (*run)(void *user, void *state, struct weft_main *main, const uint8_t *data, size_t length);
    // Ends `user`.
    void (*forget)(void *user);
};

// How packets of this host leave.
struct weft_route {
    // Their source address; all 0 if there is none.
    uint8_t source[16];
    // Where they go out.
    uint32_t interface;
    // What `weft_metadata.table` is for the forwarding table that was named.
    uint32_t table;
};

// An interface whose packets meet a rule set.
struct weft_attachment {
    uint32_t interface;
    // `WEFT_DIRECTION_INPUT` or `WEFT_DIRECTION_OUTPUT`.
    uint32_t direction;
};

// Rules, and where they are attached: to one interface at least. Packets that no rule matches pass.
struct weft_rule_set {
    // Bytes of this structure.
    uint32_t size;
    // `WEFT_EXEMPT_ADMITTED` and the others: packets that do not meet the rules.
    uint32_t exempt;
    // Letters, digits, `-`, `_` and `.`; shown after `plugin.<plugin>.`.
    const char *name;
    // A rule on each line, as `classify rule add` takes it, and `admit` among its actions: later packets of the flow, and
    // its answers, pass sets with `WEFT_EXEMPT_ADMITTED` on this interface.
    const uint8_t *rules;
    // Bytes of `rules`.
    size_t rules_length;
    const struct weft_attachment *attachments;
    size_t attachments_length;
};

// What a client asks. Bodies are what is behind `context` (`client_index` in an event), packed, in network byte order as on
// the wire, `f64` in little-endian.
struct weft_api_request {
    // Bytes of this structure.
    uint32_t size;
    // The user that the client runs as.
    uint32_t uid;
    // The client's connection; never given twice.
    uint64_t session;
    // What the client calls itself.
    const uint8_t *name;
    size_t name_length;
    // Never shorter than what is always in the message; arrays with a count are not checked.
    const uint8_t *body;
    size_t length;
    // Of a dump: 0 at first, then what `weft_api_reply.next` was.
    uint64_t place;
    // By which the client knows its connection. Another one may have had it before.
    uint32_t client_index;
};

// What is answered.
struct weft_api_reply {
    // Bytes of this structure.
    uint32_t size;
    // Of a request: if not 0, or if nothing is written to `body`, this is the reply's `retval` and all else in it is zero.
    int32_t retval;
    // Of a dump: where to go on, more than `weft_api_request.place`. A dump ends when nothing is written to `body`. What is
    // asked for may change between two calls, and the plugin be replaced.
    uint64_t next;
    // The body of the reply, or of one record of the dump; see `weft_host.write`.
    struct weft_text *body;
};

// A message of the binary API: a request, which has one reply, or a dump, which has details.
struct weft_api_message {
    // Bytes of this structure.
    uint32_t size;
    // Its name, without CRC.
    const char *name;
    // Given to `run`, and to `forget` when the plugin is gone.
    void *user;
    // Answers. For a dump, it is called again and again: see `weft_api_reply.next`.
    int32_t (*run)(void *user,
                   void *state,
                   struct weft_main *main,
                   const struct weft_api_request *request,
                   struct weft_api_reply *reply);
    // Ends `user`.
    void (*forget)(void *user);
};

// Where an entry of a table is. Good until it goes or is replaced.
struct weft_found {
    // Its slot.
    uint32_t slot;
    // Which of the entries that had the slot it is; 0: there is none.
    uint32_t version;
};

// An entry of a table, as it is shown.
struct weft_table_entry {
    // Where it is.
    struct weft_found found;
    // When it was last touched.
    uint32_t seen;
    // As many words as keys of the table have.
    uint64_t key[6];
    // Read by relaxed atomic loads.
    const uint64_t *value;
};

// The host's functions. Those with a `buffer` write as much of a text there as `capacity` allows, and return its whole
// length. All with a `main` are for the main thread, during a call that was given it; those with a
// `vector` for the worker, during `weft_node.process`.
struct weft_host {
    // Bytes of this structure.
    uint32_t size;
    // `WEFT_ABI_VERSION` of the host.
    uint32_t abi_version;
    // Appends to a text.
    void (*write)(struct weft_text *text, const uint8_t *bytes, size_t length);
    // Says why the call returns `WEFT_REFUSED` or `WEFT_PANICKED`.
    void (*fail)(struct weft_main *main, const uint8_t *text, size_t length);
    // Why the last of these functions returned `WEFT_REFUSED`.
    size_t (*why)(struct weft_main *main, uint8_t *buffer, size_t capacity);
    // Writes a line to Weft's log, under the plugin's name.
    void (*log)(struct weft_main *main, uint32_t level, const uint8_t *text, size_t length);
    // In `init`: registers a node.
    int32_t (*add_node)(struct weft_main *main, const struct weft_node *node);
    // In `init`: adds an arc, on which features can be, of this plugin and of others. Arcs are numbered from 0 in the order of
    // these calls; the number is the place in `weft_vector.arcs`.
    int32_t (*add_arc)(struct weft_main *main, const struct weft_arc *arc);
    // In `init`: makes a node a feature of an arc.
    int32_t (*add_feature)(struct weft_main *main, const struct weft_feature *feature);
    // In `init`: has a node of the plugin handle the packets of a number.
    int32_t (*add_handler)(struct weft_main *main, const struct weft_handler *handler);
    // In `init`: registers a command.
    int32_t (*add_command)(struct weft_main *main, const struct weft_command *command);
    // In `init`: registers a counter of `columns` numbers, shown as `/plugins/<plugin>/<name>`. A name that begins with `/net/`
    // is the whole name, and its columns are shown as pairs, of packets and bytes. Counters are numbered from
    // 0 in the order of these calls; the number is the place in `weft_vector.counters`.
    int32_t (*add_counter)(struct weft_main *main, const char *name, uint32_t columns);
    // In `init`: registers a timer.
    int32_t (*add_timer)(struct weft_main *main, const struct weft_timer *timer);
    // In `init`: claims a field of `bytes` bytes (1, 2, 4 or 8) that nodes keep with a packet, and says at which offset of the
    // packet's `weft_fields` it lies. Who claims the same name and size shares the field. It is 0 in a packet that begins.
    int32_t (*add_field)(struct weft_main *main, const char *name, uint32_t bytes, uint32_t *offset);
    // In `init`: the words of the plugin's own section of startup.conf.
    size_t (*configuration)(struct weft_main *main, uint8_t *buffer, size_t capacity);
    // The sum of a counter over all workers.
    uint64_t (*counter)(struct weft_main *main, uint32_t counter, uint32_t column);
    // The interface of that name, or `WEFT_NO_INTERFACE`.
    uint32_t (*interface)(struct weft_main *main, const uint8_t *name, size_t length);
    // The name of an interface; of no length if there is none of that index.
    size_t (*interface_name)(struct weft_main *main, uint32_t interface, uint8_t *buffer, size_t capacity);
    // The first interface with an index of at least `from`, or `WEFT_NO_INTERFACE`.
    uint32_t (*next_interface)(struct weft_main *main, uint32_t from);
    // Enables (`on` is 1) or disables (0) a feature of the plugin on an interface.
    int32_t (*set_feature)(struct weft_main *main, const char *arc, const char *node, uint32_t interface, uint32_t on);
    // Has `run` called with `data`, on the main thread, when no worker can see any more what was unlinked before.
    void (*defer)(struct weft_main *main, void (*run)(void *data), void *data);
    // Rate of `weft_vector.now`.
    double (*clocks_per_second)(struct weft_main *main);
    // Takes at most `wanted` empty buffers; returns how many. Each must be sent or freed in the same call.
    uint32_t (*allocate)(struct weft_vector *vector, uint32_t *buffers, uint32_t wanted);
    // Sends packets that are not of the vector to a node.
    void (*send)(struct weft_vector *vector, uint16_t node, const uint32_t *buffers, uint32_t count);
    // Frees packets that are not of the vector.
    void (*free)(struct weft_vector *vector, const uint32_t *buffers, uint32_t count);
    // Has a trace keep a record of the node with a packet of the vector, at most `WEFT_TRACE_BYTES` bytes. Only needed if
    // `weft_vector.tracing` is not 0, for packets with `WEFT_FLAG_TRACED`; for others nothing happens.
    void (*trace)(struct weft_vector *vector, const struct weft_metadata *packet, const uint8_t *record, uint32_t length);
    // In `init`: declares a setting. Every front end can set it then, as it can the built-in ones.
    int32_t (*add_setting)(struct weft_main *main, const struct weft_setting *setting);
    // In `init`: has the plugin take a command of vplaned. Whoever takes it in Weft itself does not see it any more.
    int32_t (*add_message)(struct weft_main *main, const struct weft_message *message);
    // Finds out how packets of this host leave that go to `destination` by the forwarding table (VRF) that operators call
    // `table`. An IPv4 address is written as IPv6 maps it (`::ffff:a.b.c.d`, RFC 4291 section 2.5.5.2), here and in the route. An
    // address that says something on its own link only is that of a station on the link of `interface`, which counts for
    // nothing else.
    int32_t (*route)(struct weft_main *main,
                     uint32_t table,
                     const uint8_t *destination,
                     uint32_t interface,
                     struct weft_route *route);
    // How many flows the flow tracker can keep at a time, on all workers together.
    uint64_t (*flow_limit)(struct weft_main *main);
    // The plugin's rule sets are these `length` ones from now on, and no others; workers see all of the
    // change or nothing of it. What is refused changes nothing. In `init` and `import_state` it takes effect when the plugin
    // does, in place of what the incarnation before had: rules whose set and id stay keep their counters.
    int32_t (*set_rules)(struct weft_main *main, const struct weft_rule_set *sets, uint32_t length);
    // How many packets and bytes a rule has met. `WEFT_REFUSED` if there is no such set: it also goes with
    // the last interface that it was attached to.
    int32_t (*rule_hits)(struct weft_main *main, const char *set, uint32_t rule, uint64_t *packets, uint64_t *bytes);
    // In `init`: defines messages of the binary API that Weft does not know, by the text of the file `<name>.api`. It may
    // import Weft's own.
    int32_t (*define_api)(struct weft_main *main, const char *name, const char *text);
    // In `init`: has the plugin answer a message of the binary API. Clients that connect while it is loaded are told of it.
    int32_t (*add_api_message)(struct weft_main *main, const struct weft_api_message *message);
    // Sends an event of a message that the plugin answers to the client of a `session`. Refused if that has gone.
    int32_t (*send_event)(struct weft_main *main, uint64_t session, const char *name, const uint8_t *body, size_t length);
    // Makes a table of at most `capacity` entries, with keys of `key_words` words (1, 2, 3, 5 or 6) and values of
    // `value_words`. It takes all its memory now. Null if that cannot be; see `why`. Any thread may search, one
    // writes: whichever the plugin chooses. Searching never waits for the writer.
    struct weft_table *(*table_new)(struct weft_main *main, uint32_t key_words, uint32_t value_words, uint32_t capacity);
    // Ends a table. On the main thread; no thread uses it any more (see `defer`).
    void (*table_free)(struct weft_table *table);
    // Any thread: finds each of `count` keys, which lie one after the other, and copies their values to `values`, likewise,
    // unless that is null. The cache misses of the keys overlap.
    void (*table_find)(const struct weft_table *table,
                       const uint64_t *keys,
                       uint32_t count,
                       struct weft_found *found,
                       uint64_t *values);
    // Any thread: notes that an entry was used at `now`, in whatever unit the plugin counts.
    void (*table_touch)(const struct weft_table *table, struct weft_found found, uint32_t now);
    // Any thread: where a word of a value lies, to be changed while the entry stays: by relaxed atomic operations. Null if
    // there is none. Once the entry has gone, it may be another's.
    uint64_t *(*table_word)(const struct weft_table *table, struct weft_found found, uint32_t word);
    // Any thread: the first entry whose slot is `from` or higher; 0 if there is none.
    uint32_t (*table_next)(const struct weft_table *table, uint32_t from, struct weft_table_entry *entry);
    // Writer: adds an entry, or replaces the value of the one that has the key, in one step for those who search. `found` may
    // be null. `WEFT_REFUSED` if the table is full.
    int32_t (*table_put)(struct weft_table *table,
                         const uint64_t *key,
                         const uint64_t *value,
                         uint32_t now,
                         struct weft_found *found);
    // Writer: takes an entry out. `WEFT_REFUSED` if there is none.
    int32_t (*table_remove)(struct weft_table *table, const uint64_t *key);
    // Writer: looks at the next `slots` slots, from where the call before has ended, and takes out the entries of which `old`
    // does not say 0. Returns how many.
    uint32_t (*table_sweep)(struct weft_table *table,
                            uint32_t slots,
                            uint32_t (*old)(void *user, const struct weft_table_entry *entry),
                            void *user);
    // Writer: entries now.
    uint32_t (*table_length)(const struct weft_table *table);
};

// What a plugin exports under the name `weft_plugin`.
struct weft_plugin {
    // `WEFT_MAGIC`.
    uint64_t magic;
    // `WEFT_ABI_VERSION` of the headers it was built with.
    uint32_t abi_version;
    // Bytes of this structure.
    uint32_t size;
    // `WEFT_ABI_FINGERPRINT` of the headers it was built with.
    uint64_t fingerprint;
    // Unique; the file is `<name>.so`.
    const char *name;
    // Of the plugin, for people.
    const char *version;
    // One sentence.
    const char *summary;
    // Names of plugins that must be loaded before this one, closed by a null pointer; or null.
    const char *const *depends;
    // Registers everything and makes the plugin's state. Called on the main thread, as all here are.
    int32_t (*init)(const struct weft_host *host, struct weft_main *main, void **state);
    // Ends the state. No worker and no timer uses the plugin any more.
    void (*exit)(void *state);
    // Writes what the next incarnation needs, in a form of this version; may be null.
    int32_t (*export_state)(void *state, struct weft_main *main, uint32_t *version, struct weft_text *bytes);
    // Takes over what the one before has written; may be null. Called after `init`, before the first packet.
    int32_t (*import_state)(void *state, struct weft_main *main, uint32_t version, const uint8_t *bytes, size_t length);
    // Hears what becomes of interfaces and tables; may be null. Called from the end of `init` on, or of `import_state`.
    int32_t (*event)(void *state, struct weft_main *main, const struct weft_event *event);
};

#endif  /* WEFT_PLUGIN_H */

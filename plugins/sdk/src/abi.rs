// SPDX-License-Identifier: Apache-2.0
//! The C ABI between Weft and a plugin: every type, constant and function that crosses it, and nothing else.
//!
//! [`ABI_VERSION`] is 0 until the ABI has settled: it promises nothing from one commit to the next. A plugin is loaded
//! if its version is the host's and, while that is 0, if it was built with this very file ([`ABI_FINGERPRINT`]). All
//! others are refused with a sentence before any of their code runs. Each structure says in `size` how large it is, so
//! that one that was not filled in is noticed.
//!
//! Texts are pointers with a length unless the type is `c_char`, which ends in NUL; all are UTF-8. What the host is
//! given, it copies before the call returns. Functions of a plugin return 0 ([`OK`]) or one of [`REFUSED`] and
//! [`PANICKED`]; `include/weft_plugin.h` is made from this file (`tests/header.rs`).

use std::ffi::{c_char, c_void};

/// "WEFTPLUG", read as a little-endian number.
pub const MAGIC: u64 = 0x4755_4c50_5446_4557;
/// The version that this file describes.
pub const ABI_VERSION: u32 = 0;
/// Tells apart two states of this file, which both are version 0.
pub const ABI_FINGERPRINT: u64 = fnv1a(include_bytes!("abi.rs"));

/// FNV-1a of 64 bits.
const fn fnv1a(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    let mut i = 0;
    while i < bytes.len() {
        hash = (hash ^ bytes[i] as u64).wrapping_mul(0x0100_0000_01b3);
        i += 1;
    }
    hash
}

/// A call did what it should.
pub const OK: i32 = 0;
/// A call did nothing; `Host::fail` was called with a sentence that says why.
pub const REFUSED: i32 = 1;
/// The code of the plugin has failed in the call: it is cut out of the graph. The sentence stands as for [`REFUSED`].
pub const PANICKED: i32 = 2;
/// `Command::run`: the answer comes later; `text` is a name for it, which is given to `Command::later`.
/// `Command::later`: not yet.
pub const LATER: i32 = 3;

/// `Node::process`: each packet goes where packets go without the node. Nothing need be written.
pub const SEND_DEFAULT: u32 = 0;
/// `Node::process`: each packet goes to its entry of `Vector::nexts`.
pub const SEND_EACH: u32 = 1;
/// `Node::process`: the plugin has failed. The first `Vector::done` packets go to their entries of `Vector::nexts`, the
/// next one is dropped, the others go where packets go without the node. The node is not called again.
pub const SEND_FAILED: u32 = 2;

/// `Vector::nexts`, of a node that hands off: this plus the number of another worker has the packet go on in this node there, at
/// the same place of its arc. It is dropped (`handoff_full` of the node) if that worker takes no more.
pub const NEXT_WORKER: u16 = 0xff00;

/// `Node::kind`: runs when packets wait for it and, if it has a period, every so often.
pub const NODE_INTERNAL: u32 = 0;
/// `Node::kind`: runs in every turn of the worker, with an empty vector; brings packets in by `Host::allocate` and
/// `Host::send`.
pub const NODE_INPUT: u32 = 1;

/// The node that ends packets; `Metadata::reason` says why.
pub const NODE_DROP: u16 = 0;
/// No interface.
pub const NO_INTERFACE: u32 = 0xffff_ffff;
/// Bytes of a packet buffer.
pub const SLOT_SIZE: u32 = 2048;
/// Most bytes of `Host::trace`.
pub const TRACE_BYTES: u32 = 32;
/// Most packets of a vector.
pub const VECTOR_SIZE: u32 = 256;

/// `Metadata::flags`: the packet is followed by a trace.
pub const FLAG_TRACED: u32 = 1 << 0;
/// `Metadata::flags`: the packet continues in the buffer `next_segment`.
pub const FLAG_CHAINED: u32 = 1 << 1;
/// `Metadata::flags`: the packet's [`Fields`] hold something.
pub const FLAG_FIELDS: u32 = 1 << 2;
/// `Metadata::flags`: the link layer destination was a broadcast or multicast address.
pub const FLAG_LINK_BROADCAST: u32 = 1 << 8;
/// `Metadata::flags`: the packet was made by this host, not received.
pub const FLAG_LOCALLY_ORIGINATED: u32 = 1 << 9;

/// `Reason::severity`: a packet was lost that its sender expected to arrive.
pub const SEVERITY_ERROR: u32 = 0;
/// `Reason::severity`: worth a look.
pub const SEVERITY_WARN: u32 = 1;
/// `Reason::severity`: normal operation.
pub const SEVERITY_INFO: u32 = 2;

/// `Host::log`.
pub const LOG_ERROR: u32 = 0;
/// `Host::log`.
pub const LOG_WARN: u32 = 1;
/// `Host::log`.
pub const LOG_INFO: u32 = 2;

/// `Event::kind`: an interface is new. Those that were there before the plugin are not told.
pub const EVENT_INTERFACE_ADDED: u32 = 0;
/// `Event::kind`: an interface is another than before; `Event::changes` says in what.
pub const EVENT_INTERFACE_CHANGED: u32 = 1;
/// `Event::kind`: an interface is about to be deleted; it can still be looked at.
pub const EVENT_INTERFACE_REMOVING: u32 = 2;
/// `Event::kind`: an interface is deleted; another one will have its index, and perhaps its name.
pub const EVENT_INTERFACE_REMOVED: u32 = 3;
/// `Event::kind`: an IPv4 forwarding table is deleted; another one will have its index.
pub const EVENT_TABLE_REMOVED: u32 = 4;
/// `Event::kind`: an IPv6 forwarding table is deleted. Each family has its own indices.
pub const EVENT_TABLE6_REMOVED: u32 = 5;

/// `Event::changes`: up or down, by the operator or by its link, or by those of the port below.
pub const CHANGED_STATE: u32 = 1;
/// `Event::changes`: the largest IP packet.
pub const CHANGED_MTU: u32 = 2;
/// `Event::changes`: the MAC address.
pub const CHANGED_MAC: u32 = 4;
/// `Event::changes`: its addresses of any family, or those that it borrows.
pub const CHANGED_ADDRESSES: u32 = 8;
/// `Event::changes`: the forwarding table of packets of some family that arrive there.
pub const CHANGED_TABLE: u32 = 16;
/// `Event::changes`: anything else.
pub const CHANGED_SETTINGS: u32 = 32;

/// `Setting::kind`: on or off; `words` are the two words for them.
pub const SETTING_SWITCH: u32 = 0;
/// `Setting::kind`: a number from `low` to `high`; `words` may have one, for no number.
pub const SETTING_NUMBER: u32 = 1;
/// `Setting::kind`: one of `words`.
pub const SETTING_CHOICE: u32 = 2;
/// `Setting::kind`: an ASCII text of at most `high` bytes.
pub const SETTING_TEXT: u32 = 3;
/// `Setting::kind`: the MAC address of a station.
pub const SETTING_MAC: u32 = 4;

/// Something has happened to an interface or a table; see `Plugin::event`.
#[repr(C)]
pub struct Event {
    /// Bytes of this structure.
    pub size: u32,
    /// [`EVENT_INTERFACE_ADDED`] and the others.
    pub kind: u32,
    /// The index of the interface or the table.
    pub object: u32,
    /// [`CHANGED_STATE`] and the others.
    pub changes: u32,
}

/// What the host needs to act for a call on the main thread; only valid during that call.
#[repr(C)]
pub struct Main {
    _opaque: [u8; 0],
}

/// What the host needs to act for a call of `Node::process`.
#[repr(C)]
pub struct Worker {
    _opaque: [u8; 0],
}

/// A table of the host's; see `Host::table_new`.
#[repr(C)]
pub struct Table {
    _opaque: [u8; 0],
}

/// A text that grows; see `Host::write`.
#[repr(C)]
pub struct Text {
    _opaque: [u8; 0],
}

/// What a plugin exports under the name `weft_plugin`.
#[repr(C)]
pub struct Plugin {
    /// [`MAGIC`].
    pub magic: u64,
    /// [`ABI_VERSION`] of the headers it was built with.
    pub abi_version: u32,
    /// Bytes of this structure.
    pub size: u32,
    /// [`ABI_FINGERPRINT`] of the headers it was built with.
    pub fingerprint: u64,
    /// Unique; the file is `<name>.so`.
    pub name: *const c_char,
    /// Of the plugin, for people.
    pub version: *const c_char,
    /// One sentence.
    pub summary: *const c_char,
    /// Names of plugins that must be loaded before this one, closed by a null pointer; or null.
    pub depends: *const *const c_char,
    /// Registers everything and makes the plugin's state. Called on the main thread, as all here are.
    pub init:
        Option<unsafe extern "C" fn(host: *const Host, main: *mut Main, state: *mut *mut c_void) -> i32>,
    /// Ends the state. No worker and no timer uses the plugin any more.
    pub exit: Option<unsafe extern "C" fn(state: *mut c_void)>,
    /// Writes what the next incarnation needs, in a form of this version; may be null.
    pub export_state: Option<
        unsafe extern "C" fn(state: *mut c_void, main: *mut Main, version: *mut u32, bytes: *mut Text) -> i32,
    >,
    /// Takes over what the one before has written; may be null. Called after `init`, before the first packet.
    pub import_state: Option<
        unsafe extern "C" fn(
            state: *mut c_void,
            main: *mut Main,
            version: u32,
            bytes: *const u8,
            length: usize,
        ) -> i32,
    >,
    /// Hears what becomes of interfaces and tables; may be null. Called from the end of `init` on, or of `import_state`.
    pub event: Option<unsafe extern "C" fn(state: *mut c_void, main: *mut Main, event: *const Event) -> i32>,
}

// SAFETY: a descriptor is constant data; its pointers lead to constants of the same library.
unsafe impl Sync for Plugin {}

/// The host's functions. Those with a `buffer` write as much of a text there as `capacity` allows, and return its whole
/// length. All with a `main` are for the main thread, during a call that was given it; those with a
/// `vector` for the worker, during `Node::process`.
#[repr(C)]
pub struct Host {
    /// Bytes of this structure.
    pub size: u32,
    /// [`ABI_VERSION`] of the host.
    pub abi_version: u32,
    /// Appends to a text.
    pub write: unsafe extern "C" fn(text: *mut Text, bytes: *const u8, length: usize),
    /// Says why the call returns [`REFUSED`] or [`PANICKED`].
    pub fail: unsafe extern "C" fn(main: *mut Main, text: *const u8, length: usize),
    /// Why the last of these functions returned [`REFUSED`].
    pub why: unsafe extern "C" fn(main: *mut Main, buffer: *mut u8, capacity: usize) -> usize,
    /// Writes a line to Weft's log, under the plugin's name.
    pub log: unsafe extern "C" fn(main: *mut Main, level: u32, text: *const u8, length: usize),

    /// In `init`: registers a node.
    pub add_node: unsafe extern "C" fn(main: *mut Main, node: *const Node) -> i32,
    /// In `init`: adds an arc, on which features can be, of this plugin and of others. Arcs are numbered from 0 in the order of
    /// these calls; the number is the place in `Vector::arcs`.
    pub add_arc: unsafe extern "C" fn(main: *mut Main, arc: *const Arc) -> i32,
    /// In `init`: makes a node a feature of an arc.
    pub add_feature: unsafe extern "C" fn(main: *mut Main, feature: *const Feature) -> i32,
    /// In `init`: has a node of the plugin handle the packets of a number.
    pub add_handler: unsafe extern "C" fn(main: *mut Main, handler: *const Handler) -> i32,
    /// In `init`: registers a command.
    pub add_command: unsafe extern "C" fn(main: *mut Main, command: *const Command) -> i32,
    /// In `init`: registers a counter of `columns` numbers, shown as `/plugins/<plugin>/<name>`. A name that begins with `/net/`
    /// is the whole name, and its columns are shown as pairs, of packets and bytes. Counters are numbered from
    /// 0 in the order of these calls; the number is the place in `Vector::counters`.
    pub add_counter: unsafe extern "C" fn(main: *mut Main, name: *const c_char, columns: u32) -> i32,
    /// In `init`: registers a timer.
    pub add_timer: unsafe extern "C" fn(main: *mut Main, timer: *const Timer) -> i32,
    /// In `init`: claims a field of `bytes` bytes (1, 2, 4 or 8) that nodes keep with a packet, and says at which offset of the
    /// packet's [`Fields`] it lies. Who claims the same name and size shares the field. It is 0 in a packet that begins.
    pub add_field:
        unsafe extern "C" fn(main: *mut Main, name: *const c_char, bytes: u32, offset: *mut u32) -> i32,
    /// In `init`: the words of the plugin's own section of startup.conf.
    pub configuration: unsafe extern "C" fn(main: *mut Main, buffer: *mut u8, capacity: usize) -> usize,

    /// The sum of a counter over all workers.
    pub counter: unsafe extern "C" fn(main: *mut Main, counter: u32, column: u32) -> u64,
    /// The interface of that name, or [`NO_INTERFACE`].
    pub interface: unsafe extern "C" fn(main: *mut Main, name: *const u8, length: usize) -> u32,
    /// The name of an interface; of no length if there is none of that index.
    pub interface_name:
        unsafe extern "C" fn(main: *mut Main, interface: u32, buffer: *mut u8, capacity: usize) -> usize,
    /// The first interface with an index of at least `from`, or [`NO_INTERFACE`].
    pub next_interface: unsafe extern "C" fn(main: *mut Main, from: u32) -> u32,
    /// Enables (`on` is 1) or disables (0) a feature of the plugin on an interface.
    pub set_feature: unsafe extern "C" fn(
        main: *mut Main,
        arc: *const c_char,
        node: *const c_char,
        interface: u32,
        on: u32,
    ) -> i32,
    /// Has `run` called with `data`, on the main thread, when no worker can see any more what was unlinked before.
    pub defer: unsafe extern "C" fn(
        main: *mut Main,
        run: Option<unsafe extern "C" fn(data: *mut c_void)>,
        data: *mut c_void,
    ),
    /// Rate of `Vector::now`.
    pub clocks_per_second: unsafe extern "C" fn(main: *mut Main) -> f64,

    /// Takes at most `wanted` empty buffers; returns how many. Each must be sent or freed in the same call.
    pub allocate: unsafe extern "C" fn(vector: *mut Vector, buffers: *mut u32, wanted: u32) -> u32,
    /// Sends packets that are not of the vector to a node.
    pub send: unsafe extern "C" fn(vector: *mut Vector, node: u16, buffers: *const u32, count: u32),
    /// Frees packets that are not of the vector.
    pub free: unsafe extern "C" fn(vector: *mut Vector, buffers: *const u32, count: u32),
    /// Has a trace keep a record of the node with a packet of the vector, at most [`TRACE_BYTES`] bytes. Only needed if
    /// `Vector::tracing` is not 0, for packets with [`FLAG_TRACED`]; for others nothing happens.
    pub trace:
        unsafe extern "C" fn(vector: *mut Vector, packet: *const Metadata, record: *const u8, length: u32),
    /// In `init`: declares a setting. Every front end can set it then, as it can the built-in ones.
    pub add_setting: unsafe extern "C" fn(main: *mut Main, setting: *const Setting) -> i32,
    /// In `init`: has the plugin take a command of vplaned. Whoever takes it in Weft itself does not see it any more.
    pub add_message: unsafe extern "C" fn(main: *mut Main, message: *const Message) -> i32,
    /// Finds out how packets of this host leave that go to `destination` by the forwarding table (VRF) that operators call
    /// `table`. An IPv4 address is written as IPv6 maps it (`::ffff:a.b.c.d`, RFC 4291 section 2.5.5.2), here and in the route. An
    /// address that says something on its own link only is that of a station on the link of `interface`, which counts for
    /// nothing else.
    pub route: unsafe extern "C" fn(
        main: *mut Main,
        table: u32,
        destination: *const u8,
        interface: u32,
        route: *mut Route,
    ) -> i32,
    /// How many flows the flow tracker can keep at a time, on all workers together.
    pub flow_limit: unsafe extern "C" fn(main: *mut Main) -> u64,
    /// The plugin's rule sets are these `length` ones from now on, and no others; workers see all of the
    /// change or nothing of it. What is refused changes nothing. In `init` and `import_state` it takes effect when the plugin
    /// does, in place of what the incarnation before had: rules whose set and id stay keep their counters.
    pub set_rules: unsafe extern "C" fn(main: *mut Main, sets: *const RuleSet, length: u32) -> i32,
    /// How many packets and bytes a rule has met. [`REFUSED`] if there is no such set: it also goes with
    /// the last interface that it was attached to.
    pub rule_hits: unsafe extern "C" fn(
        main: *mut Main,
        set: *const c_char,
        rule: u32,
        packets: *mut u64,
        bytes: *mut u64,
    ) -> i32,
    /// In `init`: defines messages of the binary API that Weft does not know, by the text of the file `<name>.api`. It may
    /// import Weft's own.
    pub define_api: unsafe extern "C" fn(main: *mut Main, name: *const c_char, text: *const c_char) -> i32,
    /// In `init`: has the plugin answer a message of the binary API. Clients that connect while it is loaded are told of it.
    pub add_api_message: unsafe extern "C" fn(main: *mut Main, message: *const ApiMessage) -> i32,
    /// Sends an event of a message that the plugin answers to the client of a `session`. Refused if that has gone.
    pub send_event: unsafe extern "C" fn(
        main: *mut Main,
        session: u64,
        name: *const c_char,
        body: *const u8,
        length: usize,
    ) -> i32,

    /// Makes a table of at most `capacity` entries, with keys of `key_words` words (1, 2, 3, 5 or 6) and values of
    /// `value_words`. It takes all its memory now. Null if that cannot be; see `why`. Any thread may search, one
    /// writes: whichever the plugin chooses. Searching never waits for the writer.
    pub table_new:
        unsafe extern "C" fn(main: *mut Main, key_words: u32, value_words: u32, capacity: u32) -> *mut Table,
    /// Ends a table. On the main thread; no thread uses it any more (see `defer`).
    pub table_free: unsafe extern "C" fn(table: *mut Table),
    /// Any thread: finds each of `count` keys, which lie one after the other, and copies their values to `values`, likewise,
    /// unless that is null. The cache misses of the keys overlap.
    pub table_find: unsafe extern "C" fn(
        table: *const Table,
        keys: *const u64,
        count: u32,
        found: *mut Found,
        values: *mut u64,
    ),
    /// Any thread: notes that an entry was used at `now`, in whatever unit the plugin counts.
    pub table_touch: unsafe extern "C" fn(table: *const Table, found: Found, now: u32),
    /// Any thread: where a word of a value lies, to be changed while the entry stays: by relaxed atomic operations. Null if
    /// there is none. Once the entry has gone, it may be another's.
    pub table_word: unsafe extern "C" fn(table: *const Table, found: Found, word: u32) -> *mut u64,
    /// Any thread: the first entry whose slot is `from` or higher; 0 if there is none.
    pub table_next: unsafe extern "C" fn(table: *const Table, from: u32, entry: *mut TableEntry) -> u32,
    /// Writer: adds an entry, or replaces the value of the one that has the key, in one step for those who search. `found` may
    /// be null. [`REFUSED`] if the table is full.
    pub table_put: unsafe extern "C" fn(
        table: *mut Table,
        key: *const u64,
        value: *const u64,
        now: u32,
        found: *mut Found,
    ) -> i32,
    /// Writer: takes an entry out. [`REFUSED`] if there is none.
    pub table_remove: unsafe extern "C" fn(table: *mut Table, key: *const u64) -> i32,
    /// Writer: looks at the next `slots` slots, from where the call before has ended, and takes out the entries of which `old`
    /// does not say 0. Returns how many.
    pub table_sweep: unsafe extern "C" fn(
        table: *mut Table,
        slots: u32,
        old: Option<unsafe extern "C" fn(user: *mut c_void, entry: *const TableEntry) -> u32>,
        user: *mut c_void,
    ) -> u32,
    /// Writer: entries now.
    pub table_length: unsafe extern "C" fn(table: *const Table) -> u32,
}

/// Where an entry of a table is. Good until it goes or is replaced.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Found {
    /// Its slot.
    pub slot: u32,
    /// Which of the entries that had the slot it is; 0: there is none.
    pub version: u32,
}

/// An entry of a table, as it is shown.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct TableEntry {
    /// Where it is.
    pub found: Found,
    /// When it was last touched.
    pub seen: u32,
    /// As many words as keys of the table have.
    pub key: [u64; 6],
    /// Read by relaxed atomic loads.
    pub value: *const u64,
}

/// `RuleSet::exempt`: packets of flows that a rule of the interface has admitted, in both directions.
pub const EXEMPT_ADMITTED: u32 = 1;
/// `RuleSet::exempt`: packets that Weft makes itself.
pub const EXEMPT_OWN: u32 = 2;

/// `Attachment::direction`: packets that come in.
pub const DIRECTION_INPUT: u32 = 0;
/// `Attachment::direction`: packets that leave.
pub const DIRECTION_OUTPUT: u32 = 1;

/// An interface whose packets meet a rule set.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attachment {
    pub interface: u32,
    /// [`DIRECTION_INPUT`] or [`DIRECTION_OUTPUT`].
    pub direction: u32,
}

/// Rules, and where they are attached: to one interface at least. Packets that no rule matches pass.
#[repr(C)]
pub struct RuleSet {
    /// Bytes of this structure.
    pub size: u32,
    /// [`EXEMPT_ADMITTED`] and the others: packets that do not meet the rules.
    pub exempt: u32,
    /// Letters, digits, `-`, `_` and `.`; shown after `plugin.<plugin>.`.
    pub name: *const c_char,
    /// A rule on each line, as `classify rule add` takes it, and `admit` among its actions: later packets of the flow, and
    /// its answers, pass sets with [`EXEMPT_ADMITTED`] on this interface.
    pub rules: *const u8,
    /// Bytes of `rules`.
    pub rules_length: usize,
    pub attachments: *const Attachment,
    pub attachments_length: usize,
}

/// A node of the graph.
#[repr(C)]
pub struct Node {
    /// Bytes of this structure.
    pub size: u32,
    /// [`NODE_INTERNAL`] or [`NODE_INPUT`].
    pub kind: u32,
    /// Of an internal node, if not 0: it runs every so many milliseconds too, on every worker, with an empty vector.
    pub period_ms: u32,
    /// Not 0: entries of `Vector::nexts` may name workers ([`NEXT_WORKER`]).
    pub hands_off: u32,
    /// Unique in the graph.
    pub name: *const c_char,
    /// Names of the nodes that it sends to, closed by a null pointer; or null.
    pub edges: *const *const c_char,
    /// Why packets end in it.
    pub drops: *const Reason,
    pub drops_length: u32,
    /// Of `events`.
    pub events_length: u32,
    /// What else it counts: what happens without an end to a packet.
    pub events: *const Reason,
    /// Given to `open`, and to `forget` when no instance will be made any more.
    pub user: *mut c_void,
    /// Makes the state of worker `thread` (from 1 on); called on the main thread. Null: the node has no state.
    pub open: Option<unsafe extern "C" fn(user: *mut c_void, thread: u32, state: *mut *mut c_void) -> i32>,
    /// Does the work; called by the worker. Returns [`SEND_DEFAULT`], [`SEND_EACH`] or [`SEND_FAILED`].
    pub process: Option<unsafe extern "C" fn(vector: *mut Vector) -> u32>,
    /// Of an input node: called by the worker before it sleeps, to say what wakes it. Null: packets of the node wait up to
    /// 100 ms for a worker that sleeps.
    pub wait: Option<unsafe extern "C" fn(state: *mut c_void, wait: *mut Wait) -> i32>,
    /// Ends the state of a worker; called on the main thread.
    pub close: Option<unsafe extern "C" fn(state: *mut c_void)>,
    /// Prints what a trace has kept of a packet; called on the main thread.
    pub trace: Option<unsafe extern "C" fn(user: *mut c_void, trace: *const Trace, text: *mut Text) -> i32>,
    /// Ends `user`; called on the main thread.
    pub forget: Option<unsafe extern "C" fn(user: *mut c_void)>,
}

/// What wakes a worker for an input node.
#[repr(C)]
pub struct Wait {
    /// Bytes of this structure.
    pub size: u32,
    /// Not 0: there is work already, do not sleep.
    pub busy: u32,
    /// A descriptor that wakes the worker when it can be read; -1: none.
    pub fd: i32,
    /// Sleep no longer than this; 0: no bound.
    pub within_ms: u32,
    /// With [`PANICKED`]: what has happened.
    pub failure: *mut Text,
    /// The host's functions.
    pub host: *const Host,
}

/// What a node counts: a reason to drop, or an event.
#[repr(C)]
pub struct Reason {
    /// Identifier, as in `/err/<node>/<name>`.
    pub name: *const c_char,
    /// The sentence that `show errors` prints.
    pub text: *const c_char,
    /// [`SEVERITY_ERROR`] and the others.
    pub severity: u32,
}

/// A point of the graph where features can be added. Who has reached it sends a packet to the first feature of the packet's
/// interface ([`ArcStart`]), or on by itself if there is none. When its plugin goes, an arc stays as long as others have features
/// there; the one that comes back finds it then.
#[repr(C)]
pub struct Arc {
    /// Bytes of this structure.
    pub size: u32,
    /// Which interface decides what features a packet passes: the one where it came in (0), or where it goes out (1).
    pub by_tx: u32,
    /// Its name: `gtp-uplink`, say.
    pub name: *const c_char,
    /// The node that follows the features. Null, of an arc where the interface out decides: transmission on that.
    pub next: *const c_char,
}

/// Where packets begin an arc.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ArcStart {
    /// By interface, the place in `Vector::chain` of its first feature: that is the packet's `Metadata::feature`, and the node
    /// there its next one. 0: it has none.
    pub starts: *const u32,
    /// Interfaces from here on have none.
    pub length: u32,
}

/// A node as a feature of an arc.
#[repr(C)]
pub struct Feature {
    /// Bytes of this structure.
    pub size: u32,
    /// The arc: `ip4-unicast` and the others of `show features`.
    pub arc: *const c_char,
    /// A node of the same plugin.
    pub node: *const c_char,
    /// Features that come before it, where enabled; closed by a null pointer, or null.
    pub after: *const *const c_char,
    /// Features that come after it, likewise.
    pub before: *const *const c_char,
    /// The command of the plugin that enables and disables it on an interface, if it belongs to something else; nobody but the
    /// plugin then sets it. Null: `set interface feature` does.
    pub set_by: *const c_char,
}

/// A node as the one that handles packets of a number. It gets them from their network header on, the link header in front of
/// it in the buffer; without the node, or when the plugin has failed, they go where packets of that number go that nobody handles.
#[repr(C)]
pub struct Handler {
    /// Bytes of this structure.
    pub size: u32,
    /// An EtherType, an IP protocol, a UDP port; 0 in a registry of reasons.
    pub number: u32,
    /// The registry: `ethertype`, `ip4-protocol`, `udp4-port`, `punt-reason` and the others of `show registrations`.
    pub registry: *const c_char,
    /// In a registry of reasons: `<node>/<reason>`, as in `show punt reasons`. Null in the others.
    pub reason: *const c_char,
    /// A node of the same plugin.
    pub node: *const c_char,
}

/// A command of the command line.
#[repr(C)]
pub struct Command {
    /// Bytes of this structure.
    pub size: u32,
    /// Its words: `show acl`.
    pub path: *const c_char,
    /// Its arguments: `<interface> [in|out]`; or null.
    pub synopsis: *const c_char,
    /// One sentence.
    pub help: *const c_char,
    /// Given to `run`, and to `forget` when the command is gone.
    pub user: *mut c_void,
    /// Answers: as text, and the same as JSON. `line` is all behind the words of the command.
    pub run: Option<
        unsafe extern "C" fn(
            user: *mut c_void,
            state: *mut c_void,
            main: *mut Main,
            line: *const u8,
            length: usize,
            text: *mut Text,
            json: *mut Text,
        ) -> i32,
    >,
    /// Ends `user`.
    pub forget: Option<unsafe extern "C" fn(user: *mut c_void)>,
    /// Asked every now and then for an answer that comes later, until it returns something else than [`LATER`]. Arguments
    /// as of `run`, with the name of the answer as `line`. Null if `run` never returns [`LATER`].
    pub later: Option<
        unsafe extern "C" fn(
            user: *mut c_void,
            state: *mut c_void,
            main: *mut Main,
            line: *const u8,
            length: usize,
            text: *mut Text,
            json: *mut Text,
        ) -> i32,
    >,
    /// Nobody waits for the answer of that name any more. May be null.
    pub cancel: Option<
        unsafe extern "C" fn(
            user: *mut c_void,
            state: *mut c_void,
            main: *mut Main,
            line: *const u8,
            length: usize,
        ) -> i32,
    >,
}

/// Something that the main thread does every so often.
#[repr(C)]
pub struct Timer {
    /// Bytes of this structure.
    pub size: u32,
    /// Milliseconds from one call to the next; at least 10.
    pub period_ms: u32,
    /// Given to `run`, and to `forget` when the timer is gone.
    pub user: *mut c_void,
    pub run: Option<unsafe extern "C" fn(user: *mut c_void, state: *mut c_void, main: *mut Main) -> i32>,
    /// Ends `user`.
    pub forget: Option<unsafe extern "C" fn(user: *mut c_void)>,
}

/// What operators and programs can set. Weft reads and checks values, keeps them with their owners, and tells the plugin.
#[repr(C)]
pub struct Setting {
    /// Bytes of this structure.
    pub size: u32,
    /// [`SETTING_SWITCH`] and the others.
    pub kind: u32,
    /// Not 0: each interface has a value of its own. 0: the dataplane has one.
    pub of_interface: u32,
    /// Unique in the plugin. In front ends it is `<plugin>.<name>`, in commands `<plugin> <name>`.
    pub name: *const c_char,
    /// What it does, in one sentence.
    pub help: *const c_char,
    /// Of a number or a text: what it is, with its unit.
    pub what: *const c_char,
    /// What the kind says; closed by a null pointer, or null.
    pub words: *const *const c_char,
    /// The lowest number.
    pub low: u64,
    /// The highest number, or the bytes of the longest text.
    pub high: u64,
    /// Its value while nobody wants another, as it is written.
    pub initial: *const c_char,
    /// Given to `changed`, and to `forget` when the plugin is gone.
    pub user: *mut c_void,
    /// Hears a value: that of the dataplane, and those of interfaces that are not the initial one, when the plugin has started
    /// or taken over; then each that is another than before. A refusal is a line in the log. The value of an interface
    /// that is deleted goes with it, which is not told.
    pub changed: Option<
        unsafe extern "C" fn(
            user: *mut c_void,
            state: *mut c_void,
            main: *mut Main,
            value: *const SettingValue,
        ) -> i32,
    >,
    /// Ends `user`.
    pub forget: Option<unsafe extern "C" fn(user: *mut c_void)>,
}

/// A value of a setting; it is one of its kind.
#[repr(C)]
pub struct SettingValue {
    /// Bytes of this structure.
    pub size: u32,
    /// Whose it is; [`NO_INTERFACE`]: the dataplane's.
    pub interface: u32,
    /// Of a number, not 0: the word for no number.
    pub none: u32,
    /// Bytes of `text`.
    pub text_length: u32,
    /// 1 or 0 of a switch, a number, the place of a choice in `words`, or the 48 bits of a MAC address.
    pub number: u64,
    /// Of a text.
    pub text: *const u8,
}

/// How packets of this host leave.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Route {
    /// Their source address; all 0 if there is none.
    pub source: [u8; 16],
    /// Where they go out.
    pub interface: u32,
    /// What `Metadata::table` is for the forwarding table that was named.
    pub table: u32,
}

/// A command of vplaned. It may come again, after a resync too: taking it twice must do no more than taking it once.
#[repr(C)]
pub struct Message {
    /// Bytes of this structure.
    pub size: u32,
    /// The first word of a text, or the type of an envelope.
    pub name: *const c_char,
    /// Given to `run`, and to `forget` when the plugin is gone.
    pub user: *mut c_void,
    /// Does what it says. `data` is the whole text, or the inside of the envelope.
    pub run: Option<
        unsafe extern "C" fn(
            user: *mut c_void,
            state: *mut c_void,
            main: *mut Main,
            data: *const u8,
            length: usize,
        ) -> i32,
    >,
    /// Ends `user`.
    pub forget: Option<unsafe extern "C" fn(user: *mut c_void)>,
}

/// A message of the binary API: a request, which has one reply, or a dump, which has details.
#[repr(C)]
pub struct ApiMessage {
    /// Bytes of this structure.
    pub size: u32,
    /// Its name, without CRC.
    pub name: *const c_char,
    /// Given to `run`, and to `forget` when the plugin is gone.
    pub user: *mut c_void,
    /// Answers. For a dump, it is called again and again: see `ApiReply::next`.
    pub run: Option<
        unsafe extern "C" fn(
            user: *mut c_void,
            state: *mut c_void,
            main: *mut Main,
            request: *const ApiRequest,
            reply: *mut ApiReply,
        ) -> i32,
    >,
    /// Ends `user`.
    pub forget: Option<unsafe extern "C" fn(user: *mut c_void)>,
}

/// What a client asks. Bodies are what is behind `context` (`client_index` in an event), packed, in network byte order as on
/// the wire, `f64` in little-endian.
#[repr(C)]
pub struct ApiRequest {
    /// Bytes of this structure.
    pub size: u32,
    /// The user that the client runs as.
    pub uid: u32,
    /// The client's connection; never given twice.
    pub session: u64,
    /// What the client calls itself.
    pub name: *const u8,
    pub name_length: usize,
    /// Never shorter than what is always in the message; arrays with a count are not checked.
    pub body: *const u8,
    pub length: usize,
    /// Of a dump: 0 at first, then what `ApiReply::next` was.
    pub place: u64,
    /// By which the client knows its connection. Another one may have had it before.
    pub client_index: u32,
}

/// What is answered.
#[repr(C)]
pub struct ApiReply {
    /// Bytes of this structure.
    pub size: u32,
    /// Of a request: if not 0, or if nothing is written to `body`, this is the reply's `retval` and all else in it is zero.
    pub retval: i32,
    /// Of a dump: where to go on, more than `ApiRequest::place`. A dump ends when nothing is written to `body`. What is
    /// asked for may change between two calls, and the plugin be replaced.
    pub next: u64,
    /// The body of the reply, or of one record of the dump; see `Host::write`.
    pub body: *mut Text,
}

/// One packet in one node, as a trace has kept it.
#[repr(C)]
pub struct Trace {
    /// Bytes of this structure.
    pub size: u32,
    /// Bytes of `data`.
    pub length: u32,
    /// As the node left it.
    pub metadata: *const Metadata,
    /// The first bytes of the packet, as the node left them.
    pub data: *const u8,
    /// As the node left them.
    pub fields: *const Fields,
    /// As [`Vector::mark`].
    pub mark: u32,
    /// Bytes of `record`.
    pub record_length: u32,
    /// What the node has told the trace of the packet (`Host::trace`).
    pub record: *const u8,
}

/// A thread's numbers of one counter.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CounterRow {
    /// Written by this thread alone, with plain (C: relaxed atomic) loads and stores; read by others at any time.
    pub cells: *mut u64,
    /// How many.
    pub length: u32,
}

/// A vector of packets, and what a node needs to work on them.
#[repr(C)]
pub struct Vector {
    /// Bytes of this structure.
    pub size: u32,
    /// Packets.
    pub count: u16,
    /// Worker, from 1 on.
    pub thread: u16,
    /// The packets, each once.
    pub buffers: *const u32,
    /// Where each goes: the id of a node.
    pub nexts: *mut u16,
    /// By buffer, one line each.
    pub metadata: *mut Metadata,
    /// By buffer, [`SLOT_SIZE`] bytes each.
    pub slots: *mut u8,
    /// What packets pass on their arcs: the next node of a packet is at `++metadata.feature`.
    pub chain: *const u16,
    pub chain_length: u32,
    /// With [`SEND_FAILED`]: packets whose `nexts` are good.
    pub done: u16,
    /// The id of the node's first reason to drop; `Metadata::reason` is this plus the place in `Node::drops`.
    pub reason_base: u16,
    /// The ids of the nodes named in `Node::edges`.
    pub edges: *const u16,
    pub edges_length: u32,
    /// The node that hands packets to the host.
    pub punt: u16,
    /// Workers: they are numbered from 1 on.
    pub workers: u16,
    /// Time stamp counter at the begin of the call.
    pub now: u64,
    /// Of this node on this worker.
    pub state: *mut c_void,
    /// How often each of the node's events occurred, by place in `Node::events`. Drops are counted where packets end.
    pub events: *mut u64,
    pub events_length: u32,
    pub counters_length: u32,
    /// The plugin's counters, in the order in which they were added.
    pub counters: *const CounterRow,
    /// The host's functions.
    pub host: *const Host,
    /// For those.
    pub worker: *mut Worker,
    /// With [`SEND_FAILED`]: what has happened.
    pub failure: *mut Text,
    /// By buffer, one line each.
    pub fields: *mut Fields,
    /// Where in a packet's [`Fields`] the `uint32_t` is that classifier rules write, and keeps with the packet.
    pub mark: u32,
    /// Whether packets of the vector are traced.
    pub tracing: u32,
    /// As [`Node::hands_off`].
    pub hands_off: u32,
    /// As [`Node::drops_length`].
    pub drops_length: u32,
    /// The plugin's arcs, in the order in which they were added.
    pub arcs: *const ArcStart,
    pub arcs_length: u32,
}

/// What the graph knows of a packet beside its bytes: the first cache line of a buffer.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug)]
pub struct Metadata {
    /// First byte of the packet in its slot. `data_offset + length` is at most [`SLOT_SIZE`].
    pub data_offset: u16,
    /// Bytes in this buffer.
    pub length: u16,
    /// [`FLAG_CHAINED`] and the others; leave bits alone that have no name here.
    pub flags: u32,
    /// Where it came in.
    pub rx_interface: u32,
    /// Where it goes out; set with the next hop.
    pub tx_interface: u32,
    /// Place in the feature chain that the packet walks.
    pub feature: u32,
    /// Hash of the flow, 0 when not computed yet.
    pub hash: u32,
    /// Forwarding table (VRF) to look the destination up in.
    pub table: u32,
    /// Next hop, set by the lookup.
    pub next_hop: u32,
    /// The buffer that continues the packet.
    pub next_segment: u32,
    /// Bytes in the segments that follow.
    pub rest_length: u32,
    /// Of the host.
    pub trace: u32,
    /// Offset of the network header in the slot.
    pub network_offset: u16,
    /// Offset of the first byte of the link header that it came with; of the network header itself if it came without one.
    pub link_offset: u16,
    /// Why the packet is on its way to [`NODE_DROP`].
    pub reason: u16,
    /// For the node that has the packet now; the next one may overwrite it.
    pub scratch: [u32; 3],
}

/// What nodes keep with a packet by name: the second cache line of a buffer. It holds nothing unless the packet's
/// [`FLAG_FIELDS`] is set; who writes to it first clears it and sets the flag.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug)]
pub struct Fields {
    /// A field lies at its offset in bytes.
    pub bytes: [u8; 64],
}

// The engine pins its own lines to the same places (engine/src/buffer/metadata.rs).
const _: () = {
    use std::mem::offset_of;
    assert!(size_of::<Metadata>() == 64 && size_of::<Fields>() == 64);
    assert!(offset_of!(Metadata, data_offset) == 0);
    assert!(offset_of!(Metadata, length) == 2);
    assert!(offset_of!(Metadata, flags) == 4);
    assert!(offset_of!(Metadata, rx_interface) == 8);
    assert!(offset_of!(Metadata, tx_interface) == 12);
    assert!(offset_of!(Metadata, feature) == 16);
    assert!(offset_of!(Metadata, hash) == 20);
    assert!(offset_of!(Metadata, table) == 24);
    assert!(offset_of!(Metadata, next_hop) == 28);
    assert!(offset_of!(Metadata, next_segment) == 32);
    assert!(offset_of!(Metadata, rest_length) == 36);
    assert!(offset_of!(Metadata, trace) == 40);
    assert!(offset_of!(Metadata, network_offset) == 44);
    assert!(offset_of!(Metadata, link_offset) == 46);
    assert!(offset_of!(Metadata, reason) == 48);
    assert!(offset_of!(Metadata, scratch) == 52);
};

// SPDX-License-Identifier: Apache-2.0
//! The functions that a plugin is given. None of them panics: a panic cannot cross the boundary.

use std::ffi::{c_char, c_void};
use std::net::IpAddr;
use std::sync::Arc;

use weft_classify::{OwnedSet, RuleId};
use weft_engine::buffer::context::Field;
use weft_engine::buffer::{HEADROOM, Metadata};
use weft_engine::trace::StoredDetail;
use weft_engine::{BufferIndex, Context, Engine, InterfaceIndex, NodeId};
use weft_plugin_sdk::abi;

use crate::counter::Counter;
use crate::foreign;
use crate::instance::{Deferred, Instance, Kept};
use crate::node::Working;
use crate::registration::{Registration, is_name};
use crate::rules;
use crate::tables;
use crate::world::World;

/// What stands behind the `main` of a call on the main thread.
pub(crate) struct Call<'a> {
    /// The plugin's name.
    pub plugin: &'a str,
    pub world: &'a mut dyn World,
    /// In `init`.
    pub registration: Option<&'a mut Registration>,
    /// In `init` and `import_state`: rules that take effect when the plugin does.
    pub rules: Option<&'a mut Vec<OwnedSet>>,
    /// After it.
    pub instance: Option<&'a Arc<Instance>>,
    pub counters: &'a [Counter],
    pub nodes: &'a [String],
    pub configuration: &'a str,
    /// What the plugin said of its refusal or panic.
    pub said: String,
    /// Why the host has refused something.
    pub why: String,
}

impl Call<'_> {
    /// For the plugin; good as long as `self` is borrowed.
    pub fn main(&mut self) -> *mut abi::Main {
        std::ptr::from_mut(self).cast()
    }
}

/// # Safety
/// `main` is what the running call was given.
unsafe fn call<'a, 'b>(main: *mut abi::Main) -> &'a mut Call<'b> {
    // SAFETY: `Call::main` made it, and nothing else uses the value during the call.
    unsafe { &mut *main.cast() }
}

/// # Safety
/// `text` is one that the running call was given: a `String`.
pub(crate) unsafe extern "C" fn write(text: *mut abi::Text, bytes: *const u8, length: usize) {
    if text.is_null() {
        return;
    }
    // SAFETY: by the caller.
    unsafe { (*text.cast::<Vec<u8>>()).extend_from_slice(foreign::bytes(bytes, length)) };
}

/// Bytes as a text of the ABI.
pub(crate) fn text(bytes: &mut Vec<u8>) -> *mut abi::Text {
    std::ptr::from_mut(bytes).cast()
}

/// What a plugin has written, for people.
pub(crate) fn readable(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

unsafe extern "C" fn fail(main: *mut abi::Main, text: *const u8, length: usize) {
    // SAFETY: the ABI; so in all functions below.
    unsafe { call(main).said = String::from_utf8_lossy(foreign::bytes(text, length)).into_owned() };
}

/// Copies as much of `text` as there is room for.
///
/// # Safety
/// `capacity` bytes can be written to `buffer`.
unsafe fn give(text: &str, buffer: *mut u8, capacity: usize) -> usize {
    // SAFETY: by the caller.
    unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), buffer, text.len().min(capacity)) };
    text.len()
}

unsafe extern "C" fn why(main: *mut abi::Main, buffer: *mut u8, capacity: usize) -> usize {
    // SAFETY: the ABI.
    unsafe { give(&call(main).why, buffer, capacity) }
}

unsafe extern "C" fn log(main: *mut abi::Main, level: u32, line: *const u8, length: usize) {
    // SAFETY: the ABI.
    let (plugin, line) =
        unsafe { (call(main).plugin, String::from_utf8_lossy(foreign::bytes(line, length))) };
    match level {
        abi::LOG_ERROR => tracing::error!("plugin {plugin}: {line}"),
        abi::LOG_WARN => tracing::warn!("plugin {plugin}: {line}"),
        _ => tracing::info!("plugin {plugin}: {line}"),
    }
}

impl Call<'_> {
    fn register(&mut self, register: impl FnOnce(&mut Registration) -> Result<(), String>) -> i32 {
        let registered = match self.registration.as_deref_mut() {
            Some(registration) => register(registration),
            None => Err("a plugin registers in init, and not later".to_owned()),
        };
        self.done(registered)
    }

    fn done(&mut self, done: Result<(), String>) -> i32 {
        match done {
            Ok(()) => abi::OK,
            Err(why) => {
                self.why = why;
                abi::REFUSED
            }
        }
    }
}

unsafe extern "C" fn add_node(main: *mut abi::Main, node: *const abi::Node) -> i32 {
    // SAFETY: the ABI.
    unsafe { call(main).register(|registration| registration.node(node)) }
}

unsafe extern "C" fn add_arc(main: *mut abi::Main, arc: *const abi::Arc) -> i32 {
    // SAFETY: the ABI.
    unsafe { call(main).register(|registration| registration.arc(arc)) }
}

unsafe extern "C" fn add_feature(main: *mut abi::Main, feature: *const abi::Feature) -> i32 {
    // SAFETY: the ABI.
    unsafe { call(main).register(|registration| registration.feature(feature)) }
}

unsafe extern "C" fn add_handler(main: *mut abi::Main, handler: *const abi::Handler) -> i32 {
    // SAFETY: the ABI.
    unsafe { call(main).register(|registration| registration.handler(handler)) }
}

unsafe extern "C" fn add_command(main: *mut abi::Main, command: *const abi::Command) -> i32 {
    // SAFETY: the ABI.
    unsafe { call(main).register(|registration| registration.command(command)) }
}

unsafe extern "C" fn add_counter(main: *mut abi::Main, name: *const c_char, columns: u32) -> i32 {
    // SAFETY: the ABI.
    unsafe { call(main).register(|registration| registration.counter(name, columns)) }
}

unsafe extern "C" fn add_timer(main: *mut abi::Main, timer: *const abi::Timer) -> i32 {
    // SAFETY: the ABI.
    unsafe { call(main).register(|registration| registration.timer(timer)) }
}

unsafe extern "C" fn add_setting(main: *mut abi::Main, setting: *const abi::Setting) -> i32 {
    // SAFETY: the ABI.
    unsafe { call(main).register(|registration| registration.setting(setting)) }
}

unsafe extern "C" fn add_message(main: *mut abi::Main, message: *const abi::Message) -> i32 {
    // SAFETY: the ABI.
    unsafe { call(main).register(|registration| registration.message(message)) }
}

unsafe extern "C" fn define_api(main: *mut abi::Main, name: *const c_char, text: *const c_char) -> i32 {
    // SAFETY: the ABI.
    unsafe { call(main).register(|registration| registration.api_definition(name, text)) }
}

unsafe extern "C" fn add_api_message(main: *mut abi::Main, message: *const abi::ApiMessage) -> i32 {
    // SAFETY: the ABI.
    unsafe { call(main).register(|registration| registration.api_message(message)) }
}

unsafe extern "C" fn send_event(
    main: *mut abi::Main,
    session: u64,
    name: *const c_char,
    body: *const u8,
    length: usize,
) -> i32 {
    // SAFETY: the ABI.
    let (call, name, body) = unsafe { (call(main), foreign::text(name), foreign::bytes(body, length)) };
    let done = call.world.send_event(session, &name.unwrap_or_default(), body);
    call.done(done)
}

unsafe extern "C" fn configuration(main: *mut abi::Main, buffer: *mut u8, capacity: usize) -> usize {
    // SAFETY: the ABI.
    unsafe { give(call(main).configuration, buffer, capacity) }
}

unsafe extern "C" fn counter(main: *mut abi::Main, counter: u32, column: u32) -> u64 {
    // SAFETY: the ABI.
    let vector = unsafe { call(main).counters.get(counter as usize) };
    vector.map_or(0, |vector| vector.sum(column as usize))
}

unsafe extern "C" fn interface(main: *mut abi::Main, name: *const u8, length: usize) -> u32 {
    // SAFETY: the ABI.
    unsafe {
        let name = String::from_utf8_lossy(foreign::bytes(name, length));
        call(main).world.interface(&name).map_or(abi::NO_INTERFACE, |index| index.0)
    }
}

unsafe extern "C" fn interface_name(
    main: *mut abi::Main,
    interface: u32,
    buffer: *mut u8,
    capacity: usize,
) -> usize {
    // SAFETY: the ABI.
    unsafe {
        let name = call(main).world.interface_name(InterfaceIndex(interface));
        give(&name.unwrap_or_default(), buffer, capacity)
    }
}

unsafe extern "C" fn next_interface(main: *mut abi::Main, from: u32) -> u32 {
    // SAFETY: the ABI.
    unsafe {
        call(main).world.next_interface(InterfaceIndex(from)).map_or(abi::NO_INTERFACE, |index| index.0)
    }
}

unsafe extern "C" fn set_feature(
    main: *mut abi::Main,
    arc: *const c_char,
    node: *const c_char,
    interface: u32,
    on: u32,
) -> i32 {
    // SAFETY: the ABI.
    let (call, arc, node) = unsafe { (call(main), foreign::text(arc), foreign::text(node)) };
    let done = match (arc, node) {
        (Some(arc), Some(node)) if call.nodes.contains(&node) => {
            call.world.set_feature(call.plugin, &arc, &node, InterfaceIndex(interface), on != 0)
        }
        (_, node) => {
            Err(format!("'{}' is no node that this plugin has in the graph", node.unwrap_or_default()))
        }
    };
    call.done(done)
}

unsafe extern "C" fn route(
    main: *mut abi::Main,
    table: u32,
    destination: *const u8,
    interface: u32,
    route: *mut abi::Route,
) -> i32 {
    // SAFETY: the ABI: an address has 16 bytes.
    let (call, destination) = unsafe { (call(main), destination.cast::<[u8; 16]>().read()) };
    let destination = IpAddr::from(destination).to_canonical();
    let interface = Some(InterfaceIndex(interface)).filter(|interface| *interface != InterfaceIndex::NONE);
    let found = call.world.route(table, destination, interface).map(|found| {
        // SAFETY: the ABI: there is room for a route.
        unsafe { route.write(found) };
    });
    call.done(found)
}

unsafe extern "C" fn flow_limit(main: *mut abi::Main) -> u64 {
    // SAFETY: the ABI.
    unsafe { call(main).world.flow_limit() }
}

unsafe extern "C" fn defer(
    main: *mut abi::Main,
    run: Option<unsafe extern "C" fn(*mut c_void)>,
    data: *mut c_void,
) {
    // SAFETY: the ABI.
    let call = unsafe { call(main) };
    let deferred = Deferred { _run: Kept { data, end: run }, _instance: call.instance.map(Arc::clone) };
    match call.instance {
        Some(_) => call.world.engine().domain.retire(deferred),
        // In `init`: no worker has seen anything yet.
        None => drop(deferred),
    }
}

unsafe extern "C" fn clocks_per_second(main: *mut abi::Main) -> f64 {
    // SAFETY: the ABI.
    unsafe { call(main).world.engine().clock.per_second() }
}

/// # Safety
/// `vector` is that of a running `process`.
unsafe fn context<'a, 'b>(vector: *mut abi::Vector) -> &'a mut Context<'b> {
    // SAFETY: `PluginNode::process` made it, and does not use the context meanwhile.
    unsafe { &mut *(*(*vector).worker.cast::<Working<'a, 'b>>()).cx }
}

unsafe extern "C" fn trace(
    vector: *mut abi::Vector,
    packet: *const abi::Metadata,
    record: *const u8,
    length: u32,
) {
    // SAFETY: the ABI: a packet of the vector, and a record of so many bytes; as in `context`.
    let (trace, meta, record) = unsafe {
        let working = &*(*vector).worker.cast::<Working<'_, '_>>();
        (working.trace, &*packet.cast::<Metadata>(), foreign::bytes(record, length as usize))
    };
    trace.store(meta, || StoredDetail::raw(record));
}

unsafe extern "C" fn add_field(
    main: *mut abi::Main,
    name: *const c_char,
    bytes: u32,
    offset: *mut u32,
) -> i32 {
    // SAFETY: the ABI.
    let (call, name) = unsafe { (call(main), foreign::text(name).filter(|name| is_name(name))) };
    let field = |engine: &mut Engine, name: &str, claim| {
        let offset = match bytes {
            1 => engine.field_while::<u8>(name, claim).map(Field::offset),
            2 => engine.field_while::<u16>(name, claim).map(Field::offset),
            4 => engine.field_while::<u32>(name, claim).map(Field::offset),
            8 => engine.field_while::<u64>(name, claim).map(Field::offset),
            other => return Err(format!("field '{name}' of {other} bytes: expected 1, 2, 4 or 8")),
        };
        offset.map_err(|error| error.to_string())
    };
    let done = match (&call.registration, name) {
        (None, _) => Err("a plugin registers in init, and not later".to_owned()),
        (_, None) => Err("a field needs a name of a-z, 0-9, - and _".to_owned()),
        (Some(registration), Some(name)) => {
            field(call.world.engine(), &name, &registration.fields).map(|found| {
                // SAFETY: the ABI: there is room for a number.
                unsafe { offset.write(found.into()) };
            })
        }
    };
    call.done(done)
}

unsafe extern "C" fn allocate(vector: *mut abi::Vector, buffers: *mut u32, wanted: u32) -> u32 {
    // SAFETY: the ABI: there is room for `wanted` numbers.
    let cx = unsafe { context(vector) };
    let mut given = 0;
    for _ in 0..wanted {
        let Some(index) = cx.buffers.allocate_one() else {
            break;
        };
        cx.buffers.receive(index, HEADROOM, 0, InterfaceIndex::NONE);
        // SAFETY: `given` is below `wanted`.
        unsafe { buffers.add(given).write(index.0) };
        given += 1;
    }
    given as u32
}

unsafe extern "C" fn send(vector: *mut abi::Vector, node: u16, buffers: *const u32, count: u32) {
    if count > 0 {
        // SAFETY: the ABI; an index is a number in a transparent structure.
        unsafe {
            let packets = std::slice::from_raw_parts(buffers.cast::<BufferIndex>(), count as usize);
            context(vector).send(NodeId(node), packets);
        }
    }
}

unsafe extern "C" fn free(vector: *mut abi::Vector, buffers: *const u32, count: u32) {
    if count > 0 {
        // SAFETY: as in `send`.
        unsafe {
            let packets = std::slice::from_raw_parts(buffers.cast::<BufferIndex>(), count as usize);
            context(vector).buffers.free(packets);
        }
    }
}

unsafe extern "C" fn set_rules(main: *mut abi::Main, sets: *const abi::RuleSet, length: u32) -> i32 {
    // SAFETY: the ABI.
    let (call, read) = unsafe {
        let call = call(main);
        let read = rules::read(call.world, call.plugin, sets, length);
        (call, read)
    };
    let done = read.and_then(|sets| match &mut call.rules {
        Some(rules) => {
            **rules = sets;
            Ok(())
        }
        None => call.world.set_rules(call.plugin, &sets),
    });
    call.done(done)
}

unsafe extern "C" fn rule_hits(
    main: *mut abi::Main,
    set: *const c_char,
    rule: u32,
    packets: *mut u64,
    bytes: *mut u64,
) -> i32 {
    // SAFETY: the ABI.
    let (call, set) = unsafe { (call(main), foreign::text(set).unwrap_or_default()) };
    let hits = call.world.rule_hits(&rules::name(call.plugin, &set), RuleId(rule));
    let done = hits.map(|hits| {
        // SAFETY: the ABI.
        unsafe {
            packets.write(hits.packets);
            bytes.write(hits.bytes);
        }
    });
    call.done(done.ok_or_else(|| format!("there is no rule set '{set}'")))
}

unsafe extern "C" fn table_new(
    main: *mut abi::Main,
    key_words: u32,
    value_words: u32,
    capacity: u32,
) -> *mut abi::Table {
    // SAFETY: the ABI.
    let call = unsafe { call(main) };
    match tables::new(key_words, value_words, capacity) {
        Ok(table) => table,
        Err(why) => {
            call.why = why;
            std::ptr::null_mut()
        }
    }
}

/// The table.
pub(crate) static HOST: abi::Host = abi::Host {
    size: size_of::<abi::Host>() as u32,
    abi_version: abi::ABI_VERSION,
    write,
    fail,
    why,
    log,
    add_node,
    add_arc,
    add_feature,
    add_handler,
    add_command,
    add_counter,
    add_timer,
    add_field,
    configuration,
    counter,
    interface,
    interface_name,
    next_interface,
    set_feature,
    defer,
    clocks_per_second,
    allocate,
    send,
    free,
    trace,
    add_setting,
    add_message,
    route,
    flow_limit,
    set_rules,
    rule_hits,
    define_api,
    add_api_message,
    send_event,
    table_new,
    table_free: tables::free,
    table_find: tables::find,
    table_touch: tables::touch,
    table_word: tables::word,
    table_next: tables::next,
    table_put: tables::put,
    table_remove: tables::remove,
    table_sweep: tables::sweep,
    table_length: tables::length,
};

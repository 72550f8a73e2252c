// SPDX-License-Identifier: Apache-2.0
//! What a plugin can do on the main thread: look up interfaces, enable its features, read its counters, write to the log.

use std::ffi::{CString, c_void};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use crate::abi;
use crate::api::SessionId;
use crate::refusal::Result;
use crate::setup::Counter;

/// An interface.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct InterfaceIndex(pub u32);

impl fmt::Display for InterfaceIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How bad a line of the log is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    /// Something does not work.
    Error,
    /// Something may not be as it should.
    Warn,
    /// Something was done.
    Info,
}

/// How packets of this host leave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Route {
    /// Where they go out; if the destination is this host, the interface that has the address.
    pub interface: InterfaceIndex,
    /// Their source address, if the interface has one of the family.
    pub source: Option<IpAddr>,
    /// What [`crate::Packet::set_table`] is to be given.
    pub table: u32,
}

/// The host, during a call on the main thread.
pub struct Main<'m> {
    host: &'m abi::Host,
    main: *mut abi::Main,
}

impl<'m> Main<'m> {
    /// # Safety
    /// Both pointers are those of a call that the host makes, and the value does not outlive it.
    pub(crate) unsafe fn new(host: *const abi::Host, main: *mut abi::Main) -> Main<'m> {
        // SAFETY: the host's table lives as long as the plugin.
        Main { host: unsafe { &*host }, main }
    }

    pub(crate) fn raw(&self) -> (&'m abi::Host, *mut abi::Main) {
        (self.host, self.main)
    }

    pub(crate) fn fail(&self, sentence: &str) {
        // SAFETY: `main` is that of the running call, and the text is valid during it. So in all functions below.
        unsafe { (self.host.fail)(self.main, sentence.as_ptr(), sentence.len()) };
    }

    /// Writes a line to Weft's log.
    pub fn log(&mut self, level: Level, line: &str) {
        let level = match level {
            Level::Error => abi::LOG_ERROR,
            Level::Warn => abi::LOG_WARN,
            Level::Info => abi::LOG_INFO,
        };
        // SAFETY: see `fail`.
        unsafe { (self.host.log)(self.main, level, line.as_ptr(), line.len()) };
    }

    /// The sum of a counter over all workers.
    pub fn counter(&mut self, counter: Counter, column: u32) -> u64 {
        // SAFETY: see `fail`.
        unsafe { (self.host.counter)(self.main, counter.0, column) }
    }

    /// The interface of that name.
    pub fn interface(&mut self, name: &str) -> Result<InterfaceIndex> {
        // SAFETY: see `fail`.
        match unsafe { (self.host.interface)(self.main, name.as_ptr(), name.len()) } {
            abi::NO_INTERFACE => {
                Err(format!("expected interface, found {name:?}: there is no such interface").into())
            }
            index => Ok(InterfaceIndex(index)),
        }
    }

    /// The name of an interface; `None` if it is gone.
    pub fn interface_name(&mut self, interface: InterfaceIndex) -> Option<String> {
        // SAFETY: see `fail` and `text`.
        let name = text(|buffer, capacity| unsafe {
            (self.host.interface_name)(self.main, interface.0, buffer, capacity)
        });
        (!name.is_empty()).then_some(name)
    }

    /// All interfaces.
    pub fn interfaces(&mut self) -> Vec<InterfaceIndex> {
        let mut all = Vec::new();
        let mut from = 0;
        loop {
            // SAFETY: see `fail`.
            match unsafe { (self.host.next_interface)(self.main, from) } {
                abi::NO_INTERFACE => return all,
                index => all.push(InterfaceIndex(index)),
            }
            from = all.last().map_or(0, |last| last.0 + 1);
        }
    }

    /// Enables or disables a feature of this plugin on an interface.
    pub fn set_feature(&mut self, arc: &str, node: &str, interface: InterfaceIndex, on: bool) -> Result<()> {
        let (arc, node) = (CString::new(arc)?, CString::new(node)?);
        // SAFETY: see `fail`.
        let code = unsafe {
            (self.host.set_feature)(self.main, arc.as_ptr(), node.as_ptr(), interface.0, on.into())
        };
        self.done(code)
    }

    /// How packets of this host leave that go to `destination` by the forwarding table (VRF) that operators call `table`.
    /// An address that says something on its own link only is that of a station on the link of `interface`, which counts for
    /// nothing else.
    pub fn route(
        &mut self,
        table: u32,
        destination: IpAddr,
        interface: Option<InterfaceIndex>,
    ) -> Result<Route> {
        let mut route = abi::Route::default();
        let bytes = match destination {
            IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
            IpAddr::V6(address) => address.octets(),
        };
        let interface = interface.map_or(u32::MAX, |interface| interface.0);
        // SAFETY: see `fail`.
        let code = unsafe { (self.host.route)(self.main, table, bytes.as_ptr(), interface, &raw mut route) };
        self.done(code)?;
        let abi::Route { source, interface, table } = route;
        let source = Some(Ipv6Addr::from(source)).filter(|source| !source.is_unspecified());
        Ok(Route {
            interface: InterfaceIndex(interface),
            source: source.map(|source| IpAddr::V6(source).to_canonical()),
            table,
        })
    }

    /// How many flows the flow tracker can keep at a time, on all workers together.
    pub fn flow_limit(&mut self) -> u64 {
        // SAFETY: see `fail`.
        unsafe { (self.host.flow_limit)(self.main) }
    }

    /// Sends an event of a message that this plugin answers; refused if the client has gone. `body` is what is after
    /// `client_index`.
    pub fn send_event(&mut self, to: SessionId, event: &str, body: &[u8]) -> Result<()> {
        let event = CString::new(event)?;
        // SAFETY: see `fail`.
        let code =
            unsafe { (self.host.send_event)(self.main, to.0, event.as_ptr(), body.as_ptr(), body.len()) };
        self.done(code)
    }

    /// Rate of [`crate::Vector::now`].
    pub fn clocks_per_second(&mut self) -> f64 {
        // SAFETY: see `fail`.
        unsafe { (self.host.clocks_per_second)(self.main) }
    }

    /// Drops `value` when no worker can see it any more. It was unlinked already.
    pub(crate) fn retire<T: Send>(&mut self, value: Box<T>) {
        unsafe extern "C" fn free<T>(data: *mut c_void) {
            // A destructor that panics has no one to tell.
            // SAFETY: `data` is the box that was given to `defer` below, and the host calls this once.
            let _ = crate::panic::catch(|| drop(unsafe { Box::from_raw(data.cast::<T>()) }));
        }
        // SAFETY: see `fail`.
        unsafe { (self.host.defer)(self.main, Some(free::<T>), Box::into_raw(value).cast()) };
    }

    pub(crate) fn done(&mut self, code: i32) -> Result<()> {
        match code {
            abi::OK => Ok(()),
            // SAFETY: see `fail` and `text`.
            _ => Err(text(|buffer, capacity| unsafe { (self.host.why)(self.main, buffer, capacity) }).into()),
        }
    }
}

/// Has the host write a text: a second time if the first buffer was too small. `write` is given a buffer and its size, and
/// may write no more than that.
pub fn text(mut write: impl FnMut(*mut u8, usize) -> usize) -> String {
    let mut bytes = vec![0; 256];
    loop {
        let length = write(bytes.as_mut_ptr(), bytes.len());
        if length <= bytes.len() {
            bytes.truncate(length);
            return String::from_utf8_lossy(&bytes).into_owned();
        }
        bytes.resize(length, 0);
    }
}

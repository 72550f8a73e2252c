// SPDX-License-Identifier: Apache-2.0
//! hello: hears what neighbours say of themselves in frames of an EtherType of its own.
#![forbid(unsafe_code)]

mod node;

use std::collections::BTreeSet;

use weft_plugin_sdk::{
    Event, Handler, InterfaceIndex, Main, Node, Plugin, Published, Result, Setting, Setup, Value, Values,
    weft_plugin,
};

use node::{Deaf, HelloNode, Reason};

/// IEEE 802 Local Experimental EtherType 1.
const HELLO: u16 = 0x88b5;
const NODE: &str = "hello-input";

struct Hello {
    /// Interfaces on which nothing is to be heard, for the workers.
    deaf: Published<Deaf>,
}

impl Plugin for Hello {
    fn start(setup: &mut Setup<'_, Self>) -> Result<Self> {
        let deaf = Published::new(BTreeSet::new());
        let reader = deaf.reader();
        setup.node(Node::new(NODE, move |_| HelloNode { deaf: reader.clone() }).drops::<Reason>())?;
        setup.handler(Handler::ether_type(HELLO, NODE))?;
        let on_off = Values::Switch { on: "on", off: "off" };
        setup.setting(
            Setting::of_interface("accept", on_off, "on", Hello::accept)
                .help("Hear what neighbours say, or drop it"),
        )?;
        Ok(Hello { deaf })
    }

    /// Another interface will have its index.
    fn hear(&mut self, main: &mut Main<'_>, event: Event) -> Result<()> {
        match event {
            Event::InterfaceRemoved(interface) => self.accept(main, interface, Value::Switch(true)),
            _ => Ok(()),
        }
    }
}

impl Hello {
    /// The setting has a value; workers see it with their next vector.
    fn accept(&mut self, main: &mut Main<'_>, interface: InterfaceIndex, value: Value) -> Result<()> {
        let mut deaf = self.deaf.get().clone();
        match value.is_on() {
            true => deaf.remove(&interface),
            false => deaf.insert(interface),
        };
        self.deaf.replace(main, deaf);
        Ok(())
    }
}

weft_plugin! { plugin: Hello, name: "hello", summary: "Hears what neighbours say of themselves" }

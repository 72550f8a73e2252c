// SPDX-License-Identifier: Apache-2.0
//! A device that swallows what it is given: `create null interface`, or `null <name>` in startup.conf.

use weft_cli::Command;
use weft_control::{Described, Opened};
use weft_devices::device::{Details, Device, DeviceKind, Leaving};
use weft_engine::frame::Frame;
use weft_engine::graph::NodeDef;
use weft_engine::node::{Node, NodeSpec, Role};
use weft_engine::{Context, InterfaceIndex};
use weft_nodes::interface::Kind;

use super::{DeviceError, DeviceWords, Devices, Opening, kind, made_up_mac};
use crate::cli::create::{common, create, delete};
use crate::cli::refused;
use crate::config::interfaces::{Common, Interface, Settings};
use crate::config::words::{Key, key};
use crate::state::Dataplane;

kind!(DeviceWords { kind: &NULL, keys: &[WORD], commands });

/// What it is called.
static NULL: DeviceKind = DeviceKind { word: "null", sentence: "a null interface", class: "null" };

static NULL_OUTPUT: NodeSpec = NodeSpec::internal("null-tx").role(Role::Output);

/// Its node that transmits: one per worker.
struct NullOutput(InterfaceIndex);

impl Node for NullOutput {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        let length = |index| cx.buffers.packet(index).meta.total_length() as u64;
        let bytes = frame.packets().iter().copied().map(length).sum();
        cx.counters.interfaces.tx.add(self.0.index(), frame.len() as u64, bytes);
        cx.buffers.free(frame.packets());
    }
}

/// The device, as the main thread knows it.
struct Null;

impl Device for Null {
    fn kind(&self) -> &'static DeviceKind {
        &NULL
    }

    fn link(&self) -> Option<Result<(), String>> {
        Some(Ok(()))
    }

    fn details(&self) -> Details {
        let mut details = Details::default();
        details.line("packets end here");
        details
    }

    fn close(self: Box<Self>, leaving: &mut Leaving<'_>) {
        leaving.engine.remove_node(leaving.tx);
    }
}

/// What startup.conf and the command line say of one.
#[derive(Debug, PartialEq)]
struct NullSettings(Common);

impl Settings for NullSettings {
    fn common(&self) -> &Common {
        &self.0
    }

    fn describe(&self, _: &Devices, index: InterfaceIndex) -> Result<Described, DeviceError> {
        Ok(Described::new(Kind::Port, made_up_mac(2, index.0), 1500))
    }

    fn open(&self, cx: &mut Opening<'_>) -> Result<Opened, DeviceError> {
        let (index, name) = (cx.index, &cx.interface.name);
        let node = NodeDef::named(&NULL_OUTPUT, format!("{name}-tx"), |_| Box::new(NullOutput(index)));
        let tx = cx.engine.add_nodes("weft", vec![node])?[0];
        cx.add_device(Null);
        Ok(tx.into())
    }
}

const WORD: Key<Vec<Interface>> = key("null", |interfaces, words| {
    let name = words.value("interface name", str::parse)?;
    interfaces.push(Interface::new(NullSettings(Common::new(name, words.last_span()))));
    Ok(())
});

fn commands() -> Vec<Command<Dataplane>> {
    vec![
        create("create null interface", |dataplane, changes, args| {
            let settings = NullSettings(common(args.parse("interface name")?));
            args.finish()?;
            Interface::new(settings).create(dataplane, changes).map_err(refused)
        })
        .synopsis("<name>")
        .help("Make an interface that swallows packets"),
        delete("delete null interface", &NULL, "null interface").synopsis("<interface>").help("Delete it"),
    ]
}

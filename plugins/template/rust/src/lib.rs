//! @NAME@: counts packets, and drops those that are shorter than they may be.
#![forbid(unsafe_code)]

use weft_plugin_sdk::{
    Answer, Command, Counter, Feature, Main, Node, Plugin, PluginNode, Result, Setup, Vector, Done, Words, drops,
    weft_plugin,
};

/// Bytes of an IPv4 header without options (RFC 791 section 3.1).
const SHORTEST: usize = 20;

drops! {
    enum Reason {
        /// shorter than an IPv4 header
        Short = "short", Error;
    }
}

struct @TYPE@ {
    packets: Counter,
}

impl Plugin for @TYPE@ {
    fn start(setup: &mut Setup<'_, Self>) -> Result<Self> {
        let packets = setup.counter("packets", 1)?;
        setup.node(Node::new("@NAME@", move |_| @TYPE@Node { packets }).drops::<Reason>())?;
        setup.feature(Feature::new("ip4-unicast", "@NAME@"))?;
        setup.command(Command::new("show @NAME@", @TYPE@::show).help("Packets that @NAME@ has seen"))?;
        Ok(@TYPE@ { packets })
    }
}

impl @TYPE@ {
    fn show(&mut self, main: &mut Main<'_>, words: &mut Words<'_>) -> Result<Answer> {
        words.finish()?;
        let packets = main.counter(self.packets, 0);
        Ok(Answer::new(format!("{packets} packets"), format!("{{\"packets\":{packets}}}")))
    }
}

/// One per worker.
struct @TYPE@Node {
    packets: Counter,
}

impl PluginNode for @TYPE@Node {
    fn process(&mut self, vector: Vector<'_>) -> Done {
        vector.counter(self.packets).add(0, vector.len() as u64);
        vector.each(|packet| match packet.length() {
            0..SHORTEST => packet.drop(Reason::Short),
            _ => packet.pass(),
        })
    }
}

weft_plugin! { plugin: @TYPE@, name: "@NAME@", summary: "Counts packets" }

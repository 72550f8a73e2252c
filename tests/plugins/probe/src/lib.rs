// SPDX-License-Identifier: Apache-2.0
//! Counts packets, and fails on command: what the tests of the loader load.
//!
//! What is counted in `own` is handed over when the plugin is reloaded; the counter in the stats segment goes on by itself.
#![forbid(unsafe_code)]

mod bring;
mod messages;
mod settings;

use std::fmt::Write;
use std::time::{Duration, Instant};

use weft_plugin_sdk::{
    Answer, Command, Counter, Done, Feature, Field, Main, Message, Node, Plugin, PluginNode, Published,
    PublishedReader, Result, Setup, State, Timer, TraceRecord, Vector, Words, drops, events, weft_plugin,
};

use messages::Messages;

/// Form of the exported state.
const STATE_VERSION: u32 = 1;

drops! {
    enum Reason {
        /// marked by the test
        Marked = "marked", Info;
    }
}

events! {
    enum Event {
        /// vectors that were looked at
        Vectors = "vectors", Info;
    }
}

/// What nodes do.
#[derive(Clone, Copy, Default)]
struct Orders {
    /// Panic on this packet, counted per worker from 1 on; 0: none.
    panic_at: u64,
    /// Take so long for the next vector.
    sleep: Duration,
    /// Drop every packet.
    drop_all: bool,
}

struct Probe {
    orders: Published<Orders>,
    packets: Counter,
    ticks: u64,
    /// What earlier incarnations have counted.
    inherited: u64,
    greeting: String,
    messages: Messages,
    bring: bring::Orders,
    heard: settings::Heard,
}

impl Plugin for Probe {
    fn start(setup: &mut Setup<'_, Self>) -> Result<Self> {
        let orders = Published::new(Orders::default());
        let packets = setup.counter("packets", 1)?;
        let reader = orders.reader();
        let number = setup.field("probe-number")?;
        let node =
            Node::new("probe", move |_| ProbeNode { orders: reader.clone(), packets, number, seen: 0 });
        setup.node(node.drops::<Reason>().events::<Event>().trace(trace))?;
        setup.feature(Feature::new("ip4-unicast", "probe").after(&["ip4-classify"]))?;
        let bring = bring::register(setup)?;
        setup.timer(Timer::every_ms(10, |probe: &mut Probe, _| {
            probe.ticks += 1;
            Ok(())
        }))?;
        setup.command(Command::new("show probe", Probe::show).help("What the probe has counted"))?;
        setup.command(
            Command::new("probe", Probe::order)
                .synopsis(
                    "on|off <interface> | panic-at <n> | panic-now | sleep <ms> | drop on|off | event <value> | bring <n>",
                )
                .help("Have the probe do what plugins should not do"),
        )?;
        setup.message(Message::new("probe-greeting", Probe::greet))?;
        messages::register(setup)?;
        settings::register(setup)?;
        let configuration = setup.configuration();
        let mut words = Words::new(&configuration);
        let mut greeting = String::new();
        while !words.is_empty() {
            words.expect("greeting")?;
            greeting = words.word("a word")?.to_owned();
        }
        let (messages, heard) = (Messages::default(), settings::Heard::default());
        Ok(Probe { orders, packets, ticks: 0, inherited: 0, greeting, messages, bring, heard })
    }

    fn export_state(&mut self) -> Option<State> {
        let total = self.inherited + self.ticks;
        Some(State { version: STATE_VERSION, bytes: total.to_le_bytes().to_vec() })
    }

    fn import_state(&mut self, _: &mut Main<'_>, state: State) -> Result<()> {
        if state.version != STATE_VERSION {
            return Err(format!("expected state of version {STATE_VERSION}, found {}", state.version).into());
        }
        let bytes = state.bytes.try_into().map_err(|_| "expected 8 bytes")?;
        self.inherited = u64::from_le_bytes(bytes);
        Ok(())
    }
}

impl Probe {
    fn show(&mut self, main: &mut Main<'_>, words: &mut Words<'_>) -> Result<Answer> {
        words.finish()?;
        let packets = main.counter(self.packets, 0);
        let Probe { ticks, inherited, greeting, .. } = self;
        Ok(Answer::new(
            format!("{packets} packets, {ticks} ticks, {inherited} inherited"),
            format!(
                "{{\"packets\":{packets},\"ticks\":{ticks},\"inherited\":{inherited},\"greeting\":{}}}",
                weft_plugin_sdk::json_text(greeting)
            ),
        ))
    }

    /// `probe-greeting <word>`, from vplaned.
    fn greet(&mut self, _: &mut Main<'_>, data: &[u8]) -> Result<()> {
        let text = std::str::from_utf8(data)?;
        let mut words = Words::new(text);
        words.expect("probe-greeting")?;
        let greeting = words.word("a word")?.to_owned();
        words.finish()?;
        self.greeting = greeting;
        Ok(())
    }

    fn order(&mut self, main: &mut Main<'_>, words: &mut Words<'_>) -> Result<Answer> {
        let mut orders = *self.orders.get();
        match words.word("on, off, panic-at, panic-now, sleep, drop, event or bring")? {
            switch @ ("on" | "off") => {
                let interface = main.interface(words.word("interface")?)?;
                words.finish()?;
                main.set_feature("ip4-unicast", "probe", interface, switch == "on")?;
                return Ok(Answer::empty());
            }
            "panic-at" => orders.panic_at = words.parse("number of the packet")?,
            "panic-now" => panic!("as was ordered"),
            "sleep" => orders.sleep = Duration::from_millis(words.parse("milliseconds")?),
            "event" => {
                let value = words.parse("value")?;
                words.finish()?;
                self.messages.publish(main, value);
                let watchers = self.messages.watchers();
                return Ok(Answer::new(format!("{watchers} clients"), watchers.to_string()));
            }
            "bring" => {
                let count = words.parse("number of packets")?;
                words.finish()?;
                self.bring.order(count)?;
                return Ok(Answer::empty());
            }
            "drop" => orders.drop_all = words.word("on or off")? == "on",
            other => return Err(format!("unknown order {other:?}").into()),
        }
        words.finish()?;
        self.orders.replace(main, orders);
        Ok(Answer::empty())
    }
}

struct ProbeNode {
    orders: PublishedReader<Orders>,
    packets: Counter,
    /// The number of the packet on its worker, modulo 2^16.
    number: Field<u16>,
    seen: u64,
}

impl PluginNode for ProbeNode {
    fn process(&mut self, vector: Vector<'_>) -> Done {
        let orders = *self.orders.read(vector.guard());
        let (packets, number, seen) = (vector.counter(self.packets), self.number, &mut self.seen);
        vector.event(Event::Vectors, 1);
        if !orders.sleep.is_zero() {
            let begin = Instant::now();
            while begin.elapsed() < orders.sleep {
                std::hint::spin_loop();
            }
        }
        vector.each(|packet| {
            *seen += 1;
            if *seen == orders.panic_at {
                panic!("packet {seen} was ordered to be one too many");
            }
            packets.add(0, 1);
            packet.set_field(number, *seen as u16);
            packet.trace(|| [u32::from(packet.field(number)), packet.length() as u32]);
            if orders.drop_all { packet.drop(Reason::Marked) } else { packet.pass() }
        })
    }
}

fn trace(record: &TraceRecord<'_>, out: &mut String) -> std::fmt::Result {
    let interface = record.rx_interface();
    match record.words::<2>() {
        Some([number, length]) => {
            writeln!(out, "  probed {length} bytes from interface {interface}, packet {number}")
        }
        None => writeln!(out, "  probed {} bytes from interface {interface}", record.length()),
    }
}

weft_plugin! { plugin: Probe, name: "probe", summary: "Fails on command" }

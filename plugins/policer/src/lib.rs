// SPDX-License-Identifier: Apache-2.0
//! Policers: hold traffic to a rate, by three colours (RFC 2697, RFC 2698, RFC 4115).
//!
//! The main thread keeps what was asked for and publishes, by direction and interface, the policer to apply; workers
//! meter with it and share its buckets without a lock. A policer can be attached in many places: all of its traffic
//! shares one rate. A reload hands over configuration and the buckets as they are, so that nobody gains a burst by
//! it.
#![forbid(unsafe_code)]

mod config;
mod ip;
mod messages;
mod meter;
mod node;

use std::fmt::Write;
use std::sync::Arc;

use weft_plugin_sdk::{
    Answer, Command, Counter, Event, Feature, InterfaceIndex, Main, Node, Plugin, Published, Result, Setup,
    State, Words, json_text, weft_plugin,
};

use config::{Config, word};
use meter::Colour;
use node::{Attached, Direction, Place, Policer, PolicerNode, Reason};

/// Policers at a time: a column of the counters each.
const MOST: u32 = 256;
/// Of what [`Plugin::export_state`] writes.
const VERSION: u32 = 1;

const ADD: &str = "name <name> [type 1r2c|1r3c|2r3c-2698|2r3c-4115] [rate kbps] cir <kbit/s> cb <bytes> \
                   [eir <kbit/s>] [eb <bytes>] [color-aware] [conform-action <action>] [exceed-action <action>] \
                   [violate-action <action>]";

/// A policer on the main thread.
struct Entry {
    config: Config,
    policer: Arc<Policer>,
    /// What its counters were when it came: another one had them before.
    base: [[u64; 2]; 3],
}

/// Where a policer is applied.
struct Attachment {
    direction: Direction,
    name: String,
    interface: InterfaceIndex,
    place: Place,
}

struct Policers {
    /// By [`Place`].
    entries: Vec<Option<Entry>>,
    attachments: Vec<Attachment>,
    published: Published<Attached>,
    /// Packets and bytes, by colour.
    counters: [Counter; 3],
}

impl Plugin for Policers {
    fn start(setup: &mut Setup<'_, Self>) -> Result<Self> {
        let published = Published::new(Attached::default());
        let mut counter = |colour| setup.counter(&format!("/net/policer/{}", word(colour)), MOST * 2);
        let counters = [counter(Colour::Green)?, counter(Colour::Yellow)?, counter(Colour::Red)?];
        for direction in Direction::ALL {
            let attached = published.reader();
            let make = move |_| PolicerNode { direction, attached: attached.clone(), counters };
            setup.node(Node::new(direction.node(), make).drops::<Reason>())?;
            for arc in direction.arcs() {
                // What a rule denies uses up no rate.
                let feature = Feature::new(arc, direction.node());
                let feature = feature.after(&["ip4-classify", "ip4-classify-output", "ip6-classify"]);
                setup.feature(feature.set_by(direction.command()))?;
            }
        }
        setup.command(
            Command::new("policer add", Policers::add)
                .synopsis(ADD)
                .help("Make a policer, not applied anywhere yet"),
        )?;
        setup.command(
            Command::new("policer del", Policers::delete).synopsis("name <name>").help("Delete a policer"),
        )?;
        for direction in Direction::ALL {
            setup.command(
                Command::new(direction.command(), move |policers: &mut Policers, main, words| {
                    policers.apply(main, direction, words)
                })
                .synopsis("[unapply] name <name> <interface>")
                .help("Apply a policer to the IP packets of an interface"),
            )?;
        }
        setup.command(
            Command::new("show policer", Policers::show)
                .synopsis("[<name>]")
                .help("Policers, where they are applied, and what they have counted"),
        )?;
        messages::register(setup)?;
        Ok(Policers { entries: Vec::new(), attachments: Vec::new(), published, counters })
    }

    fn export_state(&mut self) -> Option<State> {
        let mut text = String::new();
        for entry in self.entries.iter().flatten() {
            let (Place(place), [committed, excess]) = (entry.policer.place, entry.policer.meter.export());
            text += &format!("policer {place} {committed} {excess}");
            entry.base.as_flattened().iter().for_each(|base| text += &format!(" {base}"));
            text += &format!(" {}\n", entry.config);
        }
        for Attachment { direction, name, place: Place(place), .. } in &self.attachments {
            text += &format!("{} {place} {name}\n", direction.word());
        }
        Some(State { version: VERSION, bytes: text.into_bytes() })
    }

    fn import_state(&mut self, main: &mut Main<'_>, state: State) -> Result<()> {
        if state.version != VERSION {
            return Err(format!("the state has version {}, expected {VERSION}", state.version).into());
        }
        for line in str::from_utf8(&state.bytes)?.lines() {
            let mut words = Words::new(line);
            let what = words.word("line")?;
            let place = Place(words.parse("place")?);
            match Direction::ALL.into_iter().find(|direction| direction.word() == what) {
                Some(direction) => {
                    let name = words.word("interface")?.to_owned();
                    // One that went meanwhile needs no policer.
                    if let Ok(interface) = main.interface(&name) {
                        self.attachments.push(Attachment { direction, name, interface, place });
                    }
                }
                None => self.import_policer(main, place, &mut words)?,
            }
        }
        self.publish(main);
        Ok(())
    }

    fn hear(&mut self, main: &mut Main<'_>, event: Event) -> Result<()> {
        if let Event::InterfaceRemoved(interface) = event {
            self.attachments.retain(|it| it.interface != interface);
            self.publish(main);
        }
        Ok(())
    }
}

impl Policers {
    fn import_policer(&mut self, main: &mut Main<'_>, place: Place, words: &mut Words<'_>) -> Result<()> {
        if place.0 >= MOST {
            return Err(format!("place {} of a policer, expected less than {MOST}", place.0).into());
        }
        let buckets = [words.parse("bucket")?, words.parse("bucket")?];
        let mut base = [[0; 2]; 3];
        for base in base.as_flattened_mut() {
            *base = words.parse("counter")?;
        }
        self.insert(main, place, Config::parse(words)?, base).policer.meter.import(buckets);
        Ok(())
    }

    fn insert(&mut self, main: &mut Main<'_>, place: Place, config: Config, base: [[u64; 2]; 3]) -> &Entry {
        let policer = Arc::new(Policer {
            meter: config.meter(main.clocks_per_second()),
            color_aware: config.color_aware,
            actions: config.actions,
            place,
        });
        let index = place.0 as usize;
        if self.entries.len() <= index {
            self.entries.resize_with(index + 1, || None);
        }
        self.entries[index].insert(Entry { config, policer, base })
    }

    fn find(&self, name: &str) -> Result<&Entry> {
        let found = self.entries.iter().flatten().find(|entry| entry.config.name == name);
        found.ok_or_else(|| format!("expected policer, found {name:?}: there is no such policer").into())
    }

    /// What the counters of a place are.
    fn counted(&self, main: &mut Main<'_>, place: Place) -> [[u64; 2]; 3] {
        self.counters.map(|counter| [0, 1].map(|of| main.counter(counter, place.column() + of)))
    }

    /// Has the workers see the attachments.
    fn publish(&mut self, main: &mut Main<'_>) {
        let mut attached = Attached::default();
        for it in &self.attachments {
            if let Some(Some(entry)) = self.entries.get(it.place.0 as usize) {
                attached.set(it.direction, it.interface, Arc::clone(&entry.policer));
            }
        }
        self.published.replace(main, attached);
    }

    fn add(&mut self, main: &mut Main<'_>, words: &mut Words<'_>) -> Result<Answer> {
        let config = Config::parse(words)?;
        self.create(main, config)?;
        Ok(Answer::empty())
    }

    fn create(&mut self, main: &mut Main<'_>, config: Config) -> Result<Place> {
        if self.find(&config.name).is_ok() {
            return Err(format!("there is a policer {:?} already", config.name).into());
        }
        let free = self.entries.iter().position(Option::is_none).unwrap_or(self.entries.len()) as u32;
        if free >= MOST {
            return Err(format!("there are {MOST} policers, and no more are possible").into());
        }
        let base = self.counted(main, Place(free));
        self.insert(main, Place(free), config, base);
        Ok(Place(free))
    }

    fn delete(&mut self, _: &mut Main<'_>, words: &mut Words<'_>) -> Result<Answer> {
        words.expect("name")?;
        let name = words.word("name of the policer")?;
        words.finish()?;
        let place = self.find(name)?.policer.place;
        if let Some(it) = self.attached(place) {
            let (direction, interface) = (it.direction.word(), &it.name);
            return Err(format!("policer {name:?} is applied to the {direction} of {interface}").into());
        }
        self.entries[place.0 as usize] = None;
        Ok(Answer::empty())
    }

    /// Where a policer is applied, if it is anywhere.
    fn attached(&self, place: Place) -> Option<&Attachment> {
        self.attachments.iter().find(|it| it.place == place)
    }

    fn apply(&mut self, main: &mut Main<'_>, direction: Direction, words: &mut Words<'_>) -> Result<Answer> {
        let on = !words.keyword("unapply");
        words.expect("name")?;
        let place = self.find(words.word("name of the policer")?)?.policer.place;
        let name = words.word("interface")?.to_owned();
        words.finish()?;
        self.attach(main, direction, place, name, on)?;
        Ok(Answer::empty())
    }

    fn attach(
        &mut self,
        main: &mut Main<'_>,
        direction: Direction,
        place: Place,
        name: String,
        on: bool,
    ) -> Result<()> {
        let interface = main.interface(&name)?;
        let here = |it: &Attachment| it.direction == direction && it.interface == interface;
        if !on && !self.attachments.iter().any(|it| here(it) && it.place == place) {
            return Err(format!("it is not applied to the {} of {name}", direction.word()).into());
        }
        for arc in direction.arcs() {
            main.set_feature(arc, direction.node(), interface, on)?;
        }
        self.attachments.retain(|it| !here(it));
        if on {
            self.attachments.push(Attachment { direction, name, interface, place });
        }
        self.publish(main);
        Ok(())
    }

    fn show(&mut self, main: &mut Main<'_>, words: &mut Words<'_>) -> Result<Answer> {
        let shown: Vec<&Entry> = match words.is_empty() {
            true => self.entries.iter().flatten().collect(),
            false => vec![self.find(words.word("name of the policer")?)?],
        };
        words.finish()?;
        let (mut text, mut json) = (String::new(), Vec::new());
        for entry in shown {
            let (config, place) = (&entry.config, entry.policer.place);
            writeln!(text, "{}: {}", config.name, config.parameters())?;
            let now = self.counted(main, place);
            let mut colours = Vec::new();
            for (i, colour) in Colour::ALL.into_iter().enumerate() {
                let [packets, bytes] = [0, 1].map(|of| now[i][of].wrapping_sub(entry.base[i][of]));
                let (word, action) = (word(colour), config.actions[i].to_string());
                writeln!(text, "  {word:<8} {action:<21} {packets:>12} packets {bytes:>15} bytes")?;
                colours
                    .push(format!(r#""{word}":{{"action":"{action}","packets":{packets},"bytes":{bytes}}}"#));
            }
            let mut applied = Vec::new();
            for it in self.attachments.iter().filter(|it| it.place == place) {
                writeln!(text, "  applied to the {} of {}", it.direction.word(), it.name)?;
                let (direction, name) = (it.direction.word(), json_text(&it.name));
                applied.push(format!(r#"{{"direction":"{direction}","interface":{name}}}"#));
            }
            json.push(format!(
                r#"{{"name":{},{},{},"applied":[{}]}}"#,
                json_text(&config.name),
                config.json(),
                colours.join(","),
                applied.join(",")
            ));
        }
        Ok(Answer::new(text, format!(r#"{{"policers":[{}]}}"#, json.join(","))))
    }
}

weft_plugin! { plugin: Policers, name: "policer", summary: "Holds traffic to a rate: three-colour policers" }

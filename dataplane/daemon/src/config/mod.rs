// SPDX-License-Identifier: Apache-2.0
//! `startup.conf`: the file that VPP users know, parsed into types before anything is started.
//!
//! A slip in this file must not become a router that half works: every word is checked, every
//! complaint says where it stands and what would have been right, and all complaints come at once.
//! What VPP has and Weft doesn't is accepted with a warning, so that existing files start.
//!
//! Text goes through `token` (words and groups), `words` (tables of keys) and one module per
//! section. Nothing here touches the machine but for looking up a group's name.
//!
//! All defaults are in [`defaults`]; `startup.conf.example` shows them, which is tested.

pub mod af_xdp;
pub mod bridging;
pub mod buffers;
pub mod check;
pub mod cpu;
pub mod defaults;
pub mod diagnostic;
pub mod flow;
mod foreign;
pub mod interfaces;
pub mod limits;
pub mod logging;
pub mod placement;
pub mod plugins;
pub mod sockets;
mod source;
mod token;
pub mod unix;
pub mod values;
pub mod vplaned;
pub mod words;

use weft_control::Scope;
use weft_words::suggest::nearest;

use self::{diagnostic::Sink, words::Words};
pub use self::{
    diagnostic::{Diagnostic, Report, Severity},
    source::{Position, Source, SourceError, Span, Spanned},
    token::{Group, Token, Word},
    words::{Named, Wanted},
};

/// Everything that can be set before the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    pub unix: unix::Unix,
    pub cpu: cpu::Cpu,
    pub buffers: buffers::Buffers,
    /// In the order of the file, which is the order of their creation.
    pub interfaces: Vec<interfaces::Interface>,
    pub bridge_domains: Vec<bridging::BridgeDomain>,
    pub flow: weft_flow::settings::Settings,
    pub limits: limits::Limits,
    pub logging: logging::Logging,
    pub plugins: plugins::Plugins,
    pub statseg: sockets::Statseg,
    pub socksvr: sockets::Socksvr,
    /// Of the dataplane as a whole.
    pub settings: Vec<Wanted>,
    /// All packets take the graph. No word says it, but an option of the command line that tests use.
    pub no_woven: bool,
    /// The controller; absent if there is no such section.
    pub vplaned: Option<vplaned::Vplaned>,
}

/// A configuration without errors.
#[derive(Debug)]
pub struct Parsed {
    pub config: Config,
    /// What was accepted without effect.
    pub warnings: Report,
}

/// What is known of the configuration while the sections are being read.
#[derive(Default)]
struct Draft {
    config: Config,
    cpu: cpu::Draft,
    foreign: foreign::Seen,
    /// Sections of no known name: of plugins, or a slip.
    unknown: Vec<Unknown>,
}

/// A section that may be a plugin's own.
struct Unknown {
    name: String,
    words: String,
    /// What to say if it is not.
    error: Diagnostic,
}

/// One section: its name and how its content is read.
struct Section {
    name: &'static str,
    read: fn(&mut Draft, &mut Words<'_>) -> bool,
}

const SECTIONS: &[Section] = &[
    Section { name: "unix", read: |draft, words| words.read(unix::KEYS, &mut draft.config.unix) },
    Section { name: "cpu", read: |draft, words| words.read(cpu::KEYS, &mut draft.cpu) },
    Section { name: "buffers", read: |draft, words| words.read(buffers::KEYS, &mut draft.config.buffers) },
    Section {
        name: "interfaces",
        read: |draft, words| words.read(&interfaces::keys(), &mut draft.config.interfaces),
    },
    Section {
        name: "bridge-domains",
        read: |draft, words| words.read(bridging::KEYS, &mut draft.config.bridge_domains),
    },
    Section { name: "flow", read: |draft, words| words.read(flow::KEYS, &mut draft.config.flow) },
    Section { name: "limits", read: |draft, words| words.read(limits::KEYS, &mut draft.config.limits) },
    Section { name: "logging", read: |draft, words| words.read(logging::KEYS, &mut draft.config.logging) },
    Section { name: "plugins", read: |draft, words| words.read(plugins::KEYS, &mut draft.config.plugins) },
    Section {
        name: "statseg",
        read: |draft, words| words.read(sockets::STATSEG_KEYS, &mut draft.config.statseg),
    },
    Section {
        name: "socksvr",
        read: |draft, words| words.read(sockets::SOCKSVR_KEYS, &mut draft.config.socksvr),
    },
    Section {
        name: "settings",
        read: |draft, words| {
            words.read(
                &words::with_settings(&[], Scope::Global, |config: &mut Config| &mut config.settings),
                &mut draft.config,
            )
        },
    },
    Section {
        name: "vplaned",
        read: |draft, words| words.read(vplaned::KEYS, draft.config.vplaned.get_or_insert_default()),
    },
];

/// Reads a configuration. The report of a failure holds the warnings too.
pub fn parse(source: &Source) -> Result<Parsed, Report> {
    let sink = Sink::default();
    let tokens = token::tokenize(source, &sink);
    if sink.has_errors() {
        // With a brace astray, every further complaint would be about the wrong thing.
        return Err(sink.into_report(source));
    }
    let mut draft = Draft::default();
    let end = source.text().len();
    let mut words = Words::new(&tokens, Span { start: end, end }, "the configuration", &sink);
    while !words.is_empty() {
        if let Err(error) = read_section(&mut draft, &mut words) {
            sink.push(error);
        }
    }
    let Draft { mut config, cpu, foreign, unknown } = draft;
    for Unknown { name, words, error } in unknown {
        match config.plugins.names(&name) {
            true => drop(config.plugins.sections.insert(name, words)),
            false => sink.push(error),
        }
    }
    foreign.report(&sink);
    interfaces::check(&config.interfaces, &sink);
    match cpu.finish() {
        Ok(cpu) => config.cpu = cpu,
        Err(error) => sink.push(error),
    }
    let failed = sink.has_errors();
    let report = sink.into_report(source);
    if failed { Err(report) } else { Ok(Parsed { config, warnings: report }) }
}

/// Reads one `NAME VALUE` of the top level. The value is a word or a group.
fn read_section(draft: &mut Draft, words: &mut Words<'_>) -> Result<(), Diagnostic> {
    let name = match words.skip("the name of a section")? {
        Token::Word(name) => name,
        Token::Group(group) => {
            let message = "expected the name of a section, found {";
            return Err(Diagnostic::error(group.open, message));
        }
    };
    let value = words.skip(&format!("{{ after {}", name.text));
    if let Some(section) = SECTIONS.iter().find(|section| section.name == name.text) {
        let (tokens, end) = content(value?);
        (section.read)(draft, &mut Words::new(tokens, end, section.name, words.sink));
        return Ok(());
    }
    if let Some(section) = foreign::find(&name.text) {
        draft.foreign.note(section, name.span, content(value?).0);
        return Ok(());
    }
    let ours = SECTIONS.iter().map(|section| section.name);
    let message = match nearest(&name.text, ours.clone().chain(foreign::names())) {
        Some(meant) => format!("unknown section {:?} (did you mean {meant:?}?)", name.text),
        None => format!("unknown section {:?}", name.text),
    };
    let ours: Vec<&str> = ours.collect();
    let help = format!(
        "Weft has the sections {}, and those of plugins that plugins {{ plugin NAME {{ enable }} }} names",
        ours.join(", ")
    );
    let error = Diagnostic::error(name.span, message).help(help);
    draft.unknown.push(Unknown { name: name.text.clone(), words: plain(content(value?).0), error });
    Ok(())
}

/// Tokens as text again, without comments and line breaks.
fn plain(tokens: &[Token]) -> String {
    let words = tokens.iter().map(|token| match token {
        Token::Word(word) => word.text.clone(),
        Token::Group(group) => format!("{{ {} }}", plain(&group.tokens)),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// What a section consists of, and where it ends.
fn content(value: &Token) -> (&[Token], Span) {
    match value {
        Token::Group(group) => (&group.tokens, group.close),
        Token::Word(word) => {
            let end = word.span.end;
            (std::slice::from_ref(value), Span { start: end, end })
        }
    }
}

#[cfg(test)]
mod tests;

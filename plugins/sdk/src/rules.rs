// SPDX-License-Identifier: Apache-2.0
//! Rules over IPv4 packets that Weft's classifier applies for a plugin, without a call into it.
//!
//! Rules are text, as the command `classify rule add` takes them: `id 10 priority 100 src 10.0.0.0/8 proto tcp dport 80
//! action drop` (docs/classifier.md). A plugin says all that it wants at once ([`Main::set_rules`]); Weft finds out what is
//! new. Rules stay in force while a plugin is replaced: the new incarnation says in `import_state` which go on, by set and
//! id, and their counters do.

use std::ffi::CString;

use crate::abi;
use crate::main_thread::{InterfaceIndex, Main};
use crate::refusal::Result;

/// A rule's name for life, unique in its set.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RuleId(pub u32);

/// Which packets of an interface.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Direction {
    /// Those that come in.
    Input,
    /// Those that leave.
    Output,
}

/// Packets that do not meet the rules of a set.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Exempt {
    /// Those of flows that a rule of this interface has admitted, in both directions.
    pub admitted: bool,
    /// Those that Weft makes itself.
    pub own: bool,
}

/// Rules, and where they are attached: to one interface at least.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RuleSet {
    /// Letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// One on each line. The first one that matches decides; a packet that none matches passes. Beyond what the command
    /// takes, `admit` is an action: the flow of a packet that passes is admitted, so that its later packets and its answers
    /// pass sets of the same interface that exempt them.
    pub rules: String,
    /// Who does not meet them.
    pub exempt: Exempt,
    /// Who does.
    pub attached: Vec<(InterfaceIndex, Direction)>,
}

/// What a rule has met.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Hits {
    /// Packets.
    pub packets: u64,
    /// Bytes of the IP packets.
    pub bytes: u64,
}

impl Main<'_> {
    /// The plugin's rule sets are these from now on, and no others: workers see all of the change, or nothing of it. What is
    /// refused changes nothing. While the plugin starts or takes over, it takes effect when the plugin does.
    ///
    /// An empty list takes all rules away, as unloading the plugin does.
    pub fn set_rules(&mut self, sets: &[RuleSet]) -> Result<()> {
        let parts: Vec<(CString, Vec<abi::Attachment>)> = sets
            .iter()
            .map(|set| {
                let attached = set.attached.iter().map(|(interface, direction)| abi::Attachment {
                    interface: interface.0,
                    direction: match direction {
                        Direction::Input => abi::DIRECTION_INPUT,
                        Direction::Output => abi::DIRECTION_OUTPUT,
                    },
                });
                Ok((CString::new(set.name.as_str())?, attached.collect()))
            })
            .collect::<Result<_>>()?;
        let raw: Vec<abi::RuleSet> = sets
            .iter()
            .zip(&parts)
            .map(|(set, (name, attachments))| abi::RuleSet {
                size: size_of::<abi::RuleSet>() as u32,
                exempt: if set.exempt.admitted { abi::EXEMPT_ADMITTED } else { 0 }
                    | if set.exempt.own { abi::EXEMPT_OWN } else { 0 },
                name: name.as_ptr(),
                rules: set.rules.as_ptr(),
                rules_length: set.rules.len(),
                attachments: attachments.as_ptr(),
                attachments_length: attachments.len(),
            })
            .collect();
        let (host, main) = self.raw();
        // SAFETY: `main` is that of the running call; the host copies what the pointers lead to.
        let code = unsafe { (host.set_rules)(main, raw.as_ptr(), raw.len() as u32) };
        self.done(code)
    }

    /// What a rule has met on all workers. `None` if the set is not there: it also goes with the last interface that it was
    /// attached to.
    pub fn hits(&mut self, set: &str, rule: RuleId) -> Option<Hits> {
        let name = CString::new(set).ok()?;
        let mut hits = Hits::default();
        let (host, main) = self.raw();
        // SAFETY: as in `set_rules`; both numbers can be written.
        let code = unsafe {
            (host.rule_hits)(main, name.as_ptr(), rule.0, &raw mut hits.packets, &raw mut hits.bytes)
        };
        (code == abi::OK).then_some(hits)
    }
}

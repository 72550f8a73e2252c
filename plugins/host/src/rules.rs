// SPDX-License-Identifier: Apache-2.0
//! Rule sets as a plugin writes them, in the classifier's words, and as the classifier has them. What this Weft does not know
//! is refused: a rule that says less than it should would let the wrong packets pass.

use weft_classify::text::{self, Resolve};
use weft_classify::{Direction, Exempt, OwnedSet, RuleSet};
use weft_cli::{Args, CliError};
use weft_engine::InterfaceIndex;
use weft_nodes::fib::AdjacencyId;
use weft_plugin_sdk::abi;

use crate::foreign::{self, Described};
use crate::world::World;

// SAFETY: integers and raw pointers only.
unsafe impl Described for abi::RuleSet {
    const WHAT: &'static str = "a rule set";
}

/// Most sets of a plugin: two for each of many interfaces.
const MOST_SETS: u32 = 16_384;

/// Who has a plugin's rule sets.
pub fn owner(plugin: &str) -> String {
    format!("plugin.{plugin}")
}

/// A rule set's name among all.
pub(crate) fn name(plugin: &str, set: &str) -> String {
    format!("{}.{set}", owner(plugin))
}

/// The words of a plugin's rules.
struct Reader<'a>(&'a dyn World);

impl Resolve for Reader<'_> {
    fn interface(&mut self, args: &mut Args<'_>) -> Result<InterfaceIndex, CliError> {
        args.parse_with("interface", |name| self.0.interface(name).ok_or("there is no such interface"))
    }

    /// Somebody would have to hold it until the rule goes.
    fn next_hop(&mut self, args: &mut Args<'_>) -> Result<AdjacencyId, CliError> {
        Err(args.reject("rules of plugins redirect to interfaces only"))
    }

    /// The tracker looks up flows as long as a plugin's rules admit some.
    fn may_admit(&self) -> bool {
        true
    }
}

/// The rules of a set; an error is a sentence that says in which line.
pub fn read_rules(world: &dyn World, set: &str, text: &str) -> Result<RuleSet, String> {
    let rules = text::read_lines(set, text, &mut Reader(world)).map_err(|error| error.to_string())?;
    RuleSet::of(rules).map_err(|error| format!("{set}: {error}"))
}

/// # Safety
/// `sets` are `length` of them, as the ABI describes them.
pub(crate) unsafe fn read(
    world: &dyn World,
    plugin: &str,
    sets: *const abi::RuleSet,
    length: u32,
) -> Result<Vec<OwnedSet>, String> {
    if length > MOST_SETS {
        return Err(format!("{length} rule sets: expected at most {MOST_SETS}"));
    }
    if length > 0 && sets.is_null() {
        return Err("rule sets are null".to_owned());
    }
    // SAFETY: by the caller.
    (0..length as usize).map(|i| unsafe { set(world, plugin, sets.add(i)) }).collect()
}

unsafe fn set(world: &dyn World, plugin: &str, from: *const abi::RuleSet) -> Result<OwnedSet, String> {
    // SAFETY: by the caller; so in all blocks below.
    let set = unsafe { foreign::read(from) }?;
    // SAFETY: see above.
    let own = unsafe { foreign::text(set.name) }.ok_or("a rule set without a name")?;
    // SAFETY: see above.
    let text = unsafe { foreign::bytes(set.rules, set.rules_length) };
    let text = str::from_utf8(text).map_err(|error| format!("rule set '{own}' is no text: {error}"))?;
    let mut rules = read_rules(world, &own, text)?;
    let unknown = set.exempt & !(abi::EXEMPT_ADMITTED | abi::EXEMPT_OWN);
    if unknown != 0 {
        return Err(format!("rule set '{own}': exemption {unknown:#x} is not known to this Weft"));
    }
    rules.exempt =
        Exempt { admitted: set.exempt & abi::EXEMPT_ADMITTED != 0, own: set.exempt & abi::EXEMPT_OWN != 0 };
    let attached = match set.attachments_length {
        0 => &[],
        // SAFETY: see above.
        length if !set.attachments.is_null() => unsafe {
            std::slice::from_raw_parts(set.attachments, length)
        },
        _ => return Err(format!("rule set '{own}' has attachments that are null")),
    };
    let attached = attached.iter().map(|at| match at.direction {
        abi::DIRECTION_INPUT => Ok((InterfaceIndex(at.interface), Direction::Input)),
        abi::DIRECTION_OUTPUT => Ok((InterfaceIndex(at.interface), Direction::Output)),
        other => Err(format!("rule set '{own}': direction {other} is not known")),
    });
    Ok(OwnedSet { name: name(plugin, &own), rules, attached: attached.collect::<Result<_, _>>()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;
    use weft_engine::Engine;

    /// One interface, p0.
    struct Alone;

    impl World for Alone {
        fn engine(&mut self) -> &mut Engine {
            unreachable!("rules are read without an engine")
        }

        fn interface(&self, name: &str) -> Option<InterfaceIndex> {
            (name == "p0").then_some(InterfaceIndex(4))
        }

        fn interface_name(&self, _: InterfaceIndex) -> Option<String> {
            None
        }

        fn next_interface(&self, _: InterfaceIndex) -> Option<InterfaceIndex> {
            None
        }

        fn set_feature(
            &mut self,
            _: &str,
            _: &str,
            _: &str,
            _: InterfaceIndex,
            _: bool,
        ) -> Result<(), String> {
            Err("nothing is enabled here".to_owned())
        }

        fn send_event(&mut self, _: u64, _: &str, _: &[u8]) -> Result<(), String> {
            Err("there is no client".to_owned())
        }
    }

    fn read_with(size: usize, exempt: u32, rules: &str) -> Result<Vec<OwnedSet>, String> {
        let name = CString::new("a").expect("no NUL");
        let attachment = abi::Attachment { interface: 4, direction: abi::DIRECTION_OUTPUT };
        let set = abi::RuleSet {
            size: size as u32,
            exempt,
            name: name.as_ptr(),
            rules: rules.as_ptr(),
            rules_length: rules.len(),
            attachments: &raw const attachment,
            attachments_length: 1,
        };
        // SAFETY: all pointers are good.
        unsafe { read(&Alone, "test", &raw const set, 1) }
    }

    const SIZE: usize = size_of::<abi::RuleSet>();

    #[test]
    fn sets_are_read_as_they_lie() {
        let rules = "id 7 dport 80 action admit pass\nid 8 interface p0 action drop\n";
        let sets = read_with(SIZE, abi::EXEMPT_OWN, rules).expect("good");
        assert_eq!(sets[0].name, "plugin.test.a");
        assert_eq!(sets[0].rules.iter().map(|rule| rule.id.0).collect::<Vec<_>>(), [7, 8]);
        assert!(sets[0].admits());
        assert_eq!(sets[0].rules.exempt, Exempt { admitted: false, own: true });
        assert_eq!(sets[0].attached, [(InterfaceIndex(4), Direction::Output)]);
        // SAFETY: no set is read.
        assert!(unsafe { read(&Alone, "test", std::ptr::null(), 0) }.expect("good").is_empty());
        // SAFETY: as above.
        assert!(unsafe { read(&Alone, "test", std::ptr::null(), 1) }.is_err());
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let size = format!("a rule set has a description of {} bytes, expected {SIZE}", SIZE + 8);
        for (bytes, exempt, rules, why) in [
            (SIZE + 8, 0, "", size.as_str()),
            (SIZE, 4, "", "exemption 0x4 is not known"),
            (SIZE, 0, "id 1 action pass\nid 2 sport 2-1 action pass", "a:2:12: "),
            (SIZE, 0, "id 1 interface p1 action pass", "there is no such interface"),
            (SIZE, 0, "id 1 action redirect next-hop 10.0.0.1", "redirect to interfaces only"),
            (SIZE, 0, "id 1 action admit drop", "only a packet that passes admits its flow"),
        ] {
            let error = read_with(bytes, exempt, rules).expect_err(why);
            assert!(error.contains(why), "{error}");
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
//! What crates other than the engine keep with a packet, and who has claimed which part of the two lines.
//!
//! Three things can be claimed, each by a name that an operator and another crate can find:
//!
//! * a *field* of the second line ([`Engine::field`](crate::Engine::field)): any plain data, placed at run time;
//! * a *word* of the first line ([`Word`]), for the few fields that the hot chain needs of every packet: its place is a
//!   constant of the crate that owns it, because an offset that is read at run time costs a load per packet;
//! * a *flag*: a bit of [`Metadata::flags`], placed at run time ([`Engine::flag`](crate::Engine::flag)) or, for the hot
//!   chain, a constant out of [`FIXED_FLAGS`].
//!
//! Who claims a name that another crate has claimed in the same way shares it: that is how two crates that do not know each
//! other speak of the same thing. Two that mean different things by one name, or different names by one place, do not start.
//! Claims are made by the main thread at start and never given back; workers know offsets and masks only.

use std::any::{TypeId, type_name};
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::{Arc, Weak};

use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::metadata::{FIELDS, Fields, Metadata, WORDS};

/// Bits of [`Metadata::flags`] that crates claim as constants.
pub const FIXED_FLAGS: Range<u32> = 8..16;
/// Bits that [`Engine::flag`](crate::Engine::flag) gives out.
const NAMED_FLAGS: Range<u32> = 16..31;

/// Why a name or a place cannot be claimed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ContextError {
    /// One name, two types.
    #[error("packet field '{name}' is {there}, and cannot be {asked} too")]
    OtherType {
        /// The name.
        name: String,
        /// As which type it was registered.
        there: &'static str,
        /// As which type it was asked for.
        asked: &'static str,
    },
    /// The second line is full.
    #[error("no room for packet field '{name}' of {size} bytes: {taken} of {} are taken, by {holders}", size_of::<Fields>())]
    Full {
        /// The name.
        name: String,
        /// Bytes that it needs.
        size: usize,
        /// Bytes that others have.
        taken: usize,
        /// The others.
        holders: String,
    },
    /// Two names for one constant place.
    #[error("packet {kind} {place} cannot be '{name}': it is '{there}'")]
    Taken {
        /// Word or flag.
        kind: &'static str,
        /// Its number.
        place: u32,
        /// Who asks for it.
        name: String,
        /// Who has it.
        there: String,
    },
    /// One name at two places.
    #[error("packet {kind} '{name}' is number {there}, and cannot be number {asked} too")]
    Elsewhere {
        /// Word or flag.
        kind: &'static str,
        /// The name.
        name: String,
        /// Where it is.
        there: u32,
        /// Where it is asked for.
        asked: u32,
    },
    /// Not among the bits that are claimed as constants.
    #[error("packet flag '{name}' must be one bit of {FIXED_FLAGS:?}, found mask {mask:#x}")]
    NotFixed {
        /// The name.
        name: String,
        /// Asked for.
        mask: u32,
    },
    /// All bits are given out.
    #[error("no packet flag is left for '{name}'; there are: {holders}")]
    NoFlag {
        /// The name.
        name: String,
        /// Who has them.
        holders: String,
    },
}

/// What a field can hold: plain data for which all bits zero is a value, the one that it begins with.
pub trait Plain: FromBytes + IntoBytes + Immutable + Copy + 'static {}
impl<T: FromBytes + IntoBytes + Immutable + Copy + 'static> Plain for T {}

/// A field of the second line; see [`Packet::field`](super::Packet::field).
pub struct Field<T> {
    /// The registry guarantees that a `T` at this offset lies in the line, aligned.
    offset: u16,
    holds: PhantomData<fn() -> T>,
}

impl<T> Clone for Field<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Field<T> {}

impl<T> fmt::Debug for Field<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Field<{}>({})", type_name::<T>(), self.offset)
    }
}

impl<T: Plain> Field<T> {
    /// Where it lies in the line: for plugins.
    pub fn offset(self) -> u16 {
        self.offset
    }

    /// What a packet with these lines has in it.
    ///
    /// # Safety
    /// `fields` is the second line of the packet that `meta` is the first line of, and nobody writes it meanwhile.
    #[inline(always)]
    pub(super) unsafe fn read(self, meta: &Metadata, fields: *const Fields) -> T {
        if meta.flags & FIELDS == 0 {
            return T::new_zeroed();
        }
        // SAFETY: in the line and aligned (see `offset`); any bits are a `T`.
        unsafe { fields.cast::<u8>().add(self.offset.into()).cast::<T>().read() }
    }

    /// Writes it; the first write to a packet clears its line.
    ///
    /// # Safety
    /// As for `read`, and nobody else has access to the line.
    #[inline(always)]
    pub(super) unsafe fn write(self, meta: &mut Metadata, fields: *mut Fields, value: T) {
        // SAFETY: as in `read`; `T` has no padding, so the line stays initialised.
        unsafe {
            if meta.flags & FIELDS == 0 {
                meta.flags |= FIELDS;
                fields.write(Fields::default());
            }
            fields.cast::<u8>().add(self.offset.into()).cast::<T>().write(value);
        }
    }
}

impl Fields {
    /// What is in a copy of the line.
    pub fn get<T: Plain>(&self, field: Field<T>) -> T {
        // A field lies in the line.
        T::read_from_prefix(&self.0.as_bytes()[usize::from(field.offset)..])
            .map_or(T::new_zeroed(), |(value, _)| value)
    }
}

/// A word of the first line, as a constant of the crate that owns it, which claims it at start
/// ([`Engine::claim_word`](crate::Engine::claim_word)). Zero in every packet that begins.
#[derive(Clone, Copy, Debug)]
pub struct Word {
    name: &'static str,
    place: usize,
}

impl Word {
    /// The word at `place`.
    pub const fn new(name: &'static str, place: usize) -> Word {
        assert!(place < WORDS, "the first line has two words for others");
        Word { name, place }
    }
}

impl Metadata {
    /// What a crate keeps in its word.
    #[inline(always)]
    pub const fn word(&self, word: Word) -> u32 {
        self.words[word.place]
    }

    /// Writes a crate's word.
    #[inline(always)]
    pub const fn set_word(&mut self, word: Word, value: u32) {
        self.words[word.place] = value;
    }
}

struct FieldEntry {
    name: String,
    holds: TypeId,
    type_name: &'static str,
    place: Range<usize>,
    /// Of those who will not need it for ever.
    claims: Vec<Weak<()>>,
    for_ever: bool,
}

impl FieldEntry {
    fn is_claimed(&self) -> bool {
        self.for_ever || self.claims.iter().any(|claim| claim.strong_count() > 0)
    }
}

/// What is claimed, by name. The main thread's.
#[derive(Default)]
pub(crate) struct ContextRegistry {
    fields: Vec<FieldEntry>,
    flags: Vec<(String, u32)>,
    words: Vec<(String, u32)>,
}

impl ContextRegistry {
    /// The field of that name and type, placed now if it is new. It is claimed as long as `claim` lives, or for ever.
    pub fn field<T: Plain>(&mut self, name: &str, claim: Option<&Arc<()>>) -> Result<Field<T>, ContextError> {
        const {
            assert!(
                align_of::<T>() <= align_of::<u64>() && size_of::<T>() > 0,
                "a field is aligned to 8 at most"
            )
        };
        let (holds, type_name) = (TypeId::of::<T>(), type_name::<T>());
        let named = |field: &&FieldEntry| field.name == name && (field.is_claimed() || field.holds == holds);
        let other = self.fields.iter().filter(named).find(|field| field.holds != holds);
        if let Some(FieldEntry { type_name: there, .. }) = other {
            return Err(ContextError::OtherType { name: name.to_owned(), there, asked: type_name });
        }
        let known = self.fields.iter().position(|field| named(&field));
        let known = match known {
            Some(known) => known,
            None => {
                let place = self.place(name, size_of::<T>(), align_of::<T>())?;
                self.fields.retain(|field| field.is_claimed() || are_apart(&field.place, &place));
                let (name, claims) = (name.to_owned(), Vec::new());
                self.fields.push(FieldEntry { name, holds, type_name, place, claims, for_ever: false });
                self.fields.len() - 1
            }
        };
        let field = &mut self.fields[known];
        field.claims.retain(|claim| claim.strong_count() > 0);
        match claim {
            Some(claim) => field.claims.push(Arc::downgrade(claim)),
            None => field.for_ever = true,
        }
        Ok(Field { offset: field.place.start as u16, holds: PhantomData })
    }

    /// The first gap that a field fits in; if there is none, the first one among the fields that are claimed.
    fn place(&self, name: &str, size: usize, align: usize) -> Result<Range<usize>, ContextError> {
        let claimed = || self.fields.iter().filter(|field| field.is_claimed());
        let starts = (0..=size_of::<Fields>().saturating_sub(size)).step_by(align);
        let places = starts.map(|start| start..start + size);
        let mut free = places.filter(|place| claimed().all(|field| are_apart(&field.place, place)));
        let empty = |place: &Range<usize>| self.fields.iter().all(|field| are_apart(&field.place, place));
        free.clone().find(empty).or_else(|| free.next()).ok_or_else(|| ContextError::Full {
            name: name.to_owned(),
            size,
            taken: claimed().map(|field| field.place.len()).sum(),
            holders: list(claimed().map(|field| field.name.as_str())),
        })
    }

    /// The mask of the flag of that name, a bit that nobody else has.
    pub fn flag(&mut self, name: &str) -> Result<u32, ContextError> {
        if let Some((_, bit)) = self.flags.iter().find(|(there, _)| there == name) {
            return Ok(1 << bit);
        }
        let free = NAMED_FLAGS.into_iter().find(|bit| self.flags.iter().all(|(_, there)| there != bit));
        let bit = free.ok_or_else(|| ContextError::NoFlag {
            name: name.to_owned(),
            holders: list(self.flags.iter().map(|(name, _)| name.as_str())),
        })?;
        self.flags.push((name.to_owned(), bit));
        Ok(1 << bit)
    }

    /// A flag that is a constant of its owner.
    pub fn claim_flag(&mut self, name: &str, mask: u32) -> Result<(), ContextError> {
        let bit = mask.trailing_zeros();
        if !mask.is_power_of_two() || !FIXED_FLAGS.contains(&bit) {
            return Err(ContextError::NotFixed { name: name.to_owned(), mask });
        }
        claim(&mut self.flags, "flag", name, bit)
    }

    /// A word that is a constant of its owner.
    pub fn claim_word(&mut self, word: Word) -> Result<(), ContextError> {
        claim(&mut self.words, "word", word.name, word.place as u32)
    }
}

fn claim(
    claims: &mut Vec<(String, u32)>,
    kind: &'static str,
    name: &str,
    place: u32,
) -> Result<(), ContextError> {
    for (there, taken) in &*claims {
        match (there == name, *taken == place) {
            (true, true) => return Ok(()),
            (false, false) => {}
            (true, false) => {
                return Err(ContextError::Elsewhere {
                    kind,
                    name: name.to_owned(),
                    there: *taken,
                    asked: place,
                });
            }
            (false, true) => {
                let there = there.clone();
                return Err(ContextError::Taken { kind, place, name: name.to_owned(), there });
            }
        }
    }
    claims.push((name.to_owned(), place));
    Ok(())
}

fn are_apart(one: &Range<usize>, other: &Range<usize>) -> bool {
    one.end <= other.start || other.end <= one.start
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_of_one_type_is_shared_and_of_another_refused() {
        let mut registry = ContextRegistry::default();
        let mark = registry.field::<u32>("mark", None).unwrap();
        assert_eq!(registry.field::<u32>("mark", None).unwrap().offset(), mark.offset());
        let error = registry.field::<u64>("mark", None).unwrap_err();
        assert_eq!(error.to_string(), "packet field 'mark' is u32, and cannot be u64 too");
    }

    #[test]
    fn a_full_line_names_who_fills_it() {
        let mut registry = ContextRegistry::default();
        registry.field::<[u64; 7]>("large", None).unwrap();
        registry.field::<u8>("small", None).unwrap();
        let error = registry.field::<u64>("late", None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no room for packet field 'late' of 8 bytes: 57 of 64 are taken, by large, small"
        );
        assert_eq!(registry.field::<u32>("fits", None).unwrap().offset(), 60);
    }

    #[test]
    fn what_nobody_claims_any_more_waits_for_the_same_and_then_makes_room() {
        let mut registry = ContextRegistry::default();
        registry.field::<[u64; 6]>("large", None).unwrap();
        let (first, second) = (Arc::new(()), Arc::new(()));
        let place = registry.field::<u64>("own", Some(&first)).unwrap().offset();
        assert_eq!(registry.field::<u64>("own", Some(&second)).unwrap().offset(), place, "shared");
        drop(first);
        assert!(matches!(registry.field::<u32>("own", None), Err(ContextError::OtherType { .. })));
        drop(second);
        let third = Arc::new(());
        let other = registry.field::<u32>("other", Some(&third)).unwrap().offset();
        assert_ne!(other, place, "packets that wait may have the old one");
        let again = registry.field::<u64>("own", Some(&third)).unwrap();
        assert_eq!(again.offset(), place, "the same comes back to it");
        drop(third);
        // Of another type it is another field, beside the places that are empty.
        let fourth = Arc::new(());
        let changed = registry.field::<u32>("own", Some(&fourth)).unwrap().offset();
        assert_eq!(changed, 60);
        // Where there is no other room, the empty ones are given out.
        let last = registry.field::<u64>("last", None).unwrap();
        assert_eq!(last.offset(), place);
        let error = registry.field::<u64>("late", None).unwrap_err();
        assert!(matches!(error, ContextError::Full { taken: 60, .. }), "{error}");
        assert!(error.to_string().ends_with("by large, own, last"), "{error}");
    }

    #[test]
    fn places_have_one_name_and_names_one_place() {
        let mut registry = ContextRegistry::default();
        registry.claim_word(Word::new("table", 0)).unwrap();
        registry.claim_word(Word::new("table", 0)).unwrap();
        let error = registry.claim_word(Word::new("label", 0)).unwrap_err();
        assert_eq!(error.to_string(), "packet word 0 cannot be 'label': it is 'table'");
        let error = registry.claim_word(Word::new("table", 1)).unwrap_err();
        assert_eq!(error.to_string(), "packet word 'table' is number 0, and cannot be number 1 too");

        registry.claim_flag("link-broadcast", 1 << 8).unwrap();
        assert!(matches!(registry.claim_flag("other", 1 << 8), Err(ContextError::Taken { .. })));
        for mask in [0, 1, 3 << 8, 1 << 16] {
            assert!(matches!(registry.claim_flag("other", mask), Err(ContextError::NotFixed { .. })));
        }
        let mut masks: Vec<u32> = NAMED_FLAGS.map(|i| registry.flag(&format!("flag-{i}")).unwrap()).collect();
        assert_eq!(registry.flag("flag-16").unwrap(), masks[0]);
        masks.push(1 << 8);
        let all = masks.iter().fold(0, |all, mask| {
            assert_eq!(all & mask, 0, "each has a bit of its own");
            all | mask
        });
        assert_eq!(all.count_ones() as usize, masks.len());
        assert!(matches!(registry.flag("one-more"), Err(ContextError::NoFlag { .. })));
    }

    proptest! {
        /// Whatever is registered lies in the line, aligned, and apart from all others.
        #[test]
        fn fields_do_not_overlap(sizes in prop::collection::vec(0usize..4, 1..40)) {
            let mut registry = ContextRegistry::default();
            for (i, size) in sizes.into_iter().enumerate() {
                let name = format!("field-{i}");
                let _ = match size {
                    0 => registry.field::<u8>(&name, None).map(|field| field.offset()),
                    1 => registry.field::<u16>(&name, None).map(|field| field.offset()),
                    2 => registry.field::<[u32; 3]>(&name, None).map(|field| field.offset()),
                    _ => registry.field::<u64>(&name, None).map(|field| field.offset()),
                };
            }
            let mut used = [false; size_of::<Fields>()];
            for FieldEntry { place, .. } in &registry.fields {
                for used in &mut used[place.clone()] {
                    prop_assert!(!std::mem::replace(used, true));
                }
            }
        }
    }
}

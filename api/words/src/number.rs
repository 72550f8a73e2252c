// SPDX-License-Identifier: Apache-2.0
//! What a word that is no number should have been. The library's own sentences ("invalid digit found in string") say neither.

use std::any::TypeId;
use std::num::NonZero;

/// The numbers that `T` has, as the end of a sentence, if `T` is a type of whole numbers.
///
/// ```
/// assert_eq!(weft_words::no_number::<u8>().as_deref(), Some("it is no number from 0 to 255"));
/// assert_eq!(weft_words::no_number::<String>(), None);
/// ```
pub fn no_number<T: 'static>() -> Option<String> {
    let wanted = TypeId::of::<T>();
    let all = [
        (TypeId::of::<u8>(), 0, u64::from(u8::MAX)),
        (TypeId::of::<NonZero<u8>>(), 1, u8::MAX.into()),
        (TypeId::of::<u16>(), 0, u16::MAX.into()),
        (TypeId::of::<NonZero<u16>>(), 1, u16::MAX.into()),
        (TypeId::of::<u32>(), 0, u32::MAX.into()),
        (TypeId::of::<NonZero<u32>>(), 1, u32::MAX.into()),
        (TypeId::of::<u64>(), 0, u64::MAX),
        (TypeId::of::<NonZero<u64>>(), 1, u64::MAX),
        (TypeId::of::<usize>(), 0, usize::MAX as u64),
    ];
    let (_, low, high) = all.into_iter().find(|(known, ..)| *known == wanted)?;
    Some(format!("it is no number from {low} to {high}"))
}

// SPDX-License-Identifier: Apache-2.0
//! Looks at the header of a shared object before the dynamic linker does: that one maps what the header says, and touching
//! a page beyond the end of a truncated file is a SIGBUS. Offsets: elf(5).

/// Why a file is not a library for this machine.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ElfError {
    /// Something else.
    #[error("expected a shared object (ELF), found something else")]
    NotElf,
    /// Of 32 bits, or big-endian.
    #[error("expected a 64-bit little-endian shared object")]
    Class,
    /// An executable or an object file.
    #[error("expected a shared object, found an ELF file of type {0}")]
    Type(u16),
    /// For another processor.
    #[error("built for another processor: ELF machine {found}, expected {expected}")]
    Machine {
        /// In the file.
        found: u16,
        /// Of this machine.
        expected: u16,
    },
    /// Its end is missing.
    #[error("truncated: {found} bytes, expected at least {expected}")]
    Truncated {
        /// Of the file.
        found: u64,
        /// That its headers speak of.
        expected: u64,
    },
}

const HEADER: u64 = 64;
const PROGRAM_HEADER: u64 = 56;
/// `ET_DYN`, linux/elf.h.
const SHARED: u16 = 3;
/// `EM_X86_64` or `EM_AARCH64`, linux/elf-em.h.
const MACHINE: u16 = if cfg!(target_arch = "aarch64") { 183 } else { 62 };

/// Whether the linker may be given these bytes.
pub fn check(file: &[u8]) -> Result<(), ElfError> {
    if !file.starts_with(b"\x7fELF") {
        return Err(ElfError::NotElf);
    }
    need(file, HEADER)?;
    // EI_CLASS and EI_DATA
    if file[4..6] != [2, 1] {
        return Err(ElfError::Class);
    }
    match number(file, 16, 2) as u16 {
        SHARED => {}
        other => return Err(ElfError::Type(other)),
    }
    match number(file, 18, 2) as u16 {
        MACHINE => {}
        found => return Err(ElfError::Machine { found, expected: MACHINE }),
    }
    let (programs, program_size, count) = (number(file, 32, 8), number(file, 54, 2), number(file, 56, 2));
    if program_size != PROGRAM_HEADER {
        return Err(ElfError::NotElf);
    }
    need(file, programs.saturating_add(count * PROGRAM_HEADER))?;
    for program in 0..count {
        let at = programs + program * PROGRAM_HEADER;
        need(file, number(file, at + 8, 8).saturating_add(number(file, at + 32, 8)))?;
    }
    let (sections, section_size, count) = (number(file, 40, 8), number(file, 58, 2), number(file, 60, 2));
    need(file, sections.saturating_add(section_size * count))
}

fn need(file: &[u8], expected: u64) -> Result<(), ElfError> {
    let found = file.len() as u64;
    if expected > found { Err(ElfError::Truncated { found, expected }) } else { Ok(()) }
}

/// The number of this many bytes; the caller has checked that they are there.
fn number(file: &[u8], at: u64, bytes: usize) -> u64 {
    let at = at as usize;
    file[at..at + bytes].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn library() -> Vec<u8> {
        // Any will do, and the C library is always there.
        let maps = std::fs::read_to_string("/proc/self/maps").expect("proc is mounted");
        let path = maps
            .lines()
            .filter_map(|line| line.split_whitespace().nth(5))
            .find(|path| path.contains("libc.so"));
        std::fs::read(path.expect("the test is linked to the C library")).expect("it can be read")
    }

    fn with(change: impl FnOnce(&mut Vec<u8>)) -> Result<(), ElfError> {
        let mut file = library();
        change(&mut file);
        check(&file)
    }

    #[test]
    fn a_library_of_this_machine_is_good() {
        assert_eq!(check(&library()), Ok(()));
    }

    #[test]
    fn others_are_refused() {
        assert_eq!(check(b""), Err(ElfError::NotElf));
        assert_eq!(check(b"#!/bin/sh\n"), Err(ElfError::NotElf));
        assert_eq!(with(|file| file[4] = 1), Err(ElfError::Class));
        assert_eq!(with(|file| file[16] = 1), Err(ElfError::Type(1)));
        assert_eq!(with(|file| file[18..20].fill(0)), Err(ElfError::Machine { found: 0, expected: MACHINE }));
    }

    #[test]
    fn a_truncated_one_is_refused_wherever_it_ends() {
        let whole = library();
        for length in [4, 40, 63, 64, 200, 4096, whole.len() / 2, whole.len() - 1] {
            let refused = check(&whole[..length]);
            assert!(
                matches!(refused, Err(ElfError::Truncated { found, .. }) if found == length as u64),
                "{length}"
            );
        }
    }

    #[test]
    fn any_header_is_survived() {
        let whole = library();
        for at in 0..64 {
            for value in [0, 1, 0x7f, 0xff] {
                let mut file = whole[..4096].to_vec();
                file[at] = value;
                let _ = check(&file);
            }
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
//! IPv4 options of a ping, as they are in its answer: this host adds itself to a recorded route and to time stamps
//! (RFC 1122 section 3.2.2.6; the options are in RFC 791 section 3.1).

use std::net::Ipv4Addr;

/// Types of options.
const END: u8 = 0;
const NOP: u8 = 1;
const RECORD_ROUTE: u8 = 7;
const TIMESTAMP: u8 = 68;
const LOOSE_SOURCE_ROUTE: u8 = 131;
const STRICT_SOURCE_ROUTE: u8 = 137;

/// What a time stamp option asks for, in the low half of its fourth byte.
const STAMPS: u8 = 0;
const ADDRESSES_AND_STAMPS: u8 = 1;
const STAMPS_OF_NAMED: u8 = 3;

/// The answer is the business of the host: the request names the way back, or cannot be understood.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ForTheHost;

/// Makes the options of a request to `own` those of its answer. `now` is asked for the milliseconds since midnight, UT. On an
/// error nothing is changed.
pub(super) fn answer(options: &mut [u8], own: Ipv4Addr, now: impl Fn() -> u32) -> Result<(), ForTheHost> {
    for (start, end) in places(options)? {
        match options[start] {
            RECORD_ROUTE => record(&mut options[start..end], own),
            TIMESTAMP => stamp(&mut options[start..end], own, &now),
            _ => {}
        }
    }
    Ok(())
}

/// Where options are that are more than a byte: ten at most fit in.
fn places(options: &[u8]) -> Result<impl Iterator<Item = (usize, usize)> + use<>, ForTheHost> {
    let (mut found, mut count, mut at) = ([(0, 0); 20], 0, 0);
    while at < options.len() && options[at] != END {
        if options[at] == NOP {
            at += 1;
            continue;
        }
        let length = options.get(at + 1).map_or(0, |length| usize::from(*length));
        let sound = match options[at] {
            LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE => false,
            RECORD_ROUTE => length >= 3 && options.get(at + 2).is_some_and(|pointer| *pointer >= 4),
            TIMESTAMP => length >= 4 && options.get(at + 2).is_some_and(|pointer| *pointer >= 5),
            _ => length >= 2,
        };
        if !sound || at + length > options.len() {
            return Err(ForTheHost);
        }
        found[count] = (at, at + length);
        count += 1;
        at += length;
    }
    Ok(found.into_iter().take(count))
}

/// The next free places of a list of `size` bytes each, whose option points to it; none if it is full.
fn free(option: &mut [u8], size: usize) -> Option<&mut [u8]> {
    // Counted from 1, from the type on.
    let at = usize::from(option[2]) - 1;
    let end = at + size;
    if end > option.len() {
        return None;
    }
    option[2] += size as u8;
    Some(&mut option[at..end])
}

fn record(option: &mut [u8], own: Ipv4Addr) {
    if let Some(place) = free(option, 4) {
        place.copy_from_slice(&own.octets());
    }
}

fn stamp(option: &mut [u8], own: Ipv4Addr, now: &dyn Fn() -> u32) {
    let kind = option[3] & 15;
    let place = match kind {
        STAMPS => free(option, 4),
        ADDRESSES_AND_STAMPS => free(option, 8),
        STAMPS_OF_NAMED => {
            let at = usize::from(option[2]) - 1;
            // The next one named is somebody else, who is still to come.
            if option.get(at..at + 4).is_some_and(|named| named != own.octets()) {
                return;
            }
            free(option, 8)
        }
        _ => return,
    };
    let Some(place) = place else {
        // Who had no room is counted; the counter ends at 15.
        let overflow = (option[3] >> 4).saturating_add(1).min(15);
        option[3] = overflow << 4 | kind;
        return;
    };
    if kind == ADDRESSES_AND_STAMPS {
        place[..4].copy_from_slice(&own.octets());
    }
    let stamp = place.len() - 4;
    place[stamp..].copy_from_slice(&now().to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

    fn answered(options: &[u8]) -> Result<Vec<u8>, ForTheHost> {
        let mut options = options.to_vec();
        answer(&mut options, OWN, || 0x0102_0304).map(|()| options)
    }

    #[test]
    fn this_host_adds_itself() {
        for (request, reply) in [
            // A recorded route: with room, with that of one more, and full.
            (vec![NOP, 7, 7, 4, 0, 0, 0, 0], vec![NOP, 7, 7, 8, 10, 0, 0, 1]),
            (vec![7, 11, 8, 9, 9, 9, 9, 0, 0, 0, 0, END], vec![7, 11, 12, 9, 9, 9, 9, 10, 0, 0, 1, END]),
            (vec![7, 7, 8, 9, 9, 9, 9, END], vec![7, 7, 8, 9, 9, 9, 9, END]),
            // Time stamps alone, with addresses, of named hosts.
            (vec![68, 8, 5, 0, 0, 0, 0, 0], vec![68, 8, 9, 0, 1, 2, 3, 4]),
            (vec![68, 12, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0], vec![68, 12, 13, 1, 10, 0, 0, 1, 1, 2, 3, 4]),
            (vec![68, 12, 5, 3, 10, 0, 0, 1, 0, 0, 0, 0], vec![68, 12, 13, 3, 10, 0, 0, 1, 1, 2, 3, 4]),
            (vec![68, 12, 5, 3, 9, 9, 9, 9, 0, 0, 0, 0], vec![68, 12, 5, 3, 9, 9, 9, 9, 0, 0, 0, 0]),
            // No room: who had none is counted, up to 15.
            (vec![68, 8, 9, 0x20, 1, 1, 1, 1], vec![68, 8, 9, 0x30, 1, 1, 1, 1]),
            (vec![68, 8, 9, 0xf1, 1, 1, 1, 1], vec![68, 8, 9, 0xf1, 1, 1, 1, 1]),
            // What nothing is said about comes back.
            (vec![148, 4, 0, 0], vec![148, 4, 0, 0]),
        ] {
            assert_eq!(answered(&request), Ok(reply), "{request:?}");
        }
    }

    #[test]
    fn what_cannot_be_answered_here_is_the_hosts() {
        for request in [
            &[131, 7, 4, 9, 9, 9, 9, 0][..],
            &[137, 7, 4, 9, 9, 9, 9, 0],
            &[7, 0, 4, 0],
            &[7, 2, 4, 0],
            &[7, 7, 3, 0, 0, 0, 0, 0],
            &[7, 7, 4, 0],
            &[68, 8, 4, 0, 0, 0, 0, 0],
            &[68],
            &[148, 1, 0, 0],
        ] {
            assert_eq!(answered(request), Err(ForTheHost), "{request:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_options_or_are_refused(options in prop::collection::vec(any::<u8>(), 0..=40)) {
            if let Ok(reply) = answered(&options) {
                prop_assert_eq!(reply.len(), options.len());
                // Nothing but what points, counts and is free changes: types and lengths stay.
                prop_assert!(places(&reply).unwrap().eq(places(&options).unwrap()));
            }
        }
    }
}

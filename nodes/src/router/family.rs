// SPDX-License-Identifier: Apache-2.0
//! What the router has of a family's own, beside [`Forwarded`]: where its tables are, and how a station is asked for.

use std::net::{Ipv4Addr, Ipv6Addr};

use weft_fib::{Ip4, Ip6, Objects};

use super::{Router, Tables};
use crate::arp::{REQUESTS_SENT, request_frame};
use crate::forward::Forwarded;
use crate::headers::MacAddr;
use crate::interface::Tags;
use crate::ip6::solicitation_frame;

/// A family that is routed.
pub trait Routed: Forwarded {
    /// What the names of tables begin with that nobody has named, as in VPP; the number follows.
    const TABLE_NAME: &'static str;
    /// The words that begin a command about it.
    const COMMAND: &'static str;
    /// Counters by interface of what [`Routed::solicitation`] makes: questions, and announcements of an own address.
    const SOLICITATIONS: Option<[&'static str; 2]> = None;

    /// Its tables.
    fn tables(router: &Router) -> &Tables<Self>;
    /// Its tables, and the objects that routes of all families lead to, to be changed.
    fn parts(router: &mut Router) -> (&mut Tables<Self>, &mut Objects);

    /// The frame that asks for the MAC address of `target`: all stations that may have it, or the one (`to`) that had it
    /// before. `sender` is our address.
    fn solicitation(
        sender: (MacAddr, Self::Addr),
        target: Self::Addr,
        to: Option<MacAddr>,
        tags: Tags,
    ) -> Vec<u8>;
}

impl Routed for Ip4 {
    const TABLE_NAME: &'static str = "ipv4-VRF";
    const COMMAND: &'static str = "ip";
    const SOLICITATIONS: Option<[&'static str; 2]> = Some(REQUESTS_SENT);

    fn tables(router: &Router) -> &Tables<Ip4> {
        &router.ip4
    }

    fn parts(router: &mut Router) -> (&mut Tables<Ip4>, &mut Objects) {
        (&mut router.ip4, &mut router.objects)
    }

    fn solicitation(
        sender: (MacAddr, Ipv4Addr),
        target: Ipv4Addr,
        to: Option<MacAddr>,
        tags: Tags,
    ) -> Vec<u8> {
        request_frame(sender, target, to, tags)
    }
}

impl Routed for Ip6 {
    const TABLE_NAME: &'static str = "ipv6-VRF";
    const COMMAND: &'static str = "ip6";

    fn tables(router: &Router) -> &Tables<Ip6> {
        &router.ip6
    }

    fn parts(router: &mut Router) -> (&mut Tables<Ip6>, &mut Objects) {
        (&mut router.ip6, &mut router.objects)
    }

    fn solicitation(
        sender: (MacAddr, Ipv6Addr),
        target: Ipv6Addr,
        to: Option<MacAddr>,
        tags: Tags,
    ) -> Vec<u8> {
        solicitation_frame(sender, target, to, tags)
    }
}

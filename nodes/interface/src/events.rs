// SPDX-License-Identifier: Apache-2.0
//! What has happened to interfaces, for those who keep something about them on the main thread.
//!
//! The registry is the only place where an interface comes and changes, so it is the one that notes it: whoever changes an
//! interface need not know who must hear of it. What follows is noted too: a sub-interface goes up and down with its port,
//! and who borrows addresses has others when the lender has. Nothing is noted during a transaction, and what it changes when
//! it is committed.

use weft_engine::InterfaceIndex;

use crate::Interface;

/// What has happened to an interface. Its deletion is told by whoever deletes it, before and after.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// It is new.
    Added(InterfaceIndex),
    /// It is another than before.
    Changed(InterfaceIndex, Changes),
}

impl Event {
    /// The interface.
    pub fn interface(self) -> InterfaceIndex {
        match self {
            Event::Added(index) | Event::Changed(index, _) => index,
        }
    }
}

/// Which properties of an interface have changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Changes(u32);

impl Changes {
    /// Nothing.
    pub const NONE: Changes = Changes(0);
    /// Up or down, by the operator or by its link, or by those of the port below.
    pub const STATE: Changes = Changes(1);
    /// The largest IP packet.
    pub const MTU: Changes = Changes(2);
    /// Its MAC address.
    pub const MAC: Changes = Changes(4);
    /// Its addresses, or those that it borrows.
    pub const ADDRESSES: Changes = Changes(8);
    /// The forwarding table of packets of some family that arrive there.
    pub const TABLE: Changes = Changes(16);
    /// Anything else.
    pub const SETTINGS: Changes = Changes(32);

    /// What differs between two states of an interface.
    pub(crate) fn between(old: &Interface, new: &Interface) -> Changes {
        // All fields by name, so that a new one cannot be forgotten here.
        let Interface {
            name,
            kind,
            tag,
            mac,
            admin_up,
            link_up,
            mtu,
            ip4,
            ip6,
            unnumbered,
            proxy_arp,
            gratuitous_arp,
            proxy_nd,
            proxied,
            router_advertisement,
            forwarding,
            forwarding6,
            source_check,
            layer2,
            tx,
            host,
        } = old;
        let differs = [
            ((*admin_up, *link_up) != (new.admin_up, new.link_up), Changes::STATE),
            (*mtu != new.mtu, Changes::MTU),
            (*mac != new.mac, Changes::MAC),
            (
                (ip4.seen(), ip6.seen(), unnumbered) != (new.ip4.seen(), new.ip6.seen(), &new.unnumbered),
                Changes::ADDRESSES,
            ),
            ((ip4.table, ip6.table) != (new.ip4.table, new.ip6.table), Changes::TABLE),
            (
                (name, kind, tag, proxy_arp, gratuitous_arp, forwarding, source_check, tx, host)
                    != (
                        &new.name,
                        &new.kind,
                        &new.tag,
                        &new.proxy_arp,
                        &new.gratuitous_arp,
                        &new.forwarding,
                        &new.source_check,
                        &new.tx,
                        &new.host,
                    ),
                Changes::SETTINGS,
            ),
            (
                (proxy_nd, proxied, router_advertisement, forwarding6, layer2)
                    != (
                        &new.proxy_nd,
                        &new.proxied,
                        &new.router_advertisement,
                        &new.forwarding6,
                        &new.layer2,
                    ),
                Changes::SETTINGS,
            ),
        ];
        let of = |(differs, what): (bool, Changes)| if differs { what } else { Changes::NONE };
        differs.into_iter().map(of).fold(Changes::NONE, Changes::and)
    }

    /// These and those.
    #[must_use]
    pub const fn and(self, other: Changes) -> Changes {
        Changes(self.0 | other.0)
    }

    /// Whether any of these is among them.
    pub const fn any_of(self, these: Changes) -> bool {
        self.0 & these.0 != 0
    }

    /// As a number, a bit for each.
    pub const fn bits(self) -> u32 {
        self.0
    }
}

// SPDX-License-Identifier: Apache-2.0
//! Whose an object is: a route, an address, a setting.

use std::fmt;

/// Who configured something. What one owner says never changes what another one said.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Owner(pub u16);

impl Owner {
    /// Follows from the addresses of interfaces.
    pub const CONNECTED: Owner = Owner(0);
    /// Follows from resolved neighbours.
    pub const NEIGHBOR: Owner = Owner(1);
    /// The command line, and the command file that is run at start.
    pub const CLI: Owner = Owner(2);
    /// Clients of the binary API, all together; each is an [`Owner::agent`].
    pub const API: Owner = Owner(3);
    /// The vplaned session.
    pub const VPLANED: Owner = Owner(4);
    /// The sections of startup.conf.
    pub const STARTUP: Owner = Owner(5);
    /// What is mirrored from the kernel.
    pub const KERNEL: Owner = Owner(6);
    /// The first of the plugins; each has its own.
    pub const PLUGIN: Owner = Owner(16);
    /// The first client of the binary API.
    const AGENT: u16 = 1 << 15;
    /// How many clients of the binary API can be told apart.
    pub const AGENTS: u16 = 1 << 15;

    /// One of the plugins.
    pub const fn plugin(number: u16) -> Owner {
        Owner(Self::PLUGIN.0 + number % (Self::AGENT - Self::PLUGIN.0))
    }

    /// One of [`Owner::AGENTS`] clients of the binary API. Each says again what is its own, but they share their routes
    /// ([`Owner::slot`]): what one has made another may change, as it is used to.
    pub const fn agent(number: u16) -> Owner {
        Owner(Self::AGENT | number)
    }

    /// Whether it is one of the plugins.
    pub fn is_plugin(self) -> bool {
        self.plugin_number().is_some()
    }

    /// Of one of the plugins, what [`Owner::plugin`] was given.
    pub fn plugin_number(self) -> Option<u16> {
        (Self::PLUGIN.0..Self::AGENT).contains(&self.0).then(|| self.0 - Self::PLUGIN.0)
    }

    /// Owners of one slot have one route to a prefix between them: that of the last one that said something.
    pub const fn slot(self) -> Owner {
        if self.0 >= Self::AGENT { Owner::API } else { self }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match *self {
            Owner::CONNECTED => "connected",
            Owner::NEIGHBOR => "neighbor",
            Owner::CLI => "cli",
            Owner::VPLANED => "vplaned",
            Owner::STARTUP => "startup.conf",
            Owner::KERNEL => "kernel",
            owner if owner.slot() == Owner::API => "api",
            Owner(other) if self.is_plugin() => return write!(f, "plugin {}", other - Owner::PLUGIN.0),
            Owner(other) => return write!(f, "owner {other}"),
        };
        f.write_str(name)
    }
}

// SPDX-License-Identifier: Apache-2.0
//! The names that `npf-cfg` uses: classes, groups, attach points, rulesets.

use std::fmt;
use std::str::FromStr;

/// An enumeration by its words on the wire.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// As it stands in commands.
            pub fn word(self) -> &'static str {
                match self { $($name::$variant => $word,)* }
            }
        }

        impl FromStr for $name {
            type Err = ();

            fn from_str(text: &str) -> Result<$name, ()> {
                match text { $($word => Ok($name::$variant),)* _ => Err(()) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.word())
            }
        }
    };
}

words! {
    /// What a group's rules are.
    GroupClass {
        PortGroup = "port-group",
        IcmpGroup = "icmp-group",
        Icmpv6Group = "icmpv6-group",
        Acl = "acl",
        Firewall = "fw",
        Pbr = "pbr",
        Dnat = "dnat",
        Snat = "snat",
        Nat64 = "nat64",
        Nat46 = "nat46",
        Qos = "qos",
        Ipsec = "ipsec",
        CustomTimeout = "custom-timeout",
        SessionLimiter = "session-limiter",
        AppFirewall = "app-firewall",
        DscpGroup = "dscp-group",
        ProtocolGroup = "protocol-group",
        ActionGroup = "action-group",
        App = "app",
        Nptv6In = "nptv6-in",
        Nptv6Out = "nptv6-out",
    }
}

impl GroupClass {
    /// The ruleset that groups of this class are part of without `attach`: their name is the attach point's.
    pub fn attaches_itself(self) -> Option<Ruleset> {
        match self {
            GroupClass::Dnat => Some(Ruleset::Dnat),
            GroupClass::Snat => Some(Ruleset::Snat),
            GroupClass::Qos => Some(Ruleset::Qos),
            GroupClass::CustomTimeout => Some(Ruleset::CustomTimeout),
            GroupClass::App => Some(Ruleset::App),
            _ => None,
        }
    }

    /// Whether its rules filter packets.
    pub fn filters(self) -> bool {
        matches!(self, GroupClass::Acl | GroupClass::Firewall)
    }
}

words! {
    /// What attached groups do.
    Ruleset {
        AclIn = "acl-in",
        AclOut = "acl-out",
        FirewallIn = "fw-in",
        FirewallOut = "fw-out",
        Dnat = "dnat",
        Snat = "snat",
        Zone = "zone",
        Local = "local",
        Originate = "originate",
        Bridge = "bridge",
        Ipsec = "ipsec",
        Pbr = "pbr",
        CustomTimeout = "custom-timeout",
        Nat64 = "nat64",
        Nat46 = "nat46",
        Qos = "qos",
        SessionRproc = "session-rproc",
        PortMonitorIn = "portmonitor-in",
        PortMonitorOut = "portmonitor-out",
        App = "app",
        Nptv6In = "nptv6-in",
        Nptv6Out = "nptv6-out",
    }
}

/// `CLASS:NAME`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupName {
    pub class: GroupClass,
    pub name: String,
}

impl FromStr for GroupName {
    type Err = ();

    fn from_str(text: &str) -> Result<GroupName, ()> {
        let (class, name) = text.split_once(':').ok_or(())?;
        if name.is_empty() {
            return Err(());
        }
        Ok(GroupName { class: class.parse()?, name: name.to_owned() })
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.class, self.name)
    }
}

/// Where groups are attached. Interfaces are names, as they may not exist yet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum AttachPoint {
    Interface(String),
    Global,
    Vrf(u32),
    Zone { from: String, to: String },
    Qos(String),
}

impl AttachPoint {
    /// The kind, as `npf-op show` tells it.
    pub fn kind(&self) -> &'static str {
        match self {
            AttachPoint::Interface(_) => "interface",
            AttachPoint::Global => "global",
            AttachPoint::Vrf(_) => "vrf",
            AttachPoint::Zone { .. } => "zone",
            AttachPoint::Qos(_) => "qos",
        }
    }

    /// What stands after the kind.
    pub fn name(&self) -> String {
        match self {
            AttachPoint::Interface(name) | AttachPoint::Qos(name) => name.clone(),
            AttachPoint::Global => String::new(),
            AttachPoint::Vrf(id) => id.to_string(),
            AttachPoint::Zone { from, to } => format!("{from}>{to}"),
        }
    }
}

impl FromStr for AttachPoint {
    type Err = ();

    fn from_str(text: &str) -> Result<AttachPoint, ()> {
        match text.split_once(':').ok_or(())? {
            ("interface", name) if !name.is_empty() => Ok(AttachPoint::Interface(name.to_owned())),
            ("global", "") => Ok(AttachPoint::Global),
            ("vrf", id) => Ok(AttachPoint::Vrf(id.parse().map_err(drop)?)),
            ("zone", zones) => {
                let (from, to) = zones.split_once('>').ok_or(())?;
                Ok(AttachPoint::Zone { from: from.to_owned(), to: to.to_owned() })
            }
            ("qos", rest) if !rest.is_empty() => Ok(AttachPoint::Qos(rest.to_owned())),
            _ => Err(()),
        }
    }
}

impl fmt::Display for AttachPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind(), self.name())
    }
}

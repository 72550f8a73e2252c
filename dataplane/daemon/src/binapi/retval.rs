// SPDX-License-Identifier: Apache-2.0
//! Errors of the dataplane as the numbers that clients know (`vnet/error.h` of VPP). The sentence goes to the log: a
//! number has no room for it.

use weft_binapi::Retval;
use weft_classify::ClassifyError;
use weft_control::{LinkError, StepError};
use weft_engine::feature::FeatureError;
use weft_l2::L2Error;
use weft_nodes::fib::{ApplyError, RouteError};
use weft_nodes::interface::InterfaceError;
use weft_nodes::neighbor::NeighborError;
use weft_nodes::router::{Routed, RouterError, RoutesError};

use crate::ports::DeviceError;
use crate::subsystem::Refusal;

/// Says in the log why, too.
pub fn step(error: &StepError) -> Retval {
    tracing::info!("API: {error}");
    of(error)
}

pub fn of(error: &StepError) -> Retval {
    match error {
        StepError::Interface(error) => interface(error),
        StepError::Router(error) => routes(error),
        StepError::Ip4(error) => route(error),
        StepError::Ip6(error) => route(error),
        StepError::Classify(error) => classify(error),
        StepError::L2(error) => l2(error),
        StepError::Flow(_) | StepError::FlowTables(_) | StepError::FlowTarget { .. } => {
            Retval::LIMIT_EXCEEDED
        }
        StepError::NoFlows | StepError::FlowEnded(_) => Retval::NO_SUCH_ENTRY,
        StepError::FlowToSub(_) => Retval::INVALID_SW_IF_INDEX,
        StepError::FlowFamily { .. } => Retval::INVALID_VALUE,
        StepError::Feature(FeatureError::SetBy { .. }) => Retval::UNSUPPORTED,
        StepError::Feature(_) | StepError::OwnSet(_) => Retval::INVALID_VALUE,
        StepError::Link(LinkError::Netdev(_)) => Retval::SYSCALL_ERROR_1,
        StepError::Link(LinkError::Device(error)) => {
            let refusal = error.downcast_ref().map(|Refusal::Moving { .. }| Retval::BUSY);
            refusal.or_else(|| error.downcast_ref().map(of_device)).unwrap_or(Retval::UNSPECIFIED)
        }
        StepError::Value(..)
        | StepError::Mtu { .. }
        | StepError::MacNotUnicast
        | StepError::Prefix { .. }
        | StepError::NotNumbered(..) => Retval::INVALID_VALUE,
        StepError::MacOfSub(_) => Retval::INVALID_SW_IF_INDEX,
        StepError::Unnumbered(..) => Retval::UNSUPPORTED,
        StepError::NotUnnumbered(_) => Retval::UNEXPECTED_INTF_STATE,
        StepError::InUse(..) | StepError::TableComesAndGoes(..) | StepError::ComesAgain(_) => {
            Retval::RSRC_IN_USE
        }
        StepError::HasAddresses(_) => Retval::ADDRESS_FOUND_FOR_INTERFACE,
        StepError::OtherLength { .. } => Retval::ADDRESS_LENGTH_MISMATCH,
        StepError::NoSuchNeighbor { .. }
        | StepError::NoSuchPrefix { .. }
        | StepError::NotProxied { .. }
        | StepError::NoSuchSetting(_) => Retval::NO_SUCH_ENTRY,
        StepError::StaticNeighbor { .. } | StepError::Proxied { .. } => Retval::ENTRY_ALREADY_EXISTS,
        StepError::NoStableSecret => Retval::FEATURE_DISABLED,
        StepError::TableGone(..) => Retval::NO_SUCH_FIB,
    }
}

/// See vnet/l2 of VPP.
pub fn l2(error: &L2Error) -> Retval {
    match error {
        L2Error::Id(_) => Retval::BD_ID_EXCEED_MAX,
        L2Error::Exists(_) => Retval::BD_ALREADY_EXISTS,
        L2Error::Unknown(_) | L2Error::NoEntry(..) => Retval::NO_SUCH_ENTRY,
        L2Error::HasPorts(..) => Retval::BD_IN_USE,
        L2Error::TooMany(..) | L2Error::Full { .. } | L2Error::Memory(_) => Retval::LIMIT_EXCEEDED,
        L2Error::HasBvi(..) | L2Error::HasUplink(..) => Retval::BD_ALREADY_HAS_BVI,
        L2Error::OnlyBvi(_) | L2Error::NotLoopback(_) | L2Error::NoLink(_) | L2Error::ToItself(_) => {
            Retval::INVALID_INTERFACE
        }
        L2Error::NotAPort(..) => Retval::INVALID_SW_IF_INDEX,
        L2Error::NotSwitched(_) | L2Error::NoInterface(_) => Retval::INVALID_SW_IF_INDEX,
        L2Error::NotAStation(_) | L2Error::FewTags(..) => Retval::INVALID_VALUE,
    }
}

fn classify(error: &ClassifyError) -> Retval {
    match error {
        ClassifyError::Full { .. } | ClassifyError::Stats(_) => Retval::LIMIT_EXCEEDED,
        ClassifyError::SetAttached(..) => Retval::RSRC_IN_USE,
        ClassifyError::NotAttached(_) => Retval::NO_SUCH_ENTRY,
        ClassifyError::Interface(_) => Retval::INVALID_INTERFACE,
        _ => Retval::INVALID_VALUE,
    }
}

pub fn device(error: DeviceError) -> Retval {
    tracing::info!("API: {error}");
    of_device(&error)
}

fn of_device(error: &DeviceError) -> Retval {
    match error {
        DeviceError::Interface(error) => interface(error),
        DeviceError::Step(error) => of(error),
        DeviceError::Changes(refused) => refused.first().map_or(Retval::UNSPECIFIED, of),
        DeviceError::Port(_) | DeviceError::Tap(_) | DeviceError::Netdev(_) | DeviceError::Umem(_) => {
            Retval::SYSCALL_ERROR_1
        }
        DeviceError::Pg(_) | DeviceError::Graph(_) => Retval::LIMIT_EXCEEDED,
        DeviceError::Feature(_) => Retval::FEATURE_DISABLED,
        DeviceError::Worker(_) => Retval::INVALID_WORKER,
        DeviceError::Kind { .. } => Retval::INVALID_SW_IF_INDEX,
        DeviceError::Closing(_) | DeviceError::Refused(Refusal::Moving { .. }) => Retval::BUSY,
        DeviceError::NoQueue { .. } => Retval::INVALID_QUEUE,
        DeviceError::HasHost(_) => Retval::IF_ALREADY_EXISTS,
        DeviceError::Settings(_) => Retval::INVALID_ARGUMENT,
    }
}

pub fn interface(error: &InterfaceError) -> Retval {
    match error {
        InterfaceError::Duplicate(_) => Retval::IF_ALREADY_EXISTS,
        InterfaceError::Full { .. } | InterfaceError::Stats { .. } => Retval::LIMIT_EXCEEDED,
        InterfaceError::Unknown(_) => Retval::INVALID_SW_IF_INDEX,
        InterfaceError::NotAPort(..) => Retval::INVALID_SW_IF_INDEX,
        InterfaceError::TagsTaken(_) => Retval::VLAN_ALREADY_EXISTS,
        InterfaceError::HasSubs(..) => Retval::RSRC_IN_USE,
    }
}

fn routes(error: &RoutesError) -> Retval {
    match error {
        RoutesError::Ip4(error) => router(error),
        RoutesError::Ip6(error) => router(error),
    }
}

pub fn router<F: Routed>(error: &RouterError<F>) -> Retval {
    match error {
        RouterError::UnknownTable(_) => Retval::NO_SUCH_FIB,
        RouterError::TableExists(_) => Retval::ENTRY_ALREADY_EXISTS,
        RouterError::TableInUse(..) => Retval::RSRC_IN_USE,
        RouterError::DefaultTable => Retval::UNSUPPORTED,
        RouterError::TablesFull(..) | RouterError::TableMemory(..) => Retval::LIMIT_EXCEEDED,
        RouterError::HasAddresses(_) => Retval::ADDRESS_FOUND_FOR_INTERFACE,
        RouterError::AddressInUse { .. } => Retval::DUPLICATE_IF_ADDRESS,
        RouterError::NoSuchAddress { .. } => Retval::ADDRESS_NOT_FOUND_FOR_INTERFACE,
        RouterError::NotUnicast(_)
        | RouterError::NotANeighbor(_)
        | RouterError::SmallMtu { .. }
        | RouterError::NotLinkLocal(_) => Retval::INVALID_VALUE,
        RouterError::Apply(error) => apply(error),
        RouterError::Interface(error) => interface(error),
        RouterError::Neighbor(error) => neighbor(error),
    }
}

fn apply<F: Routed>(error: &ApplyError<F>) -> Retval {
    match error {
        ApplyError::Refused(refused) => {
            refused.first().map_or(Retval::UNSPECIFIED, |(_, error)| route(error))
        }
        ApplyError::Objects(_) | ApplyError::Fib(_) => Retval::LIMIT_EXCEEDED,
    }
}

fn route<F: Routed>(error: &RouteError<F>) -> Retval {
    match error {
        RouteError::HostBits { .. } => Retval::INVALID_PREFIX_LENGTH,
        RouteError::NoPath(_) => Retval::NO_PATHS_IN_ROUTE,
        RouteError::TooManyPaths { .. } | RouteError::TableFull { .. } => Retval::LIMIT_EXCEEDED,
        RouteError::PathExists(..) | RouteError::Exists(..) => Retval::ENTRY_ALREADY_EXISTS,
        RouteError::NoSuchPath(..) | RouteError::NoSuchRoute(..) => Retval::NO_SUCH_ENTRY,
        RouteError::NextHopNotUnicast(..) | RouteError::OwnTable(_) => Retval::INVALID_VALUE,
        RouteError::NoSuchTable(_) => Retval::NO_SUCH_FIB,
        RouteError::NoSuchKind(..) => Retval::NO_SUCH_ENTRY,
    }
}

fn neighbor(error: &NeighborError) -> Retval {
    match error {
        NeighborError::Full { .. } | NeighborError::TooManyUnresolved { .. } => Retval::LIMIT_EXCEEDED,
        NeighborError::NotAStation { .. } => Retval::INVALID_VALUE,
    }
}

// SPDX-License-Identifier: Apache-2.0
//! Endpoints as ZeroMQ writes them.
//!
//! libzmq finds a bad endpoint only when it is used, and says `Invalid argument`; a start-up file deserves better.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// The kernel's `sun_path` holds 108 bytes, the last one a NUL.
const LONGEST_PATH: usize = 107;

/// `ipc://PATH`, `ipc://*`, `tcp://HOST:PORT` or `tcp://[ADDRESS]:PORT`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint(String);

/// A text that is no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not an endpoint: expected {expected}")]
pub struct EndpointError {
    pub found: String,
    pub expected: &'static str,
}

impl Endpoint {
    /// Of a controller elsewhere, or here.
    pub fn of_controller(address: IpAddr, local: bool) -> Endpoint {
        match address {
            _ if local => Endpoint("ipc:///var/run/vyatta/vplaned.req".to_owned()),
            IpAddr::V4(address) => Endpoint(format!("tcp://{address}:4415")),
            IpAddr::V6(address) => Endpoint(format!("tcp://[{address}]:4415")),
        }
    }

    /// An unused one that ZeroMQ chooses.
    pub fn any_local() -> Endpoint {
        Endpoint("ipc://*".to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The socket's file.
    pub fn path(&self) -> Option<&str> {
        self.0.strip_prefix("ipc://").filter(|path| *path != "*")
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Endpoint, EndpointError> {
        let wrong = |expected| Err(EndpointError { found: text.to_owned(), expected });
        match text.split_once("://") {
            Some(("ipc", "")) => wrong("a path after ipc://"),
            Some(("ipc", path)) if path.len() > LONGEST_PATH => wrong("a path of at most 107 bytes"),
            Some(("ipc", _)) => Ok(Endpoint(text.to_owned())),
            Some(("tcp", place)) if is_host_and_port(place) => Ok(Endpoint(text.to_owned())),
            Some(("tcp", _)) => wrong("tcp://HOST:PORT or tcp://[IPV6 ADDRESS]:PORT"),
            _ => wrong("ipc://PATH or tcp://HOST:PORT"),
        }
    }
}

fn is_host_and_port(place: &str) -> bool {
    let Some((host, port)) = place.rsplit_once(':') else { return false };
    let host = match host.strip_prefix('[') {
        Some(rest) => {
            rest.strip_suffix(']').is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok())
        }
        None => !host.is_empty() && !host.contains([':', ']', '/', ' ']),
    };
    host && (port == "*" || port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_zeromq_writes_is_an_endpoint() {
        for good in [
            "ipc:///var/run/vyatta/vplaned.req",
            "ipc://*",
            "tcp://127.0.0.1:5903",
            "tcp://[::ffff:127.0.0.1]:5903",
            "tcp://[::1]:*",
            "tcp://controller.example:4415",
        ] {
            assert_eq!(good.parse::<Endpoint>().expect(good).as_str(), good);
        }
    }

    #[test]
    fn a_bad_endpoint_is_told_with_what_was_expected() {
        let long = format!("ipc:///{}", "x".repeat(107));
        for (bad, expected) in [
            ("", "ipc://PATH or tcp://HOST:PORT"),
            ("udp://127.0.0.1:1", "ipc://PATH or tcp://HOST:PORT"),
            ("ipc://", "a path after ipc://"),
            (&long, "a path of at most 107 bytes"),
            ("tcp://127.0.0.1", "tcp://HOST:PORT or tcp://[IPV6 ADDRESS]:PORT"),
            ("tcp://::1:4415", "tcp://HOST:PORT or tcp://[IPV6 ADDRESS]:PORT"),
            ("tcp://[::1]:99999", "tcp://HOST:PORT or tcp://[IPV6 ADDRESS]:PORT"),
        ] {
            assert_eq!(bad.parse::<Endpoint>(), Err(EndpointError { found: bad.to_owned(), expected }));
        }
    }

    #[test]
    fn the_default_depends_on_where_the_controller_is() {
        let address = "192.0.2.1".parse().expect("an address");
        assert_eq!(Endpoint::of_controller(address, true).as_str(), "ipc:///var/run/vyatta/vplaned.req");
        assert_eq!(Endpoint::of_controller(address, false).as_str(), "tcp://192.0.2.1:4415");
        let v6 = "2001:db8::1".parse().expect("an address");
        assert_eq!(Endpoint::of_controller(v6, false).as_str(), "tcp://[2001:db8::1]:4415");
    }
}

// SPDX-License-Identifier: Apache-2.0
//! From what was written to what is meant.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Ini, IniError};
use crate::transport::Endpoint;
use crate::types::{DataplaneId, Uuid};

/// The socket that `vplsh` talks to without being told another.
const WELL_KNOWN_CONSOLE: &str = "ipc:///var/run/vplane.socket";
/// Seconds between two reports of all links.
const REPORT: Duration = Duration::from_secs(5);

/// Where unicast routes come from; vplaned's own default is a route broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteSource {
    /// vplaned forwards the kernel's.
    Kernel,
    /// A route broker tells them.
    Rib,
}

/// Certificates of a protected request channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authentication {
    /// Ours; made if it is not there.
    pub certificate: PathBuf,
    /// vplaned's public certificate.
    pub controller: PathBuf,
}

/// Everything a session needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub request: Endpoint,
    pub uuid: Uuid,
    /// What vplaned is expected to call us; another answer is only worth a log line.
    pub dataplane: DataplaneId,
    /// Ours.
    pub address: IpAddr,
    /// The console's endpoints; the first is announced to vplaned.
    pub console: Vec<Endpoint>,
    pub authentication: Option<Authentication>,
    /// The route broker's control endpoint.
    pub broker: Option<Endpoint>,
    /// Between two reports of all links.
    pub report: Duration,
}

/// Values that do not go together, or a file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error(transparent)]
    File(#[from] IniError),
    #[error("elliptic-curve needs {0}")]
    Missing(&'static str),
}

/// Values as written, from whatever source; what is absent has its default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Draft {
    pub request: Option<Endpoint>,
    pub uuid: Option<Uuid>,
    pub dataplane: Option<DataplaneId>,
    pub address: Option<IpAddr>,
    pub controller: Option<IpAddr>,
    /// Announced to vplaned.
    pub console: Option<Endpoint>,
    /// The one that `vplsh` knows.
    pub well_known_console: Option<Endpoint>,
    /// Asked for or declined; `None` if nothing is said.
    pub curve: Option<bool>,
    pub certificate: Option<PathBuf>,
    pub controller_certificate: Option<PathBuf>,
    pub broker: Option<Endpoint>,
    pub report: Option<Duration>,
    pub route_source: Option<RouteSource>,
}

impl Draft {
    /// Takes what `dataplane.conf` says and nothing said before.
    pub fn read_dataplane(&mut self, path: &Path) -> Result<(), IniError> {
        let ini = Ini::read(path)?;
        self.take_dataplane(&ini)
    }

    /// Takes what `controller.conf` says and nothing said before.
    pub fn read_controller(&mut self, path: &Path) -> Result<(), IniError> {
        let ini = Ini::read(path)?;
        self.take_controller(&ini)
    }

    pub(super) fn take_dataplane(&mut self, ini: &Ini) -> Result<(), IniError> {
        fill(&mut self.controller, address(ini, "controller", "ip")?);
        fill(&mut self.request, endpoint(ini, "controller", "request")?);
        fill(&mut self.controller_certificate, path(ini, "controller", "certificate"));
        fill(&mut self.address, address(ini, "dataplane", "ip")?);
        fill(&mut self.uuid, ini.value("dataplane", "uuid", "a UUID")?);
        let id = ini.value("dataplane", "dataplane-id", "0 to 65535")?;
        fill(&mut self.dataplane, id.map(DataplaneId));
        fill(&mut self.console, endpoint(ini, "dataplane", "control")?);
        fill(&mut self.certificate, path(ini, "dataplane", "certificate"));
        let seconds = ini.checked("dataplane", "update", "1 to 3600 seconds", |text| {
            text.parse().ok().filter(|seconds| (1..=3600).contains(seconds))
        })?;
        fill(&mut self.report, seconds.map(Duration::from_secs));
        fill(&mut self.curve, curve(ini)?);
        fill(&mut self.broker, endpoint(ini, "rib", "control")?);
        Ok(())
    }

    pub(super) fn take_controller(&mut self, ini: &Ini) -> Result<(), IniError> {
        fill(&mut self.controller, address(ini, "controller", "ip")?);
        fill(&mut self.request, endpoint(ini, "controller", "request")?);
        fill(&mut self.controller_certificate, path(ini, "controller", "certificate"));
        let source = ini.checked("controller", "route-source", "kernel or rib", |text| match text {
            "kernel" => Some(RouteSource::Kernel),
            "rib" => Some(RouteSource::Rib),
            _ => None,
        })?;
        fill(&mut self.route_source, source.or(Some(RouteSource::Rib)));
        fill(&mut self.curve, curve(ini)?);
        // Of several dataplanes only a file of our own can say which one we are.
        if let [only] = ini.sections("dataplane.fabric")[..] {
            let number = only.trim_start_matches("dataplane.fabric");
            fill(&mut self.dataplane, number.parse().ok().map(DataplaneId));
            fill(&mut self.address, address(ini, only, "ip")?);
            fill(&mut self.uuid, ini.value(only, "uuid", "a UUID")?);
        }
        Ok(())
    }

    /// Fills in the defaults.
    pub fn settle(self) -> Result<Settings, ConfigError> {
        let controller = self.controller.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let address = self.address.unwrap_or(controller);
        let dataplane = self.dataplane.unwrap_or_default();
        // vplaned takes a dataplane of its own address for local, and gives it this UUID whatever the file says.
        let local = address == controller;
        let uuid = if local { None } else { self.uuid };
        let authentication = match self.curve.unwrap_or(false) {
            true => Some(Authentication {
                certificate: self
                    .certificate
                    .ok_or(ConfigError::Missing("a certificate of the dataplane"))?,
                controller: self
                    .controller_certificate
                    .ok_or(ConfigError::Missing("the certificate of the controller"))?,
            }),
            false => None,
        };
        let well_known = self.well_known_console.or_else(|| WELL_KNOWN_CONSOLE.parse().ok());
        let announced = self.console.unwrap_or_else(Endpoint::any_local);
        let console = std::iter::once(announced).chain(well_known).collect();
        Ok(Settings {
            request: self.request.unwrap_or_else(|| Endpoint::of_controller(controller, local)),
            uuid: uuid.unwrap_or_else(Uuid::local),
            dataplane,
            address,
            console,
            authentication,
            broker: self.broker,
            report: self.report.unwrap_or(REPORT),
        })
    }
}

fn fill<T>(place: &mut Option<T>, value: Option<T>) {
    if place.is_none() {
        *place = value;
    }
}

fn address(ini: &Ini, section: &str, key: &str) -> Result<Option<IpAddr>, IniError> {
    ini.value(section, key, "an IP address")
}

fn endpoint(ini: &Ini, section: &str, key: &str) -> Result<Option<Endpoint>, IniError> {
    ini.value(section, key, "ipc://PATH or tcp://HOST:PORT")
}

fn path(ini: &Ini, section: &str, key: &str) -> Option<PathBuf> {
    ini.get(section, key).map(PathBuf::from)
}

fn curve(ini: &Ini) -> Result<Option<bool>, IniError> {
    ini.checked("authentication", "method", "elliptic-curve or none", |text| match text {
        "elliptic-curve" => Some(true),
        "none" => Some(false),
        _ => None,
    })
}

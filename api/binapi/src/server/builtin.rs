// SPDX-License-Identifier: Apache-2.0
//! Messages that need no dataplane: the handshake, the ping, the tables, and what a program says of itself.

use std::time::{SystemTime, UNIX_EPOCH};

use tracing::{debug, info};

use crate::api::memclnt::{
    ApiVersions, ApiVersionsReply, ControlPing, ControlPingReply, GetApiJson, GetApiJsonReply, GetFirstMsgId,
    GetFirstMsgIdReply, MemclntCreate, MemclntCreateReply, MemclntKeepalive, MemclntReadTimeout,
    MemclntRxThreadSuspend, RxThreadExit, SockclntCreate, SockclntCreateReply, SockclntDelete,
    SockclntDeleteReply, TracePluginMsgIds,
};
use crate::api::vlib::{
    CliInband, CliInbandReply, GetF64EndianValue, GetF64EndianValueReply, GetF64IncrementByOne,
    GetF64IncrementByOneReply,
};
use crate::api::vpe::{ShowVersion, ShowVersionReply, ShowVpeSystemTime, ShowVpeSystemTimeReply};
use crate::api::vpe_types::Timestamp;
use crate::retval::Retval;

use super::registry::{Handler, Progress, Registry, Running, Transactional};
use super::session::Session;

/// What [`ShowVersion`] tells.
#[derive(Debug, Clone, Default)]
pub struct Version {
    pub program: String,
    pub version: String,
    pub build_date: String,
    pub build_directory: String,
}

/// A command that has failed, and what it has said until then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CliFailure(pub String);

/// A state that knows the program it belongs to.
pub trait Program: Sized {
    fn version(&self) -> Version;

    /// Runs a command as the command line does, for [`CliInband`].
    fn run_command(&mut self, session: &Session, command: &str) -> Running<Self, Result<String, CliFailure>>;
}

impl<S: Transactional + Program> Registry<S> {
    /// Version, time, and the command line.
    pub fn program(&mut self) {
        self.query(|state, _, ShowVersion {}| {
            let Version { program, version, build_date, build_directory } = state.version();
            Ok(ShowVersionReply {
                retval: 0,
                program: program.as_str().into(),
                version: version.as_str().into(),
                build_date: build_date.as_str().into(),
                build_directory: build_directory.as_str().into(),
            })
        });
        self.query(|_, _, ShowVpeSystemTime {}| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| Retval::UNSPECIFIED)?;
            Ok(ShowVpeSystemTimeReply { retval: 0, vpe_system_time: Timestamp(since.as_secs_f64()) })
        });
        self.lengthy(|state, session, CliInband { cmd }| {
            let mut running = state.run_command(session, cmd.trim());
            Box::new(move |state| match running(state) {
                Progress::More => Progress::More,
                Progress::Waits => Progress::Waits,
                Progress::Done(Ok(reply)) => Progress::Done(CliInbandReply { retval: 0, reply }),
                Progress::Done(Err(CliFailure(reply))) => {
                    Progress::Done(CliInbandReply { retval: Retval::UNSPECIFIED.get(), reply })
                }
            })
        });
        // By these a client finds out how numbers with a point are sent.
        self.query(|_, _, GetF64EndianValue { f64_one }| {
            if f64_one != 1.0 {
                return Err(Retval::API_ENDIAN_FAILED);
            }
            Ok(GetF64EndianValueReply { retval: 0, f64_one_result: 1.0 })
        });
        self.query(|_, _, GetF64IncrementByOne { f64_value }| {
            Ok(GetF64IncrementByOneReply { retval: 0, f64_value: f64_value + 1.0 })
        });
    }
}

/// What every connection needs.
pub(super) fn connection<S: Transactional>(registry: &mut Registry<S>) {
    registry.query(|_, session, SockclntCreate { name }| {
        let name = name.to_string();
        let peer = session.peer();
        info!(session = %session.id(), name, pid = peer.pid, uid = peer.uid, "API client");
        session.name.replace(name);
        let message_table = session.table.advertised();
        Ok(SockclntCreateReply { response: 0, index: session.index.0, message_table })
    });
    // The handshake of clients in shared memory, for those who look for it in the table and then use the socket.
    registry.query(|_, session, MemclntCreate { .. }| {
        let index = session.index.0;
        Ok(MemclntCreateReply { response: 0, handle: index.into(), index, message_table: 0 })
    });
    registry.query(|_, session, SockclntDelete { index }| {
        if index != session.index.0 {
            return Err(Retval::UNSPECIFIED);
        }
        session.leaving.set(true);
        // Clients of the socket are told 1, and only here.
        Ok(SockclntDeleteReply { response: 1 })
    });
    registry.query(|_, session, ControlPing {}| {
        let client_index = session.index.0;
        Ok(ControlPingReply { retval: 0, client_index, vpe_pid: std::process::id() })
    });
    registry.query(|_, _, MemclntKeepalive {}| Ok(()));
    registry.query(|_, session, GetFirstMsgId { name }| {
        let first = name.get().and_then(|name| session.table.first_id(name));
        match first {
            Some(id) => Ok(GetFirstMsgIdReply { retval: 0, first_msg_id: id.0 }),
            None => Ok(GetFirstMsgIdReply { retval: Retval::INVALID_VALUE.get(), first_msg_id: u16::MAX }),
        }
    });
    registry.query(|_, session, ApiVersions {}| {
        Ok(ApiVersionsReply { retval: 0, api_versions: session.table.versions() })
    });
    registry.query(|_, session, GetApiJson {}| Ok(GetApiJsonReply { retval: 0, json: session.table.json() }));
    registry.put::<TracePluginMsgIds>(Handler::Ignore);
    registry.put::<RxThreadExit>(Handler::Ignore);
    registry.put::<MemclntRxThreadSuspend>(Handler::Ignore);
    registry.put::<MemclntReadTimeout>(Handler::Ignore);
    registry.on_lost(
        |_, session: &Session| debug!(session = %session.id(), name = session.name(), "API client left"),
    );
}

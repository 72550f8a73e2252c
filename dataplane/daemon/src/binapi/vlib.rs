// SPDX-License-Identifier: Apache-2.0
//! `vpe` and `vlib`: version, command line, threads, nodes.

use weft_background::Background;
use weft_binapi::api::bond::{SwBondInterfaceDump, SwMemberInterfaceDump};
use weft_binapi::api::vlib::{
    AddNodeNext, AddNodeNextReply, GetNextIndex, GetNextIndexReply, GetNodeIndex, GetNodeIndexReply,
    ShowThreads, ShowThreadsReply, ThreadData,
};
use weft_binapi::api::vpe::{LogDetails, LogDump};
use weft_binapi::api::vpe_types::{LogLevel, Timestamp};
use weft_binapi::server::{CliFailure, Program, Progress, Records, Registry, Running, Session, Version};
use weft_binapi::{Retval, Text};
use weft_cli::{CliError, Reply, Turn};
use weft_engine::ThreadIndex;

use crate::VERSION;
use crate::state::Dataplane;
use crate::threads::WorkerThreads;

pub fn register(registry: &mut Registry<Dataplane>) {
    registry.program();
    registry.query(|dataplane, _, ShowThreads {}| Ok(threads(dataplane)));
    registry.query(|dataplane, _, GetNodeIndex { node_name }| {
        let node = node_name.get().and_then(|name| dataplane.engine().graph().id(name));
        let node = node.ok_or(Retval::NO_SUCH_NODE)?;
        Ok(GetNodeIndexReply { retval: 0, node_index: node.0.into() })
    });
    registry.query(|dataplane, _, GetNextIndex { node_name, next_name }| {
        let next_index = edge(dataplane, node_name.get(), next_name.get())?;
        Ok(GetNextIndexReply { retval: 0, next_index })
    });
    // An edge that is there is not added. Those of Weft's nodes are a part of them, and no more can be.
    registry.query(|dataplane, _, AddNodeNext { node_name, next_name }| {
        let next_index = edge(dataplane, node_name.get(), next_name.get())?;
        Ok(AddNodeNextReply { retval: 0, next_index })
    });
    registry.dump(|dataplane, _, LogDump { start_timestamp: Timestamp(start) }| {
        let lines = dataplane.log().lines().into_iter().filter(move |line| line.time >= start);
        Records::ready(lines.map(|line| LogDetails {
            timestamp: Timestamp(line.time),
            level: match line.level {
                "error" => LogLevel::ERR,
                "warn" => LogLevel::WARNING,
                "info" => LogLevel::INFO,
                _ => LogLevel::DEBUG,
            },
            msg_class: Text::new(&line.class),
            message: Text::new(&line.message),
        }))
    });
    // Of these there are none; clients that list all kinds of interfaces ask.
    registry.dump(|_, _, SwBondInterfaceDump { .. }| Records::ready([]));
    registry.dump(|_, _, SwMemberInterfaceDump { .. }| Records::ready([]));
}

/// The place of an edge between two nodes.
fn edge(dataplane: &Dataplane, node: Option<&str>, next: Option<&str>) -> Result<u32, Retval> {
    let graph = dataplane.engine().graph();
    let id = node.and_then(|name| graph.id(name));
    let node = id.and_then(|id| graph.node(id)).ok_or(Retval::NO_SUCH_NODE)?;
    let next = next.ok_or(Retval::NO_SUCH_NODE2)?;
    let place = (0..).zip(node.spec.next).find(|(_, name)| **name == next);
    place.map(|(place, _)| place).ok_or(Retval::NO_SUCH_NODE2)
}

impl Program for Dataplane {
    fn version(&self) -> Version {
        Version {
            program: "vpe".into(),
            // Clients take the level of the API from it: that of VPP's release with these definitions.
            version: format!("26.10~weft-{}", VERSION),
            build_date: String::new(),
            build_directory: String::new(),
        }
    }

    fn run_command(
        &mut self,
        session: &Session,
        command: &str,
    ) -> Running<Dataplane, Result<String, CliFailure>> {
        let (tree, command) = (self.commands(), command.to_owned());
        let mut stage = Stage::Answer(tree.start(self, &command, session.rights()));
        Box::new(move |dataplane| match stage.turn(dataplane) {
            Progress::Done(Err(error)) => Progress::Done(Err(CliFailure(tree.vpp_error(&command, &error)))),
            Progress::Done(Ok(text)) => Progress::Done(Ok(text)),
            Progress::More => Progress::More,
            Progress::Waits => Progress::Waits,
        })
    }
}

/// How far a command is.
enum Stage {
    Answer(Result<Reply, CliError>),
    Work(Reply),
    /// The answer of a long command is long: another thread puts it into words.
    Words(Background<String>),
    Over,
}

impl Stage {
    fn turn(&mut self, dataplane: &mut Dataplane) -> Progress<Result<String, CliError>> {
        match std::mem::replace(self, Stage::Over) {
            Stage::Answer(Ok(reply)) if reply.is_work() => {
                *self = Stage::Work(reply);
                Progress::More
            }
            Stage::Answer(answer) => Progress::Done(answer.map(Reply::to_text)),
            Stage::Work(mut work) => match work.turn(dataplane) {
                Turn::More => {
                    *self = Stage::Work(work);
                    Progress::More
                }
                Turn::Waits => {
                    *self = Stage::Work(work);
                    Progress::Waits
                }
                Turn::Done(Ok(reply)) if !reply.is_work() => {
                    let answer = reply.rendering();
                    match Background::spawn(move || answer.to_text()) {
                        Ok(words) => {
                            *self = Stage::Words(words);
                            Progress::Waits
                        }
                        Err(error) => Progress::Done(Err(CliError::new(error))),
                    }
                }
                Turn::Done(answer) => {
                    *self = Stage::Answer(answer);
                    Progress::More
                }
            },
            Stage::Words(words) => match words.poll() {
                Ok(None) => {
                    *self = Stage::Words(words);
                    Progress::Waits
                }
                Ok(Some(text)) => Progress::Done(Ok(text)),
                Err(error) => Progress::Done(Err(CliError::new(error))),
            },
            Stage::Over => Progress::Done(Err(CliError::new("the answer was given already"))),
        }
    }
}

fn threads(dataplane: &Dataplane) -> ShowThreadsReply {
    let main = nix::unistd::gettid().as_raw();
    let lwps: Vec<i32> = std::iter::once(main).chain(dataplane.part::<WorkerThreads>().lwps()).collect();
    let threads = dataplane.plan().places().map(|(index, place)| ThreadData {
        id: index.0.into(),
        name: place.name.as_str().into(),
        r#type: if index == ThreadIndex(0) { "" } else { "workers" }.into(),
        pid: lwps.get(usize::from(index.0)).map_or(0, |lwp| lwp.unsigned_abs()),
        cpu_id: place.core.0,
        core: place.core.0,
        cpu_socket: place.numa,
    });
    ShowThreadsReply { retval: 0, thread_data: threads.collect() }
}

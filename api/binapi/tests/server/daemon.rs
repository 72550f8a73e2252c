// SPDX-License-Identifier: Apache-2.0
//! A daemon in a thread: interfaces that can be made, set up, and listed, and nothing behind them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use weft_binapi::Retval;
use weft_binapi::api::interface::{
    CreateLoopback, CreateLoopbackReply, SwInterfaceDetails, SwInterfaceDump, SwInterfaceEvent,
    SwInterfaceSetFlags, SwInterfaceSetFlagsReply, SwInterfaceTxPlacementDetails, SwInterfaceTxPlacementGet,
    WantInterfaceEvents,
};
use weft_binapi::api::interface_types::{IfStatusFlags, InterfaceIndex};
use weft_binapi::api::ip::IpRouteAddDel;
use weft_binapi::api::ip::IpRouteAddDelReply;
use weft_binapi::server::{
    CliFailure, Clients, Options, Program, Progress, Purpose, Records, Refused, Registry, Running, Server,
    Session, Transactional, Version,
};

/// Interfaces by index, routes by their prefix, and what clients have left behind.
#[derive(Default)]
pub struct Toy {
    interfaces: BTreeMap<u32, IfStatusFlags>,
    routes: BTreeMap<String, usize>,
    clients: Option<Clients>,
    lost: Vec<String>,
    commits: usize,
}

/// What a message wants to be done.
pub enum Wish {
    Flags(u32, IfStatusFlags),
    Route(String, usize),
    NoRoute(String),
}

impl Toy {
    fn grant(&mut self, wish: &Wish) -> Result<(), Retval> {
        match wish {
            Wish::Flags(index, flags) => {
                *self.interfaces.get_mut(index).ok_or(Retval::INVALID_SW_IF_INDEX)? = *flags;
            }
            Wish::Route(key, paths) => {
                self.routes.insert(key.clone(), *paths);
            }
            Wish::NoRoute(key) => {
                self.routes.remove(key).ok_or(Retval::NO_SUCH_ENTRY)?;
            }
        }
        Ok(())
    }
}

impl Transactional for Toy {
    type Transaction = Vec<Wish>;

    fn begin(&mut self, _: &Session) -> Vec<Wish> {
        Vec::new()
    }

    fn noted(wishes: &Vec<Wish>) -> usize {
        wishes.len()
    }

    fn commit(&mut self, wishes: &Vec<Wish>, purpose: Purpose) -> Result<(), Refused> {
        let before = (self.interfaces.clone(), self.routes.clone());
        let refused =
            wishes.iter().enumerate().filter_map(|(note, wish)| Some((note, self.grant(wish).err()?)));
        let notes: Vec<_> = refused.collect();
        if !notes.is_empty() || purpose == Purpose::Try {
            (self.interfaces, self.routes) = before;
        }
        match notes.first() {
            Some((_, retval)) => Err(Refused { retval: *retval, notes }),
            None => {
                self.commits += usize::from(purpose == Purpose::Make);
                Ok(())
            }
        }
    }
}

impl Program for Toy {
    fn version(&self) -> Version {
        Version { program: "weft".into(), version: "0.1.0-µ".into(), ..Version::default() }
    }

    /// `turns` takes a hundred of them.
    fn run_command(&mut self, session: &Session, command: &str) -> Running<Toy, Result<String, CliFailure>> {
        let clients = self.clients.as_ref().unwrap();
        let mut turns = if command == "turns" { 100 } else { 0 };
        let mut answer = Some(match command {
            "show backlog" => {
                let others = clients.list().into_iter().filter(|client| client.id != session.id());
                Ok(others.map(|client| format!("{} {}\n", client.name, client.backlog)).collect())
            }
            "show lost" => Ok(self.lost.join(" ")),
            "show clients" => Ok(clients.len().to_string()),
            "show routes" => Ok(format!("{} routes, {} commits", self.routes.len(), self.commits)),
            "turns" => Ok("done".to_owned()),
            _ => Err(CliFailure(format!("unknown command: {command}"))),
        });
        Box::new(move |_| match turns {
            0 => Progress::Done(answer.take().expect("it is asked for once")),
            _ => {
                turns -= 1;
                if turns % 2 == 0 { Progress::More } else { Progress::Waits }
            }
        })
    }
}

impl Toy {
    fn details(&self, index: u32) -> Option<SwInterfaceDetails> {
        Some(SwInterfaceDetails {
            sw_if_index: InterfaceIndex(index),
            flags: *self.interfaces.get(&index)?,
            interface_name: format!("loop{index}").as_str().into(),
            ..SwInterfaceDetails::default()
        })
    }

    fn announce(&self, sw_if_index: InterfaceIndex, flags: IfStatusFlags) {
        let event = |pid| SwInterfaceEvent { pid, sw_if_index, flags, deleted: false };
        self.clients.as_ref().unwrap().publish(event);
    }
}

fn route(message: &IpRouteAddDel) -> Result<Wish, Retval> {
    let (address, length) = message.route.prefix.get().ok_or(Retval::INVALID_VALUE)?;
    let key = format!("{address}/{length}");
    Ok(if message.is_add { Wish::Route(key, message.route.paths.len()) } else { Wish::NoRoute(key) })
}

fn registry() -> Registry<Toy> {
    let mut registry = Registry::new();
    registry.program();
    registry.command(|toy: &mut Toy, _, CreateLoopback { .. }| {
        let index = toy.interfaces.keys().next_back().map_or(1, |last| last + 1);
        toy.interfaces.insert(index, IfStatusFlags(0));
        Ok(CreateLoopbackReply { retval: 0, sw_if_index: InterfaceIndex(index) })
    });
    registry.change_as(
        |_, wishes: &mut Vec<Wish>, _, SwInterfaceSetFlags { sw_if_index, flags }| {
            wishes.push(Wish::Flags(sw_if_index.0, flags));
            Ok(move |toy: &mut Toy| {
                toy.announce(sw_if_index, flags);
                SwInterfaceSetFlagsReply { retval: 0 }
            })
        },
        |_, _, retval| Err(retval),
    );
    registry.change_as(
        |_, wishes: &mut Vec<Wish>, _, message: IpRouteAddDel| {
            wishes.push(route(&message)?);
            Ok(|_: &mut Toy| IpRouteAddDelReply { retval: 0, stats_index: 7 })
        },
        |_, _, retval| Err(retval),
    );
    registry.dump(|_, _, SwInterfaceDump { sw_if_index, .. }| {
        let mut next = match sw_if_index.0 {
            0 | u32::MAX => 0,
            only => {
                return Records::new({
                    let mut only = Some(only);
                    move |toy: &mut Toy| only.take().and_then(|only| toy.details(only))
                });
            }
        };
        Records::new(move |toy: &mut Toy| {
            let (index, _) = toy.interfaces.range(next..).next()?;
            next = index + 1;
            toy.details(*index)
        })
    });
    registry.stream(|_, _, _: &SwInterfaceTxPlacementGet| {
        |toy: &mut Toy, from: u32| {
            let (index, _) = toy.interfaces.range(from..).next()?;
            let details = SwInterfaceTxPlacementDetails {
                sw_if_index: InterfaceIndex(*index),
                threads: vec![1, 2],
                ..SwInterfaceTxPlacementDetails::default()
            };
            Some((*index, details))
        }
    });
    registry
        .subscription::<WantInterfaceEvents, SwInterfaceEvent>(|want| (want.enable_disable != 0, want.pid));
    registry.on_lost(|toy, session| toy.lost.push(session.name()));
    registry
}

pub struct Daemon {
    pub path: PathBuf,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

static DAEMONS: AtomicU32 = AtomicU32::new(0);

impl Daemon {
    pub fn start() -> Self {
        Self::with(Options::default(), 0)
    }

    /// With interfaces from the start.
    pub fn with(options: Options, interfaces: u32) -> Self {
        let number = DAEMONS.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("weft-binapi-{}-{number}.sock", std::process::id()));
        Self::at(path, options, interfaces)
    }

    pub fn at(path: PathBuf, options: Options, interfaces: u32) -> Self {
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (ready, is_ready) = mpsc::channel();
        let listen_at = path.clone();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(tokio::task::LocalSet::new().run_until(async move {
                let server = Server::bind(&listen_at, options, registry()).unwrap();
                let toy = Toy {
                    interfaces: (1..=interfaces).map(|index| (index, IfStatusFlags(0))).collect(),
                    clients: Some(server.clients()),
                    ..Toy::default()
                };
                ready.send(()).unwrap();
                tokio::select! {
                    () = server.serve(Rc::new(RefCell::new(toy))) => {}
                    _ = stopped => {}
                }
            }));
        });
        is_ready.recv().expect("the server must come up");
        Self { path, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Fails if the server has died, and then so does the test.
        let _ = self.stop.take().map(|stop| stop.send(()));
        let ended = self.thread.take().map(JoinHandle::join);
        if !thread::panicking() {
            ended.unwrap().expect("the daemon must not panic");
            assert!(!self.path.exists(), "the socket must go with the server");
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
//! `show api`: who uses the binary API, and what it offers.

use serde::Serialize;
use weft_cli::{CliError, Command, Reply};

use super::{left, right, row};
use crate::binapi::Api;
use crate::state::Dataplane;

#[derive(Serialize)]
struct Client {
    session: u64,
    name: String,
    pid: Option<i32>,
    uid: u32,
    received: u64,
    sent: u64,
    /// Bytes that it has not read.
    unread: usize,
}

#[derive(Serialize)]
struct Clients {
    clients: Vec<Client>,
}

#[derive(Serialize)]
struct Message {
    id: u16,
    name: String,
}

#[derive(Serialize)]
struct Messages {
    messages: Vec<Message>,
}

pub fn commands() -> Vec<Command<Dataplane>> {
    vec![
        Command::new("show api clients", |dataplane: &mut Dataplane, args| {
            args.finish()?;
            let clients = api(dataplane)?.clients.list().into_iter().map(|client| Client {
                session: client.id.0,
                name: client.name,
                pid: client.peer.pid,
                uid: client.peer.uid,
                received: client.received,
                sent: client.sent,
                unread: client.backlog,
            });
            Ok(Reply::new(Clients { clients: clients.collect() }, render_clients))
        })
        .help("Clients of the binary API"),
        Command::new("show api messages", |dataplane: &mut Dataplane, args| {
            args.finish()?;
            let messages = api(dataplane)?.clients.messages().into_iter();
            let messages = messages.map(|(id, name)| Message { id: id.0, name });
            Ok(Reply::new(Messages { messages: messages.collect() }, |Messages { messages }| {
                let lines =
                    messages.iter().map(|message| row([right(message.id, 6), format!(" {}", message.name)]));
                row([right("ID", 6), " Name".to_owned()]) + &lines.collect::<String>()
            }))
        })
        .help("Messages of the binary API with their checksums"),
    ]
}

pub(super) fn api(dataplane: &Dataplane) -> Result<&Api, CliError> {
    dataplane.find_part::<Api>().ok_or_else(|| CliError::new("the binary API is not served yet"))
}

fn render_clients(Clients { clients }: &Clients) -> String {
    let title = row([
        left("Session", 9),
        left("Name", 24),
        right("PID", 8),
        right("UID", 8),
        right("Received", 12),
        right("Sent", 12),
        right("Unread", 10),
    ]);
    let lines = clients.iter().map(|client| {
        row([
            left(client.session, 9),
            left(&client.name, 24),
            right(client.pid.map_or("?".to_owned(), |pid| pid.to_string()), 8),
            right(client.uid, 8),
            right(client.received, 12),
            right(client.sent, 12),
            right(client.unread, 10),
        ])
    });
    title + &lines.collect::<String>()
}

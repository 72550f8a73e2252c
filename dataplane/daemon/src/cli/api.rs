// SPDX-License-Identifier: Apache-2.0
//! `show api`: who uses the binary API, and what it offers.

use serde::Serialize;
use weft_cli::{CliError, Command};

use super::{Column, showing, tabled};
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

const CLIENTS: &[Column<Client>] = &[
    Column::left("Session", 9, |client| client.session.to_string()),
    Column::left("Name", 24, |client| client.name.clone()),
    Column::right("PID", 8, |client| client.pid.map_or("?".to_owned(), |pid| pid.to_string())),
    Column::right("UID", 8, |client| client.uid.to_string()),
    Column::right("Received", 12, |client| client.received.to_string()),
    Column::right("Sent", 12, |client| client.sent.to_string()),
    Column::right("Unread", 10, |client| client.unread.to_string()),
];

#[derive(Serialize)]
struct Message {
    id: u16,
    name: String,
}

const MESSAGES: &[Column<Message>] = &[
    Column::right("ID", 6, |message| message.id.to_string()),
    Column::gap(1),
    Column::rest("Name", |message| message.name.clone()),
];

pub fn commands() -> Vec<Command<Dataplane>> {
    vec![
        showing("show api clients", |dataplane| {
            let clients = api(dataplane)?.clients.list().into_iter().map(|client| Client {
                session: client.id.0,
                name: client.name,
                pid: client.peer.pid,
                uid: client.peer.uid,
                received: client.received,
                sent: client.sent,
                unread: client.backlog,
            });
            Ok(tabled("clients", clients, CLIENTS))
        })
        .help("Clients of the binary API"),
        showing("show api messages", |dataplane| {
            let messages = api(dataplane)?.clients.messages().into_iter();
            let messages = messages.map(|(id, name)| Message { id: id.0, name });
            Ok(tabled("messages", messages, MESSAGES))
        })
        .help("Messages of the binary API with their checksums"),
    ]
}

pub(super) fn api(dataplane: &Dataplane) -> Result<&Api, CliError> {
    dataplane.find_part::<Api>().ok_or_else(|| CliError::new("the binary API is not served yet"))
}

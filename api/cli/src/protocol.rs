// SPDX-License-Identifier: Apache-2.0
//! What `weftctl` and the daemon say to each other over the CLI socket.
//!
//! Lines of JSON over a unix stream socket, because a person with `socat` must be able to read
//! along and any language can speak it. The client speaks first:
//!
//! ```text
//! > {"protocol":1,"program":"weftctl 0.1.0"}
//! < {"protocol":1,"program":"weft 0.1.0","prompt":"weft# "}
//! > {"id":1,"command":"show version"}
//! < {"id":1,"ok":true,"text":"weft 0.1.0\n"}
//! > {"id":2,"command":"show version","json":true}
//! < {"id":2,"ok":true,"json":{"version":"0.1.0"}}
//! > {"id":3,"command":"show verion"}
//! < {"id":3,"ok":false,"error":{"message":"unknown word ...","word":"verion","position":5}}
//! > {"id":4,"complete":"show ver","cursor":8}
//! < {"id":4,"ok":true,"completion":{"start":5,"candidates":[{"text":"version","help":"..."}]}}
//! ```
//!
//! - A request is at most [`LONGEST_REQUEST`] bytes; a longer one is answered with an error and the
//!   connection is closed, since the rest of it cannot be told from the next request. Responses
//!   have no bound.
//! - Requests of one connection are answered in order. The server reads the next one when the
//!   client has taken the answer, so a client that does not read costs at most one answer. A very long
//!   answer is sent while it is made; should it not come to its end, the connection ends within its line.
//! - `position` counts bytes from the start of `command`.
//! - A refusal before the greeting (version, too many clients) is `{"ok":false,"error":{...}}`,
//!   and the connection is closed.
//! - Receivers ignore members that they do not know; a change that an old peer would misread
//!   raises [`VERSION`].

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{Completion, error::CliError};

/// Version of this protocol. Both sides must have the same.
pub const VERSION: u32 = 1;

/// Bytes in a request, its newline included.
pub const LONGEST_REQUEST: usize = 1 << 20;

/// Where the daemon listens unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/weft/weftctl.sock";

/// The first line of each side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    pub protocol: u32,
    /// Name and version of the program, for messages.
    pub program: String,
    /// What a client shows where it waits for a command; only the server says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
}

impl Hello {
    pub fn new(program: impl Into<String>) -> Self {
        Self { protocol: VERSION, program: program.into(), prompt: None }
    }

    /// Whether `client` and `server` can talk; the sentence names both versions.
    pub fn check(client: &Hello, server: &Hello) -> Result<(), CliError> {
        if client.protocol == server.protocol {
            return Ok(());
        }
        Err(CliError::new(format!(
            "{} speaks version {} of the CLI protocol, {} speaks version {}: \
             install the same release of both",
            client.program, client.protocol, server.program, server.protocol
        )))
    }
}

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Request {
    /// Run a command and answer as text or JSON.
    Run {
        id: u64,
        command: String,
        #[serde(default)]
        json: bool,
    },
    /// Offer the words that fit at byte `cursor` of the line.
    Complete { id: u64, complete: String, cursor: usize },
}

impl Request {
    /// Reads one line.
    pub fn from_line(line: &[u8]) -> Result<Self, CliError> {
        serde_json::from_slice(line).map_err(|error| {
            CliError::new(format!(
                "bad request ({error}): expected {{\"id\":N,\"command\":\"...\"[,\"json\":true]}} \
                 or {{\"id\":N,\"complete\":\"...\",\"cursor\":N}}"
            ))
        })
    }
}

/// What the server answers. Exactly one of the last four members is there.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Response {
    /// The request's; absent if no request could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    pub ok: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    // Not an `Option` of a plain value: a reply may be `null`, and that is an answer.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub json: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion: Option<Completion>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<CliError>,
}

fn present<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(from).map(Some)
}

impl Response {
    /// The answer to a command as text.
    pub fn text(id: u64, text: String) -> Self {
        Self { id: Some(id), ok: true, text: Some(text), ..Self::default() }
    }

    /// The same as JSON, if it can be expressed so.
    pub fn json(id: u64, json: serde_json::Result<Box<RawValue>>) -> Self {
        match json {
            Ok(json) => Self { id: Some(id), ok: true, json: Some(json), ..Self::default() },
            Err(error) => {
                let message = format!("this answer cannot be expressed as JSON: {error}");
                Self::error(Some(id), CliError::new(message))
            }
        }
    }

    pub fn completion(id: u64, completion: Completion) -> Self {
        Self { id: Some(id), ok: true, completion: Some(completion), ..Self::default() }
    }

    pub fn error(id: Option<u64>, error: CliError) -> Self {
        Self { id, ok: false, error: Some(error), ..Self::default() }
    }
}

/// A [`Response`] that is sent while its answer is made: the same bytes on the wire.
#[cfg(feature = "server")]
pub(crate) struct Frame {
    id: u64,
    json: bool,
    begun: bool,
}

#[cfg(feature = "server")]
impl Frame {
    pub fn new(id: u64, json: bool) -> Frame {
        Frame { id, json, begun: false }
    }

    pub fn is_begun(&self) -> bool {
        self.begun
    }

    /// What is sent for the next part.
    pub fn part(&mut self, part: &dyn crate::reply::Part) -> serde_json::Result<Vec<u8>> {
        let mut line = String::new();
        if !std::mem::replace(&mut self.begun, true) {
            let member = if self.json { "\"json\":" } else { "\"text\":\"" };
            line = format!("{{\"id\":{},\"ok\":true,{member}", self.id);
        }
        if self.json {
            line += &part.json()?;
        } else {
            let quoted = serde_json::to_string(&part.shown())?;
            line += &quoted[1..quoted.len() - 1];
        }
        Ok(line.into_bytes())
    }

    /// What is sent after the last one.
    pub fn end(&self) -> &'static [u8] {
        if self.json { b"}\n" } else { b"\"}\n" }
    }
}

/// One line for the wire.
pub fn to_line(message: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reply;

    fn line(message: &impl Serialize) -> String {
        String::from_utf8(to_line(message).unwrap()).unwrap()
    }

    #[test]
    fn requests_on_the_wire() {
        let run = Request::Run { id: 1, command: "show version".into(), json: false };
        assert_eq!(Request::from_line(br#"{"id":1,"command":"show version"}"#), Ok(run.clone()));
        assert_eq!(Request::from_line(line(&run).as_bytes()), Ok(run));
        let complete = Request::Complete { id: 2, complete: "sh".into(), cursor: 2 };
        assert_eq!(Request::from_line(line(&complete).as_bytes()), Ok(complete));
        for bad in ["", "{}", "null", "{\"id\":1}", "{\"id\":-1,\"command\":\"x\"}", "{\"id\":1,"] {
            let error = Request::from_line(bad.as_bytes()).unwrap_err();
            assert!(error.message.contains("expected {\"id\":N"), "{error}");
        }
    }

    #[test]
    fn responses_on_the_wire() {
        let reply = || Reply::new(7, |n| format!("{n} packets"));
        assert_eq!(
            line(&Response::text(1, reply().to_text())),
            "{\"id\":1,\"ok\":true,\"text\":\"7 packets\\n\"}\n"
        );
        assert_eq!(line(&Response::json(1, reply().to_json())), "{\"id\":1,\"ok\":true,\"json\":7}\n");
        let refused = CliError { message: "m".into(), word: Some("w".into()), position: Some(3) };
        assert_eq!(
            line(&Response::error(Some(1), refused)),
            "{\"id\":1,\"ok\":false,\"error\":{\"message\":\"m\",\"word\":\"w\",\"position\":3}}\n"
        );
    }

    #[test]
    fn null_is_an_answer() {
        let wire = line(&Response::json(1, Reply::empty().to_json()));
        assert_eq!(wire, "{\"id\":1,\"ok\":true,\"json\":null}\n");
        let back: Response = serde_json::from_str(&wire).unwrap();
        assert_eq!(back.json.unwrap().get(), "null");
        assert!(serde_json::from_str::<Response>(r#"{"ok":true}"#).unwrap().json.is_none());
    }

    #[test]
    fn values_that_json_cannot_hold_are_an_error() {
        let map = std::collections::BTreeMap::from([((1, 2), 3)]);
        let response = Response::json(1, Reply::new(map, |_| String::new()).to_json());
        assert!(!response.ok && response.json.is_none() && response.error.is_some());
    }

    #[test]
    fn versions_must_agree() {
        let client = Hello { protocol: VERSION + 1, ..Hello::new("weftctl 2") };
        let server = Hello::new("weft 1");
        assert_eq!(Hello::check(&server, &server), Ok(()));
        let message = Hello::check(&client, &server).unwrap_err().message;
        assert!(
            message.starts_with("weftctl 2 speaks version 2 of the CLI protocol, weft 1 speaks version 1"),
            "{message}"
        );
    }
}

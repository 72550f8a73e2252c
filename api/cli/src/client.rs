// SPDX-License-Identifier: Apache-2.0
//! The blocking client of the CLI socket, for `weftctl` and for tests.
//!
//! One request at a time. After an error of the connection ([`ClientError`] other than
//! [`ClientError::Command`]) the client is of no more use: an answer may still be under way.

use std::{
    io::{self, BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    Completion,
    error::CliError,
    protocol::{self, Hello, Request, Response},
};

/// A connection to a daemon, past the greeting.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
    timeout: Option<Duration>,
    last_id: u64,
    server: Hello,
}

/// An answer as the client asked for it.
#[derive(Debug)]
pub enum Output {
    Text(String),
    /// One JSON value, as the daemon wrote it.
    Json(String),
}

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("no daemon listens at {}: {source}", path.display())]
    NoDaemon { path: PathBuf, source: io::Error },
    #[error("cannot connect to {}: {source}{}", path.display(), remedy(source))]
    Connect { path: PathBuf, source: io::Error },
    #[error("the daemon refuses this connection: {0}")]
    Refused(CliError),
    #[error("{0}")]
    Version(CliError),
    #[error("the daemon was silent for {} seconds", .0.as_secs_f64())]
    Timeout(Duration),
    #[error("the daemon closed the connection")]
    Closed,
    #[error("the connection to the daemon broke: {0}")]
    Io(io::Error),
    #[error("the daemon sent something that is no answer to this request: {0}")]
    BadAnswer(String),
    #[error("this command has {length} bytes, and the daemon takes {} at most", protocol::LONGEST_REQUEST)]
    TooLong { length: usize },
    /// The daemon understood, and refuses the command.
    #[error("{0}")]
    Command(CliError),
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => " (run as root, or join the group that owns the socket)",
        _ => "",
    }
}

impl Client {
    /// Connects and exchanges greetings.
    ///
    /// `program` names the caller in messages, for example `weftctl 0.1.0`. `timeout` is how long
    /// the daemon may stay silent while an answer is due; `None` waits for ever.
    pub fn connect(path: &Path, program: &str, timeout: Option<Duration>) -> Result<Self, ClientError> {
        let stream = UnixStream::connect(path).map_err(|source| {
            let path = path.to_owned();
            match source.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                    ClientError::NoDaemon { path, source }
                }
                _ => ClientError::Connect { path, source },
            }
        })?;
        stream.set_read_timeout(timeout).map_err(ClientError::Io)?;
        stream.set_write_timeout(timeout).map_err(ClientError::Io)?;
        let hello = Hello::new(program);
        let stream = BufReader::new(stream);
        let mut client = Self { stream, timeout, last_id: 0, server: hello.clone() };
        // A server that refuses at once may have closed before this is written: its reason counts.
        let sent = client.send(&hello);
        let greeting = client.receive::<Greeting>();
        match (sent, greeting) {
            (_, Ok(Greeting::Refused { error })) => return Err(ClientError::Refused(error)),
            (Err(error), _) | (_, Err(error)) => return Err(error),
            (Ok(()), Ok(Greeting::Hello(server))) => client.server = server,
        }
        Hello::check(&hello, &client.server).map_err(ClientError::Version)?;
        Ok(client)
    }

    /// The daemon's greeting.
    pub fn server(&self) -> &Hello {
        &self.server
    }

    /// Runs a command.
    pub fn run(&mut self, command: &str, json: bool) -> Result<Output, ClientError> {
        let id = self.next_id();
        let response = self.ask(id, &Request::Run { id, command: command.to_owned(), json })?;
        match (response.text, response.json) {
            (Some(text), None) if !json => Ok(Output::Text(text)),
            (None, Some(value)) if json => Ok(Output::Json(value.get().to_owned())),
            _ => Err(ClientError::BadAnswer("the answer has neither text nor JSON".into())),
        }
    }

    /// Asks which words fit at byte `cursor` of `line`.
    pub fn complete(&mut self, line: &str, cursor: usize) -> Result<Completion, ClientError> {
        let id = self.next_id();
        let response = self.ask(id, &Request::Complete { id, complete: line.to_owned(), cursor })?;
        let completion = response
            .completion
            .ok_or_else(|| ClientError::BadAnswer("the answer has no completion".into()))?;
        if line.is_char_boundary(completion.start) && completion.start <= line.len() {
            Ok(completion)
        } else {
            Err(ClientError::BadAnswer("the completion starts outside the line".into()))
        }
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    fn ask(&mut self, id: u64, request: &Request) -> Result<Response, ClientError> {
        self.send(request)?;
        let response: Response = self.receive()?;
        match response {
            Response { ok: false, error: Some(error), .. } => Err(ClientError::Command(error)),
            Response { ok: true, id: Some(answered), .. } if answered == id => Ok(response),
            other => Err(ClientError::BadAnswer(format!(
                "request {id} was answered with id {:?}, ok {}",
                other.id, other.ok
            ))),
        }
    }

    fn send(&mut self, message: &impl Serialize) -> Result<(), ClientError> {
        let line = protocol::to_line(message).map_err(|error| ClientError::BadAnswer(error.to_string()))?;
        if line.len() > protocol::LONGEST_REQUEST {
            return Err(ClientError::TooLong { length: line.len() });
        }
        self.stream.get_mut().write_all(&line).map_err(|error| self.broken(error))
    }

    fn receive<T: for<'de> Deserialize<'de>>(&mut self) -> Result<T, ClientError> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line).map_err(|error| self.broken(error))?;
        if line.last() != Some(&b'\n') {
            return Err(ClientError::Closed);
        }
        serde_json::from_slice(&line).map_err(|error| ClientError::BadAnswer(error.to_string()))
    }

    fn broken(&self, error: io::Error) -> ClientError {
        match (error.kind(), self.timeout) {
            (io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut, Some(timeout)) => {
                ClientError::Timeout(timeout)
            }
            (io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset, _) => ClientError::Closed,
            _ => ClientError::Io(error),
        }
    }
}

/// What a server may say first.
#[derive(Deserialize)]
#[serde(untagged)]
enum Greeting {
    Hello(Hello),
    Refused { error: CliError },
}

#[cfg(test)]
mod tests {
    use std::{os::unix::net::UnixListener, thread};

    use super::*;

    /// A server that answers the lines of one client with fixed lines.
    fn with_server<T>(name: &str, answers: Vec<&'static str>, client: impl FnOnce(&Path) -> T) -> T {
        let path = std::env::temp_dir().join(format!("weft-cli-{}-{name}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        let server = thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream);
            for answer in answers {
                reader.read_line(&mut String::new()).unwrap();
                writeln!(reader.get_mut(), "{answer}").unwrap();
            }
            // Holds the connection open until the client has gone.
            let _ = io::copy(&mut reader, &mut io::sink());
        });
        let result = client(&path);
        std::fs::remove_file(&path).unwrap();
        server.join().unwrap();
        result
    }

    fn connect(path: &Path) -> Result<Client, ClientError> {
        Client::connect(path, "test 1", Some(Duration::from_millis(200)))
    }

    const HELLO: &str = r#"{"protocol":1,"program":"weft 1"}"#;

    #[test]
    fn nobody_there() {
        let error = connect(Path::new("/nonexistent/cli.sock")).unwrap_err();
        assert!(matches!(error, ClientError::NoDaemon { .. }));
        assert!(error.to_string().starts_with("no daemon listens at /nonexistent/cli.sock: "));
    }

    #[test]
    fn another_version() {
        let error = with_server("version", vec![r#"{"protocol":9,"program":"weft 9"}"#], connect)
            .unwrap_err()
            .to_string();
        assert!(error.contains("test 1 speaks version 1") && error.contains("weft 9 speaks version 9"));
    }

    #[test]
    fn refused() {
        let refusal = r#"{"ok":false,"error":{"message":"too many clients"}}"#;
        let error = with_server("refused", vec![refusal], connect).unwrap_err();
        assert_eq!(error.to_string(), "the daemon refuses this connection: too many clients");
    }

    #[test]
    fn silence_is_noticed() {
        with_server("silent", vec![HELLO], |path| {
            let mut client = connect(path).unwrap();
            let error = client.run("show version", false).unwrap_err();
            assert!(matches!(error, ClientError::Timeout(_)), "{error}");
        });
    }

    #[test]
    fn nonsense_is_noticed() {
        for answer in [
            "not json",
            r#"{"id":7,"ok":true,"text":""}"#,
            r#"{"id":1,"ok":true,"json":1}"#,
            r#"{"id":1,"ok":true}"#,
            r#"{"id":1,"ok":false}"#,
        ] {
            with_server("nonsense", vec![HELLO, answer], |path| {
                let error = connect(path).unwrap().run("show version", false).unwrap_err();
                assert!(matches!(error, ClientError::BadAnswer(_)), "{answer}: {error}");
            });
        }
        let outside = r#"{"id":1,"ok":true,"completion":{"start":9,"candidates":[]}}"#;
        with_server("outside", vec![HELLO, outside], |path| {
            let error = connect(path).unwrap().complete("sh", 2).unwrap_err();
            assert!(matches!(error, ClientError::BadAnswer(_)), "{error}");
        });
    }

    #[test]
    fn long_commands_stay_here() {
        with_server("long", vec![HELLO], |path| {
            let command = "x".repeat(protocol::LONGEST_REQUEST);
            let error = connect(path).unwrap().run(&command, false).unwrap_err();
            assert!(matches!(error, ClientError::TooLong { .. }), "{error}");
        });
    }
}

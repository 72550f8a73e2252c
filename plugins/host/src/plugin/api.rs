// SPDX-License-Identifier: Apache-2.0
//! How a plugin is asked by clients of the binary API. Main thread.

use weft_plugin_sdk::abi;

use super::Plugin;
use crate::health::Mode;
use crate::table::text;
use crate::world::World;

/// A message of the binary API that a client has sent, or the next step of a dump.
#[derive(Clone, Copy)]
pub struct ApiQuestion<'a> {
    /// Of the client.
    pub session: u64,
    /// By which the client knows its connection.
    pub client_index: u32,
    /// Of the client.
    pub uid: u32,
    /// What it calls itself.
    pub client: &'a str,
    /// What is after the header.
    pub body: &'a [u8],
    /// Where a dump goes on.
    pub place: u64,
}

/// What a plugin has answered.
pub struct ApiAnswer {
    /// 0, or why there is nothing else.
    pub retval: i32,
    /// Where a dump goes on.
    pub next: u64,
    /// What goes after the header; empty if the plugin has written nothing.
    pub body: Vec<u8>,
}

/// A plugin has not answered: it has failed, or the log says why.
#[derive(Debug)]
pub struct ApiFailure;

impl Plugin {
    /// The messages of the binary API that it answers.
    pub fn api_messages(&self) -> impl Iterator<Item = &str> {
        self.api_messages.iter().map(|message| message.name.as_str())
    }

    /// Names and texts of the `.api` files that it brings.
    pub fn api_definitions(&self) -> &[(String, String)] {
        &self.api_definitions
    }

    /// Answers a message of the binary API, or says why not.
    pub fn answer(
        &self,
        world: &mut dyn World,
        message: &str,
        question: &ApiQuestion<'_>,
    ) -> Result<ApiAnswer, ApiFailure> {
        let message = self.api_messages.iter().find(|known| known.name == message).ok_or(ApiFailure)?;
        if self.health.mode() == Mode::Failed {
            return Err(ApiFailure);
        }
        let ApiQuestion { session, client_index, uid, client, body, place } = *question;
        let request = abi::ApiRequest {
            size: size_of::<abi::ApiRequest>() as u32,
            uid,
            session,
            name: client.as_ptr(),
            name_length: client.len(),
            body: body.as_ptr(),
            length: body.len(),
            place,
            client_index,
        };
        let mut body = Vec::new();
        let mut reply = abi::ApiReply {
            size: size_of::<abi::ApiReply>() as u32,
            retval: 0,
            next: place,
            body: text(&mut body),
        };
        let mut call = self.call(world);
        let (user, state) = (message.user, self.instance.state.data);
        // SAFETY: as in `run`.
        let code = unsafe { (message.run)(user, state, call.main(), &raw const request, &raw mut reply) };
        let (said, name) = (call.said, &self.library.name);
        match code {
            abi::OK => Ok(ApiAnswer { retval: reply.retval, next: reply.next, body }),
            abi::PANICKED => {
                self.panicked(format!("API message '{}'", message.name), said);
                Err(ApiFailure)
            }
            _ => {
                tracing::warn!("plugin {name}: API message {}: {said}", message.name);
                Err(ApiFailure)
            }
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
//! Messages of the binary API that a plugin answers.
//!
//! Here they are bytes: what is after `context`, as on the wire. The crate `weft-binapi` (feature `plugin`) makes an
//! [`ApiMessage`] of a function on its types.

use std::ffi::c_void;

use crate::abi;
use crate::main_thread::Main;
use crate::panic::catch;
use crate::plugin::{Plugin, Running, finish};

/// A client's connection; never given twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SessionId(pub u64);

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    /// Its connection.
    pub session: SessionId,
    /// By which it knows its connection; another one may have had it before.
    pub index: u32,
    /// The user that it runs as.
    pub uid: u32,
    /// What it calls itself.
    pub name: &'a str,
}

/// Why a request was not carried out: a `retval`, not 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ApiError(pub i32);

/// One message of the answer to a dump, and a place after it, where to go on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// What is after `context`.
    pub body: Vec<u8>,
    /// More than the place that it was asked for with.
    pub next: u64,
}

type Request<P> = dyn Fn(&mut P, &mut Main<'_>, Client<'_>, &[u8]) -> Result<Vec<u8>, ApiError>;
type Dump<P> = dyn Fn(&mut P, &mut Main<'_>, Client<'_>, &[u8], u64) -> Option<Record>;

pub(crate) enum Answer<P> {
    Request(Box<Request<P>>),
    Dump(Box<Dump<P>>),
}

/// A message of the binary API that the plugin answers.
pub struct ApiMessage<P> {
    pub(crate) name: &'static str,
    pub(crate) answer: Answer<P>,
}

impl<P: Plugin> ApiMessage<P> {
    /// Of the message that it answers.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// `run` answers with the body of the reply. A body that is too short for what is always in the message does not come
    /// here.
    pub fn request(
        name: &'static str,
        run: impl Fn(&mut P, &mut Main<'_>, Client<'_>, &[u8]) -> Result<Vec<u8>, ApiError> + 'static,
    ) -> ApiMessage<P> {
        ApiMessage { name, answer: Answer::Request(Box::new(run)) }
    }

    /// `find` is given a place, 0 at first, and finds the first record there or after it. In between the client reads, and
    /// anything may change.
    pub fn dump(
        name: &'static str,
        find: impl Fn(&mut P, &mut Main<'_>, Client<'_>, &[u8], u64) -> Option<Record> + 'static,
    ) -> ApiMessage<P> {
        ApiMessage { name, answer: Answer::Dump(Box::new(find)) }
    }
}

pub(crate) unsafe extern "C" fn run<P: Plugin>(
    user: *mut c_void,
    state: *mut c_void,
    main: *mut abi::Main,
    request: *const abi::ApiRequest,
    reply: *mut abi::ApiReply,
) -> i32 {
    // SAFETY: `user` was kept for this function, `state` made by `plugin::init` for this type; the host calls nothing else
    // of the plugin meanwhile. All else is good during this call.
    let (answer, running, request, reply) =
        unsafe { (&*user.cast::<Answer<P>>(), &mut *state.cast::<Running<P>>(), &*request, &mut *reply) };
    // SAFETY: as above; the host gives no null pointer with a length, and its names are UTF-8.
    let (name, body) = unsafe {
        let name = std::slice::from_raw_parts(request.name, request.name_length);
        (String::from_utf8_lossy(name), std::slice::from_raw_parts(request.body, request.length))
    };
    let abi::ApiRequest { session, client_index: index, uid, .. } = *request;
    let client = Client { session: SessionId(session), index, uid, name: &name };
    // SAFETY: both are those of this call.
    let mut main = unsafe { Main::new(running.host, main) };
    let plugin = &mut running.plugin;
    let answered = catch(|| match answer {
        Answer::Request(run) => match run(plugin, &mut main, client, body) {
            Ok(body) => Some(body),
            Err(ApiError(retval)) => {
                reply.retval = retval;
                None
            }
        },
        Answer::Dump(find) => find(plugin, &mut main, client, body, request.place).map(|record| {
            reply.next = record.next;
            record.body
        }),
    });
    if let Ok(Some(body)) = &answered {
        // SAFETY: the host's table lives as long as the plugin; the text is good during this call.
        unsafe { ((*running.host).write)(reply.body, body.as_ptr(), body.len()) };
    }
    finish(&main, answered.map(|_| Ok(())))
}

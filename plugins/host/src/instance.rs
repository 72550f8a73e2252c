// SPDX-License-Identifier: Apache-2.0
//! A started plugin, as shared by all that can call into it.
//!
//! The last holder ends the plugin and closes its library. That is the main thread: workers send what they hold to it.

use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;

use crate::library::Code;

type End = unsafe extern "C" fn(*mut c_void);

/// Something of the plugin that the host keeps for it, and ends.
pub(crate) struct Kept {
    pub data: *mut c_void,
    pub end: Option<End>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(end) = self.end {
            // SAFETY: the plugin gave both for each other, and whoever has a `Kept` keeps the code.
            unsafe { end(self.data) };
        }
    }
}

/// A started plugin. Fields are dropped in this order.
pub(crate) struct Instance {
    /// What belongs to nodes, commands and timers.
    pub users: Vec<Kept>,
    /// The plugin's own state.
    pub state: Kept,
    /// Its claim of packet fields.
    pub fields: Arc<()>,
    /// The code of all that.
    pub _code: Arc<Code>,
}

// SAFETY: the ABI lets the host end what it keeps on the main thread, whichever thread it was on before, and the shared
// fields are only read.
unsafe impl Send for Instance {}
// SAFETY: as above.
unsafe impl Sync for Instance {}

impl Instance {
    /// Nothing but the code, until the plugin has started.
    pub fn new(code: Arc<Code>) -> Instance {
        let state = Kept { data: ptr::null_mut(), end: None };
        Instance { users: Vec::new(), state, fields: Arc::default(), _code: code }
    }
}

/// What a node has on a worker; ended by the main thread.
pub(crate) struct WorkerState {
    state: Kept,
    _instance: Arc<Instance>,
}

impl WorkerState {
    pub fn new(state: Kept, instance: &Arc<Instance>) -> WorkerState {
        WorkerState { state, _instance: Arc::clone(instance) }
    }

    /// What the plugin is given with each vector.
    pub fn state(&self) -> *mut c_void {
        self.state.data
    }
}

// SAFETY: as for `Instance`.
unsafe impl Send for WorkerState {}

/// Called by the plugin's wish when no worker sees any more what it has unlinked.
pub(crate) struct Deferred {
    pub _run: Kept,
    pub _instance: Option<Arc<Instance>>,
}

// SAFETY: as for `Instance`.
unsafe impl Send for Deferred {}

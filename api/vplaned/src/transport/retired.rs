// SPDX-License-Identifier: Apache-2.0
//! Monitors of sockets that are being closed. Why they live on: [`super::connection`].

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::Socket;

/// How long the end of a transport may wait for libzmq's last words.
const PATIENCE: Duration = Duration::from_secs(1);

/// Shared by a transport and its connections.
#[derive(Clone, Default)]
pub struct Retired(Rc<RefCell<Vec<Socket>>>);

impl Retired {
    pub fn add(&self, monitor: Socket) {
        self.0.borrow_mut().push(monitor);
        self.close_finished();
    }

    /// Closes those that libzmq has finished with; says whether none is left.
    pub fn close_finished(&self) -> bool {
        let mut monitors = self.0.borrow_mut();
        monitors.retain(|monitor| !has_stopped(monitor));
        monitors.is_empty()
    }

    /// Waits for all of them, but not for ever.
    pub fn close_all(&self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.close_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Whether the monitored socket is gone. A monitor that fails is of no more use either.
fn has_stopped(monitor: &Socket) -> bool {
    loop {
        match monitor.receive() {
            Ok(Some(message)) if event(&message) == zmq::SocketEvent::MONITOR_STOPPED.to_raw() => {
                return true;
            }
            Ok(Some(_)) => {}
            Ok(None) => return false,
            Err(_) => return true,
        }
    }
}

/// The number of a monitor's event, which stands before its value in the first frame (zmq_socket_monitor(3)).
pub fn event(message: &[Vec<u8>]) -> u16 {
    match message.first().map(Vec::as_slice) {
        Some([low, high, ..]) => u16::from_ne_bytes([*low, *high]),
        _ => 0,
    }
}

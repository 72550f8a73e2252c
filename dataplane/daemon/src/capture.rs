// SPDX-License-Identifier: Apache-2.0
//! `pcap trace`: packets at reception, transmission or drop, into a file.
//!
//! Workers copy packets into a ring each; the main thread writes them down. A main thread that falls behind loses
//! packets of the capture, never of the traffic.

use std::path::{Path, PathBuf};

use rtrb::RingBuffer;
use weft_background::Rights;
use weft_devices::pcap::{CaptureWriter, Existing, LinkType, PcapError, PcapWriter};
use weft_engine::InterfaceIndex;
use weft_engine::trace::CaptureFilter;

use crate::state::Dataplane;
use crate::subsystem::{Foundation, Subsystem};

/// Packets in the ring of one worker, of 2 KiB each.
const RING: usize = 1024;

/// A capture at work.
pub struct Capture {
    writer: CaptureWriter,
    /// Which packets it takes.
    pub filter: CaptureFilter,
    /// How many, at most.
    pub max: u64,
    /// Workers still copy.
    pub running: bool,
}

impl Capture {
    /// The file.
    pub fn path(&self) -> &Path {
        self.writer.writer().path()
    }

    /// Packets in the file.
    pub fn written(&self) -> u64 {
        self.writer.writer().written()
    }
}

impl Subsystem for Capture {
    /// A capture of that interface is complete: the next interface with its index is another one.
    fn interface_removed(&mut self, cx: &mut Foundation<'_>, index: InterfaceIndex) {
        if self.filter.interface == index && std::mem::take(&mut self.running) {
            cx.engine.post_all(|worker| worker.capture(None));
        }
    }
}

impl Dataplane {
    /// Begins a capture of up to `max` packets into a new file, which is made with the rights of whoever asks. The caller has
    /// checked that none is at work.
    pub fn start_capture(
        &mut self,
        path: &Path,
        rights: &Rights,
        filter: CaptureFilter,
        max: u64,
    ) -> Result<(), PcapError> {
        let writer = PcapWriter::create_as(rights, path, LinkType::Ethernet, Existing::Replace)?;
        let threads: Vec<_> = self.engine().threads().collect();
        let (producers, consumers): (Vec<_>, Vec<_>) = threads.iter().map(|_| RingBuffer::new(RING)).unzip();
        for (thread, ring) in threads.into_iter().zip(producers) {
            self.engine_mut().post(thread, move |worker| worker.capture(Some((filter, ring))));
        }
        let writer = CaptureWriter::new(writer, consumers, self.engine().clock, max);
        self.put_part(Box::new(Capture { writer, filter, max, running: true }));
        Ok(())
    }

    /// Ends the capture; says where it is and how many packets are in it.
    pub fn stop_capture(&mut self) -> Option<Result<(PathBuf, u64), PcapError>> {
        // The workers' last packets are in the rings once they have heard of it.
        let _ = self.ask_all(|worker| worker.capture(None));
        let mut capture = self.take_part::<Capture>()?;
        let written = capture.writer.drain(self);
        Some(written.map(|_| (capture.path().to_owned(), capture.written())))
    }

    /// Writes down what has arrived. Says whether more may come.
    pub fn drain_capture(&mut self) -> bool {
        if !self.find_part::<Capture>().is_some_and(|capture| capture.running) {
            return false;
        }
        let Some(mut capture) = self.take_part::<Capture>() else { return false };
        let written = capture.writer.drain(self);
        if let Err(error) = &written {
            tracing::error!("capture ends: {error}");
        }
        capture.running = written.is_ok() && !capture.writer.is_complete();
        if !capture.running {
            self.engine_mut().post_all(|worker| worker.capture(None));
        }
        let running = capture.running;
        if written.is_ok() {
            // A complete one is kept until it is asked for.
            self.put_part(capture);
        }
        running
    }
}

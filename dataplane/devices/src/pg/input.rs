// SPDX-License-Identifier: Apache-2.0
//! pg-input: where made packets enter the graph.
//!
//! One node for all streams; each stream runs on one worker, and the main thread starts and stops it by
//! messages. A packet looks to the graph as if it had been received on the stream's interface.

use std::fmt;

use weft_engine::Context;
use weft_engine::clock::Clock;
use weft_engine::frame::Frame;
use weft_engine::node::{Node, NodeSpec};
use weft_engine::trace::{Names, TraceRecord};
use weft_engine::wait::WaitSet;

use super::stream::{Stream, StreamId};

/// Descriptor of pg-input. Its edges are those of the streams.
pub static PG_INPUT: NodeSpec = NodeSpec::input("pg-input").trace(format);

fn format(record: &TraceRecord, names: &dyn Names, out: &mut dyn fmt::Write) -> fmt::Result {
    let meta = &record.meta;
    writeln!(out, "  {}, {} bytes", names.interface(meta.rx_interface), meta.total_length())
}

/// One worker's instance.
pub struct PgInput {
    clock: Clock,
    streams: Vec<Stream>,
}

impl PgInput {
    pub(super) fn new(clock: Clock) -> Self {
        PgInput { clock, streams: Vec::new() }
    }

    pub(super) fn start(&mut self, stream: Stream) {
        self.streams.push(stream);
    }

    pub(super) fn stop(&mut self, id: StreamId) {
        self.end(|stream| stream.id == id);
    }

    fn end(&mut self, is_over: impl Fn(&Stream) -> bool) {
        self.streams.retain(|stream| {
            let over = is_over(stream);
            if over {
                stream.finish();
            }
            !over
        });
    }
}

impl Node for PgInput {
    fn process(&mut self, cx: &mut Context<'_>, _: &Frame) {
        for stream in &mut self.streams {
            stream.generate(cx);
        }
    }

    /// A stream ends here and not where its last packet is made: at the end of the turn, that packet has
    /// passed the graph.
    fn flush(&mut self, _: &mut Context<'_>) {
        self.end(Stream::is_complete);
    }

    fn flushes(&self) -> bool {
        true
    }

    fn wait(&mut self, set: &mut WaitSet) {
        for stream in &self.streams {
            match stream.wait(self.clock) {
                Some(time) => set.within(time),
                None => set.busy(),
            }
        }
    }

    fn close(&mut self, _: &mut weft_engine::buffer::BufferCache) {
        self.end(|_| true);
    }
}

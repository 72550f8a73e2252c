// SPDX-License-Identifier: Apache-2.0
//! `weft-exporter`: the statistics of a running Weft over HTTP.
#![deny(unsafe_code)]

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use weft_exporter::metrics::Detail;
use weft_exporter::server::Exporter;

/// Serve the statistics of a running Weft over HTTP.
///
/// /metrics is for Prometheus and whoever reads its text formats; / is a page with the live node graph.
/// Weft may be started, stopped and started again meanwhile; the metric weft_up says whether it is there.
#[derive(Debug, Parser)]
#[command(name = "weft-exporter", version, after_help = AFTER_HELP)]
struct Options {
    /// Address and port to serve; port 0 takes a free one
    #[arg(
        short,
        long,
        value_name = "ADDRESS",
        env = "WEFT_EXPORTER_LISTEN",
        default_value = "127.0.0.1:9482"
    )]
    listen: SocketAddr,

    /// Statistics socket of the daemon (`statseg { socket-name }` in its startup.conf)
    #[arg(
        short,
        long,
        value_name = "PATH",
        env = "WEFT_STATS_SOCKET",
        default_value = "/run/weft/stats.sock"
    )]
    socket: PathBuf,

    /// Every thread's share of interfaces, nodes, edges and reasons as a sample of its own, with the label
    /// `thread`, instead of the sum
    #[arg(long)]
    per_thread: bool,
}

const AFTER_HELP: &str = "\
Examples:
  weft-exporter
  weft-exporter --listen '[::]:9482' --socket /run/weft/stats.sock
  curl -s localhost:9482/metrics | grep weft_interface

Whoever reaches the address can read all statistics; there is no password.";

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    tracing_subscriber::fmt().with_writer(io::stderr).with_target(false).init();
    // The reader of the segment is the one that blocks.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build();
    runtime.context("cannot start")?.block_on(serve(options))
}

async fn serve(options: Options) -> anyhow::Result<()> {
    let detail = if options.per_thread { Detail::Threads } else { Detail::Sums };
    let exporter = Exporter::new(options.socket, detail);
    let listener = TcpListener::bind(options.listen)
        .await
        .with_context(|| format!("cannot listen on {}", options.listen))?;
    tracing::info!("serving http://{}/", listener.local_addr()?);
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    // Nothing that a client waits for is lost by ending at once.
    tokio::select! {
        result = axum::serve(listener, exporter.router()) => result.context("cannot serve"),
        () = exporter.sample() => Ok(()),
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}

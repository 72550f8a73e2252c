// SPDX-License-Identifier: Apache-2.0
//! The rival of Weft's veth benchmark: the least that an AF_XDP forwarder can do, on a library that is not ours.
//!
//! One thread moves frames between two ports over one UMEM; a frame's two MAC addresses are written and nothing else of
//! it is read. Nothing is copied in user space. Whatever Weft does more than this (parsing, lookup, counters) has to
//! fit into what this loop leaves on the table, so the loop is made as fast as xsk-rs allows:
//!
//! * a direction owns a fixed set of frames that goes round fill -> rx -> tx -> completion -> fill, so no allocator is
//!   needed and the working set is as small as `--frames` says (in copy mode it must stay in the L2 cache);
//! * it takes no more from an RX ring than the peer's TX ring has room for, so overload is dropped by the kernel, early;
//! * one send call per direction and loop, only when the ring asks for it.

mod args;

use std::error::Error;
use std::num::NonZeroU32;
use std::os::fd::AsRawFd;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{env, io, mem, thread};

use xsk_rs::config::{BindFlags, FrameSize, Interface, QueueSize, SocketConfig, UmemConfig, XdpFlags};
use xsk_rs::{CompQueue, FillQueue, FrameDesc, RxQueue, Socket, TxQueue, Umem};

use args::{Args, MacPair};

/// The kernel frees a queue some milliseconds after its last socket was closed, and answers EBUSY until then.
const BIND_ATTEMPTS: u32 = 50;
const BIND_PAUSE: Duration = Duration::from_millis(20);

/// `setsockopt(SOL_XDP)` option of linux/if_xdp.h that xsk-rs has no name for.
const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;

static STOP: AtomicBool = AtomicBool::new(false);

struct Port {
    name: String,
    rx: RxQueue,
    tx: TxQueue,
    fill: FillQueue,
    completion: CompQueue,
    /// Handed to the TX ring and not yet seen in the completion ring.
    in_flight: usize,
}

/// What happened to frames received on one port.
#[derive(Default)]
struct Forwarded {
    frames: u64,
    sends: u64,
}

fn main() -> ExitCode {
    let args = match Args::parse(env::args().skip(1)) {
        Ok(args) => args,
        Err(message) => {
            eprintln!("xsk-l2fwd: {message}\n{}", args::USAGE);
            return ExitCode::from(2);
        }
    };
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let cause = error.source().map(|c| format!(": {c}")).unwrap_or_default();
            eprintln!("xsk-l2fwd: {error}{cause}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    // SAFETY: no other thread exists yet that could read the environment. libxdp would otherwise chain its program
    // behind a dispatcher, which costs an indirect call per packet.
    unsafe { env::set_var("LIBXDP_SKIP_DISPATCHER", "1") };
    stop_on_signals();
    if let Some(cpu) = args.cpu {
        pin(cpu)?;
    }

    let ring = QueueSize::new(args.ring)?;
    let umem_config = UmemConfig::builder()
        .frame_size(FrameSize::new(2048)?)
        .fill_queue_size(ring)
        .comp_queue_size(ring)
        .build()?;
    let total = NonZeroU32::new(args.frames * 2).ok_or("no frames")?;
    let (umem, frames) = Umem::new(umem_config, total, false)?;
    let (frames_a, frames_b) = frames.split_at(args.frames as usize);

    let mut a = Port::open(&args.ports[0], args, &umem, frames_a)?;
    let mut b = Port::open(&args.ports[1], args, &umem, frames_b)?;
    println!("xsk-l2fwd: forwarding between {} and {}", a.name, b.name);

    let started = Instant::now();
    let deadline = args.seconds.map(|s| started + Duration::from_secs_f64(s));
    let mut batch = vec![FrameDesc::default(); args.batch];
    let (mut a_to_b, mut b_to_a) = (Forwarded::default(), Forwarded::default());
    let mut until_clock = 0u32;
    while !STOP.load(Ordering::Relaxed) {
        let moved = forward(&mut a, &mut b, &umem, &mut batch, args.macs[0].as_ref(), &mut a_to_b)?
            + forward(&mut b, &mut a, &umem, &mut batch, args.macs[1].as_ref(), &mut b_to_a)?;
        if moved == 0 && args.wait_ms > 0 {
            wait(&a, &b, args.wait_ms)?;
        }
        until_clock = until_clock.wrapping_sub(1);
        if until_clock == u32::MAX {
            until_clock = 4096;
            if deadline.is_some_and(|d| Instant::now() >= d) {
                break;
            }
        }
    }

    for (from, to, done) in [(&a, &b, a_to_b), (&b, &a, b_to_a)] {
        let stats = from.rx.fd().xdp_statistics()?;
        println!(
            "{} -> {}: {} frames, {} send calls, {:.3} s; kernel: {} rx ring full, {} fill ring empty",
            from.name,
            to.name,
            done.frames,
            done.sends,
            started.elapsed().as_secs_f64(),
            stats.rx_ring_full(),
            stats.rx_fill_ring_empty_descs(),
        );
    }
    Ok(())
}

/// Moves one batch from `from` to `to`; returns how many frames it moved.
fn forward(
    from: &mut Port,
    to: &mut Port,
    umem: &Umem,
    batch: &mut [FrameDesc],
    macs: Option<&MacPair>,
    done: &mut Forwarded,
) -> io::Result<usize> {
    let room = to.tx.nb_free(batch.len() as u32) as usize;
    let limit = room.min(batch.len());
    // SAFETY: both ports were opened over `umem`, the only UMEM of this process.
    let received = unsafe { from.rx.consume(&mut batch[..limit]) };
    let (packets, _) = batch.split_at_mut(received);
    for desc in packets.iter_mut() {
        // SAFETY: the RX ring gave the frame to us and it stands in no other ring; `umem` holds it.
        let mut data = unsafe { umem.data_mut(desc) };
        set_macs(data.contents_mut(), macs);
    }
    // SAFETY: the frames were taken from the RX ring and written to no ring since. All fit: `limit` is at most the room.
    to.in_flight += unsafe { to.tx.produce(packets) };
    done.frames += received as u64;

    if to.in_flight > 0 {
        if to.tx.needs_wakeup() {
            to.tx.wakeup()?;
            done.sends += 1;
        }
        // SAFETY: as for `consume` above.
        let sent = unsafe { to.completion.consume(batch) };
        to.in_flight -= sent;
        // SAFETY: the completion ring gave the frames back, and nobody else holds them. They came from this fill ring,
        // which has an entry for every frame of this direction, so all of them fit.
        unsafe { from.fill.produce(&batch[..sent]) };
    }
    Ok(received)
}

#[inline]
fn set_macs(frame: &mut [u8], macs: Option<&MacPair>) {
    let Some(addresses) = frame.first_chunk_mut::<12>() else {
        return;
    };
    match macs {
        Some(pair) => *addresses = *pair,
        None => {
            let (dst, src) = addresses.split_at_mut(6);
            dst.swap_with_slice(src);
        }
    }
}

impl Port {
    fn open(name: &str, args: &Args, umem: &Umem, frames: &[FrameDesc]) -> Result<Self, Box<dyn Error>> {
        let ring = QueueSize::new(args.ring)?;
        let config = SocketConfig::builder()
            .rx_queue_size(ring)
            .tx_queue_size(ring)
            .xdp_flags(if args.skb_mode {
                XdpFlags::XDP_FLAGS_SKB_MODE
            } else {
                XdpFlags::XDP_FLAGS_DRV_MODE
            })
            .bind_flags(BindFlags::XDP_USE_NEED_WAKEUP)
            .build();
        let interface: Interface = name.parse()?;

        let mut attempt = 1;
        let (tx, rx, rings) = loop {
            // SAFETY: each (interface, queue) is bound once, so no socket needs the program-load inhibit flag.
            match unsafe { Socket::new(config, umem, &interface, 0) } {
                Ok(parts) => break parts,
                Err(error) if attempt < BIND_ATTEMPTS && os_error(&error) == Some(libc::EBUSY) => {
                    attempt += 1;
                    thread::sleep(BIND_PAUSE);
                }
                Err(error) => {
                    let cause = error.source().map(|c| format!(" ({c})")).unwrap_or_default();
                    return Err(format!("interface {name}, queue 0: {error}{cause}").into());
                }
            }
        };
        let (mut fill, completion) =
            rings.ok_or_else(|| format!("interface {name}: queue 0 is bound already"))?;
        set_tx_budget(&tx, args.tx_budget)?;

        // SAFETY: the frames are fresh from `Umem::new`; each direction has its own part of them.
        let filled = unsafe { fill.produce(frames) };
        if filled != frames.len() {
            return Err(
                format!("interface {name}: the fill ring took {filled} of {} frames", frames.len()).into()
            );
        }
        Ok(Self { name: name.to_owned(), rx, tx, fill, completion, in_flight: 0 })
    }
}

fn os_error(error: &dyn Error) -> Option<i32> {
    error.source()?.downcast_ref::<io::Error>()?.raw_os_error()
}

fn set_tx_budget(tx: &TxQueue, budget: u32) -> io::Result<()> {
    // SAFETY: the option's value is one u32, whose address and size are given; the descriptor is open.
    let result = unsafe {
        libc::setsockopt(
            tx.fd().as_raw_fd(),
            libc::SOL_XDP,
            XDP_MAX_TX_SKB_BUDGET,
            (&raw const budget).cast(),
            mem::size_of::<u32>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn wait(a: &Port, b: &Port, timeout_ms: i32) -> io::Result<()> {
    let mut fds =
        [a, b].map(|p| libc::pollfd { fd: p.rx.fd().as_raw_fd(), events: libc::POLLIN, revents: 0 });
    // SAFETY: `fds` is a live array of the length given.
    let result = unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, timeout_ms) };
    match result {
        -1 => Err(io::Error::last_os_error())
            .or_else(|e| if e.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(e) }),
        _ => Ok(()),
    }
}

fn pin(cpu: usize) -> io::Result<()> {
    // SAFETY: an all-zero cpu_set_t is the empty set; CPU_SET writes within it for any core below CPU_SETSIZE, and the
    // kernel reads exactly the size given.
    let result = unsafe {
        let mut set: libc::cpu_set_t = mem::zeroed();
        libc::CPU_SET(cpu.min(libc::CPU_SETSIZE as usize - 1), &mut set);
        libc::sched_setaffinity(0, mem::size_of::<libc::cpu_set_t>(), &set)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

extern "C" fn on_signal(_: libc::c_int) {
    STOP.store(true, Ordering::Relaxed);
}

fn stop_on_signals() {
    let handler: extern "C" fn(libc::c_int) = on_signal;
    for signal in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: the handler only stores to an atomic, which is async-signal-safe.
        unsafe { libc::signal(signal, handler as libc::sighandler_t) };
    }
}

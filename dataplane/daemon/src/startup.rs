// SPDX-License-Identifier: Apache-2.0
//! `interfaces { ... }`: made at start in the order of the file; the first that fails ends the start.

use std::rc::Rc;

use anyhow::{Context, Result, anyhow};

use crate::config::interfaces::Interface;
use crate::config::{Config, Source};
use crate::ports::DeviceError;
use crate::state::Dataplane;

/// Makes all interfaces. An error says where in `source` its interface stands.
pub fn make_interfaces(dataplane: &mut Dataplane, source: &Source) -> Result<()> {
    for interface in dataplane.config.interfaces.clone() {
        let common = interface.common();
        make(dataplane, &interface).map_err(|error| {
            let position = source.position(common.span.start);
            anyhow!(error).context(format!(
                "{}:{position}: interface {}",
                source.name(),
                common.name.as_str()
            ))
        })?;
    }
    Ok(())
}

fn make(dataplane: &mut Dataplane, interface: &Interface) -> Result<(), DeviceError> {
    let index = match interface {
        Interface::AfXdp(port) => dataplane.create_af_xdp(port)?,
        Interface::Tap(tap) => dataplane.create_tap(tap)?,
        Interface::Loopback(loopback) => dataplane.create_loopback(loopback)?,
    };
    let common = interface.common();
    if let Some(mtu) = common.mtu {
        dataplane.set_mtu(index, mtu.0.into())?;
    }
    let Dataplane { router, engine, interfaces, .. } = dataplane;
    if common.table.0 != 0 {
        if router.table_index(common.table.0).is_err() {
            router.add_table(engine, common.table.0, &format!("ipv4-VRF:{}", common.table.0))?;
        }
        router.set_table(engine, interfaces, index, common.table.0)?;
    }
    for address in &common.addresses {
        router.add_address(engine, interfaces, index, address.value)?;
    }
    if common.up {
        dataplane.set_admin_state(index, true)?;
    }
    Ok(())
}

/// What the log says of the memory that was taken.
pub fn log_memory(dataplane: &Dataplane, config: &Config) {
    let engine = &dataplane.engine;
    let memory = engine.buffers.memory();
    let mib = |bytes: usize| bytes.div_ceil(1 << 20);
    tracing::info!(
        "buffers: {} of 2048 bytes, {} MiB on {}; stats segment: {} MiB",
        engine.buffers.total(),
        mib(memory.length()),
        memory.pages(),
        mib(config.statseg.size.0 as usize),
    );
}

/// Runs the command file of `startup-config`. As in VPP, a command that fails stops the file, not the daemon.
pub fn run_commands(dataplane: &mut Dataplane) -> Result<()> {
    let Some(file) = dataplane.config.unix.startup_config.clone() else {
        return Ok(());
    };
    let path = dataplane.config.unix.in_runtime_dir(&file);
    let tree = Rc::clone(&dataplane.commands);
    tree.run_file(dataplane, &path).map(drop).context("startup-config")
}

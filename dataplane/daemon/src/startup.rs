// SPDX-License-Identifier: Apache-2.0
//! `settings { ... }` and `interfaces { ... }`: made at start in the order of the file; the first that fails ends the start.

use anyhow::{Context, Result, anyhow};

use weft_cli::Rights;
use weft_control::{ChangeSet, Configured, Owner, Purpose, Setting, StepError, Value, settings};
use weft_engine::InterfaceIndex;
use weft_nodes::fib::{Ip4, Ip6};

use crate::config::interfaces::{Interface, TableId};
use crate::config::{Config, Source};
use crate::config::{Named, Wanted};
use crate::main_loop::Main;
use crate::ports::DeviceError;
use crate::state::Dataplane;

/// Makes all interfaces. An error says where in `source` its interface stands.
pub fn make_interfaces(dataplane: &mut Dataplane, source: &Source) -> Result<()> {
    let mut changes = ChangeSet::new(Owner::STARTUP);
    wanted(dataplane, &mut changes, None, &dataplane.config.settings).context("settings")?;
    dataplane.change(&changes, Purpose::Make).context("settings")?;
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
    let index = interface.create(dataplane)?;
    let common = interface.common();
    let mut changes = ChangeSet::new(Owner::STARTUP);
    if let Some(mtu) = common.mtu {
        changes.set(&settings::MTU, index, Value::Number(mtu.0.into()));
    }
    in_table::<Ip4>(dataplane, &mut changes, &settings::TABLE, (index, common.table))?;
    in_table::<Ip6>(dataplane, &mut changes, &settings::IP6_TABLE, (index, common.ip6_table))?;
    wanted(dataplane, &mut changes, Some(index), &common.settings)?;
    common.addresses.iter().for_each(|address| changes.add_address(index, address.value));
    if common.up {
        changes.set(&settings::ADMIN_STATE, index, Value::Switch(true));
    }
    Ok(dataplane.change(&changes, Purpose::Make)?)
}

/// The table is there because the interface is in it.
fn in_table<F: Configured>(
    dataplane: &Dataplane,
    changes: &mut ChangeSet,
    setting: &'static Setting,
    (index, TableId(id)): (InterfaceIndex, TableId),
) -> Result<(), StepError> {
    if id != 0 {
        changes.add_table::<F>(dataplane, id, None)?;
        changes.set(setting, index, Value::Number(id.into()));
    }
    Ok(())
}

/// Notes what startup.conf sets, of an interface or of all. Settings of plugins follow when these are loaded.
fn wanted(
    dataplane: &Dataplane,
    changes: &mut ChangeSet,
    index: Option<InterfaceIndex>,
    settings: &[Wanted],
) -> Result<(), StepError> {
    for Wanted { setting, value } in settings {
        let Named::BuiltIn(setting) = setting else { continue };
        let value = setting.grammar.parse(&value.value, |name| dataplane.interfaces.find(name));
        changes.set(setting, index, value.map_err(|error| StepError::Value(setting.name, error))?);
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

/// Runs the command file of `startup-config`, a turn at a time. As in VPP, a command that fails stops the file, not the daemon.
pub async fn run_commands(main: &Main) -> Result<()> {
    let work = main.look(|dataplane| {
        let unix = &dataplane.config.unix;
        let path = unix.in_runtime_dir(unix.startup_config.as_ref()?);
        Some(dataplane.commands.run_file(&path, &Rights::Daemon))
    });
    let Some(work) = work else {
        return Ok(());
    };
    main.finish(work).await.map(drop).context("startup-config")
}

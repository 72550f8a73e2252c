// SPDX-License-Identifier: Apache-2.0
//! `settings { ... }` and `interfaces { ... }`: made at start as one change; a step that fails ends the start.

use anyhow::{Context, Result, anyhow};

use weft_cli::Rights;
use weft_control::{ChangeSet, Configured, Owner, Purpose, Refused, Setting, StepError, Value, settings};
use weft_engine::InterfaceIndex;
use weft_l2::{L2Error, Mode};
use weft_nodes::fib::{Ip4, Ip6};

use crate::config::bridging::{BridgeDomain, Switched};
use crate::config::interfaces::{Common, TableId};
use crate::config::{Config, Named, Source, Span, Spanned, Wanted};
use crate::main_loop::Main;
use crate::ports::DeviceError;
use crate::state::Dataplane;

/// Makes all interfaces and settings, as one change. An error says where in `source` its setting or its interface stands.
pub fn make_interfaces(dataplane: &mut Dataplane, source: &Source) -> Result<()> {
    let interfaces = dataplane.config().interfaces.clone();
    let place = |part: Option<&Common>, span: Option<Span>| {
        let span = span.or(part.map(|common| common.span));
        let at = span.map(|span| format!("{}:{}: ", source.name(), source.position(span.start)));
        let part = part
            .map_or_else(|| "settings".to_owned(), |common| format!("interface {}", common.name.as_str()));
        format!("{}{part}", at.unwrap_or_default())
    };
    let misplaced = |part: Option<&Common>, Misplaced { span, error }: Misplaced| {
        anyhow!(*error).context(place(part, span))
    };
    let mut changes = ChangeSet::new(Owner::STARTUP);
    // Of each step: whose it is, and where it stands.
    let mut places: Vec<(Option<&Common>, Option<Span>)> = Vec::new();
    let mut indices = Vec::new();
    for interface in &interfaces {
        let common = interface.common();
        let created = interface.create(dataplane, &mut changes);
        indices.push(created.map_err(|error| misplaced(Some(common), error.into()))?);
        places.resize(changes.len(), (Some(common), None));
    }
    // Interfaces name each other, whatever their order.
    let spans = wanted(dataplane, &mut changes, None, &dataplane.config().settings);
    places.extend(spans.map_err(|error| misplaced(None, error))?.into_iter().map(|span| (None, Some(span))));
    for BridgeDomain { id, span, changes: wanted } in &dataplane.config().bridge_domains {
        changes.add_bridge_domain(*id, wanted.clone());
        places.push((None, Some(*span)));
    }
    for (index, interface) in indices.into_iter().zip(&interfaces) {
        let common = interface.common();
        let spans = configure(dataplane, &mut changes, common, index);
        let spans = spans.map_err(|error| misplaced(Some(common), error))?;
        places.extend(spans.into_iter().map(|span| (Some(common), Some(span))));
    }
    dataplane.change(&changes, Purpose::Make).map_err(|refused| {
        let step = refused.steps.first().map(|(step, _)| *step);
        let at = step.and_then(|step| places.get(step)).copied();
        let context = at.map_or_else(|| "interfaces".to_owned(), |(part, span)| place(part, span));
        anyhow!(refused).context(context)
    })
}

/// An error about a place in the file.
#[derive(Debug)]
pub struct Misplaced {
    /// The place of the setting; `None`: that of whatever it is of.
    pub span: Option<Span>,
    /// What is wrong.
    pub error: Box<DeviceError>,
}

impl<E: Into<DeviceError>> From<E> for Misplaced {
    fn from(error: E) -> Misplaced {
        Misplaced { span: None, error: Box::new(error.into()) }
    }
}

/// Notes what the file says of an interface beside its device; the places of these steps.
pub fn configure(
    dataplane: &Dataplane,
    changes: &mut ChangeSet,
    common: &Common,
    index: InterfaceIndex,
) -> Result<Vec<Span>, Misplaced> {
    let before = changes.len();
    if let Some(mtu) = common.mtu {
        changes.set(&settings::MTU, index, Value::Number(mtu.0.into()));
    }
    in_table::<Ip4>(dataplane, changes, &settings::TABLE, (index, common.table))?;
    in_table::<Ip6>(dataplane, changes, &settings::IP6_TABLE, (index, common.ip6_table))?;
    let mut places = vec![common.span; changes.len() - before];
    places.extend(wanted(dataplane, changes, Some(index), &common.settings)?);
    for address in &common.addresses {
        changes.add_address(index, address.value);
        places.push(address.span);
    }
    if let Some(Spanned { value, span }) = &common.switched {
        let mode = match value {
            Switched::Bridged { domain, role, group } => {
                Mode::Bridged { domain: *domain, role: *role, group: *group }
            }
            Switched::Crossed(other) => {
                let found = changes.find_interface(dataplane, other);
                Mode::Crossed(found.ok_or_else(|| Misplaced {
                    span: Some(*span),
                    ..StepError::from(L2Error::NoInterface(other.clone())).into()
                })?)
            }
        };
        changes.switch(index, mode);
        places.push(*span);
    }
    if common.up {
        changes.set(&settings::ADMIN_STATE, index, Value::Switch(true));
        places.push(common.span);
    }
    Ok(places)
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

/// The place of the first step that is refused; `places` has those of the steps, from the first on.
pub fn blame(places: &[Span], refused: Refused) -> Misplaced {
    let step = refused.steps.first().map(|(step, _)| *step);
    Misplaced { span: step.and_then(|step| places.get(step)).copied(), ..refused.into() }
}

/// Notes what startup.conf sets, of an interface or of all; the places of these steps. Settings of plugins follow when these are
/// loaded.
pub fn wanted(
    dataplane: &Dataplane,
    changes: &mut ChangeSet,
    index: Option<InterfaceIndex>,
    settings: &[Wanted],
) -> Result<Vec<Span>, Misplaced> {
    let mut places = Vec::new();
    for Wanted { setting, value } in settings {
        let Named::BuiltIn(setting) = setting else { continue };
        let read = setting.grammar.parse(&value.value, |name| changes.find_interface(dataplane, name));
        let read = read.map_err(|error| Misplaced {
            span: Some(value.span),
            ..StepError::Value(setting.name, error).into()
        })?;
        changes.set(setting, index, read);
        places.push(value.span);
    }
    Ok(places)
}

/// What the log says of the memory that was taken.
pub fn log_memory(dataplane: &Dataplane, config: &Config) {
    let engine = dataplane.engine();
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
        let unix = &dataplane.config().unix;
        let path = unix.in_runtime_dir(unix.startup_config.as_ref()?);
        Some(dataplane.commands().run_file(&path, &Rights::Daemon))
    });
    let Some(work) = work else {
        return Ok(());
    };
    main.finish(work).await.map(drop).context("startup-config")
}

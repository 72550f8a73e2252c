// SPDX-License-Identifier: Apache-2.0
//! Forwarding tables.

use weft_binapi::Retval;
use weft_binapi::api::ip::{
    IpTable, IpTableAddDel, IpTableAddDelReply, IpTableAddDelV2, IpTableAddDelV2Reply, IpTableAllocate,
    IpTableAllocateReply, IpTableDetails, IpTableDump, IpTableFlush, IpTableReplaceBegin, IpTableReplaceEnd,
};
use weft_binapi::server::{Purpose, Records, Registry, Transactional};
use weft_control::{ChangeSet, Configured};
use weft_nodes::fib::{Ip4, Ip6};
use weft_nodes::interface::{IpVersion, Owner, TableIndex, by_family};

use crate::binapi::retval::step;
use crate::binapi::version;
use crate::state::Dataplane;

pub fn register(registry: &mut Registry<Dataplane>) {
    // To delete what is not there is no error.
    let habit = |is_add: bool, retval: Retval| match !is_add && retval == Retval::NO_SUCH_FIB {
        true => Ok(()),
        false => Err(retval),
    };
    registry.change_as(
        |dataplane, changes, _, IpTableAddDel { is_add, table }| {
            add_del(dataplane, changes, is_add, &table)?;
            Ok(|_: &mut _| IpTableAddDelReply { retval: 0 })
        },
        move |_, message, retval| habit(message.is_add, retval),
    );
    registry.change_as(
        |dataplane, changes, _, IpTableAddDelV2 { is_add, table, .. }| {
            add_del(dataplane, changes, is_add, &table)?;
            Ok(|_: &mut _| IpTableAddDelV2Reply { retval: 0 })
        },
        move |_, message, retval| habit(message.is_add, retval),
    );
    // The number has to be known at once.
    registry.command(|dataplane, session, IpTableAllocate { mut table }| {
        if table.table_id == u32::MAX {
            let router = dataplane.router();
            let taken = |id| by_family!(version(table.is_ip6), F => router.table_index::<F>(id).is_ok());
            table.table_id = (1..u32::MAX).find(|id| !taken(*id)).ok_or(Retval::LIMIT_EXCEEDED)?;
        }
        let mut changes = dataplane.begin(session);
        add_del(dataplane, &mut changes, true, &table)?;
        dataplane.commit(&changes, Purpose::Make).map_err(|refused| refused.retval)?;
        Ok(IpTableAllocateReply { retval: 0, table })
    });
    registry.dump(|dataplane, _, IpTableDump {}| {
        Records::ready(tables::<Ip4>(dataplane).chain(tables::<Ip6>(dataplane)))
    });
    registry.command(|dataplane, _, IpTableFlush { table }| {
        by_family!(version(table.is_ip6), F => flush::<F>(dataplane, known::<F>(dataplane, &table)?)?);
        Ok(())
    });
    registry.command(|dataplane, _, IpTableReplaceBegin { table }| {
        by_family!(version(table.is_ip6), F => {
            let index = known::<F>(dataplane, &table)?;
            dataplane.begin_replacing::<F>(index)?;
        });
        Ok(())
    });
    registry.command(|dataplane, _, IpTableReplaceEnd { table }| {
        by_family!(version(table.is_ip6), F => {
            let index = known::<F>(dataplane, &table)?;
            dataplane.end_replacing::<F>(index)?;
        });
        Ok(())
    });
}

fn tables<F: Configured>(dataplane: &Dataplane) -> impl Iterator<Item = IpTableDetails> {
    dataplane.router().tables::<F>().map(|(_, table)| {
        let name = table.name.as_str().into();
        IpTableDetails { table: IpTable { table_id: table.id, is_ip6: F::VERSION == IpVersion::V6, name } }
    })
}

fn known<F: Configured>(dataplane: &Dataplane, table: &IpTable) -> Result<TableIndex, Retval> {
    dataplane.router().table_index::<F>(table.table_id).map_err(|_| Retval::NO_SUCH_FIB)
}

/// What is there already is no error, nor is asking for table 0, which is always there.
fn add_del(
    dataplane: &Dataplane,
    changes: &mut ChangeSet,
    is_add: bool,
    table: &IpTable,
) -> Result<(), Retval> {
    let id = table.table_id;
    if id == 0 {
        return Ok(());
    }
    let name = table.name.get().ok_or(Retval::INVALID_VALUE)?;
    let noted = by_family!(version(table.is_ip6), F => match is_add {
        true => changes.add_table::<F>(dataplane, id, Some(name).filter(|name| !name.is_empty())),
        false => changes.delete_table::<F>(dataplane, id),
    });
    noted.map_err(|error| step(&error))
}

/// Deletes what clients have put there.
fn flush<F: Configured>(dataplane: &mut Dataplane, index: TableIndex) -> Result<(), Retval> {
    dataplane.delete_routes::<F>(index, Owner::API).map_err(|error| step(&error))
}

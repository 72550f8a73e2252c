// SPDX-License-Identifier: Apache-2.0
//! Forwarding tables.

use weft_binapi::Retval;
use weft_binapi::api::ip::{
    IpTable, IpTableAddDel, IpTableAddDelReply, IpTableAddDelV2, IpTableAddDelV2Reply, IpTableAllocate,
    IpTableAllocateReply, IpTableDetails, IpTableDump, IpTableFlush, IpTableFlushReply, IpTableReplaceBegin,
    IpTableReplaceBeginReply, IpTableReplaceEnd, IpTableReplaceEndReply,
};
use weft_binapi::server::{Purpose, Records, Registry, Transactional};
use weft_control::{ChangeSet, Control};
use weft_nodes::ip4::{Action, Change, Ip4, Owner, TableIndex};

use crate::binapi::retval::{router, step};
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
            let taken = |id: &u32| dataplane.router.table_index::<Ip4>(*id).is_ok();
            table.table_id = (1..u32::MAX).find(|id| !taken(id)).ok_or(Retval::LIMIT_EXCEEDED)?;
        }
        let mut changes = dataplane.begin(session);
        add_del(dataplane, &mut changes, true, &table)?;
        dataplane.commit(&changes, Purpose::Make).map_err(|refused| refused.retval)?;
        Ok(IpTableAllocateReply { retval: 0, table })
    });
    registry.dump(|dataplane, _, IpTableDump {}| {
        let tables = dataplane.router.tables::<Ip4>().map(|(_, table)| {
            let name = table.name.as_str().into();
            IpTableDetails { table: IpTable { table_id: table.id, is_ip6: false, name } }
        });
        Records::ready(tables.collect::<Vec<_>>())
    });
    registry.command(|dataplane, _, IpTableFlush { table }| {
        let index = known(dataplane, &table)?;
        flush(dataplane, index)?;
        Ok(IpTableFlushReply { retval: 0 })
    });
    registry.command(|dataplane, _, IpTableReplaceBegin { table }| {
        let index = known(dataplane, &table)?;
        dataplane.begin_replacing::<Ip4>(index)?;
        Ok(IpTableReplaceBeginReply { retval: 0 })
    });
    registry.command(|dataplane, _, IpTableReplaceEnd { table }| {
        let index = known(dataplane, &table)?;
        dataplane.end_replacing::<Ip4>(index)?;
        Ok(IpTableReplaceEndReply { retval: 0 })
    });
}

fn known(dataplane: &Dataplane, table: &IpTable) -> Result<TableIndex, Retval> {
    if table.is_ip6 {
        return Err(Retval::UNSUPPORTED);
    }
    dataplane.router.table_index::<Ip4>(table.table_id).map_err(|_| Retval::NO_SUCH_FIB)
}

/// What is there already is no error, nor is asking for table 0, which is always there.
fn add_del(
    dataplane: &Dataplane,
    changes: &mut ChangeSet,
    is_add: bool,
    table: &IpTable,
) -> Result<(), Retval> {
    if table.is_ip6 {
        return Err(Retval::UNSUPPORTED);
    }
    let id = table.table_id;
    match is_add {
        _ if id == 0 => Ok(()),
        true => {
            let name = table.name.get().ok_or(Retval::INVALID_VALUE)?;
            changes.add_table::<Ip4>(dataplane, id, Some(name).filter(|name| !name.is_empty()))
        }
        false => changes.delete_table::<Ip4>(dataplane, id),
    }
    .map_err(|error| step(&error))
}

/// Deletes what clients have put there.
fn flush(dataplane: &mut Dataplane, index: TableIndex) -> Result<(), Retval> {
    let Control { router: routes, engine, interfaces, .. } = &mut dataplane.control;
    let rib = &routes.table::<Ip4>(index).ok_or(Retval::NO_SUCH_FIB)?.rib;
    let owned = rib.routes(None).flat_map(|route| {
        let of_clients = route.sources().find(|source| source.owner.slot() == Owner::API);
        of_clients.map(|source| Change {
            prefix: route.prefix(),
            owner: source.owner,
            action: Action::Delete,
        })
    });
    let deletions: Vec<Change> = owned.collect();
    routes.apply(engine, interfaces, index, &deletions).map(drop).map_err(|error| router(&error))
}

// SPDX-License-Identifier: Apache-2.0
//! Forwarding tables.

use weft_binapi::Retval;
use weft_binapi::api::ip::{
    IpTable, IpTableAddDel, IpTableAddDelReply, IpTableAddDelV2, IpTableAddDelV2Reply, IpTableAllocate,
    IpTableAllocateReply, IpTableDetails, IpTableDump, IpTableFlush, IpTableFlushReply, IpTableReplaceBegin,
    IpTableReplaceBeginReply, IpTableReplaceEnd, IpTableReplaceEndReply,
};
use weft_binapi::server::{Records, Registry};
use weft_nodes::ip4::{Action, Change, Owner, TableIndex};

use crate::binapi::retval::router;
use crate::state::Dataplane;

pub fn register(registry: &mut Registry<Dataplane>) {
    registry.command(|dataplane, _, IpTableAddDel { is_add, table }| {
        add_del(dataplane, is_add, &table)?;
        Ok(IpTableAddDelReply { retval: 0 })
    });
    registry.command(|dataplane, _, IpTableAddDelV2 { is_add, table, .. }| {
        add_del(dataplane, is_add, &table)?;
        Ok(IpTableAddDelV2Reply { retval: 0 })
    });
    registry.command(|dataplane, _, IpTableAllocate { mut table }| {
        if table.table_id == u32::MAX {
            let taken = |id: &u32| dataplane.router.table_index(*id).is_ok();
            table.table_id = (1..u32::MAX).find(|id| !taken(id)).ok_or(Retval::LIMIT_EXCEEDED)?;
        }
        add_del(dataplane, true, &table)?;
        Ok(IpTableAllocateReply { retval: 0, table })
    });
    registry.dump(|dataplane, _, IpTableDump {}| {
        let tables = dataplane.router.tables().map(|(_, table)| {
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
        dataplane.begin_replacing(index)?;
        Ok(IpTableReplaceBeginReply { retval: 0 })
    });
    registry.command(|dataplane, _, IpTableReplaceEnd { table }| {
        let index = known(dataplane, &table)?;
        dataplane.end_replacing(index)?;
        Ok(IpTableReplaceEndReply { retval: 0 })
    });
}

fn known(dataplane: &Dataplane, table: &IpTable) -> Result<TableIndex, Retval> {
    if table.is_ip6 {
        return Err(Retval::UNSUPPORTED);
    }
    dataplane.router.table_index(table.table_id).map_err(|_| Retval::NO_SUCH_FIB)
}

/// What is there already is no error, nor is asking for table 0, which is always there.
fn add_del(dataplane: &mut Dataplane, is_add: bool, table: &IpTable) -> Result<(), Retval> {
    if table.is_ip6 {
        return Err(Retval::UNSUPPORTED);
    }
    let id = table.table_id;
    let known = dataplane.router.table_index(id).ok();
    let Dataplane { router: routes, engine, interfaces, .. } = dataplane;
    match (is_add, known) {
        (true, Some(_)) => Ok(()),
        _ if id == 0 => Ok(()),
        (true, None) => {
            let name = match table.name.get().ok_or(Retval::INVALID_VALUE)? {
                "" => format!("ipv4-VRF:{id}"),
                name => name.to_owned(),
            };
            routes.add_table(engine, id, &name).map(drop).map_err(router)
        }
        (false, Some(index)) => {
            routes.delete_table(engine, interfaces, id).map_err(router)?;
            dataplane.forget_replacing(index);
            Ok(())
        }
        (false, None) => Err(Retval::NO_SUCH_FIB),
    }
}

/// Deletes what clients have put there.
fn flush(dataplane: &mut Dataplane, index: TableIndex) -> Result<(), Retval> {
    let Dataplane { router: routes, engine, interfaces, .. } = dataplane;
    let rib = &routes.table(index).ok_or(Retval::NO_SUCH_FIB)?.rib;
    let owned = rib.routes(None).flat_map(|route| {
        let of_clients = route.sources().find(|source| source.owner.slot() == Owner::API);
        of_clients.map(|source| Change {
            prefix: route.prefix(),
            owner: source.owner,
            action: Action::Delete,
        })
    });
    let deletions: Vec<Change> = owned.collect();
    routes.apply(engine, interfaces, index, &deletions).map(drop).map_err(router)
}

// SPDX-License-Identifier: Apache-2.0
//! Forwarding tables.

use weft_binapi::Retval;
use weft_binapi::api::ip::{
    IpTable, IpTableAddDel, IpTableAddDelReply, IpTableAddDelV2, IpTableAddDelV2Reply, IpTableAllocate,
    IpTableAllocateReply, IpTableDetails, IpTableDump, IpTableFlush, IpTableFlushReply, IpTableReplaceBegin,
    IpTableReplaceBeginReply, IpTableReplaceEnd, IpTableReplaceEndReply,
};
use weft_binapi::server::{Purpose, Records, Registry, Transactional};
use weft_nodes::ip4::{Action, Change, Owner, TableIndex};

use crate::binapi::retval::router;
use crate::binapi::transaction::Transaction;
use crate::state::Dataplane;

pub fn register(registry: &mut Registry<Dataplane>) {
    registry.change(|dataplane, transaction, _, IpTableAddDel { is_add, table }| {
        add_del(dataplane, transaction, is_add, &table)?;
        Ok(|_: &mut _| IpTableAddDelReply { retval: 0 })
    });
    registry.change(|dataplane, transaction, _, IpTableAddDelV2 { is_add, table, .. }| {
        add_del(dataplane, transaction, is_add, &table)?;
        Ok(|_: &mut _| IpTableAddDelV2Reply { retval: 0 })
    });
    // The number has to be known at once.
    registry.command(|dataplane, _, IpTableAllocate { mut table }| {
        if table.table_id == u32::MAX {
            let taken = |id: &u32| dataplane.router.table_index(*id).is_ok();
            table.table_id = (1..u32::MAX).find(|id| !taken(id)).ok_or(Retval::LIMIT_EXCEEDED)?;
        }
        let mut transaction = Transaction::default();
        add_del(dataplane, &mut transaction, true, &table)?;
        dataplane.commit(transaction, Purpose::Make).map_err(|refused| refused.retval)?;
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
fn add_del(
    dataplane: &Dataplane,
    transaction: &mut Transaction,
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
            let name = match table.name.get().ok_or(Retval::INVALID_VALUE)? {
                "" => format!("ipv4-VRF:{id}"),
                name => name.to_owned(),
            };
            transaction.add_table(dataplane, id, name)
        }
        false => transaction.delete_table(dataplane, id),
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

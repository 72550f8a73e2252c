// SPDX-License-Identifier: Apache-2.0
//! `classify`: tables and sessions as VPP has them, applied as ACLs to what comes in by an interface or leaves by it.
//!
//! A table that is applied is a rule set of the classifier, made anew with every change of a table in its chain. Such a set
//! is named after its table (`vpp-table-3`), and `show classify` has it. Tables of IPv6 and of L2, other next nodes than
//! drop, and actions on a hit are not to be had; messages for other uses of tables are not served.

mod table;

use std::collections::{BTreeMap, BTreeSet};

use weft_binapi::Retval;
use weft_binapi::api::classify::{
    ClassifyAction, ClassifyAddDelSession, ClassifyAddDelTable, ClassifyAddDelTableReply,
    ClassifySessionDetails, ClassifySessionDump, ClassifyTableByInterface, ClassifyTableByInterfaceReply,
    ClassifyTableIds, ClassifyTableIdsReply, ClassifyTableInfo, ClassifyTableInfoReply, InputAclSetInterface,
    OutputAclSetInterface,
};
use weft_binapi::server::{Records, Registry};
use weft_classify::{Direction, RuleId, RuleSet};
use weft_control::{ChangeSet, Object, Owner, Purpose, Refused};
use weft_engine::InterfaceIndex;

pub use self::table::{NONE, Session, Table};
use self::table::{VECTOR, chain, rules, verdict};
use crate::binapi::retval;
use crate::state::Dataplane;
use crate::subsystem::Subsystem;

/// More tables than anybody can keep apart.
const MOST_TABLES: usize = 4096;

/// All tables.
#[derive(Clone, Default)]
pub struct Tables {
    tables: BTreeMap<u32, Table>,
    last_session: u32,
}

impl Subsystem for Tables {}

impl Tables {
    /// All of them, by index.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Table)> {
        self.tables.iter().map(|(index, table)| (*index, table))
    }
}

pub fn register(registry: &mut Registry<Dataplane>) {
    registry.command(|dataplane, _, message: ClassifyAddDelTable| match message.is_add {
        true => dataplane.add_table(message),
        false => {
            dataplane.delete_tables(message.table_index, message.del_chain)?;
            Ok(ClassifyAddDelTableReply {
                retval: 0,
                new_table_index: NONE,
                skip_n_vectors: NONE,
                match_n_vectors: NONE,
            })
        }
    });
    registry.command(|dataplane, _, message: ClassifyAddDelSession| dataplane.change_session(message));
    registry.command(|dataplane, _, message: InputAclSetInterface| {
        let tables = [message.ip6_table_index, message.l2_table_index];
        let index = dataplane.api_interface(message.sw_if_index).map_err(|_| Retval::INVALID_INTERFACE)?;
        dataplane.set_acl(index, Direction::Input, message.ip4_table_index, tables, message.is_add)
    });
    registry.command(|dataplane, _, message: OutputAclSetInterface| {
        let tables = [message.ip6_table_index, message.l2_table_index];
        let index = dataplane.api_interface(message.sw_if_index).map_err(|_| Retval::INVALID_INTERFACE)?;
        dataplane.set_acl(index, Direction::Output, message.ip4_table_index, tables, message.is_add)
    });
    registry.query(|dataplane, _, ClassifyTableIds {}| {
        let ids = dataplane.part::<Tables>().tables.keys().copied().collect();
        Ok(ClassifyTableIdsReply { retval: 0, ids })
    });
    registry.query(|dataplane, _, ClassifyTableByInterface { sw_if_index }| {
        let index = dataplane.api_interface(sw_if_index)?;
        let (l2_table_id, ip6_table_id) = (NONE, NONE);
        let ip4_table_id = dataplane.applied_table(index, Direction::Input).unwrap_or(NONE);
        Ok(ClassifyTableByInterfaceReply { retval: 0, sw_if_index, l2_table_id, ip4_table_id, ip6_table_id })
    });
    registry.query(|dataplane, _, ClassifyTableInfo { table_id }| {
        let table =
            dataplane.part::<Tables>().tables.get(&table_id).ok_or(Retval::CLASSIFY_TABLE_NOT_FOUND)?;
        Ok(ClassifyTableInfoReply {
            retval: 0,
            table_id,
            nbuckets: table.buckets,
            match_n_vectors: (table.mask.len() / VECTOR) as u32,
            skip_n_vectors: table.skip,
            active_sessions: table.sessions.len() as u32,
            next_table_index: table.next.unwrap_or(NONE),
            miss_next_index: table.miss,
            mask: table.mask.clone(),
        })
    });
    registry.dump(|_, _, ClassifySessionDump { table_id }| {
        let mut place = 0;
        Records::new(move |dataplane: &mut Dataplane| {
            let session = dataplane.part::<Tables>().tables.get(&table_id)?.sessions.get(place)?;
            place += 1;
            Some(ClassifySessionDetails {
                retval: 0,
                table_id,
                hit_next_index: session.hit,
                advance: 0,
                opaque_index: session.opaque,
                r#match: session.bytes.clone(),
            })
        })
    });
}

fn set_name(head: u32) -> String {
    format!("vpp-table-{head}")
}

impl Dataplane {
    fn add_table(&mut self, message: ClassifyAddDelTable) -> Result<ClassifyAddDelTableReply, Retval> {
        let next = Some(message.next_table_index).filter(|next| *next != NONE);
        let reply = |new_table_index: u32, table: &Table| ClassifyAddDelTableReply {
            retval: 0,
            new_table_index,
            skip_n_vectors: table.skip,
            match_n_vectors: (table.mask.len() / VECTOR) as u32,
        };
        if next.is_some_and(|next| !self.part::<Tables>().tables.contains_key(&next)) {
            return Err(Retval::NO_SUCH_TABLE2);
        }
        if self.part::<Tables>().tables.contains_key(&message.table_index) {
            // As in VPP, only the chain of a table can be changed.
            self.change_tables(|tables| {
                let table = tables.tables.get_mut(&message.table_index).ok_or(Retval::NO_SUCH_TABLE)?;
                table.next = next;
                Ok(())
            })?;
            return Ok(reply(message.table_index, &self.part::<Tables>().tables[&message.table_index]));
        }
        if message.memory_size == 0 {
            return Err(Retval::INVALID_MEMORY_SIZE);
        }
        let length = (message.match_n_vectors as usize).checked_mul(VECTOR);
        if message.nbuckets == 0 || message.match_n_vectors == 0 || length != Some(message.mask.len()) {
            return Err(Retval::INVALID_VALUE);
        }
        verdict(message.miss_next_index)?;
        let offset = (message.current_data_flag == 1).then_some(message.current_data_offset);
        let mut table = Table::new(message.mask, message.skip_n_vectors, offset)?;
        (table.buckets, table.next, table.miss) = (message.nbuckets, next, message.miss_next_index);
        let tables = &mut self.part_mut::<Tables>().tables;
        if tables.len() >= MOST_TABLES {
            return Err(Retval::LIMIT_EXCEEDED);
        }
        let index = (0..).find(|index| !tables.contains_key(index)).unwrap_or(NONE);
        let answer = reply(index, &table);
        tables.insert(index, table);
        Ok(answer)
    }

    fn delete_tables(&mut self, head: u32, with_chain: bool) -> Result<(), Retval> {
        let (tables, applied) = (&self.part::<Tables>().tables, self.applied());
        let going = if with_chain { chain(tables, head) } else { vec![head] };
        if !tables.contains_key(&head) {
            return Err(Retval::NO_SUCH_TABLE);
        }
        // What packets are asked about stays; so does what another table leads to.
        let used = applied.iter().any(|head| chain(tables, *head).iter().any(|index| going.contains(index)));
        let mut others = tables.iter().filter(|(index, _)| !going.contains(index));
        if used || others.any(|(_, table)| table.next.is_some_and(|next| going.contains(&next))) {
            return Err(Retval::RSRC_IN_USE);
        }
        self.part_mut::<Tables>().tables.retain(|index, _| !going.contains(index));
        Ok(())
    }

    fn change_session(&mut self, message: ClassifyAddDelSession) -> Result<(), Retval> {
        let limit = self.config().limits.classify_rules as usize;
        self.change_tables(|all| {
            let sessions: usize = all.tables.values().map(|table| table.sessions.len()).sum();
            let table = all.tables.get_mut(&message.table_index).ok_or(Retval::NO_SUCH_TABLE)?;
            if message.r#match.len() != table.skipped() + table.mask.len() {
                return Err(Retval::INVALID_VALUE);
            }
            let same = |session: &Session| table.same(&session.bytes, &message.r#match);
            let place = table.sessions.iter().position(same);
            if !message.is_add {
                table.sessions.remove(place.ok_or(Retval::NO_SUCH_ENTRY)?);
                return Ok(());
            }
            verdict(message.hit_next_index)?;
            if message.action != ClassifyAction::NONE || message.advance != 0 {
                return Err(Retval::UNSUPPORTED);
            }
            let (hit, opaque) = (message.hit_next_index, message.opaque_index);
            match place {
                Some(place) => {
                    let session = &mut table.sessions[place];
                    (session.hit, session.opaque) = (hit, opaque);
                }
                None if sessions >= limit => return Err(Retval::LIMIT_EXCEEDED),
                None => {
                    // The last number is that of what no session knows.
                    all.last_session = (all.last_session + 1) % u32::MAX;
                    let id = RuleId(all.last_session);
                    table.sessions.push(Session { id, bytes: message.r#match, hit, opaque });
                }
            }
            Ok(())
        })
    }

    /// Changes tables and the rules that are made of them; nothing, if that is refused.
    fn change_tables(
        &mut self,
        change: impl FnOnce(&mut Tables) -> Result<(), Retval>,
    ) -> Result<(), Retval> {
        let before = self.part::<Tables>().clone();
        let changed = change(self.part_mut::<Tables>()).and_then(|()| {
            let mut changes = ChangeSet::new(Owner::API);
            self.applied().into_iter().try_for_each(|head| self.note_set(&mut changes, head))?;
            self.change_rules(&changes)
        });
        if changed.is_err() {
            *self.part_mut::<Tables>() = before;
        }
        changed
    }

    /// Tables that interfaces ask.
    fn applied(&self) -> BTreeSet<u32> {
        let all = self.part::<Tables>().tables.keys().copied();
        all.filter(|head| self.wants_set(&set_name(*head))).collect()
    }

    /// Notes the rules that a chain of tables stands for.
    fn note_set(&self, changes: &mut ChangeSet, head: u32) -> Result<(), Retval> {
        let rules = rules(&self.part::<Tables>().tables, head)?;
        let set = RuleSet::of(rules).map_err(|_| Retval::INVALID_VALUE)?;
        changes.set_rule_set(&set_name(head), &set);
        Ok(())
    }

    fn change_rules(&mut self, changes: &ChangeSet) -> Result<(), Retval> {
        let refused = |refused: Refused| refused.first().map_or(Retval::UNSPECIFIED, retval::step);
        self.change(changes, Purpose::Make).map_err(refused)
    }

    fn set_acl(
        &mut self,
        index: InterfaceIndex,
        direction: Direction,
        head: u32,
        others: [u32; 2],
        on: bool,
    ) -> Result<(), Retval> {
        if others != [NONE; 2] {
            return Err(Retval::UNSUPPORTED);
        }
        if head == NONE {
            return Ok(());
        }
        if !self.part::<Tables>().tables.contains_key(&head) {
            return Err(Retval::NO_SUCH_TABLE);
        }
        let attached = self.rule_sets().attached();
        let mut mine = attached.filter(|(there, way, _)| (*there, *way) == (index, direction));
        let name = set_name(head);
        match (on, mine.next().map(|(_, _, set)| set == name)) {
            (true, Some(true)) => return Ok(()),
            // Another table, or rules of the operator.
            (true, Some(false)) => return Err(Retval::RSRC_IN_USE),
            (false, None | Some(false)) => return Err(Retval::NO_SUCH_ENTRY),
            (true, None) | (false, Some(true)) => drop(mine),
        }
        let mut changes = ChangeSet::new(Owner::API);
        if on {
            if self.rule_sets().get(&name).is_some_and(|_| !self.wants_set(&name)) {
                return Err(Retval::RSRC_IN_USE);
            }
            self.note_set(&mut changes, head)?;
            changes.attach(&name, index, direction);
        } else {
            changes.delete(Object::Attachment(index, direction));
            if self.rule_sets().attached().filter(|(.., set)| *set == name).count() == 1 {
                changes.delete(Object::RuleSet(name.as_str().into()));
            }
        }
        self.change_rules(&changes)
    }

    /// Whether a rule set is one of the API's, and not the operator's.
    fn wants_set(&self, name: &str) -> bool {
        self.owners(&Object::RuleSet(name.into())).contains(&Owner::API)
    }

    /// Packets that a session has met, wherever its table is applied.
    pub fn session_hits(&self, session: &Session) -> u64 {
        let applied = self.applied();
        let sets = applied.iter().filter_map(|head| self.rule_sets().get(&set_name(*head)));
        sets.filter(|set| set.rules.get(session.id).is_some()).map(|set| set.hits(session.id).packets).sum()
    }

    /// The table that packets of an interface are asked about.
    pub fn applied_table(&self, index: InterfaceIndex, direction: Direction) -> Option<u32> {
        let mut attached = self.rule_sets().attached();
        let (_, _, set) = attached.find(|(there, way, _)| (*there, *way) == (index, direction))?;
        self.applied().into_iter().find(|head| set_name(*head) == set)
    }
}

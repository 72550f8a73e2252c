// SPDX-License-Identifier: Apache-2.0
//! Numbers of interfaces that nodes read: a limit, a level, a class.
//!
//! The file of a node declares a value, its instances read it by interface, and the main thread sets it. That puts the
//! node on its arcs for the interface, or takes it off, so an interface without the value costs nothing. What operators
//! see of a value is a setting of weft-control.
//!
//! [`InterfaceValues`] belongs to the main thread. Workers read by [`ValueReader`], one load per vector.

use std::sync::Arc;

use weft_engine::feature::FeatureError;
use weft_engine::node::NodeSpec;
use weft_engine::publish::Published;
use weft_engine::qsbr::Guard;
use weft_engine::{Engine, InterfaceIndex};

/// A number of each interface. 0 means that it is not set.
#[derive(Debug)]
pub struct InterfaceValue {
    /// Unique.
    pub name: &'static str,
    /// Who reads it: features of the interfaces where it is set.
    pub readers: &'static [&'static NodeSpec],
}

/// By index of the interface; shorter than the list of interfaces if the rest is 0.
type Numbers = Box<[u32]>;

/// For the instances of a node.
#[derive(Clone)]
pub struct ValueReader(Arc<Published<Numbers>>);

impl ValueReader {
    /// The numbers, for the packets of one vector.
    #[inline]
    pub fn read<'a>(&'a self, guard: Guard<'a>) -> Values<'a> {
        Values(self.0.read(guard))
    }
}

/// The number of each interface.
#[derive(Clone, Copy)]
pub struct Values<'a>(&'a [u32]);

impl Values<'_> {
    /// That of an interface; 0: it has none.
    #[inline(always)]
    pub fn get(self, interface: InterfaceIndex) -> u32 {
        self.0.get(interface.index()).copied().unwrap_or(0)
    }
}

struct Kept {
    value: &'static InterfaceValue,
    numbers: Vec<u32>,
    published: Arc<Published<Numbers>>,
}

/// All values of all interfaces, as the main thread holds them.
#[derive(Default)]
pub struct InterfaceValues {
    list: Vec<Kept>,
}

impl InterfaceValues {
    /// For a node that is about to be made.
    pub(crate) fn reader(&mut self, engine: &Engine, value: &'static InterfaceValue) -> ValueReader {
        ValueReader(Arc::clone(&self.kept(engine, value).published))
    }

    /// The number of an interface; 0: it has none.
    pub fn get(&self, value: &InterfaceValue, index: InterfaceIndex) -> u32 {
        let kept = self.list.iter().find(|kept| kept.value.name == value.name);
        kept.and_then(|kept| kept.numbers.get(index.index()).copied()).unwrap_or(0)
    }

    /// Gives an interface another number; 0: none.
    pub fn set(
        &mut self,
        engine: &mut Engine,
        value: &'static InterfaceValue,
        index: InterfaceIndex,
        number: u32,
    ) -> Result<(), FeatureError> {
        if self.get(value, index) == number {
            return Ok(());
        }
        let kept = self.kept(engine, value);
        if kept.numbers.len() <= index.index() {
            kept.numbers.resize(index.index() + 1, 0);
        }
        kept.numbers[index.index()] = number;
        kept.published.replace(&mut engine.domain, kept.numbers.clone().into_boxed_slice());
        for node in value.readers {
            for place in node.features {
                let arc = engine.features().arc(place.arc)?;
                engine.set_feature(arc, index, node.name, number != 0)?;
            }
        }
        Ok(())
    }

    /// The interface is about to be deleted; its index will be another's.
    pub fn interface_leaves(
        &mut self,
        engine: &mut Engine,
        index: InterfaceIndex,
    ) -> Result<(), FeatureError> {
        let values: Vec<_> = self.list.iter().map(|kept| kept.value).collect();
        values.into_iter().try_for_each(|value| self.set(engine, value, index, 0))
    }

    fn kept(&mut self, engine: &Engine, value: &'static InterfaceValue) -> &mut Kept {
        let place = self.list.iter().position(|kept| kept.value.name == value.name);
        let place = place.unwrap_or_else(|| {
            let published = Arc::new(Published::new(&engine.domain, Numbers::default()));
            self.list.push(Kept { value, numbers: Vec::new(), published });
            self.list.len() - 1
        });
        &mut self.list[place]
    }
}

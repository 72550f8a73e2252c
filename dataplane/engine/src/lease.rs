// SPDX-License-Identifier: Apache-2.0
//! Indices that outlive their objects.
//!
//! An index is given out again, so whoever still names it then names another object. Published tables let go of an index
//! by themselves: workers read them between two quiescent points and keep nothing. But a message on its way to a worker may
//! name it (a verdict that redirects a flow, a packet that is injected), and so may a packet between two workers, and what
//! they write somewhere when they arrive. So the index of an object that is gone is held by a [`Lease`]. Whoever may name
//! it, or has sent something that does, keeps a clone until that is over; when the last one is dropped, another object may
//! have the index. [`Engine::retire_index`](crate::Engine::retire_index) keeps one for everything that is on its way.
//!
//! A lease can be dropped on any thread.

use std::any::Any;
use std::sync::Arc;

/// A hold on an index whose object is gone, or will be.
#[derive(Clone, Debug)]
pub struct Lease(Arc<dyn Any + Send + Sync>);

impl Lease {
    /// The drop of `held` gives the index back.
    pub fn new(held: impl Send + Sync + 'static) -> Lease {
        Lease(Arc::new(held))
    }

    /// How many hold it now.
    pub fn holders(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    /// This and something else, held together.
    #[must_use]
    pub fn with(&self, held: impl Send + Sync + 'static) -> Lease {
        Lease::new((self.clone(), held))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    struct Freed(u32, Arc<Mutex<Vec<u32>>>);

    impl Drop for Freed {
        fn drop(&mut self) {
            self.1.lock().unwrap().push(self.0);
        }
    }

    #[test]
    fn the_last_one_gives_back_what_is_held() {
        let freed = Arc::new(Mutex::new(Vec::new()));
        let lease = Lease::new(Freed(1, Arc::clone(&freed)));
        let both = lease.with(Freed(2, Arc::clone(&freed)));
        assert_eq!((lease.holders(), both.holders()), (2, 1));
        drop(lease);
        assert!(freed.lock().unwrap().is_empty(), "it is held with the other one");
        drop(both);
        assert_eq!(*freed.lock().unwrap(), [1, 2]);
    }
}

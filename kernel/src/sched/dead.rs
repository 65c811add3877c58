//! Batches of dead goroutines, for whoever works on their stacks (the scavenger).

use core::ptr;

use super::{g::G, spawn};
use crate::mem::stack::Stack;

/// Dead goroutines taken off the free list; nobody else can start them meanwhile.
pub(crate) struct Batch(*mut G);

impl Default for Batch {
    fn default() -> Self {
        Batch(ptr::null_mut())
    }
}

impl Batch {
    /// Takes up to `n` from the global free list.
    pub(crate) fn take(n: usize) -> Batch {
        Batch(spawn::take_dead_batch(n))
    }
    /// None left?
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_null()
    }
    /// Their default stacks.
    pub(crate) fn stacks(&self) -> impl Iterator<Item = Stack> + '_ {
        let mut g = self.0;
        core::iter::from_fn(move || {
            // SAFETY: null, or a dead G on our private list.
            let this = unsafe { g.as_ref() }?;
            g = this.link.get();
            Some(this.default_stack.get())
        })
    }
    /// Moves all of `other` here.
    pub(crate) fn append(&mut self, other: &mut Batch) {
        // SAFETY: each G is null or on `other`'s private list.
        while let Some(g) = unsafe { other.0.as_ref() } {
            let next = g.link.replace(self.0);
            self.0 = other.0;
            other.0 = next;
        }
    }
    /// Puts them back on the free list.
    pub(crate) fn put_back(self) {
        spawn::put_dead_batch(self.0);
    }
}

//! Batches of dead goroutines, for whoever works on their stacks (the scavenger).

use core::ptr::{self, NonNull};

use super::{g::G, spawn};
use crate::mem::stack::Stack;

fn raw(g: Option<NonNull<G>>) -> *mut G {
    g.map_or(ptr::null_mut(), NonNull::as_ptr)
}

/// Dead goroutines taken off the free list; nobody else can start them meanwhile.
#[derive(Default)]
pub(crate) struct Batch(Option<NonNull<G>>);

impl Batch {
    /// Takes up to `n` from the global free list.
    pub(crate) fn take(n: usize) -> Batch {
        Batch(NonNull::new(spawn::take_dead_batch(n)))
    }
    /// None left?
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }
    /// Their default stacks.
    pub(crate) fn stacks(&self) -> impl Iterator<Item = Stack> + '_ {
        let mut g = self.0;
        core::iter::from_fn(move || {
            // SAFETY: a dead G on our private list.
            let this = unsafe { g?.as_ref() };
            g = NonNull::new(this.link.get());
            Some(this.default_stack.get())
        })
    }
    /// Moves all of `other` here.
    pub(crate) fn append(&mut self, other: &mut Batch) {
        while let Some(g) = other.0 {
            // SAFETY: a dead G on `other`'s private list.
            let next = unsafe { g.as_ref() }.link.replace(raw(self.0));
            self.0 = Some(g);
            other.0 = NonNull::new(next);
        }
    }
    /// Puts them back on the free list.
    pub(crate) fn put_back(self) {
        spawn::put_dead_batch(raw(self.0));
    }
}

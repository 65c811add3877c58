//! The private place of a pool on one core: room for one value.
//!
//! `EMPTY` → (its core writes) → `FULL` → (whoever gets it) → `BUSY` → `EMPTY`. Only the core it belongs to fills it; to
//! take from it is an exchange, because the collection may come for the value at the same time.
//!
//! Memory ordering: FULL is stored Release and pairs with the Acquire of the exchange; EMPTY is stored Release and pairs
//! with the Acquire load in `put`.

use core::mem::MaybeUninit;

use super::cell::UnsafeCell;
use crate::shim::{AtomicU32, Ordering};

const EMPTY: u32 = 0;
const FULL: u32 = 1;
const BUSY: u32 = 2;

pub(super) struct Slot<T> {
    state: AtomicU32,
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: the value goes from goroutine to goroutine, each time to one.
unsafe impl<T: Send> Sync for Slot<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Slot<T> {}

impl<T> Slot<T> {
    pub(super) fn new() -> Self {
        Slot {
            state: AtomicU32::new(EMPTY),
            value: UnsafeCell::new(MaybeUninit::uninit()),
        }
    }

    /// Fills it, if it is empty. Only on the core it belongs to, which is not left meanwhile.
    #[inline]
    pub(super) fn put(&self, value: T) -> Result<(), T> {
        // Acquire: pairs with the store in `take`.
        if self.state.load(Ordering::Acquire) != EMPTY {
            return Err(value);
        }
        // SAFETY: empty, and only this core fills it.
        self.value.with_mut(|p| unsafe { p.cast::<T>().write(value) });
        self.state.store(FULL, Ordering::Release); // pairs with the exchange in `take`
        Ok(())
    }

    /// Takes the value.
    #[inline]
    pub(super) fn take(&self) -> Option<T> {
        if self.state.load(Ordering::Relaxed) != FULL {
            return None;
        }
        // Acquire: pairs with the store in `put`.
        self.state
            .compare_exchange(FULL, BUSY, Ordering::Acquire, Ordering::Relaxed)
            .ok()?;
        // SAFETY: full, and ours by the exchange.
        let value = self.value.with_mut(|p| unsafe { p.cast::<T>().read() });
        self.state.store(EMPTY, Ordering::Release); // pairs with the load in `put`
        Some(value)
    }
}

impl<T> Drop for Slot<T> {
    fn drop(&mut self) {
        drop(self.take());
    }
}

#[cfg(all(test, loom))]
mod loom_models {
    use alloc::vec::Vec;

    use loom::{sync::Arc, thread};

    use super::*;

    /// Its core fills the place and takes from it, while a collection and a thief come for the value: each value has one
    /// taker, and the place is filled again only when it is empty.
    #[test]
    fn loom_pool_slot_owner_and_two_takers() {
        let mut b = loom::model::Builder::new();
        b.preemption_bound = b.preemption_bound.or(Some(3));
        b.check(|| {
            let s = Arc::new(Slot::new());
            let takers = [s.clone(), s.clone()].map(|s| thread::spawn(move || s.take()));
            let mut got: Vec<u32> = Vec::new();
            for v in [1, 2] {
                got.extend(s.put(v).err());
            }
            got.extend(s.take());
            got.extend(s.put(3).err());
            got.extend(takers.into_iter().filter_map(|t| t.join().unwrap()));
            got.extend(s.take());
            got.sort();
            assert_eq!(got, [1, 2, 3]);
        });
    }
}

//! The spin lock as loom sees it: loom's mutex. A loop that spins until another thread gets on has no end for a
//! model checker, which would try every length of it; what is modelled is what the lock protects.

use core::cell::UnsafeCell;

use loom::sync::{Mutex, MutexGuard};

use super::Rank;

/// See `spin::RawSpinLock`; the same contract.
pub struct RawSpinLock {
    mutex: Mutex<()>,
    guard: UnsafeCell<Option<MutexGuard<'static, ()>>>,
}

// SAFETY: `guard` is touched by the holder only.
unsafe impl Sync for RawSpinLock {}
// SAFETY: as above.
unsafe impl Send for RawSpinLock {}

impl RawSpinLock {
    /// A free lock.
    pub fn new(_: Rank) -> Self {
        Self {
            mutex: Mutex::new(()),
            guard: UnsafeCell::new(None),
        }
    }

    fn keep(&self, guard: MutexGuard<'_, ()>) {
        // SAFETY: only the lifetime changes; the guard is dropped by `unlock`, which borrows us.
        let guard = unsafe { core::mem::transmute::<MutexGuard<'_, ()>, MutexGuard<'static, ()>>(guard) };
        // SAFETY: we hold the mutex.
        unsafe { *self.guard.get() = Some(guard) };
    }

    /// Takes the lock.
    pub fn lock(&self) {
        self.keep(self.mutex.lock().expect("never poisoned"));
    }

    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> bool {
        self.mutex.try_lock().map(|g| self.keep(g)).is_ok()
    }

    /// Releases the lock.
    ///
    /// # Safety
    /// 1. The lock is held by this thread.
    pub unsafe fn unlock(&self) {
        // SAFETY: 1. we hold the mutex.
        let guard = unsafe { (*self.guard.get()).take() };
        drop(guard);
    }
}

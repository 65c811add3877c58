//! The spin lock: test-and-test-and-set, preemption off while held.
//!
//! Critical sections are tens of instructions, the holder cannot be preempted, and there are at most as
//! many waiters as cores, so the simplest lock wins over queued ones; what would queue for long parks the
//! goroutine instead (`sync/`). Waiters spin on a plain load, so that the line stays shared until it is free.

use core::{
    cell::UnsafeCell,
    ops::{Deref, DerefMut},
};

use super::rank::{Rank, check};
#[cfg(loom)]
pub use super::spin_loom::RawSpinLock;
use crate::{
    arch,
    shim::{AtomicBool, Ordering, spin_loop},
};

/// A spin lock without data and without guard, for protocols that release it elsewhere than they took it
/// (a goroutine parks holding a channel's lock; its commit step on g0 releases it).
#[cfg(not(loom))]
pub struct RawSpinLock {
    locked: AtomicBool,
    rank: Rank,
}

#[cfg(not(loom))]
impl RawSpinLock {
    shim_const_fn! {
        /// A free lock of the given rank.
        pub fn new(rank: Rank) -> Self {
            Self { locked: AtomicBool::new(false), rank }
        }
    }

    /// In debug builds, with `chaos=1`: time may pass here. Before the lock is taken, and after it was released.
    #[inline(always)]
    fn sync_point(rank: Rank) {
        if cfg!(debug_assertions) {
            match rank {
                Rank::Sema | Rank::Chan | Rank::Waiters | Rank::Timers => crate::sched::sync_point(),
                Rank::Outer | Rank::Console => {}
                _ => crate::sched::gap(),
            }
        }
    }

    /// Takes the lock, spinning with preemption off until it is free.
    #[inline(always)]
    pub fn lock(&self) {
        Self::sync_point(self.rank);
        arch::preempt_disable();
        check::acquire(self.rank, self as *const _ as usize, true);
        // Acquire: pairs with the Release store in `unlock`.
        if self
            .locked
            .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
        {
            self.lock_slow();
        }
    }

    /// Saves what it uses of the caller's registers (`rust-cold`), so that the fast path keeps none free for it.
    #[cold]
    extern "rust-cold" fn lock_slow(&self) {
        loop {
            while self.locked.load(Ordering::Relaxed) {
                spin_loop();
            }
            // Acquire: pairs with the Release store in `unlock`.
            if self
                .locked
                .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
            {
                return;
            }
            spin_loop();
        }
    }

    /// Takes the lock if it is free.
    #[inline(always)]
    pub fn try_lock(&self) -> bool {
        arch::preempt_disable();
        // Acquire: pairs with the Release store in `unlock`.
        if self
            .locked
            .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
        {
            check::acquire(self.rank, self as *const _ as usize, false);
            true
        } else {
            arch::preempt_enable();
            false
        }
    }

    /// Releases the lock and lowers the preempt count.
    ///
    /// # Safety
    /// 1. The lock is held, and by this core (the goroutine that took it, or its commit step on g0).
    #[inline(always)]
    pub unsafe fn unlock(&self) {
        let rank = self.rank; // the lock may be gone afterwards
        // SAFETY: 1. is passed on to the caller.
        unsafe { self.release() };
        arch::preempt_enable();
        Self::sync_point(rank);
    }

    /// Releases the lock but leaves the preempt count raised: for commit steps, which run on g0 where the
    /// switch has already replaced the count.
    ///
    /// # Safety
    /// 1. As for [`RawSpinLock::unlock`].
    #[inline(always)]
    pub unsafe fn release(&self) {
        debug_assert!(self.is_locked(), "unlock of an unlocked spin lock");
        check::release(self as *const _ as usize);
        // Release: pairs with the Acquire exchanges above.
        self.locked.store(false, Ordering::Release);
    }

    /// Is somebody holding it? Only a hint, for assertions.
    pub fn is_locked(&self) -> bool {
        self.locked.load(Ordering::Relaxed)
    }
}

/// Data behind a [`RawSpinLock`].
pub struct SpinLock<T: ?Sized> {
    raw: RawSpinLock,
    value: UnsafeCell<T>,
}

// SAFETY: the lock gives one core at a time access to the value.
unsafe impl<T: ?Sized + Send> Sync for SpinLock<T> {}
// SAFETY: owning the lock is owning the value.
unsafe impl<T: ?Sized + Send> Send for SpinLock<T> {}

impl<T> SpinLock<T> {
    shim_const_fn! {
        /// A free lock of the given rank around `value`.
        pub fn new(rank: Rank, value: T) -> Self {
            Self { raw: RawSpinLock::new(rank), value: UnsafeCell::new(value) }
        }
    }
}

impl<T: ?Sized> SpinLock<T> {
    /// Takes the lock, spinning with preemption off until it is free.
    #[inline(always)]
    pub fn lock(&self) -> SpinGuard<'_, T> {
        self.raw.lock();
        SpinGuard { lock: self }
    }

    /// Takes the lock if it is free.
    #[inline(always)]
    pub fn try_lock(&self) -> Option<SpinGuard<'_, T>> {
        self.raw.try_lock().then(|| SpinGuard { lock: self })
    }

    /// The lock itself, to park with: the guard is forgotten and the commit step releases it.
    #[inline(always)]
    pub fn raw(&self) -> &RawSpinLock {
        &self.raw
    }

    /// The value without locking, given that nobody else can have it.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

/// Access to the value of a [`SpinLock`]; preemption is off while it lives.
#[must_use = "the lock is held only while the guard lives"]
pub struct SpinGuard<'a, T: ?Sized> {
    lock: &'a SpinLock<T>,
}

impl<T: ?Sized> Deref for SpinGuard<'_, T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: the guard holds the lock.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> DerefMut for SpinGuard<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard holds the lock, and is borrowed mutably.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T: ?Sized> Drop for SpinGuard<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: 1. the guard was made by taking the lock, on this core: preemption was off since.
        unsafe { self.lock.raw.unlock() };
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_failed_try_lock_leaves_the_lock_held() {
        let l = SpinLock::new(Rank::Outer, 1);
        let g = l.lock();
        assert!(l.try_lock().is_none());
        assert!(l.raw.is_locked());
        drop(g);
        assert_eq!(l.try_lock().map(|g| *g), Some(1));
    }
}

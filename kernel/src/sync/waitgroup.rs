//! `WaitGroup`: wait until a number of goroutines are done.
//!
//! One word: the counter in the high half, the number of waiters in the low half, so that "the counter reached
//! zero and so many wait" is one atomic answer. Whoever brings the counter to zero clears the word and wakes
//! them all. Misuse that Go only documents panics here as far as it can be seen: a negative counter, `add` from
//! zero while others wait, and reuse before an earlier `wait` has returned.
//!
//! A waiter whose patience ended (`limit`) takes itself off the number of waiters, but only while the counter is above
//! zero: at zero the last member is about to wake as many as it read there. Then it is done anyway, and a permit on its way.
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use core::fmt;

use super::{
    limit::{Forever, Limit, Patience},
    sema,
};
use crate::{
    sched::{self, WaitReason},
    shim::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

/// Waits for a group of goroutines.
///
/// ```
/// use std::sync::{Arc, atomic::{AtomicU32, Ordering}};
/// use burrow::sync::WaitGroup;
/// let (wg, sum) = (Arc::new(WaitGroup::new()), Arc::new(AtomicU32::new(0)));
/// for i in 1..=4 {
///     let sum = sum.clone();
///     wg.go(move || { sum.fetch_add(i, Ordering::Relaxed); });
/// }
/// wg.wait();
/// assert_eq!(sum.load(Ordering::Relaxed), 10);
/// ```
pub struct WaitGroup {
    state: AtomicU64,
    sema: AtomicU32,
}

const ONE: u64 = 1 << 32;

fn counter(state: u64) -> i32 {
    (state >> 32) as i32
}

impl WaitGroup {
    shim_const_fn! {
        /// A group of nobody.
        ///
        /// ```
        /// static WORKERS: burrow::sync::WaitGroup = burrow::sync::WaitGroup::new();
        /// WORKERS.wait(); // nobody yet
        /// ```
        pub fn new() -> Self {
            Self { state: AtomicU64::new(0), sema: AtomicU32::new(0) }
        }
    }

    /// Adds `n` (which may be negative) to the number of goroutines to wait for.
    ///
    /// # Panics
    /// If the number becomes negative, or rises from zero while somebody waits.
    ///
    /// ```
    /// let wg = burrow::sync::WaitGroup::new();
    /// wg.add(2);
    /// wg.add(-1);
    /// assert_eq!(wg.count(), 1);
    /// ```
    #[inline]
    pub fn add(&self, n: i32) {
        let delta = (i64::from(n) << 32) as u64;
        // AcqRel: what each member did before its `done` happens before the last one wakes the waiters.
        let new = self.state.fetch_add(delta, Ordering::AcqRel).wrapping_add(delta);
        // Not negative and nobody waits: that is all.
        if (new as i64) < 0 || new as u32 != 0 {
            self.add_slow(new, n);
        }
    }

    #[cold]
    #[inline(never)]
    fn add_slow(&self, new: u64, n: i32) {
        sched::sync_point();
        let (count, waiters) = (counter(new), new as u32);
        if count < 0 {
            panic!("sync: negative WaitGroup counter");
        }
        if n > 0 && count == n {
            panic!("sync: WaitGroup misuse: add called concurrently with wait");
        }
        if count > 0 {
            return;
        }
        // Zero, and somebody waits: nobody may add or begin to wait now.
        if self
            .state
            .compare_exchange(new, 0, Ordering::AcqRel, Ordering::Relaxed)
            .is_err()
        {
            panic!("sync: WaitGroup misuse: add called concurrently with wait");
        }
        for _ in 0..waiters {
            sema::release(&self.sema, false);
        }
    }

    /// One of them is done.
    ///
    /// # Panics
    /// If there was none left.
    ///
    /// ```
    /// let wg = burrow::sync::WaitGroup::new();
    /// wg.add(1);
    /// wg.done();
    /// wg.wait();
    /// ```
    #[inline]
    pub fn done(&self) {
        self.add(-1);
    }

    /// Waits until all are done.
    ///
    /// # Panics
    /// If the group is used again before this has returned.
    ///
    /// ```
    /// let wg = std::sync::Arc::new(burrow::sync::WaitGroup::new());
    /// for _ in 0..3 {
    ///     wg.go(|| burrow::yield_now());
    /// }
    /// wg.wait();
    /// assert_eq!(wg.count(), 0);
    /// ```
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn wait(&self) {
        crate::lock::might_sleep();
        let old = self.state.load(Ordering::Acquire); // pairs with the Release half in `add`
        if counter(old) != 0 {
            self.wait_slow(old, Forever);
        }
    }

    /// Waits until all are done, for `d` at most. Are they?
    ///
    /// # Panics
    /// As [`wait`](Self::wait).
    ///
    /// ```
    /// use burrow::{sync::WaitGroup, time::Duration};
    /// let wg = WaitGroup::new();
    /// wg.add(1);
    /// assert!(!wg.wait_timeout(Duration::from_millis(1)));
    /// wg.done();
    /// assert!(wg.wait_timeout(Duration::ZERO));
    /// ```
    pub fn wait_timeout(&self, d: Duration) -> bool {
        self.wait_within(Limit::after(d))
    }

    /// Waits until all are done, unless the patience ends first: `false`.
    pub(super) fn wait_within(&self, patience: impl Patience) -> bool {
        let old = self.state.load(Ordering::Acquire); // as in `wait`
        counter(old) == 0 || self.wait_slow(old, patience)
    }

    #[inline(never)]
    fn wait_slow<P: Patience>(&self, mut old: u64, patience: P) -> bool {
        loop {
            if counter(old) == 0 {
                return true;
            }
            match self
                .state
                .compare_exchange_weak(old, old + 1, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => break,
                Err(now) => old = now,
            }
        }
        sched::sync_point();
        if !patience.acquire(&self.sema, WaitReason::WaitGroupWait, None) {
            if self.leave() {
                return false;
            }
            sema::acquire(&self.sema, false, WaitReason::WaitGroupWait); // it is on its way
        }
        if self.state.load(Ordering::Acquire) != 0 {
            panic!("sync: WaitGroup is reused before previous wait has returned");
        }
        true
    }

    /// One waiter less. `false`: all are done, and a permit for this one is on its way, or here.
    fn leave(&self) -> bool {
        sched::sync_point();
        let mut old = self.state.load(Ordering::Relaxed);
        // not a spin: each round somebody else has made progress
        while counter(old) != 0 && old as u32 != 0 {
            match self
                .state
                .compare_exchange_weak(old, old - 1, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return true,
                Err(now) => old = now,
            }
        }
        false
    }

    /// Starts `f` as a goroutine of the group; it is done when `f` ends, however it ends.
    ///
    /// ```
    /// let wg = std::sync::Arc::new(burrow::sync::WaitGroup::new());
    /// wg.go(|| burrow::goexit()); // counts as done
    /// wg.wait();
    /// ```
    #[track_caller]
    pub fn go<F: FnOnce() + Send + 'static>(self: &Arc<Self>, f: F) {
        struct Done(Arc<WaitGroup>);
        impl Drop for Done {
            fn drop(&mut self) {
                self.0.done();
            }
        }
        self.add(1);
        let done = Done(self.clone());
        sched::go(move || {
            let _done = done;
            f();
        });
    }

    /// Brings the counter to zero, wakes one waiter, and is in use again: what a racing `add` would do.
    #[cfg(all(test, not(loom)))]
    pub(super) fn finish_and_reuse(&self) {
        self.state.store(ONE, Ordering::Release); // pairs with the Acquire load in `wait`
        sema::release(&self.sema, false);
    }

    /// Brings the counter to zero and has not woken anybody yet: where the last `done` is between its two steps.
    #[cfg(all(test, not(loom)))]
    pub(super) fn half_a_done(&self) {
        self.state.fetch_sub(ONE, Ordering::AcqRel);
    }

    /// No member, no waiter, no permit left over.
    #[cfg(loom)]
    pub(super) fn is_pristine(&self) -> bool {
        self.state.load(Ordering::Relaxed) == 0 && self.sema.load(Ordering::Relaxed) == 0
    }

    /// How many are not done yet.
    ///
    /// ```
    /// let wg = burrow::sync::WaitGroup::new();
    /// wg.add(3);
    /// assert_eq!(wg.count(), 3);
    /// ```
    pub fn count(&self) -> u32 {
        (self.state.load(Ordering::Relaxed) / ONE) as u32
    }
}

impl Default for WaitGroup {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for WaitGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WaitGroup({})", self.count())
    }
}

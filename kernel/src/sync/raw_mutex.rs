//! The protocol of `Mutex`: mutual exclusion that parks. (`mutex` has the value and its guard.)
//!
//! Two words. `state` = LOCKED | WOKEN | STARVING | PERMIT | number of waiters, who sleep on it (`sema`; PERMIT is
//! the permit of one that was woken before it slept: there is never a second). `owner` is the number of the goroutine
//! that locked, which debug builds write down for reports (`cycle`); release builds spend no instruction on it.
//!
//! *Normal mode*: unlocking wakes the first waiter, who then competes with whoever arrives (a goroutine that is
//! on a core already usually wins, which saves a switch: "barging"). WOKEN says that somebody is awake
//! and competing, so an unlock need not wake another. A newcomer spins a little first if another core may be
//! about to unlock.
//!
//! *Starvation mode*: a waiter that has waited for more than 1 ms sets STARVING; from then on an unlock hands
//! the mutex to the first sleeper directly: LOCKED stays clear for that moment, but nobody else takes a
//! STARVING mutex; newcomers queue up. The new owner ends the mode if it is the last waiter or waited less than
//! 1 ms. A waiter that lost the competition sleeps in front of the others, so order of arrival is kept.
//!
//! *Spinning* pays only while the holder runs on another core. A release build does not know who the holder is (that
//! would be a store in every `lock`), so the conditions are Go's: several cores, some other P busy and not just looking for
//! work, nothing to run on this one, at most four rounds of about 30 pauses.
//!
//! *Giving up* (`limit`). The count of waiters W says how many sleepers are still to be woken; each has counted
//! itself. One whose patience ended is off the table's queue, and takes itself off the count, except where its wake-up
//! has begun:
//! - W = 0: an unlock counted it down and is about to release the permit. All other sleepers have theirs, so this
//!   one is for us. (Another's, if W > 0: then as many sleepers as permits are left without us.)
//! - W = 1, STARVING and not LOCKED: the mutex is being handed to the one sleeper there is.
//!
//! In both cases the permit is a few instructions of the unlocking goroutine away: the waiter yields until it can take it
//! (or a newcomer was given it and is counted for it) and goes on as one that was woken, late as it is: it has the
//! mutex, or tries once and, failing, clears WOKEN while LOCKED or STARVING stands, so that the next unlock sees to
//! the others. Else, if it was the last, it ends starvation mode: a hand-off
//! needs somebody to take it. W = 0 with STARVING never comes about: the one handed the mutex, who counts itself down,
//! and the last who gives up clear STARVING in the same step.
//!
//! | from | to | by |
//! | --- | --- | --- |
//! | 0 | LOCKED | `lock`, `try_lock` |
//! | LOCKED | 0 | `unlock` |
//! | LOCKED, waiters | waiters+1 | `lock_slow`, then asleep |
//! | waiters, not STARVING | waiters-1, WOKEN | `unlock_slow`, wakes one |
//! | STARVING, waiters | LOCKED, waiters-1 | the one that was handed it |
//! | waiters | waiters-1; the last: not STARVING | `leave`, patience ended |
//! | LOCKED or STARVING, WOKEN | not WOKEN | `lock_slow`, awake, patience ended |
//!
//! Memory ordering: every step that sets LOCKED is Acquire and pairs with the Release of `unlock`'s subtraction;
//! the steps between are Relaxed, for they are on the same word and keep its release sequence (all are
//! read-modify-writes). `lock_api::RawMutex` is implemented, for crates that are generic over locks.
#![forbid(unsafe_code)]

use core::fmt;

use super::{
    limit::{Forever, Limit, Patience},
    sema, stats,
};
use crate::{
    sched::{self, WaitReason},
    shim::{AtomicU32, Ordering, spin_loop},
    time::{Duration, Instant},
};

const LOCKED: u32 = 1;
const WOKEN: u32 = 2;
const STARVING: u32 = 4;
const PERMIT: u32 = 8;
const WAITER: u32 = 16;

#[cfg_attr(loom, expect(dead_code, reason = "in a model time is not measured"))]
/// How long a waiter lets others overtake it (ns).
const STARVING_AFTER: u64 = 1_000_000;
const SPIN_ROUNDS: u32 = 4;
const SPINS: u32 = 30;

/// Is it written down who locked?
const NOTED: bool = cfg!(all(debug_assertions, not(loom)));
/// In the word that names the owner: a guard will unlock, and nothing else can.
pub(crate) const GUARDED: u32 = 1 << 31;

#[cfg(not(loom))]
fn is_starving(waited: u64) -> bool {
    waited > STARVING_AFTER
}

// In a model time is not measured. Nobody is starving (0), who has slept once (1), or everybody, as if he had before (2).
#[cfg(loom)]
std::thread_local! {
    pub(super) static STARVE: core::cell::Cell<u8> = const { core::cell::Cell::new(0) };
}
#[cfg(loom)]
fn is_starving(waited: u64) -> bool {
    STARVE.get() > u8::from(waited == 0)
}

/// A mutex without data and guard, for protocols that unlock elsewhere than they locked.
///
/// ```
/// let m = burrow::sync::RawMutex::new();
/// m.lock();
/// assert!(!m.try_lock());
/// m.unlock();
/// ```
#[repr(C)]
pub struct RawMutex {
    state: AtomicU32,
    owner: AtomicU32,
}

impl RawMutex {
    shim_const_fn! {
        /// An unlocked mutex.
        ///
        /// ```
        /// static ONE_AT_A_TIME: burrow::sync::RawMutex = burrow::sync::RawMutex::new();
        /// assert!(ONE_AT_A_TIME.try_lock());
        /// ```
        pub fn new() -> Self {
            Self { state: AtomicU32::new(0), owner: AtomicU32::new(0) }
        }
    }

    /// Locks; waits until it can.
    ///
    /// ```
    /// let m = burrow::sync::RawMutex::new();
    /// m.lock();
    /// assert!(m.is_locked());
    /// ```
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn lock(&self) {
        crate::lock::might_sleep();
        // Acquire: pairs with the Release in `unlock`.
        if self
            .state
            .compare_exchange(0, LOCKED, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
        {
            self.lock_slow(Forever);
        }
        self.note_owner();
    }

    /// Locks, unless the patience ends first: `false`.
    pub(super) fn lock_within(&self, patience: impl Patience) -> bool {
        crate::lock::might_sleep();
        let ours = self.try_lock() || self.lock_slow(patience);
        if ours {
            self.note_owner();
        }
        ours
    }

    /// Locks if it can within `d`.
    ///
    /// ```
    /// let m = burrow::sync::RawMutex::new();
    /// m.lock();
    /// assert!(!m.try_lock_for(burrow::time::Duration::from_millis(1)));
    /// ```
    pub fn try_lock_for(&self, d: Duration) -> bool {
        self.try_lock() || self.lock_within(Limit::after(d))
    }

    /// Locks if it can before `deadline`.
    ///
    /// ```
    /// let m = burrow::sync::RawMutex::new();
    /// assert!(m.try_lock_until(burrow::time::Instant::now())); // it is free
    /// ```
    pub fn try_lock_until(&self, deadline: Instant) -> bool {
        self.lock_within(Limit::until(deadline))
    }

    /// In debug builds: it is ours, for reports. Relaxed: whoever reads it does so when nothing moves any more.
    #[inline(always)]
    fn note_owner(&self) {
        if NOTED {
            self.owner
                .store(sched::current().id() as u32 & !GUARDED, Ordering::Relaxed);
        }
    }

    /// As [`note_owner`](Self::note_owner): and nobody but we can unlock it, for a guard does that, which stays with us.
    #[inline(always)]
    pub(super) fn note_guard(&self) {
        if NOTED {
            self.owner.fetch_or(GUARDED, Ordering::Relaxed);
        }
    }

    /// Where the number of the goroutine that locked it stands (debug builds).
    pub(super) fn owner(&self) -> &AtomicU32 {
        &self.owner
    }

    /// Locks if that needs no waiting.
    ///
    /// ```
    /// let m = burrow::sync::RawMutex::new();
    /// assert!(m.try_lock() && !m.try_lock());
    /// ```
    #[inline]
    pub fn try_lock(&self) -> bool {
        let old = self.state.load(Ordering::Relaxed);
        let ours = old & (LOCKED | STARVING) == 0
            // Acquire: pairs with the Release in `unlock`.
            && self.state.compare_exchange(old, old | LOCKED, Ordering::Acquire, Ordering::Relaxed).is_ok();
        if ours {
            self.note_owner();
        }
        ours
    }

    /// Unlocks; any goroutine may.
    ///
    /// # Fatal errors
    /// If it is not locked: the program ends.
    ///
    /// ```
    /// use std::sync::Arc;
    /// let m = Arc::new(burrow::sync::RawMutex::new());
    /// m.lock();
    /// let theirs = m.clone();
    /// burrow::go(move || theirs.unlock()); // somebody else may
    /// m.lock();
    /// ```
    #[inline]
    pub fn unlock(&self) {
        if NOTED {
            self.owner.store(0, Ordering::Relaxed); // before another can write himself down
        }
        // Release: pairs with the Acquire in `lock` and its kin.
        let old = self.state.fetch_sub(LOCKED, Ordering::Release);
        if old != LOCKED {
            self.unlock_slow(old);
        }
    }

    /// Wakes the first waiter and keeps the lock: what comes of an unlock if somebody else is faster than who was woken.
    #[cfg(all(test, not(loom)))]
    pub(super) fn overtake(&self) {
        let old = self.state.fetch_sub(WAITER - WOKEN, Ordering::Relaxed);
        assert!(old >= WAITER && old & (LOCKED | WOKEN | STARVING) == LOCKED);
        sema::release_bit(&self.state, PERMIT, false);
    }

    /// Will it be handed to whoever waits?
    #[cfg(all(test, not(loom)))]
    pub(super) fn is_starving(&self) -> bool {
        self.state.load(Ordering::Relaxed) & STARVING != 0
    }

    /// Nobody has it, waits for it, or is on the way.
    #[cfg(loom)]
    pub(super) fn is_pristine(&self) -> bool {
        self.state.load(Ordering::Relaxed) == 0
    }

    /// Is it locked now? A hint.
    ///
    /// ```
    /// let m = burrow::sync::RawMutex::new();
    /// m.lock();
    /// assert!(m.is_locked());
    /// ```
    pub fn is_locked(&self) -> bool {
        self.state.load(Ordering::Relaxed) & LOCKED != 0
    }

    #[cold]
    #[inline(never)]
    fn lock_slow<P: Patience>(&self, patience: P) -> bool {
        let (mut since, mut starving, mut awake, mut rounds) = (None::<u64>, is_starving(0), false, 0);
        sched::sync_point();
        let mut old = self.state.load(Ordering::Relaxed);
        loop {
            // Spin while it is locked and not starving: the holder may be about to unlock on another core.
            if old & (LOCKED | STARVING) == LOCKED && rounds < SPIN_ROUNDS && sched::worth_spinning() {
                if !awake && old & WOKEN == 0 && old >= WAITER {
                    // Tell `unlock` that somebody is awake, so that it wakes nobody else.
                    awake = self
                        .state
                        .compare_exchange(old, old | WOKEN, Ordering::Relaxed, Ordering::Relaxed)
                        .is_ok();
                }
                if cfg!(loom) {
                    rounds = SPIN_ROUNDS; // and no pause: for a model that means to let the others go first
                } else {
                    (0..SPINS).for_each(|_| spin_loop());
                }
                rounds += 1;
                old = self.state.load(Ordering::Relaxed);
                continue;
            }
            if old & (LOCKED | STARVING) != 0 && patience.over() {
                if !awake {
                    return false;
                }
                // Who has it wakes another when he unlocks, once nobody counts as awake.
                match self
                    .state
                    .compare_exchange(old, old & !WOKEN, Ordering::Relaxed, Ordering::Relaxed)
                {
                    Ok(_) => return false,
                    Err(now) => old = now,
                }
                continue;
            }
            let mut new = old;
            if old & STARVING == 0 {
                new |= LOCKED; // a starving mutex is not for newcomers
            }
            if old & (LOCKED | STARVING) != 0 {
                new += WAITER;
            }
            if starving && old & LOCKED != 0 {
                new |= STARVING;
            }
            if awake {
                new &= !WOKEN;
            }
            // Acquire: pairs with the Release in `unlock`.
            if let Err(now) = self
                .state
                .compare_exchange(old, new, Ordering::Acquire, Ordering::Relaxed)
            {
                old = now;
                continue;
            }
            if old & (LOCKED | STARVING) == 0 {
                break; // ours
            }
            if old & STARVING == 0 && new & STARVING != 0 {
                stats::bump(&stats::TO_STARVING);
            }
            let again = since.is_some();
            let start = *since.get_or_insert_with(sched::now_ns);
            stats::bump(&stats::MUTEX_SLEEPS);
            let owner = Some(&self.owner);
            // not a spin: once, or until a permit that is on its way is here; see the file head
            while !patience.acquire_bit(&self.state, PERMIT, again, WaitReason::MutexLock, owner) {
                if self.leave() {
                    return false;
                }
                sched::yield_now();
            }
            sched::sync_point();
            let waited = sched::now_ns().wrapping_sub(start);
            starving = starving || is_starving(waited.max(1));
            old = self.state.load(Ordering::Relaxed);
            if old & STARVING != 0 {
                self.take_over(old, starving);
                break;
            }
            (awake, rounds) = (true, 0);
        }
        if let Some(since) = since {
            stats::mutex_waited(since);
        }
        true
    }

    /// The mutex was handed to us: nobody else may take it, but LOCKED and the count are ours to correct. In one step with
    /// the look at the count: another who is counted may give up meanwhile (`leave`), which makes us the last.
    fn take_over(&self, mut old: u32, starving: bool) {
        loop {
            let ends = !starving || old / WAITER == 1;
            let new = ((old - WAITER) | LOCKED) & if ends { !STARVING } else { !0 };
            // Acquire: pairs with the Release in `unlock`.
            match self
                .state
                .compare_exchange(old, new, Ordering::Acquire, Ordering::Relaxed)
            {
                Ok(_) if ends => return stats::bump(&stats::TO_NORMAL),
                Ok(_) => return,
                Err(now) => old = now,
            }
        }
    }

    /// A sleeper whose patience ended, off the queue, is not counted any more. `false`: it must take its permit, which
    /// is on its way.
    fn leave(&self) -> bool {
        sched::sync_point();
        let mut old = self.state.load(Ordering::Relaxed);
        loop {
            let last = old / WAITER == 1;
            if old < WAITER || last && old & (LOCKED | STARVING) == STARVING {
                return false;
            }
            // Nobody is left to be handed a starving mutex.
            let new = (old - WAITER) & if last { !STARVING } else { !0 };
            match self
                .state
                .compare_exchange(old, new, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => {
                    if (old ^ new) & STARVING != 0 {
                        stats::bump(&stats::TO_NORMAL);
                    }
                    return true;
                }
                Err(now) => old = now,
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn unlock_slow(&self, before: u32) {
        sched::sync_point();
        if before & LOCKED == 0 {
            crate::panic::fatal("sync: unlock of unlocked mutex");
        }
        let mut old = before - LOCKED;
        if old & STARVING != 0 {
            // Straight to the first sleeper, who also gets the rest of our time slice.
            stats::bump(&stats::HANDOFFS);
            sema::release_bit(&self.state, PERMIT, true);
            return;
        }
        loop {
            // Nobody to wake, or somebody is awake (or has locked it) already.
            if old < WAITER || old & (LOCKED | WOKEN | STARVING) != 0 {
                return;
            }
            let new = (old - WAITER) | WOKEN;
            match self
                .state
                .compare_exchange(old, new, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return sema::release_bit(&self.state, PERMIT, false),
                Err(now) => old = now,
            }
        }
    }
}

impl Default for RawMutex {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for RawMutex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_locked() {
            "RawMutex(locked)"
        } else {
            "RawMutex(free)"
        })
    }
}

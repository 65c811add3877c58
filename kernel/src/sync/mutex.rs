//! `Mutex`: mutual exclusion that parks.
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
//! | from | to | by |
//! | --- | --- | --- |
//! | 0 | LOCKED | `lock`, `try_lock` |
//! | LOCKED | 0 | `unlock` |
//! | LOCKED, waiters | waiters+1 | `lock_slow`, then asleep |
//! | waiters, not STARVING | waiters-1, WOKEN | `unlock_slow`, wakes one |
//! | STARVING, waiters | LOCKED, waiters-1 | the one that was handed it |
//!
//! Memory ordering: every step that sets LOCKED is Acquire and pairs with the Release of `unlock`'s subtraction;
//! the steps between are Relaxed, for they are on the same word and keep its release sequence (all are
//! read-modify-writes). `lock_api::RawMutex` is implemented, for crates that are generic over locks.

use core::{
    cell::UnsafeCell,
    fmt,
    marker::PhantomData,
    ops::{Deref, DerefMut},
};

use super::{sema, stats};
use crate::{
    arch,
    sched::{self, WaitReason},
    shim::{AtomicU32, Ordering, spin_loop},
};

const LOCKED: u32 = 1;
const WOKEN: u32 = 2;
const STARVING: u32 = 4;
const PERMIT: u32 = 8;
const WAITER: u32 = 16;

/// How long a waiter lets others overtake it (ns).
const STARVING_AFTER: u64 = 1_000_000;
const SPIN_ROUNDS: u32 = 4;
const SPINS: u32 = 30;

/// Is it written down who locked?
const NOTED: bool = cfg!(all(debug_assertions, not(loom)));
/// In the word that names the owner: a guard will unlock, and nothing else can.
pub(crate) const GUARDED: u32 = 1 << 31;

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
            self.lock_slow();
        }
        self.note_owner();
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
    fn lock_slow(&self) {
        let (mut since, mut starving, mut awake, mut rounds) = (None::<u64>, false, false, 0);
        let mut old = self.state.load(Ordering::Relaxed);
        loop {
            // Spin while it is locked and not starving: the holder may be about to unlock on another core.
            if old & (LOCKED | STARVING) == LOCKED && rounds < SPIN_ROUNDS && arch::core_count() > 1 {
                if !awake && old & WOKEN == 0 && old >= WAITER {
                    // Tell `unlock` that somebody is awake, so that it wakes nobody else.
                    awake = self
                        .state
                        .compare_exchange(old, old | WOKEN, Ordering::Relaxed, Ordering::Relaxed)
                        .is_ok();
                }
                if cfg!(loom) {
                    rounds = SPIN_ROUNDS;
                }
                for _ in 0..SPINS {
                    spin_loop();
                }
                rounds += 1;
                old = self.state.load(Ordering::Relaxed);
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
            sema::acquire_bit(
                &self.state,
                PERMIT,
                again,
                WaitReason::MutexLock,
                Some(&self.owner),
            );
            let waited = sched::now_ns().wrapping_sub(start);
            starving = starving || waited > STARVING_AFTER;
            old = self.state.load(Ordering::Relaxed);
            if old & STARVING != 0 {
                // It was handed to us: nobody else may take it, but LOCKED and the count are ours to correct.
                let mut delta = LOCKED.wrapping_sub(WAITER);
                if !starving || old / WAITER == 1 {
                    delta = delta.wrapping_sub(STARVING);
                    stats::bump(&stats::TO_NORMAL);
                }
                // Acquire: pairs with the Release in `unlock`.
                self.state.fetch_add(delta, Ordering::Acquire);
                break;
            }
            (awake, rounds) = (true, 0);
        }
        if let Some(since) = since {
            stats::mutex_waited(since);
        }
    }

    #[cold]
    #[inline(never)]
    fn unlock_slow(&self, before: u32) {
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

/// A value that one goroutine at a time may use; the others park.
///
/// Does not poison: if its holder panics, the guard unlocks on the way out.
///
/// ```
/// use burrow::sync::Mutex;
/// static TOTAL: Mutex<u64> = Mutex::new(0);
/// *TOTAL.lock() += 2;
/// assert_eq!(*TOTAL.lock(), 2);
/// ```
pub struct Mutex<T: ?Sized> {
    raw: RawMutex,
    value: UnsafeCell<T>,
}

// SAFETY: one goroutine at a time gets at the value.
unsafe impl<T: ?Sized + Send> Sync for Mutex<T> {}
// SAFETY: owning the mutex is owning the value.
unsafe impl<T: ?Sized + Send> Send for Mutex<T> {}

impl<T> Mutex<T> {
    shim_const_fn! {
        /// An unlocked mutex around `value`.
        ///
        /// ```
        /// let m = burrow::sync::Mutex::new(7);
        /// assert_eq!(*m.lock(), 7);
        /// ```
        pub fn new(value: T) -> Self {
            Self { raw: RawMutex::new(), value: UnsafeCell::new(value) }
        }
    }

    /// The value.
    ///
    /// ```
    /// assert_eq!(burrow::sync::Mutex::new("a").into_inner(), "a");
    /// ```
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Locks; waits until it can. The guard unlocks.
    ///
    /// ```
    /// let m = burrow::sync::Mutex::new(vec![1]);
    /// m.lock().push(2);
    /// let guard = m.lock();
    /// assert!(guard.len() == 2 && m.try_lock().is_none());
    /// ```
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.raw.lock();
        self.raw.note_guard();
        MutexGuard {
            mutex: self,
            _here: PhantomData,
        }
    }

    /// Locks if that needs no waiting.
    ///
    /// ```
    /// let m = burrow::sync::Mutex::new(1);
    /// let guard = m.try_lock().unwrap();
    /// assert!(m.try_lock().is_none());
    /// # drop(guard);
    /// ```
    #[inline]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.raw.try_lock().then(|| {
            self.raw.note_guard();
            MutexGuard {
                mutex: self,
                _here: PhantomData,
            }
        })
    }

    /// The value without locking, given that nobody else can have it.
    ///
    /// ```
    /// let mut m = burrow::sync::Mutex::new(1);
    /// *m.get_mut() = 2; // nobody else has it
    /// assert_eq!(m.into_inner(), 2);
    /// ```
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    /// Is it locked now? A hint.
    ///
    /// ```
    /// let m = burrow::sync::Mutex::new(());
    /// assert!(!m.is_locked());
    /// ```
    pub fn is_locked(&self) -> bool {
        self.raw.is_locked()
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> From<T> for Mutex<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.try_lock() {
            Some(g) => f.debug_tuple("Mutex").field(&&*g).finish(),
            None => f.write_str("Mutex(<locked>)"),
        }
    }
}

/// Access to the value of a [`Mutex`]; unlocks when dropped.
///
/// ```
/// let m = burrow::sync::Mutex::new(1);
/// let mut guard = m.lock();
/// *guard += 1;
/// drop(guard); // unlocks
/// assert!(!m.is_locked());
/// ```
#[must_use = "the mutex is locked only while the guard lives"]
pub struct MutexGuard<'a, T: ?Sized> {
    mutex: &'a Mutex<T>,
    /// Stays with the goroutine that locked, as std's does: `!Send`.
    _here: PhantomData<*const ()>,
}

impl<'a, T: ?Sized> MutexGuard<'a, T> {
    /// The mutex it unlocks.
    pub(super) fn mutex(&self) -> &'a Mutex<T> {
        self.mutex
    }
}

// SAFETY: a shared guard only gives `&T`.
unsafe impl<T: ?Sized + Sync> Sync for MutexGuard<'_, T> {}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard holds the lock.
        unsafe { &*self.mutex.value.get() }
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard holds the lock, and is borrowed mutably.
        unsafe { &mut *self.mutex.value.get() }
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.mutex.raw.unlock();
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

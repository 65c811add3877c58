//! Figures about locks: [`lock_stats`].
//!
//! Counted where a goroutine waits or is woken, never where a lock is free: the fast paths stay as they are. So the
//! counters may be shared by all cores, and a snapshot is of about one moment.
#![forbid(unsafe_code)]

use core::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::sched;

pub(super) static MUTEX_SLEEPS: AtomicU64 = AtomicU64::new(0);
pub(super) static MUTEX_WAIT_NS: AtomicU64 = AtomicU64::new(0);
pub(super) static TO_STARVING: AtomicU64 = AtomicU64::new(0);
pub(super) static TO_NORMAL: AtomicU64 = AtomicU64::new(0);
pub(super) static HANDOFFS: AtomicU64 = AtomicU64::new(0);
pub(super) static RW_READ_SLEEPS: AtomicU64 = AtomicU64::new(0);
pub(super) static RW_WRITE_SLEEPS: AtomicU64 = AtomicU64::new(0);

#[inline]
pub(super) fn bump(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed); // a figure: orders nothing
}

/// A mutex was locked after a wait that began at `since`.
pub(super) fn mutex_waited(since: u64) {
    let ns = sched::now_ns().wrapping_sub(since);
    MUTEX_WAIT_NS.fetch_add(ns, Ordering::Relaxed);
}

/// What locks did since boot. See [`lock_stats`].
///
/// ```
/// let s: burrow::sync::LockStats = burrow::sync::lock_stats();
/// assert!(s.to_normal <= s.to_starving);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LockStats {
    /// How often a goroutine went to sleep for a mutex (also one that had been woken and lost the race).
    pub mutex_sleeps: u64,
    /// Nanoseconds from the first sleep to having the mutex, all goroutines together.
    pub mutex_wait_ns: u64,
    /// Switches of a mutex from normal to starvation mode.
    pub to_starving: u64,
    /// Switches back.
    pub to_normal: u64,
    /// Unlocks that handed the mutex to the first sleeper directly.
    pub handoffs: u64,
    /// How often a goroutine went to sleep in `RwLock::read`.
    pub rw_read_sleeps: u64,
    /// How often a goroutine went to sleep in `RwLock::write` for readers to leave.
    pub rw_write_sleeps: u64,
}

impl fmt::Display for LockStats {
    /// `mutex: 12 sleeps, 3.4 ms waited, 1 to starving, 1 to normal, 2 handoffs; rwlock: 0 read sleeps, 5 write sleeps`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "mutex: {} sleeps, {}.{} ms waited, {} to starving, {} to normal, {} handoffs; rwlock: {} read sleeps, {} write sleeps",
            self.mutex_sleeps,
            self.mutex_wait_ns / 1_000_000,
            self.mutex_wait_ns / 100_000 % 10,
            self.to_starving,
            self.to_normal,
            self.handoffs,
            self.rw_read_sleeps,
            self.rw_write_sleeps
        )
    }
}

/// What locks did since boot.
///
/// ```
/// let before = burrow::sync::lock_stats();
/// let m = burrow::sync::Mutex::new(0);
/// *m.lock() += 1; // free: counted nowhere
/// let after = burrow::sync::lock_stats();
/// assert!(after.mutex_sleeps >= before.mutex_sleeps);
/// assert!(after.to_string().starts_with("mutex: "));
/// ```
pub fn lock_stats() -> LockStats {
    let get = |c: &AtomicU64| c.load(Ordering::Relaxed);
    LockStats {
        mutex_sleeps: get(&MUTEX_SLEEPS),
        mutex_wait_ns: get(&MUTEX_WAIT_NS),
        to_starving: get(&TO_STARVING),
        to_normal: get(&TO_NORMAL),
        handoffs: get(&HANDOFFS),
        rw_read_sleeps: get(&RW_READ_SLEEPS),
        rw_write_sleeps: get(&RW_WRITE_SLEEPS),
    }
}

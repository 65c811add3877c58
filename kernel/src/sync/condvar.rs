//! `Condvar`: wait until something about a mutex's value has changed. Go's `sync.Cond`.
//!
//! Who waits takes a ticket while it still holds the mutex, unlocks, sleeps until its ticket is called, and locks again. So no
//! notification is lost, and the order is that of arrival: how, and what a deadline changes, is told in `tickets`.
#![forbid(unsafe_code)]

use core::fmt;

use super::{MutexGuard, tickets::Tickets};
use crate::{
    sched,
    time::{self, Duration},
};

/// Did a wait end because its time was over? What [`Condvar::wait_timeout`] returns beside the guard.
///
/// ```
/// use burrow::{sync::{Condvar, Mutex}, time::Duration};
/// let (m, c) = (Mutex::new(()), Condvar::new());
/// assert!(c.wait_timeout(m.lock(), Duration::from_millis(1)).1.timed_out());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// `true`: no notification came in time.
    ///
    /// ```
    /// use burrow::{sync::{Condvar, Mutex}, time::Duration};
    /// let (m, c) = (Mutex::new(()), Condvar::new());
    /// let (_guard, result) = c.wait_timeout(m.lock(), Duration::from_millis(1));
    /// assert!(result.timed_out());
    /// ```
    pub fn timed_out(&self) -> bool {
        self.0
    }
}

/// Waiting for a change of what a [`Mutex`](super::Mutex) guards.
///
/// There are no wake-ups without a notification, but between the notification and the lock somebody else may have been
/// faster, so wait in a loop, or use [`wait_while`](Self::wait_while).
///
/// ```
/// use std::sync::Arc;
/// use burrow::sync::{Condvar, Mutex};
/// let pair = Arc::new((Mutex::new(0), Condvar::new()));
/// let theirs = pair.clone();
/// burrow::go(move || {
///     *theirs.0.lock() = 7;
///     theirs.1.notify_one();
/// });
/// let mut n = pair.0.lock();
/// while *n == 0 {
///     n = pair.1.wait(n);
/// }
/// assert_eq!(*n, 7);
/// ```
pub struct Condvar(Tickets);

impl Condvar {
    shim_const_fn! {
        /// Nobody waits.
        ///
        /// ```
        /// static CHANGED: burrow::sync::Condvar = burrow::sync::Condvar::new();
        /// CHANGED.notify_all(); // nobody waits: nothing happens
        /// ```
        pub fn new() -> Self {
            Self(Tickets::new())
        }
    }

    /// Unlocks, waits for a notification, locks again.
    ///
    /// ```
    /// use burrow::sync::{Condvar, Mutex};
    /// let (m, c) = (Mutex::new(0), Condvar::new());
    /// burrow::scope(|s| {
    ///     s.spawn(|| { *m.lock() = 1; c.notify_one(); });
    ///     let mut n = m.lock();
    ///     while *n == 0 {
    ///         n = c.wait(n);
    ///     }
    /// });
    /// ```
    ///
    /// Without the mutex there is no wait:
    ///
    /// ```compile_fail,E0061
    /// burrow::sync::Condvar::new().wait();
    /// ```
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn wait<'a, T: ?Sized>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        crate::lock::might_sleep();
        let mutex = guard.mutex();
        let ticket = self.0.take();
        drop(guard);
        self.0.sleep(ticket);
        mutex.lock()
    }

    /// Waits as long as `condition` says so of the value.
    ///
    /// ```
    /// use burrow::sync::{Condvar, Mutex};
    /// let (m, c) = (Mutex::new(false), Condvar::new());
    /// burrow::scope(|s| {
    ///     s.spawn(|| { *m.lock() = true; c.notify_all(); });
    ///     assert!(*c.wait_while(m.lock(), |ready| !*ready));
    /// });
    /// ```
    pub fn wait_while<'a, T: ?Sized>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> MutexGuard<'a, T> {
        while condition(&mut guard) {
            guard = self.wait(guard);
        }
        guard
    }

    /// As [`wait`](Self::wait), for `d` at most. If a notification came, it counts as in time.
    ///
    /// ```
    /// use burrow::{sync::{Condvar, Mutex}, time::Duration};
    /// let (m, c) = (Mutex::new(false), Condvar::new());
    /// let (guard, result) = c.wait_timeout(m.lock(), Duration::from_millis(1));
    /// assert!(!*guard && result.timed_out());
    /// ```
    pub fn wait_timeout<'a, T: ?Sized>(
        &self,
        guard: MutexGuard<'a, T>,
        d: Duration,
    ) -> (MutexGuard<'a, T>, WaitTimeoutResult) {
        let (mutex, at) = (guard.mutex(), time::deadline(d));
        let ticket = self.0.take();
        drop(guard);
        let expired = self.0.sleep_until(ticket, at);
        (mutex.lock(), WaitTimeoutResult(expired))
    }

    /// Waits as long as `condition` says so of the value, but for `d` at most. `timed_out`: it still says so.
    ///
    /// ```
    /// use burrow::{sync::{Condvar, Mutex}, time::Duration};
    /// let (m, c) = (Mutex::new(0), Condvar::new());
    /// let (n, result) = c.wait_timeout_while(m.lock(), Duration::from_millis(1), |n| *n == 0);
    /// assert!(*n == 0 && result.timed_out());
    /// ```
    pub fn wait_timeout_while<'a, T: ?Sized>(
        &self,
        mut guard: MutexGuard<'a, T>,
        d: Duration,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> (MutexGuard<'a, T>, WaitTimeoutResult) {
        let at = time::deadline(d);
        while condition(&mut guard) {
            let left = Duration::from_nanos(at.saturating_sub(sched::now_ns()));
            if left.is_zero() {
                return (guard, WaitTimeoutResult(true));
            }
            guard = self.wait_timeout(guard, left).0;
        }
        (guard, WaitTimeoutResult(false))
    }

    /// Wakes the goroutine that has waited longest, if any does. It need not be called with the mutex locked.
    ///
    /// ```
    /// use burrow::sync::{Condvar, Mutex};
    /// let (jobs, more) = (Mutex::new(Vec::new()), Condvar::new());
    /// burrow::scope(|s| {
    ///     s.spawn(|| more.wait_while(jobs.lock(), |j| j.is_empty()).pop());
    ///     jobs.lock().push("job");
    ///     more.notify_one();
    /// });
    /// assert!(jobs.lock().is_empty());
    /// ```
    #[inline]
    pub fn notify_one(&self) {
        if self.0.waiting() != 0 {
            self.0.notify_next();
        }
    }

    /// Wakes every goroutine that waits.
    ///
    /// ```
    /// use burrow::sync::{Condvar, Mutex};
    /// let (start, c) = (Mutex::new(false), Condvar::new());
    /// burrow::scope(|s| {
    ///     for _ in 0..3 {
    ///         s.spawn(|| drop(c.wait_while(start.lock(), |go| !*go)));
    ///     }
    ///     *start.lock() = true;
    ///     c.notify_all();
    /// });
    /// ```
    #[inline]
    pub fn notify_all(&self) {
        if self.0.waiting() != 0 {
            self.0.notify_every();
        }
    }
}

impl Default for Condvar {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Condvar({} waiting)", self.0.waiting())
    }
}

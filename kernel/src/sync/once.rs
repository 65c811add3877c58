//! `Once`: something that is done one time, whoever asks first. Under [`OnceLock`](super::OnceLock) and
//! [`LazyLock`](super::LazyLock) too.
//!
//! One word says how far it is; a second names the goroutine that is doing it; others sleep on the third. (A fourth is
//! the lower half of the second: deadlock reports read words of that size.)
//!
//! | state | meaning | leaves by |
//! | --- | --- | --- |
//! | `NEW` | nobody has begun | a caller's exchange → `RUNNING` |
//! | `RUNNING` + waiters | one runs the function, so many sleep | the runner → `DONE` or `NEW`; it wakes them all |
//! | `DONE` | done: the fast path is this one load and compare | – |
//!
//! A function that panics has been *done* in [`Once::call_once`] (Go's rule: it is not tried twice); in `OnceLock` the
//! state goes back to `NEW`, and the next caller tries (std's rule). A function that calls its own `Once`
//! would wait for itself: it panics instead, which costs nothing where it matters. The whole number is compared, which no
//! other goroutine ever has.
//!
//! Memory ordering: the runner's last exchange is AcqRel: its Release half pairs with the Acquire of the load in
//! `is_done` and of a sleeper's or a failed exchange; its Acquire half with the sleepers' announcements (they count
//! themselves in the same word, so none is missed).
#![forbid(unsafe_code)]

use core::fmt;

use super::sema;
use crate::{
    sched::{self, WaitReason},
    shim::{AtomicU32, AtomicU64, Ordering},
};

const NEW: u32 = 0;
const DONE: u32 = 1;
const RUNNING: u32 = 2;
const WAITER: u32 = 4;

/// Runs a function one time.
///
/// ```
/// use burrow::sync::Once;
/// static INIT: Once = Once::new();
/// let mut runs = 0;
/// for _ in 0..3 {
///     INIT.call_once(|| runs += 1);
/// }
/// assert!(runs == 1 && INIT.is_done());
/// ```
pub struct Once {
    state: AtomicU32,
    /// For reports: the lower half of `runner`.
    named: AtomicU32,
    runner: AtomicU64,
    sema: AtomicU32,
}

/// Ends the run, however the function ends, and wakes who waits.
struct Running<'a> {
    once: &'a Once,
    end: u32,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // Nobody's, before somebody else can begin: else we might take his run for ours.
        self.once.run_by(0);
        sched::sync_point();
        // See the file head.
        let old = self.once.state.swap(self.end, Ordering::AcqRel);
        for _ in 0..old / WAITER {
            sema::release(&self.once.sema, false);
        }
    }
}

impl Once {
    shim_const_fn! {
        /// Not done yet.
        ///
        /// ```
        /// static ONCE: burrow::sync::Once = burrow::sync::Once::new();
        /// assert!(!ONCE.is_done());
        /// ```
        pub fn new() -> Self {
            Self {
                state: AtomicU32::new(NEW),
                named: AtomicU32::new(0),
                runner: AtomicU64::new(0),
                sema: AtomicU32::new(0),
            }
        }
    }

    /// Has the function been run? If so, all it did is visible here.
    ///
    /// ```
    /// let once = burrow::sync::Once::new();
    /// once.call_once(|| {});
    /// assert!(once.is_done());
    /// ```
    #[inline]
    pub fn is_done(&self) -> bool {
        self.state.load(Ordering::Acquire) == DONE // pairs with the exchange in `Running::drop`
    }

    /// Runs `f` if no call has done so before; returns when it has been run, here or elsewhere. If `f` panics, the panic
    /// goes to its caller and the function counts as run.
    ///
    /// # Panics
    /// If called from within its own function, which would wait for itself.
    ///
    /// ```
    /// let once = burrow::sync::Once::new();
    /// assert!(burrow::recover(|| once.call_once(|| panic!("fails"))).is_err());
    /// once.call_once(|| unreachable!("not tried twice"));
    /// ```
    #[inline]
    pub fn call_once(&self, f: impl FnOnce()) {
        if !self.is_done() {
            self.call(f);
        }
    }

    #[cold]
    #[inline(never)]
    fn call(&self, f: impl FnOnce()) {
        if self.begin() {
            let _end = Running {
                once: self,
                end: DONE,
            };
            f();
        }
    }

    /// Runs `f` unless it is done already; `f` says whether it is done now. If not, or if it panics, the next caller
    /// tries. Returns when it is done, or `f` was run here.
    pub(super) fn try_call(&self, f: impl FnOnce() -> bool) {
        if self.begin() {
            let mut end = Running { once: self, end: NEW };
            if f() {
                end.end = DONE;
            }
        }
    }

    /// Relaxed, as the load: only the goroutine itself asks whether it is it.
    fn run_by(&self, id: u64) {
        self.named.store(id as u32, Ordering::Relaxed);
        self.runner.store(id, Ordering::Relaxed);
    }

    pub(super) fn is_run_by(&self, id: u64) -> bool {
        self.runner.load(Ordering::Relaxed) == id
    }

    /// Waits until it is done (`false`) or this goroutine is to do it (`true`).
    #[cfg_attr(debug_assertions, track_caller)]
    fn begin(&self) -> bool {
        crate::lock::might_sleep();
        let mut old = self.state.load(Ordering::Acquire); // pairs with the exchange in `Running::drop`
        loop {
            if old == DONE {
                return false;
            }
            let new = if old == NEW { RUNNING } else { old + WAITER };
            if old != NEW && self.is_run_by(me()) {
                panic!("sync: deadlock: Once called from within its own function");
            }
            // Acquire: as above.
            match self
                .state
                .compare_exchange_weak(old, new, Ordering::Acquire, Ordering::Acquire)
            {
                Ok(NEW) => {
                    sched::sync_point();
                    self.run_by(me());
                    return true;
                }
                Ok(_) => {
                    sched::sync_point();
                    sema::acquire_of(&self.sema, false, WaitReason::OnceWait, Some(&self.named));
                    old = self.state.load(Ordering::Acquire);
                }
                Err(now) => old = now,
            }
        }
    }
}

fn me() -> u64 {
    sched::current().id()
}

impl Default for Once {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state.load(Ordering::Relaxed) {
            NEW => "Once(new)",
            DONE => "Once(done)",
            _ => "Once(running)",
        })
    }
}

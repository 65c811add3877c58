//! Time: a monotonic clock in nanoseconds, sleeping, and the timers behind every deadline.
//!
//! Each P has a heap of timers (`heap`); `timer` says how they are fired and cancelled. There is no periodic
//! tick: the core's one-shot timer is set to the first deadline.
//!
//! ```
//! use burrow::time::{self, Duration, Instant};
//! let t = Instant::now();
//! time::sleep(Duration::from_millis(2));
//! assert!(t.elapsed() >= Duration::from_millis(2));
//! ```

mod channel;
mod frame;
pub(crate) mod func;
mod handle;
mod heap;
mod instant;
#[cfg(all(test, loom))]
mod loom_models;
#[cfg(all(test, not(loom)))]
mod tests;
pub(crate) mod timer;

pub use core::time::Duration;

pub(crate) use channel::ChanTimer;
pub(crate) use frame::FrameTimer;
pub use handle::{Ticker, Timer, after, after_func, tick};
pub(crate) use handle::{stopped_func, system_func};
#[doc(hidden)] // internal
pub use heap::TimerHeap;
pub use instant::Instant;
#[doc(hidden)] // internal
pub use timer::{Timers, has_user_timers, move_timers, run_due};

use crate::sched;

/// Timers that are running now: of sleepers, time limits, [`Timer`]s, [`Ticker`]s, contexts. For figures and tests.
///
/// ```
/// let timer = burrow::time::Timer::new(burrow::time::Duration::from_secs(3600));
/// assert!(burrow::time::live_timers() >= 1);
/// # drop(timer);
/// ```
pub fn live_timers() -> usize {
    sched::live_timers()
}

/// The wall clock: seconds since 1970, UTC. Read from the battery-backed clock at boot and counted on by the monotonic
/// one since, so it never goes back; 0 on a machine without such a clock.
///
/// ```
/// assert!(burrow::time::now_unix() > 1_700_000_000);
/// ```
pub fn now_unix() -> u64 {
    crate::arch::now_unix()
}

/// The farthest a deadline may be: half of what wrapping comparison can tell apart.
const FAR: u64 = 1 << 62;

/// The clock value `d` from now, for timers.
pub(crate) fn deadline(d: Duration) -> u64 {
    sched::now_ns().wrapping_add(span(d))
}

/// When a timer for `at`, which is to come, is due: then, or [`FAR`] from now if that is earlier. (A heap compares
/// deadlines by wrapping difference: what is further away than 2^63 would be past.)
pub(crate) fn until(at: Instant) -> u64 {
    let now = sched::now_ns();
    now.wrapping_add(at.as_nanos().saturating_sub(now).min(FAR))
}

/// A duration in nanoseconds, as far as timers go.
#[inline]
fn span(d: Duration) -> u64 {
    let ns = d.as_secs().saturating_mul(1_000_000_000);
    ns.saturating_add(d.subsec_nanos().into()).min(FAR)
}

/// Lets at least `d` pass; other goroutines run meanwhile. `sleep(Duration::ZERO)` returns at once.
///
/// ```
/// burrow::time::sleep(burrow::time::Duration::from_millis(1));
/// ```
#[cfg_attr(debug_assertions, track_caller)]
pub fn sleep(d: Duration) {
    crate::lock::might_sleep();
    sleep_as(d, false);
}

/// Sleeps as a part of the runtime: not a reason for a deadlocked program to wait.
pub(crate) fn sleep_as(d: Duration, system: bool) {
    if d.is_zero() {
        return;
    }
    let node = timer::TimerNode::new(timer::Fire::Wake(sched::current()));
    // SAFETY: 1. it wakes the running goroutine.
    unsafe { node.park(deadline(d), system) };
}

//! The host's clock and its one timer heap, served by one thread. Models have the heap but no thread.

use crate::{
    lock::{Rank, SpinLock},
    time::{TimerHeap, Timers},
};

/// Nanoseconds since the program began to look.
pub(crate) fn now_ns() -> u64 {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed().as_nanos() as u64 + 1
}

#[cfg(not(loom))]
static TIMERS: Timers = SpinLock::new(Rank::Timers, TimerHeap::new());

/// All timers.
#[cfg(not(loom))]
pub(crate) fn timer_heap() -> &'static Timers {
    &TIMERS
}

/// Held by tests that count all timers there are and make very many of their own.
#[cfg(all(test, not(loom)))]
pub(crate) static COUNTING: std::sync::Mutex<()> = std::sync::Mutex::new(());

/// Timers in all heaps.
pub(crate) fn live_timers() -> usize {
    timer_heap().lock().len()
}

/// Tells the timer thread of an earlier deadline. Called with the heap locked.
#[cfg(not(loom))]
pub(crate) fn timer_armed(_: u64) {
    use std::{sync::OnceLock, thread, time::Duration};
    static SERVER: OnceLock<thread::Thread> = OnceLock::new();
    let server = SERVER.get_or_init(|| {
        let serve = || {
            loop {
                let now = now_ns();
                // An unpark between `run_due` and the park makes the park return at once.
                match crate::time::run_due(&TIMERS, now) {
                    None => thread::park(),
                    Some(when) => thread::park_timeout(Duration::from_nanos(when.saturating_sub(now))),
                }
            }
        };
        thread::spawn(serve).thread().clone()
    });
    server.unpark();
}

/// All timers of a model, which fires them itself: `time::run_due(timer_heap(), now)`.
#[cfg(loom)]
pub(crate) fn timer_heap() -> &'static Timers {
    loom::lazy_static! {
        // Leaked: goroutines may outlive the model's main thread, with which its statics go.
        static ref TIMERS: &'static Timers =
            Box::leak(Box::new(SpinLock::new(Rank::Timers, TimerHeap::new())));
    }
    *TIMERS
}

#[cfg(loom)]
pub(crate) fn timer_armed(_: u64) {}

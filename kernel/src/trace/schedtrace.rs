//! `schedtrace=ms`, `scheddetail=1`: Go's line about the scheduler, printed at a steady pace.
//!
//! The printer is one of the runtime's own goroutines: it does not keep a deadlocked program alive, and with hogs
//! on every core its timer readies it all the same and somebody is preempted for it. Line `k` is due at
//! `start + k·period`, whatever printing cost; periods that were missed altogether are skipped, not made up for.
//!
//! For the grammar of the lines see [`crate::sched::SchedStats`] (`sched::stats`). A snapshot with its detail is
//! one string and one write, so lines of the program do not come in between.
#![forbid(unsafe_code)]

use alloc::{string::String, sync::Arc};
use core::{
    fmt::Write,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use crate::{arch, opts, sched, time};

/// A running printer. It goes on when this is dropped.
///
/// ```
/// use burrow::{time::Duration, trace::schedtrace};
/// let trace = schedtrace::start(Duration::from_millis(1), false);
/// while trace.lines() < 2 {
///     burrow::yield_now();
/// }
/// trace.stop();
/// ```
#[derive(Clone, Debug)]
pub struct Trace(Arc<State>);

#[derive(Debug, Default)]
struct State {
    lines: AtomicU64,
    stop: AtomicBool,
}

impl Trace {
    /// `SCHED` lines printed so far.
    pub fn lines(&self) -> u64 {
        self.0.lines.load(Ordering::Relaxed)
    }

    /// Ends it with the line that is due next. Does not wait for that.
    pub fn stop(&self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}

/// Starts the printer if the kernel command line asks for it. Before the program's main.
pub(crate) fn start_if_wanted() {
    if let Some(ms) = opts::get_u64("schedtrace").filter(|&ms| ms > 0) {
        start(Duration::from_millis(ms), opts::flag("scheddetail"));
    }
}

/// Prints a line every `period` (at least 1 ms); with `detail` a line for each P, M and G after it.
///
/// # Panics
/// If there is no memory for another goroutine.
///
/// ```
/// use burrow::{time::Duration, trace::schedtrace};
/// let trace = schedtrace::start(Duration::from_millis(10), true); // P, M and G as well
/// trace.stop();
/// ```
pub fn start(period: Duration, detail: bool) -> Trace {
    let trace = Trace(Arc::default());
    let state = trace.0.clone();
    let period = u64::try_from(period.as_nanos())
        .unwrap_or(u64::MAX / 4)
        .max(1_000_000);
    sched::go_system("schedtrace", move || print_until_stopped(&state, period, detail));
    trace
}

fn print_until_stopped(state: &State, period: u64, detail: bool) {
    let mut due = arch::now_ns();
    let mut text = String::new();
    while !state.stop.load(Ordering::Relaxed) {
        due = next_due(due, arch::now_ns(), period);
        time::sleep_as(Duration::from_nanos(due.saturating_sub(arch::now_ns())), true);
        text.clear();
        // A String takes everything.
        let _ = writeln!(text, "{}", sched::sched_stats());
        if detail {
            let _ = sched::write_detail(&mut text);
        }
        crate::print::raw(text.as_bytes());
        state.lines.fetch_add(1, Ordering::Relaxed);
    }
}

/// The first time after `now` that is a whole number of periods after `due`.
fn next_due(due: u64, now: u64, period: u64) -> u64 {
    due + (now.saturating_sub(due) / period + 1) * period
}

#[cfg(test)]
mod tests {
    use super::next_due;

    #[test]
    fn the_pace_is_steady() {
        assert_eq!(next_due(1000, 1000, 100), 1100);
        assert_eq!(next_due(1000, 1099, 100), 1100); // late, but the pace stays
        assert_eq!(next_due(1000, 1100, 100), 1200);
        assert_eq!(next_due(1000, 1750, 100), 1800); // what was missed is skipped
    }
}

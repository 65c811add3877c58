//! Ends the machine when a test takes too long.
//!
//! One system goroutine that wakes once a second and looks at the running test's deadline. Who ends a test decides by
//! one swap of [`DEADLINE`]: the harness, when the test's goroutine has ended, or the watchdog, when its time has. A
//! timer per test would be one second more exact and leave a sleeper behind for every test that ended in time.
#![forbid(unsafe_code)]

use core::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::{arch, panic, sched, time};

/// When the running test must have ended, in nanoseconds since boot; 0: no test runs.
static DEADLINE: AtomicU64 = AtomicU64::new(0);

/// Starts the watchdog; once.
pub(super) fn start() {
    sched::go_system("test watchdog", || {
        loop {
            time::sleep_as(Duration::from_secs(1), true);
            let deadline = DEADLINE.load(Ordering::Acquire); // pairs with the Release in `begin`
            if deadline != 0 && arch::now_ns() >= deadline && take(deadline) {
                panic::fatal("test timed out");
            }
        }
    });
}

/// A test begins.
pub(super) fn begin(limit: Duration) {
    let limit = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX / 2);
    DEADLINE.store(arch::now_ns().saturating_add(limit), Ordering::Release); // pairs with the load in `start`
}

/// A test has ended by itself. Does not return if the watchdog was first.
pub(super) fn end() {
    let deadline = DEADLINE.load(Ordering::Relaxed); // only we write it, or the watchdog for the last time
    if deadline == 0 || !take(deadline) {
        // The machine is about to end.
        loop {
            time::sleep_as(Duration::from_secs(1), true);
        }
    }
}

fn take(deadline: u64) -> bool {
    // AcqRel: the winner's report comes after everything the other side did before.
    DEADLINE
        .compare_exchange(deadline, 0, Ordering::AcqRel, Ordering::Relaxed)
        .is_ok()
}

//! Degraded modes that bisect bugs now and become lab skeletons later: `sched=nosteal`, `asyncpreemptoff=1`.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicBool, Ordering};

static NO_STEAL: AtomicBool = AtomicBool::new(false);
static ASYNC_OFF: AtomicBool = AtomicBool::new(false);

/// Ps do not steal from each other.
#[inline(always)]
pub(crate) fn no_steal() -> bool {
    NO_STEAL.load(Ordering::Relaxed)
}

/// Goroutines are preempted only where they lower the preempt count.
#[inline(always)]
pub(crate) fn asyncpreempt_off() -> bool {
    ASYNC_OFF.load(Ordering::Relaxed)
}

/// Reads the kernel command line. Once, at boot.
pub(crate) fn init() {
    NO_STEAL.store(crate::opts::get("sched") == Some("nosteal"), Ordering::Relaxed);
    ASYNC_OFF.store(
        crate::opts::get("asyncpreemptoff") == Some("1"),
        Ordering::Relaxed,
    );
    super::chaos::set(crate::opts::get("chaos").is_some_and(|v| v != "0"));
    if crate::opts::get("events") == Some("1") || crate::opts::get("det") == Some("1") {
        super::events::enable();
    }
    let number = |key| crate::opts::get(key).and_then(crate::opts::number);
    super::profile::set_block_rate(number("blockprofile").unwrap_or(0));
    super::profile::set_mutex_fraction(number("mutexprofile").unwrap_or(0));
    if let Some(us) = crate::opts::get("slice_us").and_then(|v| v.parse::<u64>().ok()) {
        super::preempt::set_slice(us * 1000);
    }
}

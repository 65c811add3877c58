//! `chaos=1`: preemption at random points, from the boot seed.
//!
//! Slices become random, 5 µs to 200 µs long, and each timer interrupt preempts. Deterministic runs take
//! their preemption points from here; soak runs find races with it.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicBool, Ordering};

use super::p::P;

static ON: AtomicBool = AtomicBool::new(false);

/// Is it on?
#[inline(always)]
pub(crate) fn on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// Turns it on or off.
pub(crate) fn set(on: bool) {
    ON.store(on, Ordering::Relaxed);
}

/// Length of the next slice (ns).
pub(crate) fn slice(p: &P) -> u64 {
    5_000 + u64::from(p.rand()) % 195_000
}

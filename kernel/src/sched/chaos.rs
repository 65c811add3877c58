//! `chaos=1`: preemption at random points and delays at sync points, from the boot seed.
//!
//! Slices become random, 5 µs to 200 µs long, and each timer interrupt preempts. Deterministic runs take
//! their preemption points from here; soak runs find races with it.
//!
//! A *sync point* is a place between two steps of a protocol that others can get between. Debug builds let time pass at one in
//! four: mostly a few pauses, sometimes many, sometimes the goroutine goes to the end of the queue. There is one before
//! every taking and after every release of a lock of the ranks `Sema`, `Chan`, `Waiters` and `Timers` (so around each step
//! of channels and `select`, sleepers, condition variables, contexts, timers), and one between the steps that take no
//! lock: of `Mutex`, `RwLock`, `Once`, `WaitGroup`.
//!
//! The runtime's own protocols have *gaps*: pauses only, since most of it may not be switched away. There is one around every
//! other lock, from the network stack's to the frames', and between the steps of going to sleep and waking. Release builds
//! have neither.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicBool, Ordering};

use super::p::P;
#[cfg(debug_assertions)]
use crate::{arch, shim::spin_loop};

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

/// Others may get between what comes before and what comes after: see the file head.
#[inline(always)]
pub(crate) fn sync_point() {
    #[cfg(debug_assertions)]
    if on() {
        let r = super::rand32();
        if r % 64 < 4 && !arch::in_runtime_context() {
            return super::yield_now();
        }
        pause(r, 2_000);
    }
}

/// The same for places that may not give up the core: nothing but time.
#[inline(always)]
pub(crate) fn gap() {
    #[cfg(debug_assertions)]
    if on() {
        pause(super::rand32(), 300);
    }
}

#[cfg(debug_assertions)]
#[cold]
fn pause(r: u32, long: u32) {
    let pauses = match r % 64 {
        4 => long,
        5..16 => r >> 8 & 63,
        _ => 0,
    };
    for _ in 0..pauses {
        spin_loop();
    }
}

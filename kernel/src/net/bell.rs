//! Bells: telling a device that there is work for it, after the stack's lock is released.
//!
//! Writing a device's doorbell leaves the guest: under emulation the core waits for the monitor's own lock, which may be
//! held for a millisecond while the other cores spin for the stack's. So a round only *marks* the bells that must be
//! rung, once for all of its frames, and whoever held the lock rings after letting go of it. Any core may ring for
//! another: a mark is a bit, and who takes it rings.
#![forbid(unsafe_code)]

use alloc::boxed::Box;

use crate::{
    shim::{AtomicU32, Ordering},
    sync::OnceLock,
};

/// Queues with a bell, at most: two each of eight devices.
const MAX: usize = 16;

/// A queue's doorbell.
pub(super) trait Bell: Send + Sync {
    /// Tells the device to look at the queue.
    fn ring(&self);
}

static BELLS: [OnceLock<Box<dyn Bell>>; MAX] = [const { OnceLock::new() }; MAX];
static DUE: AtomicU32 = AtomicU32::new(0);

/// Adds a bell; returns its number. `None`: there are too many.
#[cfg_attr(
    not(target_os = "none"),
    expect(dead_code, reason = "only devices have bells")
)]
pub(super) fn add(mut bell: Box<dyn Bell>) -> Option<usize> {
    for (i, place) in BELLS.iter().enumerate() {
        match place.set(bell) {
            Ok(()) => return Some(i),
            Err(back) => bell = back,
        }
    }
    None
}

/// This bell is to be rung. Under the stack's lock.
#[cfg_attr(
    not(target_os = "none"),
    expect(dead_code, reason = "only devices have bells")
)]
pub(super) fn mark(bell: usize) {
    DUE.fetch_or(1 << bell, Ordering::Release); // pairs with the Acquire in `ring_slow`
}

/// Rings what is marked. Without the stack's lock.
#[inline]
pub(super) fn ring() {
    if DUE.load(Ordering::Relaxed) != 0 {
        ring_slow();
    }
}

#[cold]
fn ring_slow() {
    let mut due = DUE.swap(0, Ordering::AcqRel);
    while due != 0 {
        let i = due.trailing_zeros() as usize;
        due &= due - 1;
        if let Some(bell) = BELLS[i].get() {
            bell.ring();
        }
    }
}

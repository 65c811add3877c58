//! Locks that stop the core: spin locks with ranks, and the guards that keep preemption or interrupts off.
//!
//! `lock/` stops the core, `sync/` parks the goroutine. A spin lock here raises the preempt count for as
//! long as it is held, so its holder is never taken off the core, and leaves the interrupt flag alone:
//! interrupt handlers take no ranked lock, so they can never wait for the code they interrupted.
//!
//! Every lock has a [`Rank`]. A core takes locks in rising rank only; builds with debug assertions check
//! that on every acquisition and print the held locks when it fails. Whatever may park says so with
//! [`might_sleep`](fn@might_sleep).

mod guard;
mod might_sleep;
mod rank;
mod spin;
#[cfg(loom)]
mod spin_loom;

pub use guard::{IrqGuard, PreemptGuard};
pub use might_sleep::might_sleep;
pub use rank::Rank;
pub use spin::{RawSpinLock, SpinGuard, SpinLock};

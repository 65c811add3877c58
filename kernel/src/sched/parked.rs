//! Parked goroutines, for whoever gives back what their stacks do not use.
//!
//! Read while they may be woken: see `mem::shrink` for how that is found out, and why it does no harm.
#![forbid(unsafe_code)]

use core::sync::atomic::Ordering;

use super::{g::GPtr, spawn, state::GState};

/// A goroutine that was Waiting when it had run `runs` times, its stack pointer then at `sp`.
#[derive(Clone, Copy)]
pub(crate) struct Parked {
    g: GPtr,
    runs: u32,
    sp: usize,
}

impl Parked {
    fn of(g: GPtr) -> Option<Parked> {
        let runs = g.runs.load(Ordering::Acquire); // before the state and the stack pointer
        // The runtime's own must work when there is no frame to grow by.
        if g.state() != GState::Waiting || g.is_system() {
            return None;
        }
        let sp = g.sp.load(Ordering::Relaxed);
        let p = Parked { g, runs, sp };
        p.still().then_some(p)
    }

    /// Has it not run since?
    pub(crate) fn still(&self) -> bool {
        self.g.state() == GState::Waiting && self.g.runs.load(Ordering::Acquire) == self.runs
    }

    /// Its stack pointer.
    pub(crate) fn sp(&self) -> usize {
        self.sp
    }
}

/// Calls `f` for every goroutine of the program that is parked.
pub(crate) fn for_each_parked(mut f: impl FnMut(Parked)) {
    spawn::for_each_g(|g| {
        if let Some(p) = Parked::of(g) {
            f(p);
        }
    });
}

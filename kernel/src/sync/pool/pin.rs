//! A place of one's own: the number of a core that is not left while the pin lives.
//!
//! On metal the core itself, with preemption off: a core runs at most one P, so "per core" is "per P" as far as
//! exclusion goes, and there is a place inside `blocking` too. On the host, where a thread may be stopped anywhere, a number
//! that the thread keeps until it ends; the 65th thread has none and does without its pool. In a model, whose threads are all one of the host's, what the model
//! says.
#![forbid(unsafe_code)]

#[cfg(loom)]
pub(super) use in_models::*;
#[cfg(target_os = "none")]
pub(super) use metal::*;
#[cfg(not(any(target_os = "none", loom)))]
pub(super) use on_threads::*;

#[cfg(target_os = "none")]
mod metal {
    use crate::{arch, lock::PreemptGuard};

    pub(in crate::sync) struct Pin(PreemptGuard);

    #[inline(always)]
    pub(in crate::sync) fn pin() -> Option<(Pin, usize)> {
        let here = PreemptGuard::new();
        Some((Pin(here), arch::core_index()))
    }

    /// How many places there are.
    pub(in crate::sync) fn places() -> usize {
        arch::core_count()
    }
}

#[cfg(not(any(target_os = "none", loom)))]
mod on_threads {
    use std::sync::atomic::{AtomicU64, Ordering};

    static TAKEN: AtomicU64 = AtomicU64::new(0);

    /// A number, until the thread ends.
    struct Place(Option<usize>);

    impl Place {
        fn take() -> Place {
            let mut taken = TAKEN.load(Ordering::Relaxed);
            while taken != u64::MAX {
                let free = taken.trailing_ones() as usize;
                // AcqRel: what the last thread with this number did comes before.
                match TAKEN.compare_exchange_weak(
                    taken,
                    taken | 1 << free,
                    Ordering::AcqRel,
                    Ordering::Relaxed,
                ) {
                    Ok(_) => return Place(Some(free)),
                    Err(now) => taken = now,
                }
            }
            Place(None)
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            if let Some(n) = self.0 {
                TAKEN.fetch_and(!(1 << n), Ordering::AcqRel);
            }
        }
    }

    thread_local! {
        static MINE: Place = Place::take();
    }

    pub(in crate::sync) struct Pin;

    pub(in crate::sync) fn pin() -> Option<(Pin, usize)> {
        MINE.try_with(|p| p.0).ok().flatten().map(|n| (Pin, n))
    }

    /// How many places there are.
    pub(in crate::sync) fn places() -> usize {
        64
    }
}

#[cfg(loom)]
mod in_models {
    use core::cell::Cell;

    loom::thread_local! {
        static CORE: Cell<usize> = Cell::new(0);
    }

    /// From now on this thread is on that core; the model sees to it that no other is.
    #[cfg(test)]
    pub(in crate::sync) fn run_on(core: usize) {
        CORE.with(|c| c.set(core));
    }

    pub(in crate::sync) struct Pin;

    pub(in crate::sync) fn pin() -> Option<(Pin, usize)> {
        Some((Pin, CORE.with(Cell::get)))
    }

    /// How many places there are.
    pub(in crate::sync) fn places() -> usize {
        2
    }
}

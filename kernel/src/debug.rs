//! Knobs for tests and tools. No stability promised.
#![forbid(unsafe_code)]

/// Sets the time slice in nanoseconds (at least 20 µs); returns the old one.
pub fn set_slice_ns(ns: u64) -> u64 {
    crate::sched::preempt::set_slice(ns)
}

pub use crate::mem::hoard::Hoard;

/// Gives back the unused stack pages of parked goroutines, and nothing else; returns how many.
pub fn shrink_parked_stacks() -> usize {
    crate::mem::shrink::parked()
}

/// The main goroutine's stack limit in bytes.
pub fn main_stack_size() -> Option<usize> {
    let mut size = None;
    crate::sched::for_each_g(|g| {
        if g.id() == 1 {
            size = Some(g.stack.get().size());
        }
    });
    size
}

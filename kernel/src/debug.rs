//! Knobs for tests and tools. No stability promised.
#![forbid(unsafe_code)]

/// Sets the time slice in nanoseconds (at least 20 µs); returns the old one.
pub fn set_slice_ns(ns: u64) -> u64 {
    crate::sched::preempt::set_slice(ns)
}

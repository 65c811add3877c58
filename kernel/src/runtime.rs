//! What Go's package `runtime` offers, as far as it means something here.

pub use crate::sched::{
    SchedStats, lock_os_thread, num_goroutine, sched_stats, scavenge_stacks, unlock_os_thread,
};

/// Sets the number of Ps, at most the number of cores, and returns the previous one; 0 only asks.
///
/// Stops the world while it changes.
///
/// ```
/// let n = burrow::runtime::gomaxprocs(0);
/// assert!(n >= 1);
/// ```
pub fn gomaxprocs(n: usize) -> usize {
    crate::sched::set_procs(n)
}

/// Number of cores of the machine.
pub fn num_cpu() -> usize {
    crate::arch::core_count()
}

/// The running goroutine's id, as in dumps.
pub fn goid() -> u64 {
    crate::sched::current().id()
}

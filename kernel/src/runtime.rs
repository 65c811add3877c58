//! What Go's package `runtime` offers, as far as it means something here.

pub use crate::sched::{
    SchedStats, lock_os_thread, num_goroutine, sched_stats, scavenge_stacks, unlock_os_thread,
};

//! What Go's package `runtime` offers, as far as it means something here: figures, and the few switches a
//! program may turn.
//!
//! Everything is a free function, as there; the machinery behind it is in [`crate::sched`].
#![forbid(unsafe_code)]

use alloc::string::String;
use core::fmt::Write;

use crate::{
    arch, mem,
    panic::{Backtrace, backtrace::write_frames},
    sched::{self, dump, world},
};
pub use crate::{
    leak::{Leak, LeakCause, leaked},
    mem::{
        free_os_memory,
        limit::{memory_limit, set_memory_limit},
        profile::{HeapProfile, Record as HeapRecord, heap_profile},
        read_mem_stats,
        stats::{BySize, MemStats},
    },
    sched::{
        Profile, ProfileRow, SchedStats, WaitReason, lock_os_thread, sched_stats, seed, unlock_os_thread,
    },
    sync::{LockStats, lock_stats},
};

/// Cores of the machine.
///
/// ```
/// assert!(burrow::runtime::num_cpu() >= 1);
/// ```
pub fn num_cpu() -> usize {
    arch::core_count()
}

/// Goroutines of the program that are alive; the runtime's own (console, trace printer) do not count, as in Go.
///
/// ```
/// assert!(burrow::runtime::num_goroutine() >= 1);
/// ```
pub fn num_goroutine() -> usize {
    sched::user_goroutines()
}

/// Sets how many goroutines may run at once and returns how many it was; 0 only asks. More than there are cores is
/// as many as there are cores. Stops the world for a moment.
///
/// ```
/// let before = burrow::runtime::gomaxprocs(1);
/// assert_eq!(burrow::runtime::gomaxprocs(before), 1);
/// assert_eq!(burrow::runtime::gomaxprocs(0), before);
/// ```
pub fn gomaxprocs(n: usize) -> usize {
    sched::set_procs(n.min(num_cpu()))
}

/// Number of the running goroutine, as dumps show it. The main goroutine is 1; numbers are not used again.
///
/// ```
/// let mine = burrow::runtime::goid();
/// let other = burrow::spawn(burrow::runtime::goid).join().unwrap();
/// assert_ne!(mine, other);
/// ```
pub fn goid() -> u64 {
    sched::current().id()
}

/// The call stack of the running goroutine as text; with `all`, those of all goroutines (at most 200) after it, for
/// which the world stops.
///
/// ```
/// assert!(burrow::runtime::stack(false).starts_with("goroutine "));
/// ```
pub fn stack(all: bool) -> String {
    let mut text = String::new();
    // A String takes everything, so there is no error to handle.
    let _ = writeln!(text, "goroutine {} [running]:", goid());
    let _ = write_frames(&mut text, Backtrace::capture(0).frames());
    if all {
        text.push('\n');
        let me = sched::current();
        // Symbols make this slow; memory is asked for before the world stops, as far as one can tell.
        text.reserve(512 * sched::num_goroutine().min(200));
        let _ = world::stopped(|| dump::write_all(&mut text, Some(me)));
    }
    text
}

/// A line for each P, each core and each goroutine: what `scheddetail=1` prints after the `SCHED` line. The grammar is
/// told in the source of [`SchedStats`].
///
/// ```
/// assert!(burrow::runtime::sched_detail().starts_with("  P0: status="));
/// ```
pub fn sched_detail() -> String {
    let mut text = String::new();
    // A String takes everything.
    let _ = sched::write_detail(&mut text);
    text
}

/// Memory that goroutine stacks take now, in bytes: pages touched, not the ranges reserved.
///
/// ```
/// assert!(burrow::runtime::stack_bytes() >= 4096);
/// ```
pub fn stack_bytes() -> usize {
    mem::stack::pages_mapped() as usize * mem::stack::PAGE
}

/// From now on a wait of `ns` nanoseconds or more is in the [`block_profile`], a shorter one with a probability; 1 takes
/// them all, 0 none. Returns the rate it was.
///
/// ```
/// burrow::runtime::set_block_profile_rate(10_000);
/// ```
pub fn set_block_profile_rate(ns: u64) -> u64 {
    sched::profile::set_block_rate(ns)
}

/// From now on one in `n` contended unlocks is in the [`mutex_profile`]; 0: none. Returns what it was.
///
/// ```
/// burrow::runtime::set_mutex_profile_fraction(1);
/// ```
pub fn set_mutex_profile_fraction(n: u64) -> u64 {
    sched::profile::set_mutex_fraction(n)
}

/// Where goroutines waited for channels, locks and each other, since the rate was set.
///
/// ```
/// burrow::println!("{}", burrow::runtime::block_profile());
/// ```
pub fn block_profile() -> Profile {
    sched::profile::block()
}

/// Who held locks that others waited for, since the fraction was set: call stacks that unlocked.
///
/// ```
/// burrow::println!("{}", burrow::runtime::mutex_profile());
/// ```
pub fn mutex_profile() -> Profile {
    sched::profile::mutex()
}

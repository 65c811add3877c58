//! Leaks: goroutines that wait for what nobody else can bring about any more. Go's goroutine leak profile.
//!
//! Go asks its collector: what a blocked goroutine waits for is garbage if it is reached from nowhere but from goroutines
//! that are blocked likewise. There is no collector here, but there is ownership. Three things are known without a
//! look at the heap:
//!
//! 1. *Who waits for what.* A goroutine leaves with its park what it waits for (`sched::park_unlock_for`): the handle that
//!    its channel operation borrows, the list of a `select!`, the word of a lock, the goroutine it joins.
//! 2. *How many can get at a channel.* Handles are counted, and those that can only receive are counted apart.
//! 3. *What nobody else can reach.* What lies on a goroutine's own stack is out of reach for all others unless it has a
//!    `scope` open: everything that is sent, stored or captured elsewhere must be `'static`. So a handle on the stack of
//!    a parked goroutine can be used by nobody until that goroutine goes on.
//!
//! Hence, if every handle of a channel is on the stack of a goroutine that waits for this channel, none of them ever
//! goes on; if no handle is left that can send or close, neither does who receives. Locks say who holds them (mutexes
//! and writers in debug builds only): where a guard unlocks, only its goroutine can, and that one may have ended or be leaked
//! itself. `proof` puts these together, `census` collects them while the world stands.
//!
//! **Never a false report.** Each step errs on the other side: a handle in a `Box`, in a `Vec`, in a static, in an `Arc`d
//! struct, in a leaked goroutine's other variables or in a message counts as one that somebody will use; so does a timer. A wait with a
//! deadline, for a device, a semaphore or a condition variable that others may reach is never reported. Unsafe code that lends
//! its stack to others without a scope breaks the rule as it breaks others. What is reported stays so: nothing
//! that could end the wait exists, so the answer is the same ever after.
//!
//! Refused: looking for pointers to the channel in stacks and heap, as a conservative collector would. It would see
//! through the `Arc`d struct, but dead copies of handles are everywhere (each move leaves one), so a leak would be found
//! or not as the compiler lays out frames; and it costs a stop as long as memory is large.
//!
//! Cost: nothing while no one asks, but one store for each wait. A report stops the world for one pass over the
//! goroutines and their operations, asks for no memory in it, and does the rest while others run.

#[cfg(target_os = "none")]
mod census;
#[cfg_attr(
    not(target_os = "none"),
    allow(dead_code, reason = "the host has the proof without its census")
)]
mod proof;
#[cfg(target_os = "none")]
mod report;

#[cfg(target_os = "none")]
pub use report::{Leak, LeakCause, leaked};

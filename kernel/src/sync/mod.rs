//! Locks and meeting points that park the goroutine, never the core.
//!
//! (`lock/` is the other kind: it stops the core.) All sleepers sit in one table, see `sema`.

mod mutex;
mod sema;
#[cfg(test)]
mod tests;
mod waitgroup;

pub use mutex::{Mutex, MutexGuard, RawMutex};
pub use waitgroup::WaitGroup;

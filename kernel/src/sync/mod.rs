//! Locks and meeting points that park the goroutine, never the core.
//!
//! (`lock/` is the other kind: it stops the core.) All sleepers sit in one table, see `sema`.

mod mutex;
mod sema;
mod waitgroup;

pub use mutex::{Mutex, MutexGuard, RawMutex};
pub use waitgroup::WaitGroup;

//! Locks and meeting points that park the goroutine, never the core.
//!
//! (`lock/` is the other kind: it stops the core.) All sleepers sit in one table, see `sema`; only `Condvar`, whose
//! order is by ticket, has a queue of its own.
//!
//! | file | story |
//! | --- | --- |
//! | `sema`, `sleepers` | the table of sleepers, and one bucket of it |
//! | `limit` | waits that end at a deadline or with a context |
//! | `raw_mutex`, `mutex`, `raw_rwlock`, `rwlock_word`, `rwlock` | [`Mutex`], [`RwLock`], and their raw forms |
//! | `waitgroup`; `condvar`, `tickets` | [`WaitGroup`]; [`Condvar`], and who waits for it |
//! | `once`, `once_lock`, `lazy_lock` | [`Once`], [`OnceLock`], [`LazyLock`] |
//! | `semaphore` | [`Semaphore`]: permits, several at a time |
//! | `errgroup`, `singleflight` | [`errgroup::Group`], [`singleflight::Group`] |
//! | `with_context` | what of these listens to a context, or ends one |
//! | `atomic` | [`atomic::Value`]: read and replaced without a lock |
//! | `map` | [`Map`]: read without a lock |
//! | `pool` | [`Pool`]: things kept for the next who needs one |
//! | `lock_api` | the raw locks for crates that are generic over locks |
//! | `stats`, `reads`, `cycle` | figures; who reads what; who waits for whom when nothing moves |

pub mod atomic;
mod condvar;
#[cfg(target_os = "none")]
pub(crate) mod cycle;
pub mod errgroup;
mod lazy_lock;
mod limit;
#[cfg(not(loom))]
mod lock_api;
pub mod map;
mod mutex;
mod once;
mod once_lock;
pub mod pool;
mod raw_mutex;
mod raw_rwlock;
mod reads;
mod rwlock;
mod rwlock_word;
pub(crate) mod sema;
mod semaphore;
pub mod singleflight;
mod sleepers;
mod stats;
#[cfg(test)]
mod tests;
mod tickets;
mod waitgroup;
mod with_context;

pub use atomic::{Snapshot, Value};
pub use condvar::{Condvar, WaitTimeoutResult};
pub use lazy_lock::LazyLock;
#[cfg(not(loom))]
pub use lock_api::GoroutineId;
pub use map::Map;
pub use mutex::{Mutex, MutexGuard};
pub use once::Once;
pub use once_lock::OnceLock;
pub use pool::Pool;
#[cfg(target_os = "none")]
pub(crate) use raw_mutex::GUARDED;
pub use raw_mutex::RawMutex;
pub use raw_rwlock::RawRwLock;
pub use rwlock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use semaphore::{Semaphore, SemaphorePermit};
pub use stats::{LockStats, lock_stats};
pub use waitgroup::WaitGroup;

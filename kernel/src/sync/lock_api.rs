//! The raw locks under the names of the `lock_api` crate, for code that is generic over locks.
//!
//! ```
//! use burrow::sync::{GoroutineId, RawMutex, RawRwLock};
//! let m = lock_api::Mutex::<RawMutex, _>::new(1);
//! *m.lock() += 1;
//! let l = lock_api::RwLock::<RawRwLock, _>::new(*m.lock());
//! assert_eq!(*l.read() + *l.read(), 4);
//! let r = lock_api::ReentrantMutex::<RawMutex, GoroutineId, _>::new(3);
//! let (a, b) = (r.lock(), r.lock()); // twice, by one goroutine
//! assert_eq!(*a + *b, 6);
//! let waits = burrow::time::Duration::from_millis(1);
//! assert!(l.try_write_for(waits).is_some() && m.try_lock_for(waits).is_some());
//! ```
//! (`lock_api` calls its guards' unlocking unsafe and ours checks: an unlocked lock is a fatal error.) Its guards stay with
//! the goroutine that locked, as ours do.

use core::num::NonZeroUsize;

use super::{RawMutex, RawRwLock};
use crate::{
    sched,
    time::{Duration, Instant},
};

// SAFETY: the mutex excludes (loom model).
unsafe impl lock_api::RawMutex for RawMutex {
    const INIT: Self = Self::new();
    type GuardMarker = lock_api::GuardNoSend;

    #[inline]
    fn lock(&self) {
        self.lock();
    }

    #[inline]
    fn try_lock(&self) -> bool {
        self.try_lock()
    }

    #[inline]
    unsafe fn unlock(&self) {
        self.unlock();
    }

    #[inline]
    fn is_locked(&self) -> bool {
        self.is_locked()
    }
}

// SAFETY: a writer excludes everybody, readers exclude writers (loom models).
unsafe impl lock_api::RawRwLock for RawRwLock {
    const INIT: Self = Self::new();
    type GuardMarker = lock_api::GuardNoSend;

    #[inline]
    fn lock_shared(&self) {
        self.read();
    }

    #[inline]
    fn try_lock_shared(&self) -> bool {
        self.try_read()
    }

    #[inline]
    unsafe fn unlock_shared(&self) {
        self.unlock_read();
    }

    #[inline]
    fn lock_exclusive(&self) {
        self.write();
    }

    #[inline]
    fn try_lock_exclusive(&self) -> bool {
        self.try_write()
    }

    #[inline]
    unsafe fn unlock_exclusive(&self) {
        self.unlock_write();
    }

    #[inline]
    fn is_locked(&self) -> bool {
        self.is_locked()
    }

    #[inline]
    fn is_locked_exclusive(&self) -> bool {
        self.has_writer()
    }
}

// SAFETY: the writer becomes a reader without letting another writer in (loom model).
unsafe impl lock_api::RawRwLockDowngrade for RawRwLock {
    unsafe fn downgrade(&self) {
        self.downgrade();
    }
}

// SAFETY: as `RawMutex`; a wait that was given up took nothing (loom models).
unsafe impl lock_api::RawMutexTimed for RawMutex {
    type Duration = Duration;
    type Instant = Instant;

    fn try_lock_for(&self, timeout: Duration) -> bool {
        self.try_lock_for(timeout)
    }

    fn try_lock_until(&self, timeout: Instant) -> bool {
        self.try_lock_until(timeout)
    }
}

// SAFETY: as `RawRwLock`; a wait that was given up took nothing (loom models).
unsafe impl lock_api::RawRwLockTimed for RawRwLock {
    type Duration = Duration;
    type Instant = Instant;

    fn try_lock_shared_for(&self, timeout: Duration) -> bool {
        self.try_read_for(timeout)
    }

    fn try_lock_shared_until(&self, timeout: Instant) -> bool {
        self.try_read_until(timeout)
    }

    fn try_lock_exclusive_for(&self, timeout: Duration) -> bool {
        self.try_write_for(timeout)
    }

    fn try_lock_exclusive_until(&self, timeout: Instant) -> bool {
        self.try_write_until(timeout)
    }
}

/// Who runs, for `lock_api`'s `ReentrantMutex`. See the example there.
///
/// ```
/// use burrow::sync::{GoroutineId, RawMutex};
/// type Reentrant<T> = lock_api::ReentrantMutex<RawMutex, GoroutineId, T>;
/// static LEVEL: Reentrant<u32> = Reentrant::new(1);
/// assert_eq!(*LEVEL.lock() + *LEVEL.lock(), 2);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct GoroutineId;

// SAFETY: no two goroutines alive have one number, and it is never 0.
unsafe impl lock_api::GetThreadId for GoroutineId {
    const INIT: Self = GoroutineId;

    fn nonzero_thread_id(&self) -> NonZeroUsize {
        NonZeroUsize::new(sched::current().id() as usize).unwrap_or(NonZeroUsize::MAX)
    }
}

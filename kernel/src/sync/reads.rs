//! Who reads which `RwLock`, in debug builds: to tell a lock for ever from a wait.
//!
//! A table of (lock, goroutine), in 64 parts by the lock's address, each behind a spin lock; a read guard is entered
//! when it has the lock and struck out before it lets go. Release builds and models have nothing of it: every
//! function is empty and [`TRACKED`] is false. (A guard that is forgotten stays entered, as its lock stays locked.)
#![forbid(unsafe_code)]

use super::RawRwLock;

/// Is the list kept?
pub(super) const TRACKED: bool = cfg!(all(debug_assertions, not(loom)));

#[cfg(not(all(debug_assertions, not(loom))))]
mod list {
    use super::RawRwLock;
    #[inline(always)]
    pub(in crate::sync) fn begin(_: &RawRwLock) {}
    #[inline(always)]
    pub(in crate::sync) fn end(_: &RawRwLock) {}
    #[inline(always)]
    pub(in crate::sync) fn mine(_: &RawRwLock) -> bool {
        false
    }
    #[cfg(target_os = "none")]
    pub(in crate::sync) fn readers_of(_: usize, _: impl FnMut(u64)) {}
}

#[cfg(all(debug_assertions, not(loom)))]
mod list {
    use alloc::vec::Vec;

    use super::RawRwLock;
    use crate::{
        lock::{Rank, SpinLock},
        sched,
    };

    type Part = SpinLock<Vec<(usize, u64)>>;

    static PARTS: [Part; 64] = [const { SpinLock::new(Rank::Waiters, Vec::new()) }; 64];

    fn part(lock: usize) -> &'static Part {
        &PARTS[lock / 64 % 64]
    }

    fn entry(lock: &RawRwLock) -> (usize, u64) {
        (core::ptr::from_ref(lock).addr(), sched::current().id())
    }

    /// This goroutine reads `lock`.
    pub(in crate::sync) fn begin(lock: &RawRwLock) {
        let e = entry(lock);
        let mut list = part(e.0).lock();
        // Without memory it is not noted: the worst is a report that says less.
        if list.try_reserve(1).is_ok() {
            list.push(e);
        }
    }

    /// This goroutine is about to let go of `lock`.
    pub(in crate::sync) fn end(lock: &RawRwLock) {
        let e = entry(lock);
        let mut list = part(e.0).lock();
        if let Some(i) = list.iter().rposition(|x| *x == e) {
            list.swap_remove(i);
        }
    }

    /// Does this goroutine read `lock`?
    pub(in crate::sync) fn mine(lock: &RawRwLock) -> bool {
        let e = entry(lock);
        part(e.0).lock().contains(&e)
    }

    /// Calls `f` with every goroutine that reads the lock which contains `addr`. For reports.
    #[cfg(target_os = "none")]
    pub(in crate::sync) fn readers_of(addr: usize, mut f: impl FnMut(u64)) {
        for part in &PARTS {
            if let Some(list) = part.try_lock() {
                list.iter()
                    .filter(|e| (e.0..e.0 + size_of::<RawRwLock>()).contains(&addr))
                    .for_each(|e| f(e.1));
            }
        }
    }
}

pub(super) use list::*;

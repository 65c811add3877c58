//! Waiting for one goroutine: the packet in which it leaves its result, and the handle that takes it out.
//!
//! The packet is shared by goroutine and handle. Whoever ends last drops it, and with it a result nobody asked for. `done`
//! is the fast path; the lock decides between a goroutine that ends and a joiner that is about to park: the joiner is
//! found by `fill`, or sees `done`. A handle keeps the goroutine's number, not its G: that may be another goroutine's
//! by now.

use alloc::sync::Arc;
use core::{
    cell::UnsafeCell,
    fmt, ptr,
    sync::atomic::{AtomicBool, Ordering},
};

use super::{GPtr, WaitReason, current, park_unlock_for, ready, scope::ScopeState};
use crate::{
    lock::{Rank, RawSpinLock, might_sleep},
    panic::{Panic, Unwound},
};

/// Where a goroutine leaves its result and its joiner waits.
pub(super) struct Packet<T> {
    lock: RawSpinLock,
    done: AtomicBool,
    /// Guarded by `lock`.
    waiter: UnsafeCell<Option<GPtr>>,
    /// Written once before `done`, read once after.
    result: UnsafeCell<Option<Result<T, Unwound>>>,
    /// Of a scoped goroutine: who hears of a panic that nobody joined.
    scope: Option<Arc<ScopeState>>,
}

/// The last of goroutine and handle is gone. A panic still in here was not joined; a handle cannot outlive its
/// scope, so the scope hears of it before it returns, whichever of the two went first.
impl<T> Drop for Packet<T> {
    fn drop(&mut self) {
        if let Some(scope) = &self.scope
            && matches!(self.result.get_mut(), Some(Err(Unwound::Panic(_))))
        {
            scope.note_panic();
        }
    }
}

// SAFETY: `lock` and `done` order all access to the cells.
unsafe impl<T: Send> Sync for Packet<T> {}
// SAFETY: the packet is passed between goroutines with the result in it.
unsafe impl<T: Send> Send for Packet<T> {}

impl<T> Packet<T> {
    pub(super) fn new(scope: Option<Arc<ScopeState>>) -> Self {
        Self {
            scope,
            lock: RawSpinLock::new(Rank::Waiters),
            done: AtomicBool::new(false),
            waiter: UnsafeCell::new(None),
            result: UnsafeCell::new(None),
        }
    }

    pub(super) fn fill(&self, r: Result<T, Unwound>) {
        // SAFETY: only the goroutine itself writes, once, before `done`.
        unsafe { *self.result.get() = Some(r) };
        self.lock.lock();
        self.done.store(true, Ordering::Release); // pairs with the Acquire in `wait` and `is_finished`
        // SAFETY: `waiter` is guarded by the lock we hold.
        let w = unsafe { (*self.waiter.get()).take() };
        // SAFETY: 1. we hold it.
        unsafe { self.lock.unlock() };
        if let Some(g) = w {
            ready(g);
        }
    }

    /// Waits for goroutine `id`, whose packet this is.
    fn wait(&self, id: u64) {
        if self.done.load(Ordering::Acquire) {
            return;
        }
        self.lock.lock();
        if self.done.load(Ordering::Acquire) {
            // SAFETY: 1. we hold it.
            unsafe { self.lock.unlock() };
            return;
        }
        // SAFETY: guarded by the lock we hold.
        unsafe { *self.waiter.get() = Some(current()) };
        park_unlock_for(WaitReason::Join, &self.lock, ptr::without_provenance(id as usize));
    }
}

/// The right to wait for a goroutine started by [`spawn`](fn@crate::spawn). Dropping it detaches the goroutine.
///
/// ```
/// let handles: Vec<burrow::JoinHandle<u32>> = (0..3).map(|i| burrow::spawn(move || i)).collect();
/// let sum: u32 = handles.into_iter().map(|h| h.join().unwrap()).sum();
/// assert_eq!(sum, 3);
/// ```
#[must_use = "dropping the handle detaches the goroutine; call `join` to wait for it"]
pub struct JoinHandle<T> {
    packet: Arc<Packet<T>>,
    id: u64,
}

impl<T> JoinHandle<T> {
    /// The handle of goroutine `id`, whose packet this is.
    pub(super) fn new(packet: Arc<Packet<T>>, id: u64) -> Self {
        Self { packet, id }
    }

    /// Waits until the goroutine ends; blocks the calling goroutine.
    ///
    /// # Errors
    /// The panic that ended it. A goroutine that left by `goexit` counts as a panic with that message.
    ///
    /// ```
    /// assert_eq!(burrow::spawn(|| 1).join().unwrap(), 1);
    /// let p = burrow::spawn(|| panic!("no")).join().unwrap_err();
    /// assert!(p.to_string().contains("no"));
    /// ```
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn join(self) -> Result<T, Panic> {
        might_sleep();
        self.packet.wait(self.id);
        // SAFETY: done: the goroutine is through with the cell, and `self` is the only reader.
        match unsafe { (*self.packet.result.get()).take() } {
            Some(Ok(v)) => Ok(v),
            Some(Err(u)) => Err(u.into_panic()),
            None => unreachable!("joined twice"),
        }
    }

    /// Has the goroutine ended? Does not block.
    ///
    /// ```
    /// let h = burrow::spawn(|| ());
    /// while !h.is_finished() {
    ///     burrow::yield_now();
    /// }
    /// h.join().unwrap();
    /// ```
    pub fn is_finished(&self) -> bool {
        self.packet.done.load(Ordering::Acquire)
    }

    /// Its goroutine id, as in dumps.
    ///
    /// ```
    /// let (a, b) = (burrow::spawn(|| ()), burrow::spawn(|| ()));
    /// assert_ne!(a.id(), b.id());
    /// ```
    pub fn id(&self) -> u64 {
        self.id
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle")
            .field("id", &self.id)
            .field("finished", &self.is_finished())
            .finish()
    }
}

//! `scope`: goroutines that may borrow from the caller, because it does not go on before all of them have ended.
//!
//! The scope counts its goroutines; the last one readies the caller. It says so (`one_done`) after its closure, with every
//! borrow in it, is gone; its packet may live on, but holds only the result. A handle cannot outlive the scope, so a
//! panic that nobody joined is known before `scope` returns.

use alloc::sync::Arc;
use core::{
    cell::UnsafeCell,
    fmt,
    marker::PhantomData,
    panic::Location,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use super::{
    GPtr, JoinHandle, WaitReason, current,
    join::Packet,
    park_unlock, ready,
    spawn::{self, How},
};
use crate::{
    lock::{Rank, RawSpinLock, might_sleep},
    panic::{Panic, catch},
};

/// Goroutines that may borrow from the caller: all of them have ended when `scope` returns, also when `f`
/// panics. After std's `thread::scope`.
///
/// # Panics
/// If a goroutine of the scope panicked and nobody joined it.
///
/// ```
/// let mut v = vec![1, 2, 3];
/// burrow::scope(|s| {
///     for x in &mut v {
///         s.spawn(move || *x *= 2);
///     }
/// });
/// assert_eq!(v, [2, 4, 6]);
/// ```
#[cfg_attr(debug_assertions, track_caller)]
pub fn scope<'env, T>(f: impl for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T) -> T {
    might_sleep();
    let scope = Scope {
        state: Arc::new(ScopeState {
            running: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            lock: RawSpinLock::new(Rank::Waiters),
            waiter: UnsafeCell::new(None),
        }),
        _scope: PhantomData,
        _env: PhantomData,
    };
    let me = current();
    me.lends(true);
    let r = catch(|| f(&scope));
    scope.state.wait();
    me.lends(false);
    match r {
        Ok(v) => {
            if scope.state.panicked.load(Ordering::Acquire) {
                panic!("a scoped goroutine panicked");
            }
            v
        }
        Err(u) => u.resume(),
    }
}

/// See [`scope`].
///
/// ```
/// let words = ["a", "bc"];
/// let n = burrow::scope(|s| {
///     let hs = words.map(|w| s.spawn(|| w.len()));
///     hs.into_iter().map(|h| h.join().unwrap()).sum::<usize>()
/// });
/// assert_eq!(n, 3);
/// ```
pub struct Scope<'scope, 'env: 'scope> {
    state: Arc<ScopeState>,
    _scope: PhantomData<&'scope mut &'scope ()>,
    _env: PhantomData<&'env mut &'env ()>,
}

pub(super) struct ScopeState {
    running: AtomicUsize,
    panicked: AtomicBool,
    lock: RawSpinLock,
    /// Guarded by `lock`.
    waiter: UnsafeCell<Option<GPtr>>,
}
// SAFETY: the waiter cell is guarded by the lock.
unsafe impl Sync for ScopeState {}
// SAFETY: as above; GPtr is Send.
unsafe impl Send for ScopeState {}

impl ScopeState {
    /// One of its goroutines panicked, and nobody joined it.
    pub(super) fn note_panic(&self) {
        self.panicked.store(true, Ordering::Release); // pairs with the Acquire in `scope`
    }

    fn wait(&self) {
        self.lock.lock();
        if self.running.load(Ordering::Acquire) == 0 {
            // SAFETY: 1. we hold it.
            unsafe { self.lock.unlock() };
            return;
        }
        // SAFETY: guarded by the lock we hold.
        unsafe { *self.waiter.get() = Some(current()) };
        park_unlock(WaitReason::Join, &self.lock);
    }

    fn one_done(&self) {
        self.lock.lock();
        // Release: pairs with the Acquire in `wait`: what the goroutine did to borrowed data is visible.
        let w = if self.running.fetch_sub(1, Ordering::AcqRel) == 1 {
            // SAFETY: guarded by the lock we hold.
            unsafe { (*self.waiter.get()).take() }
        } else {
            None
        };
        // SAFETY: 1. we hold it.
        unsafe { self.lock.unlock() };
        if let Some(g) = w {
            ready(g);
        }
    }
}

impl<'scope, 'env> Scope<'scope, 'env> {
    /// Starts a goroutine of this scope.
    ///
    /// # Panics
    /// If there is no memory for another goroutine.
    ///
    /// ```
    /// let mut n = 1;
    /// burrow::scope(|s| {
    ///     s.spawn(|| n += 1);
    /// });
    /// assert_eq!(n, 2);
    /// ```
    #[track_caller]
    pub fn spawn<T: Send + 'scope, F: FnOnce() -> T + Send + 'scope>(
        &'scope self,
        f: F,
    ) -> ScopedJoinHandle<'scope, T> {
        let packet = Arc::new(Packet::new(Some(self.state.clone())));
        let theirs = packet.clone();
        let state = self.state.clone();
        state.running.fetch_add(1, Ordering::AcqRel);
        let body = move || {
            // The closure, and with it every borrow, is gone when `catch` returns; the packet holds only T.
            theirs.fill(catch(f));
            drop(theirs);
            state.one_done();
        };
        match spawn::start(body, How::default(), Location::caller()) {
            Ok(id) => ScopedJoinHandle {
                h: JoinHandle::new(packet, id),
                _scope: PhantomData,
            },
            Err(e) => {
                self.state.one_done();
                panic!("scope: {e}")
            }
        }
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope")
            .field("running", &self.state.running.load(Ordering::Relaxed))
            .finish()
    }
}

/// The right to wait for one goroutine of a [`Scope`]; the scope itself waits for all of them anyway.
///
/// ```
/// let n = 20;
/// assert_eq!(burrow::scope(|s| s.spawn(|| n + 1).join().unwrap()), 21);
/// ```
pub struct ScopedJoinHandle<'scope, T> {
    h: JoinHandle<T>,
    _scope: PhantomData<&'scope ()>,
}

impl<T> ScopedJoinHandle<'_, T> {
    /// Waits until the goroutine ends; blocks the calling goroutine.
    ///
    /// # Errors
    /// The panic that ended it.
    ///
    /// ```
    /// let n = 20;
    /// let sum = burrow::scope(|s| s.spawn(|| n + 1).join().unwrap());
    /// assert_eq!(sum, 21);
    /// ```
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn join(self) -> Result<T, Panic> {
        self.h.join()
    }

    /// Has the goroutine ended? Does not block.
    ///
    /// ```
    /// burrow::scope(|s| {
    ///     let h = s.spawn(|| ());
    ///     while !h.is_finished() {
    ///         burrow::yield_now();
    ///     }
    /// });
    /// ```
    pub fn is_finished(&self) -> bool {
        self.h.is_finished()
    }
}

impl<T> fmt::Debug for ScopedJoinHandle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.h.fmt(f)
    }
}

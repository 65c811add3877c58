//! What users call to start goroutines: `go`, `spawn`, `Builder`, `scope`.
//!
//! `go` is Go's statement: a panic that leaves the goroutine ends the program. `spawn` is std's: the panic
//! is the result of `join`. Both store the closure on the new goroutine's stack; `spawn` adds one shared
//! packet for the result.

use alloc::{string::String, sync::Arc};
use core::{
    cell::UnsafeCell,
    fmt,
    marker::PhantomData,
    panic::Location,
    ptr,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use super::{
    GPtr, SpawnError, WaitReason, current, park_unlock, park_unlock_for, ready,
    spawn::{self, How},
};
use crate::{
    lock::{Rank, RawSpinLock, might_sleep},
    panic::{Panic, Unwound, catch},
};

/// Starts `f` as a goroutine.
///
/// An unrecovered panic in it ends the whole program with exit code 2, as in Go; use [`spawn`](fn@spawn) to
/// contain panics. Does not block.
///
/// # Panics
/// If there is no memory for another goroutine.
///
/// ```
/// let ch = burrow::chan::<u32>(0);
/// let tx = ch.sender();
/// burrow::go(move || tx.send(42));
/// assert_eq!(ch.recv(), Some(42));
/// ```
#[track_caller]
#[inline]
pub fn go<F: FnOnce() + Send + 'static>(f: F) {
    if let Err(e) = spawn::start(f, How::default(), Location::caller()) {
        panic!("go: {e}");
    }
}

/// Starts one of the runtime's own goroutines: it does not count for deadlock detection.
#[track_caller]
pub(crate) fn go_system<F: FnOnce() + Send + 'static>(name: &str, f: F) {
    let how = How {
        system: true,
        name: Some(name),
        ..How::default()
    };
    if let Err(e) = spawn::start(f, how, Location::caller()) {
        panic!("go: {e}");
    }
}

/// Starts a goroutine that calls `run(arg)`. Also on g0, for timers; drops nothing if it fails.
///
/// # Errors
/// If there is no memory for another goroutine; then `run` is never called.
///
/// # Safety
/// 1. `run(arg)` may be called once, on any core.
pub(crate) unsafe fn go_raw(
    run: unsafe fn(*mut ()),
    arg: *mut (),
    at: &'static Location<'static>,
) -> Result<(), SpawnError> {
    struct Arg(*mut ());
    // SAFETY: 1.
    unsafe impl Send for Arg {}
    let arg = Arg(arg);
    let body = move || {
        let arg = arg; // all of it, not its field
        // SAFETY: 1.
        unsafe { run(arg.0) }
    };
    spawn::start(body, How::default(), at).map(|_| ())
}

/// Starts `f` as a goroutine whose result, or panic, [`JoinHandle::join`] returns.
///
/// Dropping the handle detaches the goroutine. Does not block.
///
/// # Panics
/// If there is no memory for another goroutine.
///
/// ```
/// let h = burrow::spawn(|| 6 * 7);
/// assert_eq!(h.join().unwrap(), 42);
/// ```
#[track_caller]
pub fn spawn<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(f: F) -> JoinHandle<T> {
    match Builder::new().spawn(f) {
        Ok(h) => h,
        Err(e) => panic!("spawn: {e}"),
    }
}

/// Starts goroutines with a name or a stack size of their own.
///
/// ```
/// let h = burrow::Builder::new().name("worker").stack_size(1 << 20).spawn(|| 1).unwrap();
/// assert_eq!(h.join().unwrap(), 1);
/// ```
#[derive(Debug, Default)]
#[must_use = "a builder starts nothing until `spawn`"]
pub struct Builder {
    name: Option<String>,
    stack_size: Option<usize>,
}

impl Builder {
    /// No name, the default stack (256 KiB).
    ///
    /// ```
    /// assert!(burrow::Builder::new().spawn(|| 1).is_ok());
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// The name shown in dumps and traces; what is beyond 32 bytes is cut off.
    ///
    /// ```
    /// let h = burrow::Builder::new().name("worker").spawn(|| ()).unwrap();
    /// h.join().unwrap();
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The stack's size limit in bytes, up to 1 GiB; below 256 KiB it is 256 KiB. Only touched pages take
    /// memory, and page tables for all of it (2 MiB for 1 GiB).
    ///
    /// ```
    /// let h = burrow::Builder::new().stack_size(1 << 20).spawn(|| [0_u8; 300_000].len()).unwrap();
    /// assert_eq!(h.join().unwrap(), 300_000);
    /// ```
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
        self
    }

    /// Starts the goroutine.
    ///
    /// # Errors
    /// [`SpawnError`] if there is no memory for it or the stack size is above 1 GiB.
    ///
    /// ```
    /// let h = burrow::Builder::new().spawn(|| 6 * 7).unwrap();
    /// assert_eq!(h.join().unwrap(), 42);
    /// ```
    #[track_caller]
    pub fn spawn<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(
        self,
        f: F,
    ) -> Result<JoinHandle<T>, SpawnError> {
        let packet = Arc::try_new(Packet::new(None)).map_err(|_| SpawnError::OutOfMemory)?;
        let theirs = packet.clone();
        let how = How {
            system: false,
            stack_size: self.stack_size,
            name: self.name.as_deref(),
        };
        let g = spawn::start(move || theirs.fill(catch(f)), how, Location::caller())?;
        Ok(JoinHandle { packet, id: g.id() })
    }
}

/// Where a goroutine leaves its result and its joiner waits.
struct Packet<T> {
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
            scope.panicked.store(true, Ordering::Release); // pairs with the Acquire in `scope`
        }
    }
}

// SAFETY: `lock` and `done` order all access to the cells.
unsafe impl<T: Send> Sync for Packet<T> {}
// SAFETY: the packet is passed between goroutines with the result in it.
unsafe impl<T: Send> Send for Packet<T> {}

impl<T> Packet<T> {
    fn new(scope: Option<Arc<ScopeState>>) -> Self {
        Self {
            scope,
            lock: RawSpinLock::new(Rank::Waiters),
            done: AtomicBool::new(false),
            waiter: UnsafeCell::new(None),
            result: UnsafeCell::new(None),
        }
    }

    fn fill(&self, r: Result<T, Unwound>) {
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

/// The right to wait for a goroutine started by [`spawn`](fn@spawn). Dropping it detaches the goroutine.
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

struct ScopeState {
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
            Ok(g) => ScopedJoinHandle {
                h: JoinHandle { packet, id: g.id() },
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

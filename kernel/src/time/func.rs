//! A timer that starts a goroutine: the engine of `after_func`.
//!
//! One allocation, made at creation, holds the node, the function and a count of handles. A timer in the heap holds
//! one handle itself, so it fires although the caller dropped his; firing passes that handle on to the goroutine,
//! stopping drops it, starting makes one. `lock` makes "out of the heap and in again" one step, so two `reset`s at
//! once do not insert the node twice.
//!
//! The function runs in a goroutine of its own, started on g0 when the timer fires. Without memory for a goroutine at
//! that moment the timer tries again 10 ms later: it is late, not lost. (If it was reset meanwhile, that start counts
//! for both.)

use alloc::sync::Arc;
use core::{mem, panic::Location, ptr::NonNull};

use super::timer::{Fire, TimerNode};
use crate::{
    lock::{Rank, RawSpinLock},
    sched,
};

/// When there is no memory for a goroutine, try again after this (ns).
pub(crate) const RETRY: u64 = 10_000_000;

#[repr(C)]
pub(super) struct Inner<F: ?Sized> {
    node: TimerNode,
    /// Around starting and stopping.
    lock: RawSpinLock,
    at: &'static Location<'static>,
    /// No reason for a deadlocked program to wait.
    system: bool,
    f: F,
}

// SAFETY: the node is guarded by its heap's lock and `lock`; `f` is shared only as `F: Sync` allows.
unsafe impl<F: ?Sized + Send + Sync> Sync for Inner<F> {}
// SAFETY: as above.
unsafe impl<F: ?Sized + Send + Sync> Send for Inner<F> {}

/// A handle to a timer that starts a goroutine.
pub(super) type Func = Arc<Inner<dyn Fn() + Send + Sync>>;

/// A timer for `f`, not running yet. As `system` it is no reason for a deadlocked program to wait.
#[track_caller]
pub(super) fn new(f: impl Fn() + Send + Sync + 'static, system: bool) -> Func {
    fn make<F: Fn() + Send + Sync + 'static>(f: F, system: bool, at: &'static Location<'static>) -> Func {
        Arc::new(Inner {
            node: TimerNode::new(Fire::Call {
                begin,
                run: fire::<F>,
                awaited: None,
            }),
            lock: RawSpinLock::new(Rank::Waiters),
            at,
            system,
            f,
        })
    }
    make(f, system, Location::caller())
}

impl<F: ?Sized> Inner<F> {
    /// Runs `f` with `lock` held.
    fn locked<R>(&self, f: impl FnOnce() -> R) -> R {
        self.lock.lock();
        let r = f();
        // SAFETY: 1. taken above.
        unsafe { self.lock.unlock() };
        r
    }
}

/// Stops it. `true`: the function will not run for the last start.
pub(super) fn stop(f: &Func) -> bool {
    let was = f.locked(|| f.node.cancel());
    if was {
        // SAFETY: the heap's handle, which came from a `clone` in `restart`; it is not in the heap any more.
        drop(unsafe { Arc::from_raw(Arc::as_ptr(f)) });
    }
    was
}

/// Starts it, or moves its deadline. `true`: it was running.
pub(super) fn restart(f: &Func, when: u64) -> bool {
    f.locked(|| {
        let was = f.node.cancel();
        if !was {
            mem::forget(f.clone()); // the heap's handle
        }
        // SAFETY: 1. just taken out, and alive while the heap has its handle.
        unsafe { f.node.start(when, f.system) };
        was
    })
}

unsafe fn begin(_: NonNull<TimerNode>) -> Option<u64> {
    Some(0) // the heap's handle is `fire`'s from here on
}

/// # Safety
/// 1. `node` is the first field of an `Inner<F>`, and comes with the heap's handle.
unsafe fn fire<F: Fn() + Send + Sync + 'static>(node: NonNull<TimerNode>, _: u64) {
    let this: NonNull<Inner<F>> = node.cast();
    // SAFETY: 1.
    let at = unsafe { this.as_ref() }.at;
    // SAFETY: `body` may be called once with this pointer, which brings its handle.
    if unsafe { sched::go_raw(body::<F>, this.as_ptr().cast(), at) }.is_err() {
        // SAFETY: 1. the handle is still ours.
        unsafe { retry(this) };
    }
}

/// The goroutine.
///
/// # Safety
/// 1. `this` is an `Inner<F>` with a handle to it.
unsafe fn body<F: Fn() + Send + Sync + 'static>(this: *mut ()) {
    // SAFETY: 1.; the handle was made by an `Arc` of the same value, seen as `dyn Fn`.
    let this = unsafe { Arc::from_raw(this.cast::<Inner<F>>().cast_const()) };
    this.locked(|| ()); // see the file head
    (this.f)();
}

/// No memory for the goroutine: the handle goes back to the heap.
///
/// # Safety
/// 1. `this` comes with a handle.
unsafe fn retry<F>(this: NonNull<Inner<F>>) {
    // SAFETY: 1.; who starts it takes the handle, and keeps it until we have left `lock` (see `body`).
    let t = unsafe { this.as_ref() };
    t.locked(|| {
        let mut when = sched::now_ns().wrapping_add(RETRY);
        if t.node.cancel() {
            when = t.node.when(); // it was reset: we have that start's handle too
            // SAFETY: not the last one: 1. is another.
            unsafe { Arc::decrement_strong_count(this.as_ptr()) };
        }
        // SAFETY: 1. in no heap, and alive while the heap has its handle.
        unsafe { t.node.start(when, t.system) };
    });
}

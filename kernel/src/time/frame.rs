//! A timer in the frame of a goroutine that waits for something else: it calls a function on g0 when it fires.
//!
//! For waits whose waker is known by a lock of its own (`sync::limit`, `sync::tickets`): the function takes that lock, looks
//! whether the wait is still on, and ends it. [`FrameTimer::retire`] is the other half of the bargain: once it has
//! returned, the timer is in no heap and its function runs nowhere, so the frame may go.
//!
//! ```text
//!  fire    (heap lock)  pop · busy = 1         (no lock)  f(arg) · busy = 0
//!  retire  (heap lock)  remove; it was not there?  wait until busy = 0
//! ```
//! `begin` runs under the heap's lock, so a `retire` that does not find the timer queued sees `busy` set, or cleared by
//! a function that has returned. Waiting for it is short: it runs on g0, which nothing preempts.

use core::{cell::Cell, ptr::NonNull};

use super::timer::{Fire, TimerNode};
use crate::shim::{AtomicU32, Ordering, spin_loop};

/// See the file head.
#[repr(C)]
pub(crate) struct FrameTimer {
    node: TimerNode,
    f: unsafe fn(*const ()),
    arg: *const (),
    started: Cell<bool>,
    busy: AtomicU32,
}

impl FrameTimer {
    /// Not running yet; will call `f(arg)`.
    pub(crate) fn new(f: unsafe fn(*const ()), arg: *const ()) -> Self {
        Self {
            node: TimerNode::new(Fire::Call {
                begin,
                run,
                awaited: None,
            }),
            f,
            arg,
            started: Cell::new(false),
            busy: AtomicU32::new(0),
        }
    }

    /// Starts it.
    ///
    /// # Safety
    /// 1. Once in its life; 2. it stays where it is until `retire` has returned; 3. `f(arg)` is sound until then, on g0,
    ///    no lock held.
    pub(crate) unsafe fn start(&self, when: u64) {
        self.started.set(true);
        // SAFETY: 1. and 2. are passed on.
        unsafe { self.node.start(when, false) };
    }

    /// Stops it; afterwards `f` runs nowhere. Not from `f`, and with no lock held that `f` takes.
    pub(crate) fn retire(&self) {
        if self.started.get() && !self.node.cancel() {
            while self.busy.load(Ordering::Acquire) != 0 {
                spin_loop(); // pairs with the Release in `run`
            }
        }
    }
}

/// # Safety
/// 1. `node` is the first field of a started `FrameTimer`; its heap's lock is held.
unsafe fn begin(node: NonNull<TimerNode>) -> Option<u64> {
    // SAFETY: 1.
    let t = unsafe { node.cast::<FrameTimer>().as_ref() };
    t.busy.store(1, Ordering::Relaxed); // the heap's lock orders it before `retire`'s load
    Some(0)
}

/// # Safety
/// 1. After `begin`: `busy` keeps the frame until the last line.
unsafe fn run(node: NonNull<TimerNode>, _: u64) {
    // SAFETY: 1.
    let t = unsafe { node.cast::<FrameTimer>().as_ref() };
    // SAFETY: 3. of `start`.
    unsafe { (t.f)(t.arg) };
    t.busy.store(0, Ordering::Release); // pairs with the Acquire in `retire`
}

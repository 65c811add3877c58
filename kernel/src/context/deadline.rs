//! The timer of a context with a deadline.
//!
//! The timer does not count as a holder: a context that nobody holds goes and takes its timer along. When it fires it
//! therefore has to win a handle first, under the heap's lock; if the count is 0 already, the releaser is on its way to
//! that lock, to cancel, and nothing is left to do. With the handle a goroutine cancels the tree: on g0 no user code may
//! run, and a cause or a function may have a drop of its own. No goroutine exists before the deadline.
//!
//! **Without memory** for a goroutine the timer tries again 10 ms later. It keeps its handle meanwhile (`held`): given
//! back on g0 it might be the last. The function of an `after_func` has an alarm for this alone, so that it runs late and
//! not in whoever cancels; what it captures may be locked there.
//!
//! An alarm is started at most once by its context and again by each retry. A retry may come after `stop`: it then finds
//! the context ended.

use alloc::boxed::Box;
use core::{cell::Cell, panic::Location, ptr, ptr::NonNull};

use super::{
    error::{Cause, Error},
    node::{self, Node, NodeRef},
};
use crate::{
    sched,
    time::{
        self, Instant,
        func::RETRY,
        timer::{Fire, TimerNode},
    },
};

/// A node's timer; the node owns it.
#[repr(C)]
pub(super) struct Alarm {
    timer: TimerNode,
    owner: Cell<*const Node>,
    /// In the heap with a handle. Set before it is started, read and cleared by who takes it out.
    held: Cell<bool>,
    /// The goroutine, which takes a handle.
    body: unsafe fn(*mut ()),
    at: &'static Location<'static>,
}

impl Alarm {
    /// # Safety
    /// 1. `body` may be called once with each handle to a node that has this alarm.
    pub(super) unsafe fn new(body: unsafe fn(*mut ()), at: &'static Location<'static>) -> Box<Self> {
        Box::new(Alarm {
            timer: TimerNode::new(Fire::Call {
                begin,
                run,
                awaited: None,
            }),
            owner: Cell::new(ptr::null()),
            held: Cell::new(false),
            body,
            at,
        })
    }

    /// Not in a heap any more; a firing that holds a handle may still be on its way. The caller has a handle, or there is
    /// none.
    pub(super) fn stop(&self) {
        if self.timer.cancel() && self.held.take() {
            // SAFETY: 1. left by `go`.
            drop(unsafe { NodeRef::from_raw(self.owner.get()) });
        }
    }

    /// Starts the goroutine with this handle: now, or when there is memory for it.
    ///
    /// # Safety
    /// 1. `n` is a handle to the node that has this alarm, which is in no heap; nobody else starts it.
    pub(super) unsafe fn go(&self, n: NodeRef) {
        let owner = n.into_raw();
        // SAFETY: 1. of `new`: the handle is handed on.
        if unsafe { sched::go_raw(self.body, owner.cast_mut().cast(), self.at) }.is_err() {
            self.owner.set(owner);
            self.held.set(true);
            // SAFETY: 1.; the handle keeps the node. After this line it may be gone.
            unsafe { self.timer.start(sched::now_ns().wrapping_add(RETRY), false) };
        }
    }
}

/// A child of `parent` that ends at `when`.
pub(super) fn child(parent: Option<&NodeRef>, when: Instant, at: &'static Location<'static>) -> NodeRef {
    // SAFETY: 1. `expire` takes any.
    let alarm = unsafe { Alarm::new(expire, at) };
    let n = NodeRef::with_alarm(parent, when, alarm);
    if when <= Instant::now() {
        n.cancel(Error::DeadlineExceeded, Cause::plain(Error::DeadlineExceeded));
        return n;
    }
    if let Some(a) = n.alarm()
        && n.err().is_none()
    {
        a.owner.set(n.as_ptr());
        // SAFETY: 1. new, so in no heap; the node stops it before it frees it.
        unsafe { a.timer.start(time::until(when), false) };
        if n.has_ended() {
            a.stop(); // ended by its parent before there was a timer to stop
        }
    }
    n
}

/// # Safety
/// 1. `timer` is the first field of an `Alarm` in a heap, whose lock is held.
unsafe fn begin(timer: NonNull<TimerNode>) -> Option<u64> {
    // SAFETY: 1.
    let alarm = unsafe { timer.cast::<Alarm>().as_ref() };
    if !alarm.held.take() {
        // SAFETY: 1. who frees the node takes the timer out of the heap first.
        let n = unsafe { node::upgrade(alarm.owner.get()) }?;
        n.into_raw();
    }
    Some(0)
}

/// # Safety
/// 1. After `begin`, whose handle comes with it.
unsafe fn run(timer: NonNull<TimerNode>, _: u64) {
    // SAFETY: 1. the handle keeps node and alarm.
    let alarm = unsafe { timer.cast::<Alarm>().as_ref() };
    // SAFETY: 1. `begin`'s.
    let n = unsafe { NodeRef::from_raw(alarm.owner.get()) };
    // SAFETY: 1. it fired, and its owner starts it once.
    unsafe { alarm.go(n) };
}

/// The goroutine that ends the context.
///
/// # Safety
/// 1. `owner` comes with a count.
unsafe fn expire(owner: *mut ()) {
    // SAFETY: 1.
    let n = unsafe { NodeRef::from_raw(owner.cast_const().cast()) };
    n.cancel(Error::DeadlineExceeded, Cause::plain(Error::DeadlineExceeded));
}

//! The timer of a context with a deadline.
//!
//! The timer does not count as a holder: a context that nobody holds goes and takes its timer along. When it fires it
//! therefore has to win a handle first, under the heap's lock; if the count is 0 already, the releaser is on its way to
//! that lock, to cancel, and nothing is left to do. With the handle a goroutine cancels the tree: on g0 no user code may
//! run, and a cause or a function may have a drop of its own. No goroutine exists before the deadline. Without memory
//! for one at that moment, the timer tries again 10 ms later.
//!
//! An alarm is started at most once by its context and again by each retry, which holds a handle meanwhile. A retry may
//! come after `stop`: it then finds the context ended.

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
    at: &'static Location<'static>,
}

impl Alarm {
    /// Not in a heap any more; a firing that holds a handle may still be on its way.
    pub(super) fn stop(&self) {
        self.timer.cancel();
    }
}

/// A child of `parent` that ends at `when`.
pub(super) fn child(parent: Option<&NodeRef>, when: Instant, at: &'static Location<'static>) -> NodeRef {
    let alarm = Box::new(Alarm {
        timer: TimerNode::new(Fire::Call {
            begin,
            run,
            awaited: None,
        }),
        owner: Cell::new(ptr::null()),
        at,
    });
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
    let owner = unsafe { timer.cast::<Alarm>().as_ref() }.owner.get();
    // SAFETY: 1. who frees the node takes the timer out of the heap first.
    let n = unsafe { node::upgrade(owner) }?;
    n.into_raw();
    Some(0)
}

/// # Safety
/// 1. After `begin`, whose handle comes with it.
unsafe fn run(timer: NonNull<TimerNode>, _: u64) {
    // SAFETY: 1. the handle keeps node and alarm.
    let alarm = unsafe { timer.cast::<Alarm>().as_ref() };
    let owner = alarm.owner.get();
    // SAFETY: `expire` takes the handle, once.
    if unsafe { sched::go_raw(expire, owner.cast_mut().cast(), alarm.at) }.is_err() {
        // SAFETY: 1. it fired, so it is in no heap, and nobody else starts it.
        unsafe { alarm.timer.start(sched::now_ns().wrapping_add(RETRY), false) };
        // SAFETY: 1. not handed on.
        drop(unsafe { NodeRef::from_raw(owner) });
    }
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

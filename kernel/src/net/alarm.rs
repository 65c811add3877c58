//! The stack's one timer in the heaps of the runtime.
//!
//! The stack keeps the deadlines of its sockets itself (`deadlines`) and asks for one call at the earliest. The timer is
//! the runtime's own: a goroutine that waits for a socket keeps the program alive, a retransmission does not.
//!
//! The node is never freed and is started and cancelled only by the holder of the stack's lock. A firing on its way
//! while it is started anew calls once too often, which is harmless.

use alloc::boxed::Box;
use core::ptr::NonNull;

use crate::time::timer::{Fire, TimerNode};

/// See the file head.
#[repr(C)]
pub(super) struct Alarm {
    node: TimerNode,
    call: fn(),
}

// SAFETY: the node is guarded by its heap's lock, and used by the holder of the stack's lock alone.
unsafe impl Sync for Alarm {}
// SAFETY: as above.
unsafe impl Send for Alarm {}

impl Alarm {
    /// An alarm that calls `call`, on g0, where it must not block.
    pub(super) fn new(call: fn()) -> &'static Alarm {
        Box::leak(Box::new(Alarm {
            node: TimerNode::new(Fire::Call {
                begin,
                run,
                awaited: None,
            }),
            call,
        }))
    }

    /// Calls at `when` (nanoseconds since boot) instead of whenever it was going to.
    pub(super) fn set(&self, when: u64) {
        self.node.cancel();
        // SAFETY: 1. just taken out by the one who may start it; never freed.
        unsafe { self.node.start(when, true) };
    }
}

unsafe fn begin(_: NonNull<TimerNode>) -> Option<u64> {
    Some(0)
}

/// # Safety
/// 1. `node` is the first field of an `Alarm`.
unsafe fn run(node: NonNull<TimerNode>, _: u64) {
    // SAFETY: 1.; alarms live for ever.
    let alarm = unsafe { node.cast::<Alarm>().as_ref() };
    (alarm.call)();
}

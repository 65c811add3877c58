//! How a node ends, and all below it.
//!
//! **Cancelling** ends the root of the subtree and walks it: take a child off the list, end it, go on below it; no child
//! left, up again to the parent, which the child holds. One lock at a time, each for a few instructions; channels are
//! closed and goroutines started with none. There is neither recursion nor allocation, and a child is met once: O(n).
//!
//! **When `cancel` returns, all below has ended**, also if others cancel at the same time (Go: each node's mutex is held
//! meanwhile). A node with children is `BELOW` until the walk goes up from it, and only after that the root of the walk
//! leaves its parent's list, so that who cancels the parent meets it. Who finds that somebody else has ended a node sleeps
//! until its channel is closed and it is `BELOW` no more. A walk waits for walks below it only, so there is no cycle.
//!
//! **A waiting function** (`after_func`) is a node of its own, a child with a function, which holds itself by one
//! count until it ends: it need not be held by anybody.
//!
//! Refused: a queue of ended nodes instead of the way up. It is as fast, but does not know when a node is through.

use super::{
    error::{Cause, Error},
    node::{AWAITED, BELOW, CLOSING, Node, NodeRef, release},
};
use crate::{Chan, sched::WaitReason, shim::Ordering, sync::sema};

/// A node that was just set to ended, and what is still to be done about it.
struct Ended {
    done: Option<Chan<()>>,
    hooked: bool,
    kept: bool,
    /// It has children to end.
    below: bool,
}

impl Node {
    /// All below has ended.
    fn through(&self) {
        // Release: pairs with the Acquires in `settled`.
        if self.err.fetch_and(!(BELOW | AWAITED), Ordering::Release) & AWAITED != 0 {
            sema::release(&self.through, false);
        }
    }

    /// Somebody else has ended this node: returns once its channel is closed and all below has ended, too.
    fn settled(&self) {
        self.err();
        // Acquire: pairs with the Release in `through`.
        if self.err.load(Ordering::Acquire) & BELOW != 0
            && self.err.fetch_or(AWAITED, Ordering::Acquire) & BELOW != 0
        {
            sema::acquire(&self.through, false, WaitReason::SemaAcquire);
            sema::release(&self.through, false); // to the next who waits
        }
    }
}

impl NodeRef {
    /// Ends this node and everything below it. `false`: somebody else has.
    pub(super) fn cancel(&self, err: Error, cause: Cause) -> bool {
        match self.end(err, &cause) {
            None => {
                self.node().settled();
                return false;
            }
            Some(true) => self.end_below(err, &cause),
            Some(false) => {}
        }
        self.node().detach();
        true
    }

    /// Ends all below this node, which the caller has ended.
    fn end_below(&self, err: Error, cause: &Cause) {
        let mut at = self.clone();
        loop {
            if let Some(child) = at.take_child() {
                match child.end(err, cause) {
                    Some(true) => at = child,
                    Some(false) => {}
                    None => child.node().settled(),
                }
                continue;
            }
            at.node().through();
            if at.0 == self.0 {
                return;
            }
            let Some(up) = at.up() else { return };
            at = up;
        }
    }

    /// Sets the state to ended. `None`: it was.
    fn mark(&self, err: Error, cause: &Cause) -> Option<Ended> {
        let cause = cause.clone();
        let node = self.node();
        let mut s = node.state.lock();
        if node.ended() {
            drop(s); // before the cause
            return None;
        }
        s.cause = Some(cause);
        let ended = Ended {
            done: s.done.clone(),
            hooked: s.hook.is_some(),
            kept: s.kept,
            below: !s.children.is_null(),
        };
        let closing = if ended.done.is_some() { CLOSING } else { 0 };
        let below = if ended.below { BELOW } else { 0 };
        // Release: pairs with the Acquire in `err`.
        node.err
            .store((err as u32 + 1) | closing | below, Ordering::Release);
        Some(ended)
    }

    /// Ends this one node: nobody is left waiting for it. `None`: it had ended. `Some(true)`: it has children, which are the
    /// caller's to end before it is `through`.
    fn end(&self, err: Error, cause: &Cause) -> Option<bool> {
        let ended = self.mark(err, cause)?;
        if let Some(alarm) = self.alarm() {
            alarm.stop();
        }
        if let Some(c) = ended.done {
            c.close();
            self.node().err.fetch_and(!CLOSING, Ordering::Release); // as in `mark`
        }
        if ended.hooked {
            self.start_hook();
        }
        if ended.kept {
            // SAFETY: 1. its hold on itself; we have another.
            unsafe { release(self.0) };
        }
        Some(ended.below)
    }

    fn start_hook(&self) {
        if let Some(alarm) = self.alarm() {
            // SAFETY: 1. the hold on itself that `hook` made; the node has ended once.
            let own = unsafe { NodeRef::from_raw(self.as_ptr()) };
            // SAFETY: 1. only here it is started.
            unsafe { alarm.go(own) };
        }
    }

    /// Ends a node of `hook` without calling its function. `false`: it had ended.
    pub(super) fn call_off(&self) -> bool {
        if self
            .mark(Error::Canceled, &Cause::plain(Error::Canceled))
            .is_none()
        {
            return false;
        }
        let node = self.node();
        node.detach();
        let hook = node.state.lock().hook.take();
        if node.parent.is_some() {
            // SAFETY: 1. its hold on itself; we have another.
            unsafe { release(self.0) };
        }
        drop(hook); // last: it is the user's, and may panic
        true
    }
}

/// The goroutine of a function of `after_func`.
///
/// # Safety
/// 1. `node` is a node of `NodeRef::hook` with a count.
pub(super) unsafe fn run_hook(node: *mut ()) {
    // SAFETY: 1.
    let node = unsafe { NodeRef::from_raw(node.cast_const().cast()) };
    let hook = node.node().state.lock().hook.take();
    drop(node);
    if let Some(f) = hook {
        f();
    }
}

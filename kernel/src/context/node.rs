//! The tree of what can be cancelled.
//!
//! A node is born live and ends once; `ending` has how. It is counted by [`NodeRef`]s: contexts and cancel functions hold
//! one, and each child holds one to its parent. The parent knows its live children by a list through them *without*
//! counting them, so a child that nobody holds any more goes, and takes itself off the list: no leak, whether it was
//! cancelled or not.
//!
//! | | live | ended |
//! | --- | --- | --- |
//! | `err` | 0 | why; set once, by who ends it |
//! | on its parent's list | yes (if it has a parent) | no, once all below it have ended |
//! | has children on its list | any number | being taken off by who ended it; none are added |
//! | `done` channel | open, if anybody asked for it | closed, before anybody is told `err` or the cause |
//! | timer | in a heap, if it has a deadline of its own | stopped |
//! | function of `after_func` | waiting | running in its goroutine, or dropped |
//!
//! **Going away.** A node whose count falls to 0 may still be on its parent's list. Whoever takes it off there
//! (under the parent's lock) tries to raise the count and leaves it alone if it is 0; the releaser takes the same lock
//! before it frees. So memory on a list is always there while that list's lock is held. A chain of parents that go one
//! after the other is a loop in `release`, not a recursion.
//!
//! **Kept for its channel.** A program may drop the context and wait on its `done` channel. So the last handle to a live
//! node whose channel somebody else has, and which may still end (by a timer, or with a parent that others hold), is not
//! given back: it becomes the node's hold on itself (`kept`), until it ends. Else the channel would never close.
//!
//! | field | guarded by |
//! | --- | --- |
//! | `state` | its own lock |
//! | `next`, `prev`, `linked` | the parent's lock |
//! | `err` | set once under the lock, by who ends the node; he takes `CLOSING` off once `done` is closed, and `BELOW` once all below has ended. Release, pairs with the Acquire in `err()`: who sees it sees the cause |
//! | `refs` | Release on the way down, an Acquire fence by who frees |
//!
//! Refused: handles that the parent counts, as Go's map of children in effect does. There the collector frees a tree
//! that nobody can reach; counts going both ways would keep it for ever.

use alloc::boxed::Box;
use core::{
    cell::Cell,
    panic::Location,
    ptr::{self, NonNull},
};

use super::{
    deadline::Alarm,
    ending::run_hook,
    error::{Cause, Error},
};
use crate::{
    Chan, Receiver,
    lock::{Rank, SpinLock},
    shim::{AtomicU32, AtomicUsize, Ordering, fence},
    time::Instant,
};

/// Of `Node::err`: the channel is about to be closed. Who asks meanwhile waits for that (Go's rule: `err` says nothing
/// as long as `done` is open).
pub(super) const CLOSING: u32 = 4;
/// Those below have not all ended yet. Who cancels meanwhile waits for that.
pub(super) const BELOW: u32 = 8;
/// Somebody does.
pub(super) const AWAITED: u32 = 16;

/// A counted handle to a node.
pub(super) struct NodeRef(pub(super) NonNull<Node>);

/// One node. See the file head.
pub(super) struct Node {
    refs: AtomicUsize,
    /// Counted; given back in `release`.
    pub(super) parent: Option<NonNull<Node>>,
    deadline: Option<Instant>,
    alarm: Option<Box<Alarm>>,
    /// 0: live. Else why it ended, and the bits above.
    pub(super) err: AtomicU32,
    /// A semaphore: a permit once all below has ended, if that is awaited. Each who waited hands it on.
    pub(super) through: AtomicU32,
    pub(super) state: SpinLock<State>,
    next: Cell<*const Node>,
    prev: Cell<*const Node>,
    linked: Cell<bool>,
}

pub(super) struct State {
    pub(super) children: *const Node,
    /// It holds itself for its channel's sake, until it ends.
    pub(super) kept: bool,
    pub(super) done: Option<Chan<()>>,
    pub(super) cause: Option<Cause>,
    pub(super) hook: Option<Box<dyn FnOnce() + Send>>,
}

// SAFETY: the table in the file head; causes are `Send + Sync`, functions `Send` and called once.
unsafe impl Send for NodeRef {}
// SAFETY: as above.
unsafe impl Sync for NodeRef {}
// SAFETY: children on the list are touched under the lock only.
unsafe impl Send for State {}

impl Clone for NodeRef {
    #[inline]
    fn clone(&self) -> Self {
        self.node().refs.fetch_add(1, Ordering::Relaxed); // there is one already
        NodeRef(self.0)
    }
}

impl Drop for NodeRef {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: 1. our count.
        unsafe { release(self.0) };
    }
}

/// Gives back one count; frees the node, and then its parents, as far as nobody else holds them.
///
/// # Safety
/// 1. The caller owns a count of the node and does not use it again.
pub(super) unsafe fn release(mut at: NonNull<Node>) {
    loop {
        // SAFETY: 1.
        let node = unsafe { at.as_ref() };
        let mut n = node.refs.load(Ordering::Relaxed);
        loop {
            if n == 1 && !node.ended() && node.stays() {
                return;
            }
            // Release: what we did to the node comes before its end; pairs with the fence of who frees.
            match node
                .refs
                .compare_exchange(n, n - 1, Ordering::Release, Ordering::Relaxed)
            {
                Ok(1) => break,
                Ok(_) => return,
                Err(now) => n = now,
            }
        }
        fence(Ordering::Acquire);
        if let Some(alarm) = &node.alarm {
            alarm.stop();
        }
        node.detach();
        let parent = node.parent;
        // SAFETY: made by `Box::into_raw`; nobody holds it, it is on no list and its timer is out of the heap.
        drop(unsafe { Box::from_raw(at.as_ptr()) });
        let Some(p) = parent else { return };
        at = p; // the count it held
    }
}

impl Node {
    /// The parent, while this node lives.
    fn parent(&self) -> Option<&Node> {
        // SAFETY: a node holds a count of its parent.
        self.parent.map(|p| unsafe { p.as_ref() })
    }

    /// Takes itself off the parent's list, if it is there.
    pub(super) fn detach(&self) {
        if let Some(p) = self.parent() {
            let mut s = p.state.lock();
            if self.linked.get() {
                self.unlink(&mut s);
            }
        }
    }

    /// The lock of the parent, whose state `s` is, is held.
    fn unlink(&self, s: &mut State) {
        let (prev, next) = (self.prev.get(), self.next.get());
        // SAFETY: nodes on a list are there while its lock is held.
        match unsafe { prev.as_ref() } {
            Some(p) => p.next.set(next),
            None => s.children = next,
        }
        // SAFETY: as above.
        if let Some(n) = unsafe { next.as_ref() } {
            n.prev.set(prev);
        }
        self.linked.set(false);
    }

    #[inline]
    pub(super) fn ended(&self) -> bool {
        self.err.load(Ordering::Relaxed) != 0
    }

    #[inline]
    pub(super) fn err(&self) -> Option<Error> {
        // Acquire: pairs with the Release in `mark`.
        let word = self.err.load(Ordering::Acquire);
        if word & CLOSING != 0 {
            self.done().recv();
        }
        match word & (CLOSING - 1) {
            0 => None,
            1 => Some(Error::Canceled),
            _ => Some(Error::DeadlineExceeded),
        }
    }

    /// The channel, made when first asked for, closed before anybody sees it if the node has ended.
    fn done(&self) -> Receiver<()> {
        if let Some(c) = &self.state.lock().done {
            return c.receiver();
        }
        let fresh = crate::chan::<()>(0);
        let mut closed = false;
        loop {
            if self.ended() && !closed {
                fresh.close();
                closed = true;
            }
            let mut s = self.state.lock();
            if let Some(c) = &s.done {
                return c.receiver();
            }
            if self.ended() == closed {
                s.done = Some(fresh.clone());
                return fresh.receiver();
            }
        }
    }

    /// The caller's is the last handle: does it become the node's own? See the file head.
    #[cold]
    fn stays(&self) -> bool {
        fn wanted(s: &State) -> bool {
            // One handle of the channel is the node's.
            let chan = s.done.as_ref().and_then(Chan::handle);
            chan.is_some_and(|c| c.count() > 1)
        }
        if !wanted(&self.state.lock()) || !self.may_end() {
            return false;
        }
        let mut s = self.state.lock();
        s.kept = !self.ended() && wanted(&s);
        s.kept
    }

    /// Is there anything that could end this node, besides handles to it? If in doubt, yes.
    fn may_end(&self) -> bool {
        const FAR: usize = 64;
        let mut at = self;
        for _ in 0..FAR {
            match at.parent() {
                _ if at.alarm.is_some() => return true,
                None => return false,
                Some(p) if p.refs.load(Ordering::Relaxed) > 1 => return true,
                Some(p) => at = p, // nobody holds it but its child
            }
        }
        true
    }
}

/// Raises the count unless it is 0.
///
/// # Safety
/// 1. The node's memory is there: it is on a list, or in a heap, whose lock is held.
pub(super) unsafe fn upgrade(node: *const Node) -> Option<NodeRef> {
    // SAFETY: 1.
    let refs = &unsafe { &*node }.refs;
    let mut n = refs.load(Ordering::Relaxed);
    while n != 0 {
        match refs.compare_exchange(n, n + 1, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return Some(NodeRef(NonNull::new(node.cast_mut())?)),
            Err(now) => n = now,
        }
    }
    None
}

impl NodeRef {
    pub(super) fn node(&self) -> &Node {
        // SAFETY: a handle is a count.
        unsafe { self.0.as_ref() }
    }

    pub(super) fn as_ptr(&self) -> *const Node {
        self.0.as_ptr()
    }

    /// A handle to the parent.
    pub(super) fn up(&self) -> Option<NodeRef> {
        let p = self.node().parent?;
        // SAFETY: the node holds a count of it.
        unsafe { p.as_ref() }.refs.fetch_add(1, Ordering::Relaxed);
        Some(NodeRef(p))
    }

    /// Hands the count over as a pointer.
    pub(super) fn into_raw(self) -> *const Node {
        let p = self.0.as_ptr();
        core::mem::forget(self);
        p
    }

    /// # Safety
    /// 1. From `into_raw`, once.
    pub(super) unsafe fn from_raw(p: *const Node) -> NodeRef {
        // SAFETY: 1.: not null.
        NodeRef(unsafe { NonNull::new_unchecked(p.cast_mut()) })
    }

    fn make(parent: Option<&NodeRef>, deadline: Option<Instant>, alarm: Option<Box<Alarm>>) -> NodeRef {
        let inherited = parent.and_then(NodeRef::deadline);
        let mut node = Box::new(Node {
            refs: AtomicUsize::new(1),
            parent: None,
            deadline: deadline.or(inherited),
            alarm,
            err: AtomicU32::new(0),
            through: AtomicU32::new(0),
            state: SpinLock::new(
                Rank::Waiters,
                State {
                    children: ptr::null(),
                    kept: false,
                    done: None,
                    cause: None,
                    hook: None,
                },
            ),
            next: Cell::new(ptr::null()),
            prev: Cell::new(ptr::null()),
            linked: Cell::new(false),
        });
        // Not before there is memory: nobody would give the count back.
        node.parent = parent.map(|p| {
            let p = p.clone().into_raw();
            // SAFETY: from a handle: not null.
            unsafe { NonNull::new_unchecked(p.cast_mut()) }
        });
        NodeRef(NonNull::from_mut(Box::leak(node)))
    }

    /// A live child of `parent`, or an ended one if that has ended.
    pub(super) fn child(parent: Option<&NodeRef>, deadline: Option<Instant>) -> NodeRef {
        let n = Self::make(parent, deadline, None);
        n.attach();
        n
    }

    /// A child with a timer of its own, which is not started here.
    pub(super) fn with_alarm(parent: Option<&NodeRef>, at: Instant, alarm: Box<Alarm>) -> NodeRef {
        let n = Self::make(parent, Some(at), Some(alarm));
        n.attach();
        n
    }

    /// A node that calls `f` in a goroutine when it ends.
    pub(super) fn hook(
        parent: Option<&NodeRef>,
        f: Box<dyn FnOnce() + Send>,
        at: &'static Location<'static>,
    ) -> NodeRef {
        // SAFETY: 1. `start_hook` calls for it once.
        let alarm = parent.map(|_| unsafe { Alarm::new(run_hook, at) });
        let n = Self::make(parent, None, alarm);
        n.node().state.lock().hook = Some(f);
        if parent.is_some() {
            core::mem::forget(n.clone()); // its hold on itself, given back by `run_hook` or `call_off`
        }
        n.attach();
        n
    }

    pub(super) fn alarm(&self) -> Option<&Alarm> {
        self.node().alarm.as_deref()
    }

    /// Puts a new node on its parent's list; ends it if the parent has ended.
    fn attach(&self) {
        let node = self.node();
        let Some(parent) = node.parent() else { return };
        {
            let mut s = parent.state.lock();
            if !parent.ended() {
                node.next.set(s.children);
                // SAFETY: nodes on a list are there while its lock is held.
                if let Some(first) = unsafe { s.children.as_ref() } {
                    first.prev.set(self.as_ptr());
                }
                s.children = self.as_ptr();
                node.linked.set(true);
                return;
            }
        }
        let err = parent.err(); // who sees us ended finds the parent's channel closed
        let cause = parent.state.lock().cause.clone();
        if let (Some(e), Some(c)) = (err, cause) {
            self.cancel(e, c);
        }
    }

    #[inline]
    pub(super) fn err(&self) -> Option<Error> {
        self.node().err()
    }

    /// Asked under the lock under which it is set: who ends the node after this sees all that we did before.
    pub(super) fn has_ended(&self) -> bool {
        let _state = self.node().state.lock();
        self.node().ended()
    }

    pub(super) fn cause(&self) -> Option<Cause> {
        self.err()?;
        self.node().state.lock().cause.clone()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.node().deadline
    }

    pub(super) fn done(&self) -> Receiver<()> {
        self.node().done()
    }

    /// The first child, taken off the list, unless it is going away.
    pub(super) fn take_child(&self) -> Option<NodeRef> {
        let mut s = self.node().state.lock();
        loop {
            // SAFETY: nodes on a list are there while its lock is held.
            let child = unsafe { s.children.as_ref() }?;
            child.unlink(&mut s);
            // SAFETY: 1. it was, and who frees it needs the lock first.
            if let Some(c) = unsafe { upgrade(child) } {
                return Some(c);
            }
        }
    }
}

//! Who waits on a channel: waiter nodes, their queues, and the token of a goroutine that waits in several places.
//!
//! A [`Waiter`] lives on the stack of the goroutine that waits, which stays parked until somebody has taken
//! the node off its queue and is done with it: no allocation, and a hand-off copies the value straight into
//! or out of the waiting frame. The queue is guarded by the channel's lock; only `head` is read without it.
//!
//! A plain `send` or `recv` holds the channel's lock from enqueuing until it is parked: who dequeues the
//! node owns the wake-up. A `select!` (or a wait with a deadline) sits on several queues, one lock at a time,
//! and is not parked yet when the first peer may find it. Its [`Token`] settles both questions with one word:
//!
//! ```text
//!  waker:   CLAIMED? ─no, set it─▶ moves the value ─▶ set COMPLETE ─ was PARKED set? ─yes─▶ ready(g)
//!                    └yes─▶ somebody else won; drop the node and look at the next
//!  waiter:  enqueues on each ─▶ park ─ commit: set PARKED ─ was COMPLETE set? ─yes─▶ does not sleep
//! ```
//! Exactly one waker sets CLAIMED first. Of COMPLETE and PARKED one comes second and sees the other, in one
//! modification order of one word: the waiter is woken exactly once or does not sleep. After the waker has
//! set COMPLETE without finding PARKED it touches nothing of the waiter's any more; having found it, the
//! waiter sleeps until `ready`. A node whose token is taken may stay on other queues: the waiter removes it
//! under that queue's lock before it returns, and peers that meet it meanwhile pass over it.
//!
//! Refused: holding all channel locks of a `select!` until it is parked, as Go does. It needs a commit step
//! that releases N locks on the scheduler's stack, and costs two more lock pairs per wait.

use core::{cell::Cell, ptr, ptr::NonNull};

use crate::{
    arch,
    sched::{self, GPtr, WaitReason},
    shim::{AtomicPtr, AtomicU32, Ordering},
};

const CLAIMED: u32 = 1;
const COMPLETE: u32 = 2;
const PARKED: u32 = 4;

/// One wait in several places. See the file head.
#[derive(Debug)]
pub(crate) struct Token {
    word: AtomicU32,
    g: GPtr,
    /// The arm that was completed; `TIMED_OUT` if the deadline was. Written between claim and complete.
    arm: Cell<u32>,
    /// For `leak`: what [`cases_are`](Self::cases_are) was given.
    cases: Cell<*const ()>,
}

/// "Arm" of a token that its timer took.
pub(crate) const TIMED_OUT: u32 = u32::MAX;

impl Token {
    #[inline]
    pub(crate) fn new() -> Self {
        Self {
            word: AtomicU32::new(0),
            g: sched::current(),
            arm: Cell::new(TIMED_OUT),
            cases: Cell::new(ptr::null()),
        }
    }

    /// Says where the operations are listed; `cases` stays while the token waits. Not for a wait with a deadline, which
    /// ends whatever they do.
    #[inline]
    pub(crate) fn cases_are(&self, cases: *const ()) {
        self.cases.set(cases);
    }

    /// See [`cases_are`](Self::cases_are).
    pub(crate) fn cases(&self) -> *const () {
        self.cases.get()
    }

    /// Tries to become the one waker.
    #[inline]
    pub(crate) fn claim(&self) -> bool {
        // Relaxed: claiming publishes nothing. Nodes are found and freed under the locks of their queues, and
        // what the winner writes is published by `complete_quietly`.
        self.word.fetch_or(CLAIMED, Ordering::Relaxed) & CLAIMED == 0
    }

    #[inline]
    pub(crate) fn is_claimed(&self) -> bool {
        self.word.load(Ordering::Relaxed) & CLAIMED != 0
    }

    /// The waker's last word: the goroutine to ready, `None` if it is not parked yet and will see this.
    #[must_use = "a parked goroutine has to be readied"]
    #[inline]
    pub(crate) fn complete_quietly(&self) -> Option<GPtr> {
        let g = self.g;
        // Release: publishes the value and the arm to `commit`; Acquire: pairs with `commit`'s Release.
        (self.word.fetch_or(COMPLETE, Ordering::AcqRel) & PARKED != 0).then_some(g)
    }

    /// Parks until completed; returns the arm that was.
    pub(crate) fn wait(&self, reason: WaitReason) -> u32 {
        let me = ptr::from_ref(self);
        sched::park_for(reason, Self::commit, me.cast_mut().cast(), me.cast());
        self.arm.get()
    }

    /// Commit step of `wait`.
    unsafe fn commit(_: GPtr, token: *mut ()) -> bool {
        // SAFETY: `wait` passed itself, and its goroutine does not leave before a waker completes, which it
        // cannot notice before this one access is over.
        let token = unsafe { &*token.cast::<Token>() };
        // Acquire: pairs with `complete_quietly`; Release: publishes that the context is saved.
        token.word.fetch_or(PARKED, Ordering::AcqRel) & COMPLETE == 0
    }
}

/// A goroutine that waits on one side of one channel.
#[derive(Debug)]
pub(crate) struct Waiter {
    next: Cell<*const Waiter>,
    prev: Cell<*const Waiter>,
    g: GPtr,
    /// The value to take, or the place to put one: a `T` of the channel.
    slot: *mut (),
    /// `null` for a plain wait.
    token: *const Token,
    arm: u32,
    linked: Cell<bool>,
    /// A value was moved (else: the channel was closed).
    moved: Cell<bool>,
}

impl Waiter {
    #[inline]
    pub(crate) fn plain(slot: *mut ()) -> Self {
        Self::with(sched::current(), slot, ptr::null(), 0)
    }

    #[inline]
    pub(crate) fn of_arm(token: &Token, slot: *mut (), arm: u32) -> Self {
        Self::with(token.g, slot, token, arm)
    }

    #[inline(always)]
    fn with(g: GPtr, slot: *mut (), token: *const Token, arm: u32) -> Self {
        Self {
            next: Cell::new(ptr::null()),
            prev: Cell::new(ptr::null()),
            g,
            slot,
            token,
            arm,
            linked: Cell::new(false),
            moved: Cell::new(false),
        }
    }

    /// Was a value moved? Once woken.
    #[inline]
    pub(crate) fn moved(&self) -> bool {
        self.moved.get()
    }
}

/// A waiter that has been taken off its queue and is ours to complete. Until it is, preemption is off: should the caller's
/// stack end on the way, he panics afterwards, and nobody sleeps on.
#[must_use = "its goroutine sleeps until it is completed"]
pub(crate) struct Taken(NonNull<Waiter>);

impl Taken {
    #[inline(always)]
    fn new(w: NonNull<Waiter>) -> Self {
        arch::preempt_disable();
        Self(w)
    }

    /// Where the waiter's value is, or goes.
    #[inline(always)]
    pub(crate) fn slot<T>(&self) -> *mut T {
        // SAFETY: the waiter's goroutine stays until `complete`.
        unsafe { self.0.as_ref() }.slot.cast()
    }

    /// Lets the waiter go on. Not under a channel's lock.
    #[inline(always)]
    pub(crate) fn complete(self, moved: bool) {
        // SAFETY: the waiter's goroutine stays until the last line of this.
        let w = unsafe { self.0.as_ref() };
        w.moved.set(moved);
        if w.token.is_null() {
            sched::ready(w.g);
        } else {
            Self::complete_arm(w);
        }
        arch::preempt_enable();
    }

    fn complete_arm(w: &Waiter) {
        // SAFETY: the token lives with the waiter.
        let token = unsafe { &*w.token };
        token.arm.set(w.arm);
        if let Some(g) = token.complete_quietly() {
            sched::ready(g);
        }
    }
}

/// A FIFO of waiters, guarded by the channel's lock.
#[derive(Debug)]
pub(crate) struct WaitQ {
    head: AtomicPtr<Waiter>,
    tail: Cell<*const Waiter>,
}

impl WaitQ {
    pub(crate) fn new() -> Self {
        Self {
            head: AtomicPtr::new(ptr::null_mut()),
            tail: Cell::new(ptr::null()),
        }
    }

    /// Empty, as far as can be told without the lock.
    #[inline(always)]
    pub(crate) fn looks_empty(&self) -> bool {
        // Acquire: pairs with the Release store in `set_head`.
        self.head.load(Ordering::Acquire).is_null()
    }

    #[inline(always)]
    fn set_head(&self, w: *const Waiter) {
        self.head.store(w.cast_mut(), Ordering::Release); // pairs with the Acquire in `looks_empty`
    }

    /// Appends. The lock is held.
    ///
    /// # Safety
    /// 1. The waiter stays where it is until it was taken, or removed by `remove`.
    #[inline]
    pub(crate) unsafe fn push(&self, w: &Waiter) {
        let tail = self.tail.replace(w);
        w.prev.set(tail);
        w.linked.set(true);
        // SAFETY: nodes on the queue are alive (1.).
        match unsafe { tail.as_ref() } {
            Some(t) => t.next.set(w),
            None => self.set_head(w),
        }
    }

    #[inline]
    fn unlink(&self, w: &Waiter) {
        let (prev, next) = (w.prev.replace(ptr::null()), w.next.replace(ptr::null()));
        // SAFETY: nodes on the queue are alive (1. of `push`).
        match unsafe { prev.as_ref() } {
            Some(p) => p.next.set(next),
            None => self.set_head(next),
        }
        // SAFETY: as above.
        match unsafe { next.as_ref() } {
            Some(n) => n.prev.set(prev),
            None => self.tail.set(prev),
        }
        w.linked.set(false);
    }

    /// Removes `w` if it is still here. The lock is held.
    pub(crate) fn remove(&self, w: &Waiter) {
        if w.linked.get() {
            self.unlink(w);
        }
    }

    /// Takes the first waiter that is still to be had. The lock is held.
    #[inline(always)]
    pub(crate) fn take(&self) -> Option<Taken> {
        if self.head.load(Ordering::Relaxed).is_null() {
            None
        } else {
            self.take_some().map(Taken::new)
        }
    }

    #[inline]
    fn take_some(&self) -> Option<NonNull<Waiter>> {
        loop {
            let w = NonNull::new(self.head.load(Ordering::Relaxed))?;
            // SAFETY: nodes on the queue are alive (1. of `push`).
            let node = unsafe { w.as_ref() };
            self.unlink(node);
            // SAFETY: a token lives as long as its nodes are queued.
            if unsafe { node.token.as_ref() }.is_none_or(Token::claim) {
                return Some(w);
            }
        }
    }

    /// How many wait. The lock is held.
    #[cfg(all(test, not(loom)))]
    pub(super) fn len(&self) -> usize {
        let first: *const Waiter = self.head.load(Ordering::Relaxed);
        // SAFETY: nodes on the queue are alive (1. of `push`).
        core::iter::successors(unsafe { first.as_ref() }, |w| unsafe { w.next.get().as_ref() }).count()
    }

    /// Is there a waiter to be had that is not `token`'s own? The lock is held.
    pub(crate) fn has_other(&self, token: &Token) -> bool {
        let mut at: *const Waiter = self.head.load(Ordering::Relaxed);
        // SAFETY: nodes on the queue are alive (1. of `push`).
        while let Some(w) = unsafe { at.as_ref() } {
            // SAFETY: a token lives as long as its nodes are queued.
            let t = unsafe { w.token.as_ref() };
            if !ptr::eq(w.token, token) && t.is_none_or(|t| !t.is_claimed()) {
                return true;
            }
            at = w.next.get();
        }
        false
    }

    /// Takes every waiter that is still to be had. The lock is held.
    pub(crate) fn take_all(&self) -> Drain {
        let mut drain = Drain { head: ptr::null() };
        let mut last: *const Waiter = ptr::null();
        while let Some(w) = self.take_some() {
            let w = w.as_ptr().cast_const();
            // SAFETY: taken, so it stays until completed.
            match unsafe { last.as_ref() } {
                Some(l) => l.next.set(w),
                None => drain.head = w,
            }
            last = w;
        }
        drain
    }
}

/// Taken waiters, to complete once the lock is released. If the caller panics before (his stack ends), they are when it is
/// dropped: they are those of a channel that was closed.
pub(crate) struct Drain {
    head: *const Waiter,
}

impl Iterator for Drain {
    type Item = Taken;
    fn next(&mut self) -> Option<Taken> {
        let w = NonNull::new(self.head.cast_mut())?;
        let t = Taken::new(w);
        // SAFETY: taken and not completed yet.
        self.head = unsafe { w.as_ref() }.next.replace(ptr::null());
        Some(t)
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        for w in self {
            w.complete(false);
        }
    }
}

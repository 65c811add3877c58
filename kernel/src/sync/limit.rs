//! Waits that may end without a permit: at a deadline, or because somebody else says so (a context).
//!
//! A limited wait is a wait like every other: a waiter in the table, parked with the bucket's lock. What is added is
//! somebody who may take it off again. All decide under that one lock, and *who takes the waiter off owns its wake-up*:
//!
//! ```text
//!              ┌─ release: dequeues it ─────────▶ Served: it returns with the permit that was handed over
//!  New ─▶ Queued
//!   │          └─ timer, context: remove it ────▶ Expired: it returns without one
//!   └─ either comes first: the waiter sees so under the lock, and does not sleep
//! ```
//! So a permit released at the moment of the deadline goes to this waiter, which then returns with it although it is
//! late, or, the waiter being off the queue already, to the next, or into the word. It cannot be lost: `release`
//! hands a permit only to whom it dequeues. (Refused: `select!`'s token, which timers claim without the bucket's lock.
//! Then `release` meets waiters that are already gone and has to ask each; here it has not one instruction more.)
//!
//! What the caller counted (a mutex its waiters, a wait group its own) it must take back itself when the wait expired, and
//! there it may find that its permit is on the way after all: see `mutex`, `raw_rwlock`, `waitgroup`.
//!
//! The deadline is a [`FrameTimer`], which is retired before the frame goes. A context's end is told by a hook, a
//! function that runs in a goroutine and may come late: it knows the waiter through an [`Abort`], which the waiter
//! empties under the bucket's lock before it leaves. A hook takes memory. Without any the wait ends at once, as at a
//! deadline, so that the caller takes back what it counted; only then may anybody panic (`with_context` does).

use alloc::{boxed::Box, sync::Arc};
use core::{cell::Cell, ptr};

use super::{
    sema::{self, Bucket, bucket, unlock_ready},
    sleepers::{self, Place, Waiter},
};
use crate::{
    sched::{self, GPtr, WaitReason},
    shim::AtomicU32,
    time::{self, Duration, FrameTimer, Instant},
};

/// How long a caller is willing to wait. For code that is the same with and without a limit.
pub(super) trait Patience: Copy {
    /// May it end at all?
    const ENDS: bool;

    /// Not a moment longer?
    fn over(self) -> bool;

    /// As [`sema::acquire_of`]; `false`: the patience ended, and no permit was taken.
    fn acquire(self, word: &AtomicU32, reason: WaitReason, owner: Option<&AtomicU32>) -> bool;

    /// As [`sema::acquire_bit`], likewise.
    fn acquire_bit(
        self,
        word: &AtomicU32,
        bit: u32,
        lifo: bool,
        reason: WaitReason,
        owner: Option<&AtomicU32>,
    ) -> bool;
}

/// Without a limit.
#[derive(Clone, Copy)]
pub(super) struct Forever;

impl Patience for Forever {
    const ENDS: bool = false;

    #[inline(always)]
    fn over(self) -> bool {
        false
    }

    #[inline(always)]
    fn acquire(self, word: &AtomicU32, reason: WaitReason, owner: Option<&AtomicU32>) -> bool {
        sema::acquire_of(word, false, reason, owner);
        true
    }

    #[inline(always)]
    fn acquire_bit(
        self,
        word: &AtomicU32,
        bit: u32,
        lifo: bool,
        reason: WaitReason,
        owner: Option<&AtomicU32>,
    ) -> bool {
        sema::acquire_bit(word, bit, lifo, reason, owner);
        true
    }
}

/// Somebody who may call off a wait: a context, seen from below.
pub(super) trait Stop {
    /// Has it ended?
    fn is_over(&self) -> bool;

    /// Calls `f` in a goroutine once it has ended, also if it has already. The result calls that off, if there is time.
    /// `None`: there is no memory for that. Does not panic.
    fn on_end(&self, f: Box<dyn FnOnce() + Send>) -> Option<Box<dyn FnOnce() -> bool>>;
}

/// Until a deadline, or until somebody stops it.
#[derive(Clone, Copy)]
pub(super) struct Limit<'a> {
    at: Option<u64>,
    stop: Option<&'a dyn Stop>,
}

impl<'a> Limit<'a> {
    pub(super) fn after(d: Duration) -> Self {
        Self::at_ns(time::deadline(d))
    }

    pub(super) fn until(t: Instant) -> Self {
        Self::at_ns(time::until(t))
    }

    /// At this value of the clock.
    pub(super) fn at_ns(at: u64) -> Self {
        Self {
            at: Some(at),
            stop: None,
        }
    }

    pub(super) fn stopped_by(stop: &'a dyn Stop) -> Self {
        Self {
            at: None,
            stop: Some(stop),
        }
    }

    #[inline(always)]
    fn wait(
        self,
        word: &AtomicU32,
        lifo: bool,
        reason: WaitReason,
        owner: Option<&AtomicU32>,
        try_take: impl Fn() -> bool,
    ) -> bool {
        if try_take() {
            return true;
        }
        if self.over() {
            return false;
        }
        let w = Waiter::new(word, sched::current(), reason, owner, sema::profiled(reason));
        let timer = FrameTimer::new(expire, ptr::from_ref(&w).cast());
        let hook = self.stop.map(|s| Hook::new(&w, s));
        if let Some(None) = hook {
            return false; // no memory; nobody knows the waiter yet
        }
        if let Some(at) = self.at {
            // SAFETY: 1. new; 2. retired below; 3. the waiter stays until then.
            unsafe { timer.start(at) };
        }
        let b = bucket(w.key);
        b.lock.lock();
        if try_take() {
            w.place.set(Place::Served);
            b.unlock();
        } else if w.place.get() == Place::Expired {
            b.unlock();
        } else {
            // SAFETY: 1. the lock is held; 2. this frame stays until the goroutine is readied, by whom takes it off.
            unsafe { sleepers::enqueue(&b.root, &w, lifo) };
            sched::park_unlock(reason, &b.lock);
        }
        timer.retire();
        w.place.get() == Place::Served // who wrote it readied us afterwards
    }
}

impl Patience for Limit<'_> {
    const ENDS: bool = true;

    fn over(self) -> bool {
        self.at.is_some_and(|at| sched::now_ns() >= at) || self.stop.is_some_and(Stop::is_over)
    }

    fn acquire(self, word: &AtomicU32, reason: WaitReason, owner: Option<&AtomicU32>) -> bool {
        self.wait(word, false, reason, owner, || sema::try_take(word))
    }

    fn acquire_bit(
        self,
        word: &AtomicU32,
        bit: u32,
        lifo: bool,
        reason: WaitReason,
        owner: Option<&AtomicU32>,
    ) -> bool {
        self.wait(word, lifo, reason, owner, || sema::try_take_bit(word, bit))
    }
}

/// Ends the wait of `w`, if it is still on. Returns the goroutine to ready, once the bucket is unlocked.
///
/// # Safety
/// 1. The bucket's lock is held.
#[must_use = "it sleeps until it is readied"]
unsafe fn expire_locked(b: &Bucket, w: &Waiter) -> Option<GPtr> {
    match w.place.get() {
        Place::New => {
            w.place.set(Place::Expired);
            None
        }
        Place::Queued => {
            // SAFETY: 1. passed on; 2. it says so.
            unsafe { sleepers::remove(&b.root, w) };
            Some(w.g)
        }
        Place::Served | Place::Expired => None,
    }
}

/// The deadline of a waiter has come.
///
/// # Safety
/// 1. `w` is a `Waiter` that stays until this has returned.
unsafe fn expire(w: *const ()) {
    // SAFETY: 1.
    let w = unsafe { &*w.cast::<Waiter>() };
    let b = bucket(w.key);
    b.lock.lock();
    // SAFETY: 1. just taken.
    let g = unsafe { expire_locked(b, w) };
    unlock_ready(g, || b.unlock());
}

/// Leads from a hook to the waiter, as long as it is there.
struct Abort {
    key: u64,
    /// Guarded by the bucket's lock.
    waiter: Cell<*const Waiter>,
}

// SAFETY: the pointer is read and written under the bucket's lock.
unsafe impl Send for Abort {}
// SAFETY: as above.
unsafe impl Sync for Abort {}

impl Abort {
    fn fire(&self) {
        let b = bucket(self.key);
        b.lock.lock();
        // SAFETY: not null: the waiter has not left, and takes the lock we hold before it does.
        let w = unsafe { self.waiter.get().as_ref() };
        // SAFETY: 1. just taken.
        let g = w.and_then(|w| unsafe { expire_locked(b, w) });
        unlock_ready(g, || b.unlock());
    }
}

/// The hook of a wait; when it is dropped nobody knows the waiter any more.
struct Hook {
    abort: Arc<Abort>,
    call_off: Option<Box<dyn FnOnce() -> bool>>,
}

impl Hook {
    /// `None`: there is no memory for it.
    fn new(w: &Waiter, stop: &dyn Stop) -> Option<Self> {
        let abort = Abort {
            key: w.key,
            waiter: Cell::new(w),
        };
        let mut hook = Hook {
            abort: Arc::try_new(abort).ok()?,
            call_off: None,
        };
        let theirs = hook.abort.clone();
        let f = Box::try_new(move || theirs.fire()).ok()?;
        hook.call_off = Some(stop.on_end(f)?);
        Some(hook)
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        let b = bucket(self.abort.key);
        b.lock.lock();
        self.abort.waiter.set(ptr::null());
        b.unlock();
        if let Some(f) = self.call_off.take() {
            _ = f();
        }
    }
}

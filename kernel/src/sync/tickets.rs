//! Tickets: the list of those who wait under a [`Condvar`](super::Condvar), in the order in which they came.
//!
//! Who waits takes a *ticket* while it still holds the mutex, then unlocks, then queues and parks. Tickets below
//! `notified` have been called. So a notification between the unlock and the queueing is not lost: the waiter finds
//! its ticket called and does not sleep; and the order is that of the tickets, however late somebody queues.
//!
//! | field | written | under the lock |
//! | --- | --- | --- |
//! | `given` (next to be given) | `take` | no: an atomic addition |
//! | `notified` (next to be called) | `notify_one`, `notify_all` | yes; also read without, to see that nobody waits |
//! | the queue | `sleep`, `notify_*` | yes |
//!
//! `notify_one` calls the next ticket: its holder is in the queue (at or near the front) or on its way and will see.
//! `notify_all` calls all that were given, takes the whole queue and readies it after unlocking, *the first last*: it
//! goes to `runnext` then and the others follow it in order, so on one P they run in the order of their tickets.
//!
//! **A wait that ends at a deadline** is the same wait with a timer in its frame ([`FrameTimer`]), whose function takes the
//! queue's lock: a ticket that has been called is the notifier's to wake, and the wait ends by a notification; else the
//! timer takes the waiter off and readies it. Nothing else changes, and a wait without a deadline has not one instruction
//! more. What is left is the *ticket* of who timed out. Nobody may call it, or a notification would be spent on somebody
//! who is gone; but tickets are a range. So the waiters in front of it move up by one: each takes the ticket of the next,
//! order kept, and the ticket that is free in the end is that of the first in the queue. If it is the next to be called,
//! `notified` passes over it. If not, those before it are between their unlock and their queueing, runnable all of them:
//! the timed-out goroutine yields until they are there, and then moves them up, too. (Usually it was the first
//! itself, and there is nothing to move.)
//!
//! Memory ordering: a waiter's ticket is taken under the user's mutex, so whoever changes the value under that mutex
//! afterwards and notifies sees the ticket: the mutex orders the Relaxed accesses of the two. A notifier
//! without the mutex may miss a waiter that is just coming; that is so in Go, too. The queue's lock orders the rest.
//! Tickets wrap; they are compared by wrapping difference.

use core::{
    cell::{Cell, UnsafeCell},
    ptr,
};

use super::sema::unlock_ready;
use crate::{
    lock::{PreemptGuard, Rank, RawSpinLock},
    sched::{self, GPtr, WaitReason},
    shim::{AtomicU32, Ordering},
    time::FrameTimer,
};

/// See the file head.
pub(super) struct Tickets {
    given: AtomicU32,
    notified: AtomicU32,
    lock: RawSpinLock,
    queue: UnsafeCell<Queue>,
}

/// The sleepers, first and last.
struct Queue {
    head: *const Waiter,
    tail: *const Waiter,
}

/// One sleeper, in its frame. Guarded by the queue's lock until it is taken off.
struct Waiter {
    ticket: Cell<u32>,
    g: GPtr,
    next: Cell<*const Waiter>,
}

/// A sleeper with a deadline. Guarded like its waiter.
struct Timed<'a> {
    waiter: Waiter,
    of: &'a Tickets,
    queued: Cell<bool>,
    expired: Cell<bool>,
}

// SAFETY: the queue is guarded by `lock`.
unsafe impl Sync for Tickets {}
// SAFETY: what can be moved has no waiters.
unsafe impl Send for Tickets {}

/// The time of a waiter is over.
///
/// # Safety
/// 1. `t` is a `Timed` that stays until this has returned.
unsafe fn expire(t: *const ()) {
    // SAFETY: 1.
    let t = unsafe { &*t.cast::<Timed<'_>>() };
    let (c, mut late) = (t.of, None);
    c.lock.lock();
    // A ticket that was called: its holder is being woken, or will see.
    if !before(t.waiter.ticket.get(), c.notified.load(Ordering::Relaxed)) {
        t.expired.set(true);
        if t.queued.get() {
            // SAFETY: 1. we hold the lock.
            late = unsafe { c.unlink(t.waiter.ticket.get()) };
        }
    }
    unlock_ready(late, || c.unlock());
}

/// `a` was given before `b`.
fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

impl Tickets {
    shim_const_fn! {
        /// Nobody waits.
        pub(super) fn new() -> Self {
            Self {
                given: AtomicU32::new(0),
                notified: AtomicU32::new(0),
                lock: RawSpinLock::new(Rank::Waiters),
                queue: UnsafeCell::new(Queue { head: ptr::null(), tail: ptr::null() }),
            }
        }
    }

    /// A ticket for the caller, who still holds the mutex and will `sleep` with it.
    #[inline(always)]
    pub(super) fn take(&self) -> u32 {
        self.given.fetch_add(1, Ordering::Relaxed) // the mutex orders it: see the file head
    }

    /// How many hold a ticket that was not called.
    #[inline]
    pub(super) fn waiting(&self) -> u32 {
        // Relaxed: a waiter that the notifier has to know of is ordered before it by the mutex.
        let notified = self.notified.load(Ordering::Relaxed); // first: it never passes the other
        self.given.load(Ordering::Relaxed).wrapping_sub(notified)
    }

    #[inline(always)]
    fn unlock(&self) {
        // SAFETY: 1. every caller has taken it.
        unsafe { self.lock.unlock() };
    }

    /// Appends. The lock is held.
    ///
    /// # Safety
    /// 1. The lock is held; 2. `w` stays until it is taken off.
    #[inline(always)]
    unsafe fn push(&self, w: &Waiter) {
        // SAFETY: 1. guards it.
        let queue = unsafe { &mut *self.queue.get() };
        let last = core::mem::replace(&mut queue.tail, w);
        // SAFETY: queued waiters stay in their frames until they are readied.
        match unsafe { last.as_ref() } {
            Some(last) => last.next.set(w),
            None => queue.head = w,
        }
    }

    /// Sleeps until the ticket is called.
    pub(super) fn sleep(&self, ticket: u32) {
        self.lock.lock();
        if before(ticket, self.notified.load(Ordering::Relaxed)) {
            return self.unlock();
        }
        let w = Waiter {
            ticket: Cell::new(ticket),
            g: sched::current(),
            next: Cell::new(ptr::null()),
        };
        // SAFETY: 1. just taken; 2. this frame stays until the goroutine is readied.
        unsafe { self.push(&w) };
        sched::park_unlock_for(WaitReason::CondWait, &self.lock, ptr::from_ref(self).cast());
    }

    /// The same until `at` at most. `true`: the time was over first, and the ticket is given back.
    #[inline(never)]
    pub(super) fn sleep_until(&self, ticket: u32, at: u64) -> bool {
        let t = Timed {
            waiter: Waiter {
                ticket: Cell::new(ticket),
                g: sched::current(),
                next: Cell::new(ptr::null()),
            },
            of: self,
            queued: Cell::new(false),
            expired: Cell::new(false),
        };
        let timer = FrameTimer::new(expire, ptr::from_ref(&t).cast());
        // SAFETY: 1. new; 2. retired below; 3. `t` stays until then.
        unsafe { timer.start(at) };
        self.lock.lock();
        if before(ticket, self.notified.load(Ordering::Relaxed)) || t.expired.get() {
            self.unlock();
        } else {
            t.queued.set(true);
            // SAFETY: 1. just taken; 2. this frame stays until the goroutine is readied, by whom takes it off.
            unsafe { self.push(&t.waiter) };
            sched::park_unlock(WaitReason::CondWait, &self.lock);
        }
        timer.retire();
        t.expired.get() && self.give_back(t.waiter.ticket.get())
    }

    /// Takes a ticket out of the range of those to be called. `false`: it has been called; the notification is ours.
    fn give_back(&self, mut ticket: u32) -> bool {
        loop {
            self.lock.lock();
            let notified = self.notified.load(Ordering::Relaxed);
            if before(ticket, notified) {
                self.unlock();
                return false;
            }
            // SAFETY: we hold the lock.
            ticket = unsafe { self.move_up(ticket) };
            let free = ticket == notified;
            if free {
                self.notified.store(notified.wrapping_add(1), Ordering::Relaxed);
            }
            self.unlock();
            if free {
                return true;
            }
            sched::yield_now();
        }
    }

    /// Moves the queued waiters with a ticket before `free` up, each to the next one's; returns the one that is free then.
    ///
    /// # Safety
    /// 1. The lock is held.
    unsafe fn move_up(&self, free: u32) -> u32 {
        // SAFETY: 1. passed on.
        unsafe { self.sort() };
        // SAFETY: 1. guards it.
        let mut at = unsafe { &*self.queue.get() }.head;
        let (mut first, mut last) = (free, None::<&Waiter>);
        // SAFETY: queued waiters stay in their frames until they are readied.
        while let Some(w) = unsafe { at.as_ref() } {
            let ticket = w.ticket.get();
            if !before(ticket, free) {
                break;
            }
            match last {
                Some(l) => l.ticket.set(ticket),
                None => first = ticket,
            }
            last = Some(w);
            at = w.next.get();
        }
        if let Some(l) = last {
            l.ticket.set(free);
        }
        first
    }

    /// Puts the queue in order of the tickets. It is, but for those that queued later than they unlocked the mutex.
    ///
    /// # Safety
    /// 1. The lock is held.
    unsafe fn sort(&self) {
        // SAFETY: 1. guards it.
        let queue = unsafe { &mut *self.queue.get() };
        // SAFETY: queued waiters stay in their frames until they are readied.
        let Some(mut last) = (unsafe { queue.head.as_ref() }) else {
            return;
        };
        // SAFETY: as above.
        while let Some(w) = unsafe { last.next.get().as_ref() } {
            if before(last.ticket.get(), w.ticket.get()) {
                last = w;
                continue;
            }
            last.next.set(w.next.get());
            // Before the first one with a later ticket: `last` has one, so the search ends.
            let (mut prev, mut at) = (None::<&Waiter>, queue.head);
            // SAFETY: as above.
            while let Some(a) = unsafe { at.as_ref() } {
                if before(w.ticket.get(), a.ticket.get()) {
                    break;
                }
                (prev, at) = (Some(a), a.next.get());
            }
            w.next.set(at);
            match prev {
                Some(p) => p.next.set(w),
                None => queue.head = w,
            }
        }
        queue.tail = last;
    }

    /// Calls the next ticket.
    #[inline(never)]
    pub(super) fn notify_next(&self) {
        self.lock.lock();
        let ticket = self.notified.load(Ordering::Relaxed);
        let mut found = None;
        if ticket != self.given.load(Ordering::Relaxed) {
            self.notified.store(ticket.wrapping_add(1), Ordering::Relaxed);
            // SAFETY: we hold the lock.
            found = unsafe { self.unlink(ticket) };
        }
        // None: not queued yet, it will see that it was called.
        unlock_ready(found, || self.unlock());
    }

    /// Takes the waiter with `ticket` off the queue. Usually the first one: others got in front only if they unlocked
    /// the mutex later and queued sooner.
    ///
    /// # Safety
    /// 1. The lock is held.
    unsafe fn unlink(&self, ticket: u32) -> Option<GPtr> {
        // SAFETY: 1. guards it.
        let queue = unsafe { &mut *self.queue.get() };
        let (mut before, mut at) = (ptr::null::<Waiter>(), queue.head);
        loop {
            // SAFETY: queued waiters stay in their frames until they are readied.
            let w = unsafe { at.as_ref() }?;
            if w.ticket.get() == ticket {
                let next = w.next.get();
                // SAFETY: as above.
                match unsafe { before.as_ref() } {
                    Some(b) => b.next.set(next),
                    None => queue.head = next,
                }
                if next.is_null() {
                    queue.tail = before;
                }
                return Some(w.g);
            }
            (before, at) = (at, w.next.get());
        }
    }

    /// Calls every ticket that was given.
    #[inline(never)]
    pub(super) fn notify_every(&self) {
        self.lock.lock();
        // SAFETY: guarded by the lock.
        let queue = unsafe { &mut *self.queue.get() };
        queue.tail = ptr::null();
        let called = Called {
            first: None,
            rest: core::mem::take(&mut queue.head),
        };
        let last = self.given.load(Ordering::Relaxed);
        self.notified.store(last, Ordering::Relaxed);
        // SAFETY: 1. taken above.
        unsafe { self.lock.unlock() };
        drop(called);
    }
}

/// Waiters that a broadcast took off the queue; woken when it is dropped, also if the caller's stack ends meanwhile. The first
/// is woken last: he is the one to run next.
struct Called {
    first: Option<GPtr>,
    rest: *const Waiter,
}

impl Called {
    /// One of them. `false`: that was all.
    fn wake_one(&mut self) -> bool {
        let _here = PreemptGuard::new(); // until he is awake
        // SAFETY: taken off, and not readied yet: still in its frame.
        let Some(w) = (unsafe { self.rest.as_ref() }) else {
            return self.first.take().map(sched::ready).is_some();
        };
        self.rest = w.next.get(); // before it is readied
        match self.first {
            None => self.first = Some(w.g),
            Some(_) => sched::ready(w.g),
        }
        true
    }
}

impl Drop for Called {
    fn drop(&mut self) {
        while self.wake_one() {}
    }
}

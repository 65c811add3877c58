//! `Condvar`: wait until something about a mutex's value has changed. Go's `sync.Cond`.
//!
//! Who waits takes a *ticket* while it still holds the mutex, then unlocks, then queues and parks. Tickets below
//! `notified` have been called. So a notification between the unlock and the queueing is not lost: the waiter finds
//! its ticket called and does not sleep; and the order is that of the tickets, however late somebody queues.
//!
//! | field | written | under the lock |
//! | --- | --- | --- |
//! | `tickets` (next to be given) | `wait` | no: an atomic addition |
//! | `notified` (next to be called) | `notify_one`, `notify_all` | yes; also read without, to see that nobody waits |
//! | the queue | `wait`, `notify_*` | yes |
//!
//! `notify_one` calls the next ticket: its holder is in the queue (at or near the front) or on its way and will see.
//! `notify_all` calls all that were given, takes the whole queue and readies it after unlocking, *the first last*: it
//! goes to `runnext` then and the others follow it in order, so on one P they run in the order of their tickets.
//!
//! Memory ordering: a waiter's ticket is taken under the user's mutex, so whoever changes the value under that mutex
//! afterwards and notifies sees the ticket: the mutex orders the Relaxed accesses of the two. A notifier
//! without the mutex may miss a waiter that is just coming; that is so in Go, too. The queue's lock orders the rest.
//! Tickets wrap; they are compared by wrapping difference.

use core::{
    cell::{Cell, UnsafeCell},
    fmt, ptr,
};

use super::MutexGuard;
use crate::{
    lock::{Rank, RawSpinLock},
    sched::{self, GPtr, WaitReason},
    shim::{AtomicU32, Ordering},
};

/// One sleeper, in its frame. Guarded by the queue's lock until it is taken off.
struct Waiter {
    ticket: u32,
    g: GPtr,
    next: Cell<*const Waiter>,
}

/// Waiting for a change of what a [`Mutex`](super::Mutex) guards.
///
/// There are no wake-ups without a notification, but between the notification and the lock somebody else may have been
/// faster, so wait in a loop, or use [`wait_while`](Self::wait_while).
///
/// ```
/// use std::sync::Arc;
/// use burrow::sync::{Condvar, Mutex};
/// let pair = Arc::new((Mutex::new(0), Condvar::new()));
/// let theirs = pair.clone();
/// burrow::go(move || {
///     *theirs.0.lock() = 7;
///     theirs.1.notify_one();
/// });
/// let mut n = pair.0.lock();
/// while *n == 0 {
///     n = pair.1.wait(n);
/// }
/// assert_eq!(*n, 7);
/// ```
pub struct Condvar {
    tickets: AtomicU32,
    notified: AtomicU32,
    lock: RawSpinLock,
    queue: UnsafeCell<Queue>,
}

/// The sleepers, first and last.
struct Queue {
    head: *const Waiter,
    tail: *const Waiter,
}

// SAFETY: the queue is guarded by `lock`.
unsafe impl Sync for Condvar {}
// SAFETY: a condition variable that can be moved has no waiters.
unsafe impl Send for Condvar {}

/// `a` was given before `b`.
fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

impl Condvar {
    shim_const_fn! {
        /// Nobody waits.
        ///
        /// ```
        /// static CHANGED: burrow::sync::Condvar = burrow::sync::Condvar::new();
        /// CHANGED.notify_all(); // nobody waits: nothing happens
        /// ```
        pub fn new() -> Self {
            Self {
                tickets: AtomicU32::new(0),
                notified: AtomicU32::new(0),
                lock: RawSpinLock::new(Rank::Waiters),
                queue: UnsafeCell::new(Queue { head: ptr::null(), tail: ptr::null() }),
            }
        }
    }

    /// Unlocks, waits for a notification, locks again.
    ///
    /// ```
    /// use burrow::sync::{Condvar, Mutex};
    /// let (m, c) = (Mutex::new(0), Condvar::new());
    /// burrow::scope(|s| {
    ///     s.spawn(|| { *m.lock() = 1; c.notify_one(); });
    ///     let mut n = m.lock();
    ///     while *n == 0 {
    ///         n = c.wait(n);
    ///     }
    /// });
    /// ```
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn wait<'a, T: ?Sized>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        crate::lock::might_sleep();
        let mutex = guard.mutex();
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed); // the mutex orders it: see the file head
        drop(guard);
        self.sleep(ticket);
        mutex.lock()
    }

    /// Waits as long as `condition` says so of the value.
    ///
    /// ```
    /// use burrow::sync::{Condvar, Mutex};
    /// let (m, c) = (Mutex::new(false), Condvar::new());
    /// burrow::scope(|s| {
    ///     s.spawn(|| { *m.lock() = true; c.notify_all(); });
    ///     assert!(*c.wait_while(m.lock(), |ready| !*ready));
    /// });
    /// ```
    pub fn wait_while<'a, T: ?Sized>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> MutexGuard<'a, T> {
        while condition(&mut guard) {
            guard = self.wait(guard);
        }
        guard
    }

    fn sleep(&self, ticket: u32) {
        self.lock.lock();
        if before(ticket, self.notified.load(Ordering::Relaxed)) {
            // SAFETY: 1. just taken.
            unsafe { self.lock.unlock() };
            return;
        }
        let w = Waiter {
            ticket,
            g: sched::current(),
            next: Cell::new(ptr::null()),
        };
        // SAFETY: guarded by the lock, which we hold.
        let queue = unsafe { &mut *self.queue.get() };
        let last = core::mem::replace(&mut queue.tail, &w);
        // SAFETY: queued waiters stay in their frames until they are readied.
        match unsafe { last.as_ref() } {
            Some(last) => last.next.set(&w),
            None => queue.head = &w,
        }
        sched::park_unlock_for(WaitReason::CondWait, &self.lock, ptr::from_ref(self).cast());
    }

    /// Nobody holds a ticket that was not called.
    #[inline]
    fn nobody(&self) -> bool {
        // Relaxed: a waiter that the notifier has to know of is ordered before it by the mutex.
        self.tickets.load(Ordering::Relaxed) == self.notified.load(Ordering::Relaxed)
    }

    /// Wakes the goroutine that has waited longest, if any does. It need not be called with the mutex locked.
    ///
    /// ```
    /// use burrow::sync::{Condvar, Mutex};
    /// let (jobs, more) = (Mutex::new(Vec::new()), Condvar::new());
    /// burrow::scope(|s| {
    ///     s.spawn(|| more.wait_while(jobs.lock(), |j| j.is_empty()).pop());
    ///     jobs.lock().push("job");
    ///     more.notify_one();
    /// });
    /// assert!(jobs.lock().is_empty());
    /// ```
    #[inline]
    pub fn notify_one(&self) {
        if !self.nobody() {
            self.notify_next();
        }
    }

    #[inline(never)]
    fn notify_next(&self) {
        self.lock.lock();
        let ticket = self.notified.load(Ordering::Relaxed);
        let mut found = None;
        if ticket != self.tickets.load(Ordering::Relaxed) {
            self.notified.store(ticket.wrapping_add(1), Ordering::Relaxed);
            // SAFETY: we hold the lock.
            found = unsafe { self.unlink(ticket) };
        }
        // SAFETY: 1. taken above.
        unsafe { self.lock.unlock() };
        // Not queued yet: it will see that it was called.
        if let Some(g) = found {
            sched::ready(g);
        }
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
            if w.ticket == ticket {
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

    /// Wakes every goroutine that waits.
    ///
    /// ```
    /// use burrow::sync::{Condvar, Mutex};
    /// let (start, c) = (Mutex::new(false), Condvar::new());
    /// burrow::scope(|s| {
    ///     for _ in 0..3 {
    ///         s.spawn(|| drop(c.wait_while(start.lock(), |go| !*go)));
    ///     }
    ///     *start.lock() = true;
    ///     c.notify_all();
    /// });
    /// ```
    #[inline]
    pub fn notify_all(&self) {
        if !self.nobody() {
            self.notify_every();
        }
    }

    #[inline(never)]
    fn notify_every(&self) {
        self.lock.lock();
        // SAFETY: guarded by the lock.
        let queue = unsafe { &mut *self.queue.get() };
        queue.tail = ptr::null();
        let mut at = core::mem::take(&mut queue.head);
        let called = self.tickets.load(Ordering::Relaxed);
        self.notified.store(called, Ordering::Relaxed);
        // SAFETY: 1. taken above.
        unsafe { self.lock.unlock() };
        let mut first = None;
        // SAFETY: taken off, and not readied yet: still in its frame.
        while let Some(w) = unsafe { at.as_ref() } {
            at = w.next.get(); // before it is readied
            match first {
                None => first = Some(w.g),
                Some(_) => sched::ready(w.g),
            }
        }
        if let Some(g) = first {
            sched::ready(g);
        }
    }
}

impl Default for Condvar {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = self
            .tickets
            .load(Ordering::Relaxed)
            .wrapping_sub(self.notified.load(Ordering::Relaxed));
        write!(f, "Condvar({n} waiting)")
    }
}

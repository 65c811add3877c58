//! Timers: what is in a heap, who fires it, and how it is called off.
//!
//! A [`TimerNode`] lives with whoever waits (on a sleeper's stack, in a channel, in a context) and sits in the heap of
//! the P on which it was started. Firing and cancelling race; the heap's lock decides. *Fire* (`run_due`, on g0 or the
//! host's timer thread): lock, pop the node, take the decisive step under the lock, unlock, act. *Cancel*: lock,
//! remove. Cancel finds the node queued: nobody will ever look at it again. Not queued: it fired, and its decisive
//! step was made before our lock.
//!
//! | kind | step under the lock | afterwards | who may free the node, when |
//! | --- | --- | --- | --- |
//! | `Wake` | – | readies the sleeper | the sleeper, once woken |
//! | `Claim` | tries to win the waiter's [`Token`], like any other waker | if it won, readies the waiter | the waiter, once `cancel` has returned |
//! | `Call` | `begin`, which may decline | `run`, on g0 | its owner, by a rule that `begin` and `run` keep: see `channel`, `func`, `context::deadline` |
//!
//! A sleeper inserts itself holding the heap's lock and parks with it (`park_unlock`), so its timer cannot
//! fire before it is parked. Sleeps of a token's owner need no such care (see `chan::wait`).
//!
//! A node with a period goes back into the heap under the same lock, at the first multiple of the period that is
//! still to come: ticks that were missed are dropped, never made up for.
//!
//! When a P goes away its timers move to another heap; `cancel` therefore re-reads which heap it locked. Who cancels
//! may run meanwhile (inside `blocking`, the world's stop does not reach it), so both heaps stay locked until every
//! node says where it is now.
//!
//! Cancelling is eager: a stopped timer is out of the heap at once. Go marks it and cleans up later, because there
//! another P's heap could not be touched; here it costs the lock and O(log n), and a million stopped timers leave
//! nothing behind.

use core::{cell::Cell, ptr::NonNull};

use super::heap::{Links, TimerHeap};
use crate::{
    chan::wait::Token,
    lock::{PreemptGuard, SpinLock},
    sched::{self, GPtr, WaitReason},
    shim::{AtomicPtr, Ordering, spin_loop},
};

/// A P's timers behind their lock.
pub type Timers = SpinLock<TimerHeap>;

/// What a timer does when it fires.
#[derive(Clone, Copy)]
pub(crate) enum Fire {
    /// Wakes this parked goroutine.
    Wake(GPtr),
    /// Ends a wait, if this token is still to be had.
    Claim(NonNull<Token>),
    /// Runs code of the node's owner.
    Call {
        /// Under the heap's lock: what `run` shall be told, `None` to do nothing. Takes no lock.
        begin: unsafe fn(NonNull<TimerNode>) -> Option<u64>,
        /// On g0, no lock held; must not block.
        run: unsafe fn(NonNull<TimerNode>, u64),
        /// Under the heap's lock: does anybody wait for that? `None`: it matters in itself.
        awaited: Option<unsafe fn(NonNull<TimerNode>) -> bool>,
    },
}

/// One timer; see the file head. `links` first: the heap knows nodes by it.
#[repr(C)]
pub(crate) struct TimerNode {
    links: Links,
    heap: AtomicPtr<Timers>,
    fire: Cell<Fire>,
    /// Nanoseconds between ticks, 0 for a timer that fires once. Changed only while in no heap.
    period: Cell<u64>,
}

impl TimerNode {
    pub(crate) fn new(fire: Fire) -> Self {
        Self {
            links: Links::new(),
            heap: AtomicPtr::new(core::ptr::null_mut()),
            fire: Cell::new(fire),
            period: Cell::new(0),
        }
    }

    /// From the next start on it fires every `ns` (0: once). In no heap.
    pub(crate) fn set_period(&self, ns: u64) {
        self.period.set(ns);
    }

    pub(crate) fn is_periodic(&self) -> bool {
        self.period.get() != 0
    }

    /// When it was to fire, in the heap or before it was taken out.
    pub(crate) fn when(&self) -> u64 {
        self.links.when()
    }

    /// Locks the current P's heap and adds this timer. Returns the heap, still locked (once: preempt count 1).
    ///
    /// # Safety
    /// 1. The node is in no heap, and stays where it is until it fired or was cancelled.
    #[inline]
    unsafe fn insert_locked(&self, when: u64, system: bool) -> &'static Timers {
        let here = PreemptGuard::new();
        let timers = sched::timer_heap();
        let mut heap = timers.lock();
        self.heap
            .store(core::ptr::from_ref(timers).cast_mut(), Ordering::Relaxed);
        // SAFETY: 1. as ours; the lock guards the links from here on. The pointer is to the whole node.
        let first = unsafe { heap.insert(when, system, NonNull::from(self).cast()) };
        core::mem::forget(heap);
        if first {
            sched::timer_armed(when);
        }
        drop(here);
        timers
    }

    /// Starts the timer.
    ///
    /// # Safety
    /// 1. The node is in no heap, and stays where it is until it fired or was cancelled.
    pub(crate) unsafe fn start(&self, when: u64, system: bool) {
        // SAFETY: 1. passed on.
        let timers = unsafe { self.insert_locked(when, system) };
        // SAFETY: `insert_locked` left it locked, on this core.
        unsafe { timers.raw().unlock() };
    }

    /// Starts the timer on a heap of the test's.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn start_on(&self, timers: &'static Timers, when: u64) {
        let mut heap = timers.lock();
        self.heap
            .store(core::ptr::from_ref(timers).cast_mut(), Ordering::Relaxed);
        // SAFETY: 1. tests keep their nodes until they fired or were cancelled.
        unsafe { heap.insert(when, false, NonNull::from(self).cast()) };
    }

    /// Parks the running goroutine until the timer (a `Wake` for it) fires.
    ///
    /// # Safety
    /// 1. `fire` is `Wake` of the running goroutine.
    pub(crate) unsafe fn park(&self, when: u64, system: bool) {
        // SAFETY: 1. the node is borrowed until after the park, which ends by firing.
        let timers = unsafe { self.insert_locked(when, system) };
        sched::park_unlock(WaitReason::Sleep, timers.raw());
    }

    /// Stops the timer; afterwards it is in no heap. `false`: it had fired (or never started); a `run` of it may
    /// still be on its way.
    pub(crate) fn cancel(&self) -> bool {
        loop {
            let p = self.heap.load(Ordering::Acquire); // pairs with the Release store in `move_timers`
            // SAFETY: heaps are part of Ps (or of the host's clock) and live for ever.
            let Some(timers) = (unsafe { p.as_ref() }) else {
                return false;
            };
            let mut heap = timers.lock();
            if self.heap.load(Ordering::Relaxed) == p {
                return heap.remove(&self.links);
            }
        }
    }
}

/// The first multiple of `period` after `when` that is later than `now`.
fn next_tick(when: u64, period: u64, now: u64) -> u64 {
    let late = now.wrapping_sub(when);
    when.wrapping_add(period.saturating_mul(1 + late / period))
}

/// Runs what is due in `timers`; returns the next deadline. On g0 (or the host's timer thread), where the
/// preempt count is never 0.
pub fn run_due(timers: &Timers, now: u64) -> Option<u64> {
    const BATCH: usize = 16;
    loop {
        let mut wake = [None; BATCH];
        let (mut n, mut call) = (0, None);
        let mut heap = timers.lock();
        let next = loop {
            if n == BATCH || call.is_some() {
                break None;
            }
            let Some(links) = heap.pop_due(now) else {
                break Some(heap.first());
            };
            // SAFETY: nodes stay alive until cancelled or fired, which needs the lock we hold; `links` is the
            // first field of a node and was made from a pointer to all of it.
            let node = unsafe { links.cast::<TimerNode>().as_ref() };
            match node.fire.get() {
                Fire::Wake(g) => wake[n] = Some(g),
                // SAFETY: the token's owner cancels its timer before it gives up the token.
                Fire::Claim(t) => match unsafe { t.as_ref() }.claim() {
                    // SAFETY: claimed: the owner stays until `complete`.
                    true => wake[n] = unsafe { t.as_ref() }.complete_quietly(),
                    false => continue,
                },
                Fire::Call { begin, run, .. } => {
                    // SAFETY: the node and its functions come as a pair; the lock is held and it just fired.
                    call = unsafe { begin(links.cast()) }.map(|told| (run, links.cast(), told));
                    if node.period.get() != 0 {
                        let when = next_tick(node.links.when(), node.period.get(), now);
                        let system = TimerHeap::is_system(&node.links);
                        // SAFETY: 1. just popped; its owner's promise still holds.
                        if unsafe { heap.insert(when, system, links) } {
                            sched::timer_armed(when);
                        }
                    }
                    continue;
                }
            }
            n += usize::from(wake[n].is_some());
        };
        drop(heap);
        for g in wake.into_iter().flatten() {
            sched::ready(g);
        }
        if let Some((run, node, told)) = call {
            // SAFETY: `begin` consented; what it did keeps the node alive until `run` is done with it.
            unsafe { run(node, told) };
        }
        if let Some(first) = next {
            return first;
        }
    }
}

/// Moves every timer from one heap to another: the P of the first goes away. The world is stopped. Allocates
/// nothing and cannot fail.
pub fn move_timers(from: &'static Timers, to: &'static Timers) {
    let mut old = from.lock();
    if old.is_empty() {
        return;
    }
    // Two locks of one rank: nobody else ever holds two, so there is no cycle. Tried, not taken, for the rank check.
    let mut new = loop {
        match to.try_lock() {
            Some(g) => break g,
            None => spin_loop(),
        }
    };
    old.for_each(|links| {
        // SAFETY: as in `run_due`.
        let node = unsafe { links.cast::<TimerNode>().as_ref() };
        node.heap
            .store(core::ptr::from_ref(to).cast_mut(), Ordering::Release); // pairs with `cancel`
    });
    new.absorb(&mut old);
}

/// Will one of these timers make a goroutine of the user run? (Deadlock detection: nothing runs meanwhile.)
///
/// Sleepers, limits on waits and functions do. A timer that sends on a channel does only if somebody receives from that or
/// selects on it; else a forgotten `Ticker` would hide every deadlock. (Go keeps such a timer out of the heap as long as nobody
/// waits on its channel. That makes each receive and each `select!` start and stop timers; here the question is asked when
/// it matters, once, on a machine with nothing else to do.) Looks at a few thousand of them: with more, it says yes.
pub fn has_user_timers(timers: &Timers) -> bool {
    const MANY: usize = 4096;
    let heap = timers.lock();
    if heap.user_timers() == 0 {
        return false;
    }
    let (mut left, mut found) = (MANY, false);
    heap.for_each(|links| {
        left = left.saturating_sub(1);
        if found || left == 0 {
            return;
        }
        // SAFETY: as in `run_due`.
        let node = unsafe { links.cast::<TimerNode>().as_ref() };
        found = !TimerHeap::is_system(&node.links)
            && match node.fire.get() {
                // SAFETY: the node and its functions come as a pair; the lock is held.
                Fire::Call { awaited: Some(f), .. } => unsafe { f(links.cast()) },
                _ => true,
            };
    });
    found || left == 0
}

#[cfg(test)]
mod tests {
    use super::next_tick;

    #[test]
    fn missed_ticks_are_dropped() {
        assert_eq!(next_tick(100, 10, 100), 110);
        assert_eq!(next_tick(100, 10, 109), 110);
        assert_eq!(next_tick(100, 10, 110), 120);
        assert_eq!(next_tick(100, 10, 1234), 1240);
        assert_eq!(next_tick(u64::MAX - 5, 10, 3), 4);
        assert_eq!(next_tick(u64::MAX - 5, 10, 4), 14);
    }
}

//! Timers that wake goroutines: sleeping, and giving up a wait at a deadline.
//!
//! A [`TimerNode`] lives on the stack of the goroutine that waits and sits in the heap of the P on which it
//! was started. Firing and cancelling race; the heap's lock decides. *Fire* (`run_due`, on g0 or the host's
//! timer thread): lock, pop the node, decide under the lock whether it wakes anybody, unlock, wake. *Cancel*:
//! lock, remove. Cancel finds the node queued: nobody will ever look at it again. Not queued: it fired, and
//! its decision was made before our lock. Either way, once `cancel` returns, nobody touches the node.
//!
//! What firing decides, by kind. `Wake`: the sleeper has nobody else to wake it, so it is woken. `Claim`: the
//! waiter also sits on channels; the timer must win its [`Token`] like any other waker, else it does nothing.
//! The losing timer touches the token under the heap's lock only; the winning one may touch it until it wakes
//! the goroutine, which cannot leave before.
//!
//! A sleeper inserts itself holding the heap's lock and parks with it (`park_unlock`), so its timer cannot
//! fire before it is parked. Sleeps of a token's owner need no such care (see `chan::wait`).
//!
//! When a P goes away its timers move to another heap; `cancel` therefore re-reads which heap it locked.

use core::{cell::Cell, ptr::NonNull};

use super::heap::{Pos, Room, TimerHeap};
use crate::{
    chan::wait::Token,
    lock::{PreemptGuard, SpinLock},
    sched::{self, GPtr, WaitReason},
    shim::{AtomicPtr, Ordering},
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
    /// Calls a function on g0 (it must not block): `f(arg)`.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "for `after_func`, which comes with the rest of time")
    )]
    Call(fn(usize), usize),
}

/// One timer; see the file head. `pos` first: the heap knows nodes by it.
#[repr(C)]
pub(crate) struct TimerNode {
    pos: Pos,
    heap: AtomicPtr<Timers>,
    fire: Cell<Fire>,
}

impl TimerNode {
    pub(crate) fn new(fire: Fire) -> Self {
        Self {
            pos: Pos::new(),
            heap: AtomicPtr::new(core::ptr::null_mut()),
            fire: Cell::new(fire),
        }
    }

    /// Locks the current P's heap, with room for one more timer, and adds this one. Returns the heap, still
    /// locked (once: preempt count 1), and whether this is its first deadline now.
    ///
    /// # Safety
    /// 1. The node stays where it is until it fired or was cancelled.
    unsafe fn insert_locked(&self, when: u64, system: bool) -> &'static Timers {
        loop {
            let here = PreemptGuard::new();
            let timers = sched::timer_heap();
            let mut heap = timers.lock();
            if heap.has_room() {
                self.heap
                    .store(core::ptr::from_ref(timers).cast_mut(), Ordering::Relaxed);
                // SAFETY: 1. as ours; the lock guards `pos` from here on. The pointer is to the whole node.
                let first = unsafe { heap.insert(when, system, NonNull::from(self).cast()) };
                core::mem::forget(heap);
                if first {
                    sched::timer_armed(when);
                }
                drop(here);
                return timers;
            }
            let n = heap.wanted();
            drop(heap);
            drop(here);
            let room = Room::try_new(n).unwrap_or_else(|| panic!("out of memory for {n} timers"));
            let old = timers.lock().adopt(room);
            drop(old);
        }
    }

    /// Starts the timer.
    ///
    /// # Safety
    /// 1. The node stays where it is until it fired or was cancelled.
    pub(crate) unsafe fn start(&self, when: u64, system: bool) {
        // SAFETY: 1. passed on.
        let timers = unsafe { self.insert_locked(when, system) };
        // SAFETY: `insert_locked` left it locked, on this core.
        unsafe { timers.raw().unlock() };
    }

    /// Starts the timer on a heap of the test's.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn start_on(&self, timers: &'static Timers, when: u64) {
        let room = Room::try_new(256).expect("memory");
        let mut heap = timers.lock();
        let _old = heap.adopt(room);
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

    /// Stops the timer; afterwards nobody touches the node. `false`: it had fired (or never started).
    pub(crate) fn cancel(&self) -> bool {
        loop {
            let p = self.heap.load(Ordering::Acquire); // pairs with the Release store in `move_timers`
            // SAFETY: heaps are part of Ps (or of the host's clock) and live for ever.
            let Some(timers) = (unsafe { p.as_ref() }) else {
                return false;
            };
            let mut heap = timers.lock();
            if self.heap.load(Ordering::Relaxed) == p {
                return heap.remove(&self.pos);
            }
        }
    }
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
            let Some(pos) = heap.pop_due(now) else {
                break Some(heap.first());
            };
            // SAFETY: nodes stay alive until cancelled or fired, which needs the lock we hold; `pos` is the
            // first field of a node and was made from a pointer to all of it.
            let node = unsafe { pos.cast::<TimerNode>().as_ref() };
            match node.fire.get() {
                Fire::Wake(g) => wake[n] = Some(g),
                // SAFETY: the token's owner cancels its timer before it gives up the token.
                Fire::Claim(t) => match unsafe { t.as_ref() }.claim() {
                    // SAFETY: claimed: the owner stays until `complete`.
                    true => wake[n] = unsafe { t.as_ref() }.complete_quietly(),
                    false => continue,
                },
                Fire::Call(f, arg) => {
                    call = Some((f, arg));
                    continue;
                }
            }
            n += usize::from(wake[n].is_some());
        };
        drop(heap);
        for g in wake.into_iter().flatten() {
            sched::ready(g);
        }
        if let Some((f, arg)) = call {
            f(arg);
        }
        if let Some(first) = next {
            return first;
        }
    }
}

/// Moves every timer from one heap to another: the P of the first goes away. The world is stopped.
pub fn move_timers(from: &'static Timers, to: &'static Timers) {
    loop {
        let n = from.lock().len();
        if n == 0 {
            return;
        }
        // Nobody else adds timers while the world stands, so this room is enough and the loop ends.
        let Some(room) = Room::try_new(n + to.lock().len() + 1) else {
            panic!("out of memory while moving {n} timers");
        };
        let old = to.lock().adopt(room);
        drop(old);
        while to.lock().has_room() {
            let Some((when, system, pos)) = from.lock().pop_any() else {
                return;
            };
            // SAFETY: as in `run_due`; no goroutine runs that could cancel it.
            let node = unsafe { pos.cast::<TimerNode>().as_ref() };
            node.heap
                .store(core::ptr::from_ref(to).cast_mut(), Ordering::Release); // pairs with `cancel`
            // SAFETY: 1. the owner's promise holds for the new heap, too.
            unsafe { to.lock().insert(when, system, pos) };
        }
    }
}

/// Does a goroutine of the user wait for one of these? (Deadlock detection.)
pub fn has_user_timers(timers: &Timers) -> bool {
    timers.lock().user_timers() != 0
}

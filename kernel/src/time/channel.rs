//! A timer that sends: the engine of `Timer`, `Ticker` and `after`.
//!
//! The timer belongs to its channel (`Hchan::core.timer`), not the other way round: the heap knows the timer, but no
//! counted handle points from the heap to the channel. So when the last handle of the channel goes, the channel goes
//! and takes its timer out of the heap: an unreferenced timer costs nothing from then on (`select!` in a loop with
//! `recv(time::after(d))` leaves nothing behind).
//!
//! **No stale value** (Go 1.23). Sending, stopping and restarting happen under the channel's lock, and every stop
//! and restart begins a new *generation*:
//!
//! ```text
//!  fire   (heap lock)     pop · busy += 1 · remember the generation
//!         (channel lock)  same generation still?  hand the time over, or buffer it : drop it
//!                         busy -= 1 · wake the receiver
//!  stop   (channel lock)  out of the heap (its lock) · next generation · empty the buffer
//!  reset  (channel lock)  stop · into the heap of this P
//!  drop                   out of the heap · wait until busy = 0 · free
//! ```
//! A send that was on its way when `stop` took the channel's lock finds another generation; one that came before is in
//! the buffer, which `stop` empties. Either way what is received after `stop` or `reset` was sent by a later start.
//! `stop` says `true` if it kept a value from being received, in either of these ways.
//!
//! | field | read | written |
//! | --- | --- | --- |
//! | `gen` | under the heap's lock by `begin`, under the channel's by `run` | under the channel's lock, while in no heap |
//! | `armed` | under the channel's lock | under the channel's lock |
//! | `busy` | by the drop of the channel | `begin`, `run` |
//!
//! `gen` needs no atomic: `begin` runs only if the timer was in the heap, and there is none between the removal and the
//! next insertion, which the heap's lock orders. `busy`'s Release decrement is `run`'s last access and pairs with the
//! Acquire load in `retire`; the increment is ordered by the heap's lock, which `retire` takes to cancel.
//!
//! Lock order: channel, then heap. `run` takes the channel's lock after the heap's is released.

use alloc::boxed::Box;
use core::{
    cell::Cell,
    ptr::{self, NonNull},
};

use super::{
    Instant,
    timer::{Fire, TimerNode},
};
use crate::{
    chan::{Receiver, hchan::Hchan},
    sched,
    shim::{AtomicU32, Ordering, spin_loop},
};

/// The timer of a channel. See the file head.
#[repr(C)]
pub(crate) struct ChanTimer {
    node: TimerNode,
    chan: Cell<*const Hchan<Instant>>,
    generation: Cell<u64>,
    /// Started, and has not sent yet. A ticker stays armed.
    armed: Cell<bool>,
    /// `run`s on their way.
    busy: AtomicU32,
    /// Lets a model notice a `run` that is not over when the timer goes.
    #[cfg(loom)]
    used: loom::cell::UnsafeCell<()>,
}

/// A channel with a timer that is not running yet.
pub(super) fn new_channel() -> Receiver<Instant> {
    let timer = Box::new(ChanTimer {
        node: TimerNode::new(Fire::Call {
            begin,
            run,
            awaited: Some(awaited),
        }),
        chan: Cell::new(ptr::null()),
        generation: Cell::new(0),
        armed: Cell::new(false),
        busy: AtomicU32::new(0),
        #[cfg(loom)]
        used: loom::cell::UnsafeCell::new(()),
    });
    let c = Hchan::with_timer(timer);
    // SAFETY: the timer was just given to the channel, which keeps it as long as it lives.
    unsafe { &*c.core.timer() }.chan.set(ptr::from_ref(&*c));
    Receiver::of_new(c)
}

fn timer(c: &Receiver<Instant>) -> Option<(&Hchan<Instant>, &ChanTimer)> {
    let c = c.chan().inner()?;
    // SAFETY: null, or the channel's own timer, which lives as long as the channel.
    Some((c, unsafe { c.core.timer().as_ref() }?))
}

/// Stops the timer behind `c`: nothing is received from `c` until it is started again. `true`: it would have been.
pub(super) fn stop(c: &Receiver<Instant>) -> bool {
    let Some((c, t)) = timer(c) else { return false };
    c.core.lock.lock();
    let pending = t.stop_locked(c);
    c.core.unlock();
    pending
}

/// Stops the timer and starts it anew, with this period (0: once). `true`: it was running.
pub(super) fn restart(c: &Receiver<Instant>, when: u64, period: u64) -> bool {
    let Some((c, t)) = timer(c) else { return false };
    c.core.lock.lock();
    let pending = t.stop_locked(c);
    t.armed.set(true);
    t.node.set_period(period);
    // SAFETY: 1. just taken out; the channel does not go before it has cancelled it.
    unsafe { t.node.start(when, false) };
    c.core.unlock();
    pending
}

impl ChanTimer {
    /// The channel's lock is held.
    fn stop_locked(&self, c: &Hchan<Instant>) -> bool {
        self.node.cancel();
        self.generation.set(self.generation.get().wrapping_add(1));
        let buffered = c.discard_locked();
        self.armed.replace(false) || buffered
    }

    /// The channel goes away: nobody else holds it.
    ///
    /// # Safety
    /// 1. `t` is what `Hchan::with_timer` was given, and not used again.
    pub(crate) unsafe fn retire(t: *const ChanTimer) {
        // SAFETY: 1.
        let t = unsafe { Box::from_raw(t.cast_mut()) };
        t.node.cancel();
        // A `run` is on g0 of another core, which nothing preempts, and about to find nobody waiting.
        while t.busy.load(Ordering::Acquire) != 0 {
            spin_loop();
        }
        #[cfg(loom)]
        t.used.with_mut(|_| ());
    }
}

/// See the file head.
///
/// # Safety
/// 1. `node` is the first field of a live `ChanTimer`; its heap's lock is held.
unsafe fn begin(node: NonNull<TimerNode>) -> Option<u64> {
    // SAFETY: 1.
    let t = unsafe { node.cast::<ChanTimer>().as_ref() };
    t.busy.fetch_add(1, Ordering::Relaxed);
    Some(t.generation.get())
}

/// Does anybody receive from the channel, or select on it?
///
/// # Safety
/// 1. As for `begin`; nobody runs.
unsafe fn awaited(node: NonNull<TimerNode>) -> bool {
    // SAFETY: 1.
    let t = unsafe { node.cast::<ChanTimer>().as_ref() };
    // SAFETY: set before the timer was first started; who frees the channel takes its timer out of the heap first.
    !unsafe { &*t.chan.get() }.core.receivers.looks_empty()
}

/// # Safety
/// 1. `begin` was called for it: `busy` keeps the timer and its channel alive until the last line of `deliver`'s `done`.
unsafe fn run(node: NonNull<TimerNode>, generation: u64) {
    // SAFETY: 1.
    let t = unsafe { node.cast::<ChanTimer>().as_ref() };
    // SAFETY: 1.; set before the timer was first started.
    let c = unsafe { &*t.chan.get() };
    // Under the lock, so that of two ticks that are sent at once the first to arrive is not the later one.
    let time = || {
        let valid = t.generation.get() == generation;
        if valid && !t.node.is_periodic() {
            t.armed.set(false);
        }
        valid.then(|| Instant::at(sched::now_ns()))
    };
    let done = || {
        #[cfg(loom)]
        t.used.with(|_| ());
        t.busy.fetch_sub(1, Ordering::Release); // pairs with the Acquire in `retire`
    };
    c.deliver(time, done);
}

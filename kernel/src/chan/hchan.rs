//! The channel itself: a ring of values and two queues of waiters behind one spin lock.
//!
//! Send, in this order: closed → panic; somebody waits to receive → the value goes straight into their frame;
//! room in the ring → into the ring; else wait in FIFO order with the value in our own frame. Receive is its
//! mirror image, with one twist: on a full ring with a sender waiting, the receiver takes the oldest value and
//! moves the sender's into the freed place, so order is kept.
//!
//! Under the lock run only loads, stores and plain copies: no wake-ups, no drops, no allocation, no user code.
//! Hand-offs copy after the lock is released: a waiter that was taken off its queue belongs to the taker.
//!
//! A ring with per-slot sequence numbers (Vyukov's queue) would spare the lock on the buffered path, but then
//! `close`, waiter queues and `select!` each need their own races argued; the lock is two uncontended atomic
//! operations, about a dozen instructions.
//!
//! Invariants, with the lock free: senders wait ⇒ the ring is full; receivers wait ⇒ it is empty; not both
//! queues hold live waiters of different goroutines. Closed ⇒ nobody waits.
//!
//! | field | read | written |
//! | --- | --- | --- |
//! | `count`, `closed`, queue heads | anyone (hints) | under the lock |
//! | `first`, ring slots | under the lock | under the lock |

use alloc::boxed::Box;
use core::{
    cell::{Cell, UnsafeCell},
    mem::{ManuallyDrop, MaybeUninit},
    ptr,
};

use super::{
    error::{TryRecvError, TrySendError},
    wait::{Token, WaitQ, Waiter},
};
use crate::{
    lock::{Rank, RawSpinLock},
    sched::{self, WaitReason},
    shim::{Arc, AtomicBool, AtomicUsize, Ordering},
    time::{ChanTimer, Instant},
};

/// What does not depend on the type of the values.
pub(crate) struct Core {
    pub(crate) lock: RawSpinLock,
    closed: AtomicBool,
    cap: usize,
    count: AtomicUsize,
    /// Index of the oldest value in the ring.
    first: Cell<usize>,
    pub(crate) receivers: WaitQ,
    pub(crate) senders: WaitQ,
    /// Handles that can only receive; the others may also send, or close. For `leak` alone, so it orders nothing, and
    /// models need not know of it.
    receive_only: core::sync::atomic::AtomicUsize,
    /// The timer that sends here, null for an ordinary channel. Owned; set once, before the channel is shared.
    timer: *const ChanTimer,
}

/// A channel of `T`.
#[repr(C)]
pub(crate) struct Hchan<T> {
    pub(crate) core: Core,
    ring: Box<[UnsafeCell<MaybeUninit<T>>]>,
}

// SAFETY: values move between threads (`T: Send`); no reference to one is ever shared, and all other state is
// atomic or guarded by the lock.
unsafe impl<T: Send> Sync for Hchan<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Hchan<T> {}

#[cold]
#[inline(never)]
#[track_caller]
pub(crate) fn send_on_closed() -> ! {
    panic!("send on closed channel")
}

impl Core {
    /// Would a receive have to wait? Without the lock: true at some moment during the call.
    #[inline(always)]
    pub(crate) fn nothing_to_receive(&self) -> bool {
        // Acquire: pairs with the Release store in `set_count`.
        if self.cap == 0 {
            self.senders.looks_empty()
        } else {
            self.count.load(Ordering::Acquire) == 0
        }
    }

    /// Would a send have to wait?
    #[inline(always)]
    pub(crate) fn no_room(&self) -> bool {
        if self.cap == 0 {
            self.receivers.looks_empty()
        } else {
            self.count.load(Ordering::Acquire) == self.cap // pairs with the Release store in `set_count`
        }
    }

    #[inline(always)]
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire) // pairs with the Release store in `close`
    }

    #[inline(always)]
    fn set_count(&self, n: usize) {
        self.count.store(n, Ordering::Release); // pairs with the Acquire loads of the hints
    }

    #[inline(always)]
    pub(crate) fn unlock(&self) {
        // SAFETY: 1. private to the channel's own code, which pairs it with `lock` on every path.
        unsafe { self.lock.unlock() };
    }

    /// Could this arm proceed now, for `token`'s owner? The lock is held.
    pub(crate) fn ready_for(&self, token: &Token, sending: bool) -> bool {
        let n = self.count.load(Ordering::Relaxed);
        self.closed.load(Ordering::Relaxed)
            || if sending {
                n < self.cap || self.receivers.has_other(token)
            } else {
                n > 0 || self.senders.has_other(token)
            }
    }

    /// A timer's channel has no buffer that a program could see (Go 1.23).
    pub(crate) fn len(&self) -> usize {
        match self.timer.is_null() {
            true => self.count.load(Ordering::Acquire), // pairs with the Release store in `set_count`
            false => 0,
        }
    }

    pub(crate) fn cap(&self) -> usize {
        if self.timer.is_null() { self.cap } else { 0 }
    }

    /// See the field.
    #[inline]
    pub(crate) fn timer(&self) -> *const ChanTimer {
        self.timer
    }

    /// One handle more that can only receive. It counts as a sender until then, which errs on the safe side.
    #[inline]
    pub(crate) fn receiver_made(&self) {
        self.receive_only.fetch_add(1, Ordering::Relaxed);
    }

    /// Such a handle is about to go.
    #[inline]
    pub(crate) fn receiver_goes(&self) {
        self.receive_only.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many handles can only receive.
    pub(crate) fn receive_only(&self) -> usize {
        self.receive_only.load(Ordering::Relaxed)
    }

    /// Waits on one side, the value (or the place for it) in the caller's frame: was one moved? The lock is
    /// held, which is why big values stay out of this frame: it must not fault in a page.
    #[inline(never)]
    fn wait(handle: &Handle, sending: bool, slot: *mut ()) -> bool {
        let c = handle.core();
        let w = Waiter::plain(slot);
        let (queue, reason) = match sending {
            true => (&c.senders, WaitReason::ChanSend),
            false => (&c.receivers, WaitReason::ChanRecv),
        };
        // SAFETY: 1. this frame stays until somebody took the waiter and completed it.
        unsafe { queue.push(&w) };
        sched::park_unlock_for(reason, &c.lock, ptr::from_ref(handle).cast());
        w.moved()
    }

    /// Wakes everybody: receivers with nothing, senders to panic.
    #[track_caller]
    pub(crate) fn close(&self) {
        self.lock.lock();
        if self.closed.load(Ordering::Relaxed) {
            self.unlock();
            panic!("close of closed channel");
        }
        self.closed.store(true, Ordering::Release); // pairs with the Acquire load in `is_closed`
        let (receivers, senders) = (self.receivers.take_all(), self.senders.take_all());
        self.unlock();
        for w in receivers.chain(senders) {
            w.complete(false);
        }
    }
}

/// A channel's handle of whatever type of values: what an operation borrows while it waits.
#[repr(transparent)]
pub(crate) struct Handle(ManuallyDrop<Arc<Hchan<()>>>);

impl Handle {
    /// Forgets the type.
    #[inline(always)]
    pub(crate) fn of<T>(handle: &Arc<Hchan<T>>) -> &Handle {
        // SAFETY: an `Arc` is a pointer, and `Hchan<T>` has the same layout for every `T`: `core`, then a fat pointer.
        unsafe { &*ptr::from_ref(handle).cast() }
    }

    pub(crate) fn core(&self) -> &Core {
        &self.0.core
    }

    /// How many handles there are.
    pub(crate) fn count(&self) -> usize {
        Arc::strong_count(&self.0)
    }
}

/// Touches every page of a big place, so that no stack page is faulted in under a spin lock.
#[inline(always)]
fn pretouch<T>(place: &mut MaybeUninit<T>) {
    if size_of::<T>() > 2048 {
        let p = place.as_mut_ptr().cast::<u8>();
        for at in (0..size_of::<T>()).step_by(2048) {
            // SAFETY: within the place, which is ours and not initialised yet.
            unsafe { p.wrapping_add(at).write_volatile(0) };
        }
    }
}

impl<T> Hchan<T> {
    pub(crate) fn new(cap: usize) -> Self {
        Self {
            core: Core {
                lock: RawSpinLock::new(Rank::Chan),
                closed: AtomicBool::new(false),
                cap,
                count: AtomicUsize::new(0),
                first: Cell::new(0),
                receivers: WaitQ::new(),
                senders: WaitQ::new(),
                receive_only: core::sync::atomic::AtomicUsize::new(0),
                timer: ptr::null(),
            },
            // SAFETY: a place that may be uninitialised may be so from the start; no loop over them, there may be 2^64.
            ring: unsafe { Box::new_uninit_slice(cap).assume_init() },
        }
    }

    /// Appends to the ring, which has room and `n` values. The lock is held.
    #[inline(always)]
    fn put(&self, n: usize, v: T) {
        let c = &self.core;
        let mut at = c.first.get() + n;
        if at >= c.cap {
            at -= c.cap;
        }
        // SAFETY: `first < cap` and `n < cap`, so `at < cap`, the ring's length.
        let slot = unsafe { self.ring.get_unchecked(at) };
        // SAFETY: the lock is held and the slot is empty.
        unsafe { &mut *slot.get() }.write(v);
        c.set_count(n + 1);
    }

    /// Takes the oldest value of the ring, which has `n > 0`. The lock is held.
    #[inline(always)]
    fn get(&self, n: usize) -> T {
        let c = &self.core;
        let at = c.first.get();
        // SAFETY: `first < cap`, the ring's length.
        let slot = unsafe { self.ring.get_unchecked(at) }.get();
        // SAFETY: the lock is held and the slot is full; it counts as empty from here on.
        let v = unsafe { slot.cast::<T>().read() };
        c.first.set(if at + 1 == c.cap { 0 } else { at + 1 });
        c.set_count(n - 1);
        v
    }

    /// Sends if that needs no waiting. `Ok` with the lock free (`true`: sent, `false`: closed); `Err` with the
    /// lock *held*. The value is moved out of `v` if it was sent and left there otherwise.
    ///
    /// # Safety
    /// 1. `v` holds a value, which no longer counts as there after `Ok(true)`.
    #[inline(always)]
    unsafe fn send_or_lock(&self, v: *const T) -> Result<bool, ()> {
        let c = &self.core;
        c.lock.lock();
        if c.closed.load(Ordering::Relaxed) {
            c.unlock();
            return Ok(false);
        }
        if let Some(w) = c.receivers.take() {
            c.unlock();
            // SAFETY: 1.; a receiver's slot is an empty place for a `T`, and ours until `complete`.
            unsafe { w.slot::<T>().copy_from_nonoverlapping(v, 1) };
            w.complete(true);
            return Ok(true);
        }
        let n = c.count.load(Ordering::Relaxed);
        if n < c.cap {
            // SAFETY: 1.
            self.put(n, unsafe { v.read() });
            c.unlock();
            return Ok(true);
        }
        Err(())
    }

    #[inline]
    #[track_caller]
    pub(crate) fn send(&self, v: T, handle: &Handle) {
        let mut v = ManuallyDrop::new(v);
        // SAFETY: 1. it is there, and not used again once it was sent.
        let sent = match unsafe { self.send_or_lock(&*v) } {
            Ok(sent) => sent,
            Err(()) => Core::wait(handle, true, (&raw mut v).cast()),
        };
        if !sent {
            let _dropped_here = ManuallyDrop::into_inner(v);
            send_on_closed();
        }
    }

    /// Sends from `v` if that needs no waiting: `Some(true)` sent and moved out, `Some(false)` closed.
    ///
    /// # Safety
    /// 1. As for `send_or_lock`.
    pub(crate) unsafe fn try_send_from(&self, v: *const T) -> Option<bool> {
        // SAFETY: 1.
        match unsafe { self.send_or_lock(v) } {
            Ok(sent) => Some(sent),
            Err(()) => {
                self.core.unlock();
                None
            }
        }
    }

    #[inline]
    pub(crate) fn try_send(&self, v: T) -> Result<(), TrySendError<T>> {
        let c = &self.core;
        if c.is_closed() {
            return Err(TrySendError::Closed(v));
        }
        if c.no_room() {
            return Err(TrySendError::Full(v));
        }
        let v = ManuallyDrop::new(v);
        // SAFETY: 1. it is there, and not used again after `Some(true)`.
        match unsafe { self.try_send_from(&*v) } {
            Some(true) => Ok(()),
            Some(false) => Err(TrySendError::Closed(ManuallyDrop::into_inner(v))),
            None => Err(TrySendError::Full(ManuallyDrop::into_inner(v))),
        }
    }

    /// Receives into `v` if that needs no waiting. `Ok` with the lock free (`true`: received, `false`: closed);
    /// `Err` with the lock *held*.
    #[inline(always)]
    fn recv_or_lock(&self, v: &mut MaybeUninit<T>) -> Result<bool, ()> {
        let c = &self.core;
        c.lock.lock();
        let n = c.count.load(Ordering::Relaxed);
        if n > 0 {
            v.write(self.get(n));
            if let Some(w) = c.senders.take() {
                // SAFETY: a sender's slot holds the value it sends, ours to move out; its page is there.
                self.put(n - 1, unsafe { w.slot::<T>().read() });
                c.unlock();
                w.complete(true);
            } else {
                c.unlock();
            }
            return Ok(true);
        }
        if let Some(w) = c.senders.take() {
            c.unlock();
            // SAFETY: as above.
            v.write(unsafe { w.slot::<T>().read() });
            w.complete(true);
            return Ok(true);
        }
        if c.closed.load(Ordering::Relaxed) {
            c.unlock();
            return Ok(false);
        }
        Err(())
    }

    #[inline]
    pub(crate) fn recv(&self, handle: &Handle) -> Option<T> {
        let mut v = MaybeUninit::<T>::uninit();
        pretouch(&mut v);
        let got = match self.recv_or_lock(&mut v) {
            Ok(got) => got,
            Err(()) => Core::wait(handle, false, v.as_mut_ptr().cast()),
        };
        // SAFETY: a value was moved here if the operation, or the waker, says so.
        got.then(|| unsafe { v.assume_init() })
    }

    #[inline]
    pub(crate) fn try_recv(&self) -> Result<T, TryRecvError> {
        let c = &self.core;
        if c.nothing_to_receive() {
            if !c.is_closed() {
                return Err(TryRecvError::Empty);
            }
            // Closed was seen after empty; values sent before the close may have come between: look again.
            if c.nothing_to_receive() {
                return Err(TryRecvError::Closed);
            }
        }
        self.try_recv_locked()
    }

    pub(crate) fn try_recv_locked(&self) -> Result<T, TryRecvError> {
        let mut v = MaybeUninit::<T>::uninit();
        pretouch(&mut v);
        match self.recv_or_lock(&mut v) {
            // SAFETY: a value was moved here.
            Ok(true) => Ok(unsafe { v.assume_init() }),
            Ok(false) => Err(TryRecvError::Closed),
            Err(()) => {
                self.core.unlock();
                Err(TryRecvError::Empty)
            }
        }
    }
}

impl Hchan<Instant> {
    /// A channel that `timer` sends on.
    pub(crate) fn with_timer(timer: Box<ChanTimer>) -> Arc<Self> {
        let mut c = Self::new(1);
        c.core.timer = Box::into_raw(timer);
        Arc::new(c)
    }

    /// A timer's send, which does not wait. What `time()` says under the lock, if anything, goes to the first receiver, else
    /// into the ring, else nowhere. `done` is called after the last use of the channel.
    pub(crate) fn deliver(&self, time: impl FnOnce() -> Option<Instant>, done: impl FnOnce()) {
        let c = &self.core;
        c.lock.lock();
        let sent = time().map(|v| {
            let (receiver, n) = (c.receivers.take(), c.count.load(Ordering::Relaxed));
            if receiver.is_none() && n < c.cap {
                self.put(n, v);
            }
            (v, receiver)
        });
        c.unlock();
        done();
        if let Some((v, Some(w))) = sent {
            // SAFETY: a receiver's slot is an empty place for a value, and ours until `complete`.
            unsafe { w.slot::<Instant>().write(v) };
            w.complete(true);
        }
    }

    /// Empties the ring. The lock is held. `true`: something was in it.
    pub(crate) fn discard_locked(&self) -> bool {
        let n = self.core.count.load(Ordering::Relaxed);
        if n > 0 {
            self.get(n);
        }
        n > 0
    }
}

/// Drops what is left in the ring, also past a drop that panics.
struct Rest<'a, T>(&'a Hchan<T>);

impl<T> Drop for Rest<'_, T> {
    fn drop(&mut self) {
        loop {
            let n = self.0.core.count.load(Ordering::Relaxed);
            if n == 0 {
                return;
            }
            let v = self.0.get(n);
            let go_on = Rest(self.0); // runs the rest if dropping `v` unwinds
            drop(v);
            core::mem::forget(go_on);
        }
    }
}

impl<T> Drop for Hchan<T> {
    /// The last handle is gone: nobody waits, no lock is needed. The ring's storage is freed afterwards.
    fn drop(&mut self) {
        if !self.core.timer.is_null() {
            // SAFETY: 1. the channel's own, from `with_timer`; this is its end.
            unsafe { ChanTimer::retire(self.core.timer) };
        }
        if core::mem::needs_drop::<T>() {
            drop(Rest(self));
        }
    }
}

//! The arms of a `select!`: one channel operation each, with the value it sends or the place for the one it gets.
//!
//! An arm lives in the frame of the `select!` and does not move once it is tried. Values are moved bitwise, by whoever
//! does the operation, perhaps a peer on another core; `got` and `sent` remember who owns the value now, so that it is dropped
//! exactly once: by the arm, by the receiver, or (a send from an `Option`) by the caller who keeps it.

use core::{
    cell::{Cell, UnsafeCell},
    mem::{ManuallyDrop, MaybeUninit},
    ptr,
};

use super::{
    error::TryRecvError,
    handle::Chan,
    hchan::{Core, send_on_closed},
    view::{Receiver, Sender},
};

/// One operation a `select!` may do.
pub trait Arm {
    /// Does it now if that needs no waiting.
    #[doc(hidden)]
    fn attempt(&self) -> bool;
    /// The value to send, or the place for the one received.
    #[doc(hidden)]
    fn slot(&self) -> *mut ();
    /// A peer did it: moved the value, or closed the channel.
    #[doc(hidden)]
    fn done(&self, moved: bool);
    /// What the loops below look at.
    #[doc(hidden)]
    fn case(&self) -> Case<'_>;
    /// The `Handle` it borrows, for `leak`; null on a nil channel.
    #[doc(hidden)]
    fn handle(&self) -> *const ();
}

/// An arm, with what is asked of it most often at hand.
#[derive(Clone, Copy)]
pub struct Case<'a> {
    pub(super) core: Option<&'a Core>,
    pub(super) sending: bool,
    pub(super) arm: &'a dyn Arm,
}

impl Case<'_> {
    #[inline(always)]
    pub(super) fn looks_ready(&self) -> bool {
        let Some(c) = self.core else { return false };
        let waits = if self.sending {
            c.no_room()
        } else {
            c.nothing_to_receive()
        };
        !waits || c.is_closed()
    }
}

/// A receive arm and the value it got.
pub struct RecvArm<'a, T> {
    chan: &'a Chan<T>,
    value: UnsafeCell<MaybeUninit<T>>,
    got: Cell<bool>,
}

impl<'a, T> RecvArm<'a, T> {
    #[inline(always)]
    pub(crate) fn new(chan: &'a Chan<T>) -> Self {
        Self {
            chan,
            value: UnsafeCell::new(MaybeUninit::uninit()),
            got: Cell::new(false),
        }
    }

    /// The received value; `None`: the channel is closed.
    #[doc(hidden)]
    #[inline(always)]
    pub fn finish(&self) -> Option<T> {
        // SAFETY: `got` says that there is a value; nobody else looks at it any more.
        self.got
            .replace(false)
            .then(|| unsafe { self.value.get().cast::<T>().read() })
    }
}

impl<T> Drop for RecvArm<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        drop(self.finish());
    }
}

impl<T> Arm for RecvArm<'_, T> {
    fn attempt(&self) -> bool {
        let Some(c) = self.chan.inner() else { return false };
        match c.try_recv_locked() {
            Ok(v) => {
                // SAFETY: the place is empty and no peer knows of it.
                unsafe { self.value.get().cast::<T>().write(v) };
                self.got.set(true);
                true
            }
            Err(TryRecvError::Closed) => true,
            Err(TryRecvError::Empty) => false,
        }
    }
    #[inline(always)]
    fn slot(&self) -> *mut () {
        self.value.get().cast()
    }
    fn done(&self, moved: bool) {
        self.got.set(moved);
    }
    #[inline(always)]
    fn case(&self) -> Case<'_> {
        Case {
            core: self.chan.inner().map(|c| &c.core),
            sending: false,
            arm: self,
        }
    }
    fn handle(&self) -> *const () {
        self.chan
            .handle()
            .map_or(ptr::null(), |h| ptr::from_ref(h).cast())
    }
}

/// What a send arm may send: a `T`, or what is in an `Option<T>` of the caller's, who keeps it if it is not
/// sent. An empty `Option` is an arm that is never ready.
#[doc(hidden)]
pub trait SendValue<T> {
    /// Where the `T` is, null if there is none.
    fn place(&mut self) -> *mut T;
    /// The `T` has been moved out.
    fn moved(this: ManuallyDrop<Self>)
    where
        Self: Sized;
}

impl<T> SendValue<T> for T {
    #[inline(always)]
    fn place(&mut self) -> *mut T {
        self
    }
    #[inline(always)]
    fn moved(_: ManuallyDrop<Self>) {}
}

impl<T> SendValue<T> for &mut Option<T> {
    #[inline(always)]
    fn place(&mut self) -> *mut T {
        self.as_mut().map_or(ptr::null_mut(), |v| v)
    }
    #[inline(always)]
    fn moved(mut this: ManuallyDrop<Self>) {
        let place: *mut Option<T> = &raw mut **this;
        // SAFETY: its value was moved out bitwise, so it must be overwritten without a drop.
        unsafe { place.write(None) };
    }
}

/// A send arm with its value.
pub struct SendArm<'a, T, V: SendValue<T>> {
    chan: &'a Chan<T>,
    value: UnsafeCell<ManuallyDrop<V>>,
    sent: Cell<bool>,
}

impl<'a, T, V: SendValue<T>> SendArm<'a, T, V> {
    #[inline(always)]
    pub(crate) fn new(chan: &'a Chan<T>, value: V) -> Self {
        Self {
            chan,
            value: UnsafeCell::new(ManuallyDrop::new(value)),
            sent: Cell::new(false),
        }
    }

    /// Where the value is now. Arms do not move once a wait or an attempt has begun.
    #[inline(always)]
    fn place(&self) -> *mut T {
        // SAFETY: arms are used by one goroutine; no peer knows the place before a wait has begun, and this is
        // not called while one goes on.
        let v = unsafe { &mut *self.value.get() };
        <V as SendValue<T>>::place(v)
    }

    pub(crate) fn was_sent(&self) -> bool {
        self.sent.get()
    }

    /// This arm was chosen.
    #[doc(hidden)]
    #[inline(always)]
    #[track_caller]
    pub fn finish(&self) {
        if !self.sent.get() {
            send_on_closed();
        }
    }
}

impl<T, V: SendValue<T>> Drop for SendArm<'_, T, V> {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: taken once, here.
        let v = unsafe { ManuallyDrop::new(ManuallyDrop::take(self.value.get_mut())) };
        if self.sent.get() {
            V::moved(v);
        } else {
            drop(ManuallyDrop::into_inner(v));
        }
    }
}

impl<T, V: SendValue<T>> Arm for SendArm<'_, T, V> {
    fn attempt(&self) -> bool {
        let (Some(c), place) = (self.chan.inner(), self.place()) else {
            return false;
        };
        if place.is_null() {
            return false;
        }
        // SAFETY: 1. the value is there; `sent` remembers that it is gone.
        match unsafe { c.try_send_from(place) } {
            None => false,
            Some(sent) => {
                self.sent.set(sent);
                true
            }
        }
    }
    #[inline(always)]
    fn slot(&self) -> *mut () {
        self.place().cast()
    }
    fn done(&self, moved: bool) {
        self.sent.set(moved);
    }
    #[inline(always)]
    fn case(&self) -> Case<'_> {
        let chan = self.chan.inner().filter(|_| !self.place().is_null());
        Case {
            core: chan.map(|c| &c.core),
            sending: true,
            arm: self,
        }
    }
    fn handle(&self) -> *const () {
        self.chan
            .handle()
            .map_or(ptr::null(), |h| ptr::from_ref(h).cast())
    }
}

impl<T> Chan<T> {
    #[doc(hidden)]
    #[inline(always)]
    pub fn __recv_arm(&self) -> RecvArm<'_, T> {
        RecvArm::new(self)
    }
    #[doc(hidden)]
    #[inline(always)]
    pub fn __send_arm<V: SendValue<T>>(&self, v: V) -> SendArm<'_, T, V> {
        SendArm::new(self, v)
    }
}

impl<T> Receiver<T> {
    #[doc(hidden)]
    #[inline(always)]
    pub fn __recv_arm(&self) -> RecvArm<'_, T> {
        RecvArm::new(self.chan())
    }
}

impl<T> Sender<T> {
    #[doc(hidden)]
    #[inline(always)]
    pub fn __send_arm<V: SendValue<T>>(&self, v: V) -> SendArm<'_, T, V> {
        SendArm::new(self.chan(), v)
    }
}

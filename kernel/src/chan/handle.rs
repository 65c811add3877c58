//! The handles a program holds: [`Chan`], and its one-way views [`Sender`] and [`Receiver`].
//!
//! All are a counted reference to the channel, or nothing (the nil channel). Dropping handles never closes:
//! only `close` does, as in Go. When the last handle goes, what was never received is dropped with the channel.

use core::{fmt, ptr};

use super::{
    error::{RecvTimeoutError, SendTimeoutError, TryRecvError, TrySendError},
    hchan::{Handle, Hchan},
    iter::{IntoIter, Iter},
    select::{self, RecvArm, SendArm},
};
use crate::{
    sched::{self, GPtr, WaitReason},
    shim::Arc,
    time::Duration,
};

/// Makes a channel that buffers `cap` values; 0 makes every send meet its receive.
///
/// ```
/// let ch = burrow::chan::<u32>(0);
/// let tx = ch.sender();
/// burrow::go(move || {
///     for i in 0..3 {
///         tx.send(i);
///     }
///     tx.close();
/// });
/// let got: Vec<u32> = ch.iter().collect();
/// assert_eq!(got, [0, 1, 2]);
/// ```
pub fn chan<T>(cap: usize) -> Chan<T> {
    Chan(Some(Arc::new(Hchan::new(cap))))
}

/// A channel: both its ends. Cheap to clone; many may send, many may receive.
pub struct Chan<T>(Option<Arc<Hchan<T>>>);

/// The sending end of a channel.
pub struct Sender<T>(Chan<T>);

/// The receiving end of a channel.
pub struct Receiver<T>(Chan<T>);

/// Parks for good.
#[cold]
pub(crate) fn block_forever(reason: WaitReason) -> ! {
    unsafe fn sleep(_: GPtr, _: *mut ()) -> bool {
        true
    }
    loop {
        // Anything but null: nobody else parks like this.
        sched::park_for(reason, sleep, ptr::null_mut(), ptr::dangling());
    }
}

impl<T> Chan<T> {
    /// The nil channel: sending and receiving block for ever, `select!` never picks it.
    ///
    /// ```
    /// let nil = burrow::Chan::<u8>::nil();
    /// assert!(nil.is_nil() && nil.try_recv().is_err());
    /// ```
    pub const fn nil() -> Self {
        Chan(None)
    }

    /// Is it the nil channel?
    pub fn is_nil(&self) -> bool {
        self.0.is_none()
    }

    /// The handle, for one that does not know `T`.
    pub(crate) fn handle(&self) -> Option<&Handle> {
        self.0.as_ref().map(Handle::of)
    }

    #[inline(always)]
    pub(crate) fn inner(&self) -> Option<&Hchan<T>> {
        self.0.as_deref()
    }

    /// The send-only view.
    pub fn sender(&self) -> Sender<T> {
        Sender::of(self.clone())
    }

    /// The receive-only view.
    pub fn receiver(&self) -> Receiver<T> {
        Receiver::of(self.clone())
    }

    /// Sends `v`; waits until a receiver takes it or the buffer has room. For ever on a nil channel.
    ///
    /// # Panics
    /// If the channel is closed, or is closed while waiting ("send on closed channel"). `v` is dropped here.
    #[inline]
    #[track_caller]
    pub fn send(&self, v: T) {
        crate::lock::might_sleep();
        match &self.0 {
            Some(c) => c.send(v, Handle::of(c)),
            None => block_forever(WaitReason::ChanSendNil),
        }
    }

    /// Receives the next value; waits for one. `None` once the channel is closed and drained. For ever on a
    /// nil channel.
    ///
    /// ```
    /// let ch = burrow::chan(1);
    /// ch.send('a');
    /// ch.close();
    /// assert_eq!((ch.recv(), ch.recv()), (Some('a'), None));
    /// ```
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn recv(&self) -> Option<T> {
        crate::lock::might_sleep();
        match &self.0 {
            Some(c) => c.recv(Handle::of(c)),
            None => block_forever(WaitReason::ChanRecvNil),
        }
    }

    /// Sends `v` if that needs no waiting.
    ///
    /// # Errors
    /// `Full(v)` if it would wait (always, on a nil channel), `Closed(v)` if the channel is closed.
    #[inline]
    pub fn try_send(&self, v: T) -> Result<(), TrySendError<T>> {
        match &self.0 {
            Some(c) => c.try_send(v),
            None => Err(TrySendError::Full(v)),
        }
    }

    /// Receives a value if that needs no waiting.
    ///
    /// # Errors
    /// `Empty` if it would wait (always, on a nil channel), `Closed` once the channel is closed and drained.
    #[inline]
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        match &self.0 {
            Some(c) => c.try_recv(),
            None => Err(TryRecvError::Empty),
        }
    }

    /// Sends `v`, waiting no longer than `d`.
    ///
    /// # Errors
    /// `Timeout(v)` if nobody took it in time, `Closed(v)` if the channel is closed.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn send_timeout(&self, v: T, d: Duration) -> Result<(), SendTimeoutError<T>> {
        crate::lock::might_sleep();
        let mut v = Some(v);
        let closed = {
            let arm = SendArm::new(self, &mut v);
            select::with_deadline(&arm, d).is_some() && !arm.was_sent()
        };
        match v {
            None => Ok(()),
            Some(v) if closed => Err(SendTimeoutError::Closed(v)),
            Some(v) => Err(SendTimeoutError::Timeout(v)),
        }
    }

    /// Receives the next value, waiting no longer than `d`.
    ///
    /// ```
    /// use burrow::{RecvTimeoutError, time::Duration};
    /// let ch = burrow::chan::<u8>(1);
    /// assert_eq!(ch.recv_timeout(Duration::from_millis(1)), Err(RecvTimeoutError::Timeout));
    /// ```
    ///
    /// # Errors
    /// `Timeout` if nothing came in time, `Closed` once the channel is closed and drained.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn recv_timeout(&self, d: Duration) -> Result<T, RecvTimeoutError> {
        crate::lock::might_sleep();
        let arm = RecvArm::new(self);
        match select::with_deadline(&arm, d) {
            None => Err(RecvTimeoutError::Timeout),
            Some(()) => arm.finish().ok_or(RecvTimeoutError::Closed),
        }
    }

    /// Closes the channel: receivers get what is buffered, then `None`.
    ///
    /// # Panics
    /// If it is closed already ("close of closed channel") or nil ("close of nil channel"). Senders that wait
    /// panic, too, each in its own goroutine.
    #[track_caller]
    pub fn close(&self) {
        match &self.0 {
            Some(c) => c.core.close(),
            None => panic!("close of nil channel"),
        }
    }

    /// Number of buffered values, now.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |c| c.core.len())
    }

    /// Is nothing buffered, now?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The buffer's size.
    pub fn cap(&self) -> usize {
        self.0.as_ref().map_or(0, |c| c.core.cap())
    }

    /// Receives until the channel is closed and drained.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter(self)
    }

    fn same(&self, o: &Self) -> bool {
        match (&self.0, &o.0) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (None, None) => true,
            _ => false,
        }
    }
}

impl<T> Clone for Chan<T> {
    fn clone(&self) -> Self {
        Chan(self.0.clone())
    }
}

impl<T> Default for Chan<T> {
    /// The nil channel, as in Go.
    fn default() -> Self {
        Self::nil()
    }
}

impl<T> PartialEq for Chan<T> {
    /// Is it the same channel?
    fn eq(&self, o: &Self) -> bool {
        self.same(o)
    }
}

impl<T> Eq for Chan<T> {}

impl<T> fmt::Debug for Chan<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => f.write_str("Chan(nil)"),
            Some(c) => {
                let state = if c.core.is_closed() { ", closed" } else { "" };
                write!(f, "Chan({}/{}{state})", c.core.len(), c.core.cap())
            }
        }
    }
}

impl<'a, T> IntoIterator for &'a Chan<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;
    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<T> IntoIterator for Chan<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;
    fn into_iter(self) -> IntoIter<T> {
        IntoIter(Receiver::of(self))
    }
}

/// Methods of a view, handed on to the channel.
macro_rules! view {
    ($view:ident: $($(#[$m:meta])* fn $f:ident(&self $(, $a:ident: $t:ty)*) $(-> $r:ty)?;)*) => {
        impl<T> $view<T> {
            $(
                $(#[$m])*
                #[inline]
                #[track_caller]
                pub fn $f(&self $(, $a: $t)*) $(-> $r)? { self.0.$f($($a),*) }
            )*

            /// This end of the nil channel.
            pub const fn nil() -> Self {
                $view(Chan::nil())
            }

            #[inline(always)]
            pub(crate) fn chan(&self) -> &Chan<T> {
                &self.0
            }
        }

        impl<T> Clone for $view<T> {
            fn clone(&self) -> Self {
                $view::of(self.0.clone())
            }
        }

        impl<T> Default for $view<T> {
            fn default() -> Self {
                Self::nil()
            }
        }

        impl<T> PartialEq for $view<T> {
            fn eq(&self, o: &Self) -> bool {
                self.0 == o.0
            }
        }

        impl<T> Eq for $view<T> {}

        impl<T> fmt::Debug for $view<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($view), "({:?})"), self.0)
            }
        }

        impl<T> From<Chan<T>> for $view<T> {
            fn from(c: Chan<T>) -> Self {
                $view::of(c)
            }
        }
    };
}

impl<T> Sender<T> {
    #[inline(always)]
    fn of(c: Chan<T>) -> Self {
        Sender(c)
    }
}

impl<T> Receiver<T> {
    #[inline]
    fn of(c: Chan<T>) -> Self {
        if let Some(c) = &c.0 {
            c.core.receiver_made();
        }
        Receiver(c)
    }

    /// The receiving end of a channel that nobody has a handle of yet.
    pub(crate) fn of_new(c: Arc<Hchan<T>>) -> Self {
        Self::of(Chan(Some(c)))
    }
}

impl<T> Drop for Receiver<T> {
    #[inline]
    fn drop(&mut self) {
        if let Some(c) = &self.0.0 {
            c.core.receiver_goes();
        }
    }
}

view! { Sender:
    /// See [`Chan::send`].
    fn send(&self, v: T);
    /// See [`Chan::try_send`].
    fn try_send(&self, v: T) -> Result<(), TrySendError<T>>;
    /// See [`Chan::send_timeout`].
    fn send_timeout(&self, v: T, d: Duration) -> Result<(), SendTimeoutError<T>>;
    /// See [`Chan::close`].
    fn close(&self);
    /// See [`Chan::len`].
    fn len(&self) -> usize;
    /// See [`Chan::is_empty`].
    fn is_empty(&self) -> bool;
    /// See [`Chan::cap`].
    fn cap(&self) -> usize;
    /// See [`Chan::is_nil`].
    fn is_nil(&self) -> bool;
}

view! { Receiver:
    /// See [`Chan::recv`].
    fn recv(&self) -> Option<T>;
    /// See [`Chan::try_recv`].
    fn try_recv(&self) -> Result<T, TryRecvError>;
    /// See [`Chan::recv_timeout`].
    fn recv_timeout(&self, d: Duration) -> Result<T, RecvTimeoutError>;
    /// See [`Chan::iter`].
    fn iter(&self) -> Iter<'_, T>;
    /// See [`Chan::len`].
    fn len(&self) -> usize;
    /// See [`Chan::is_empty`].
    fn is_empty(&self) -> bool;
    /// See [`Chan::cap`].
    fn cap(&self) -> usize;
    /// See [`Chan::is_nil`].
    fn is_nil(&self) -> bool;
}

impl<'a, T> IntoIterator for &'a Receiver<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;
    fn into_iter(self) -> Iter<'a, T> {
        self.0.iter()
    }
}

impl<T> IntoIterator for Receiver<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;
    fn into_iter(self) -> IntoIter<T> {
        IntoIter(self)
    }
}

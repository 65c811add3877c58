//! The handle a program holds: [`Chan`]. Its one-way views are in `view`.
//!
//! It is a counted reference to the channel, or nothing (the nil channel). Dropping handles never closes:
//! only `close` does, as in Go. When the last handle goes, what was never received is dropped with the channel.

use core::{fmt, ptr};

use super::{
    Receiver, Sender,
    arm::{RecvArm, SendArm},
    error::{RecvTimeoutError, SendTimeoutError, TryRecvError, TrySendError},
    hchan::{Handle, Hchan},
    iter::{IntoIter, Iter},
    select,
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
///
/// ```
/// let c = burrow::chan::<u32>(2);
/// let other = c.clone(); // the same channel
/// other.send(1);
/// assert!(c == other && c.recv() == Some(1));
/// ```
pub struct Chan<T>(Option<Arc<Hchan<T>>>);

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
    ///
    /// ```
    /// assert!(burrow::Chan::<u8>::default().is_nil());
    /// assert!(!burrow::chan::<u8>(0).is_nil());
    /// ```
    pub fn is_nil(&self) -> bool {
        self.0.is_none()
    }

    pub(super) fn of(c: Arc<Hchan<T>>) -> Self {
        Chan(Some(c))
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
    ///
    /// ```
    /// let c = burrow::chan(1);
    /// c.sender().send(1);
    /// assert_eq!(c.len(), 1);
    /// ```
    pub fn sender(&self) -> Sender<T> {
        Sender::of(self.clone())
    }

    /// The receive-only view.
    ///
    /// ```
    /// let c = burrow::chan(1);
    /// c.send(1);
    /// assert_eq!(c.receiver().recv(), Some(1));
    /// ```
    pub fn receiver(&self) -> Receiver<T> {
        Receiver::of(self.clone())
    }

    /// Sends `v`; waits until a receiver takes it or the buffer has room. For ever on a nil channel.
    ///
    /// # Panics
    /// If the channel is closed, or is closed while waiting ("send on closed channel"). `v` is dropped here.
    ///
    /// ```
    /// let c = burrow::chan(1);
    /// c.send('a'); // there is room
    /// let tx = c.clone();
    /// burrow::go(move || tx.send('b')); // waits for room
    /// assert_eq!((c.recv(), c.recv()), (Some('a'), Some('b')));
    /// ```
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
    ///
    /// ```
    /// let c = burrow::chan(1);
    /// assert!(c.try_send(1).is_ok());
    /// assert!(c.try_send(2).is_err()); // full
    /// ```
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
    ///
    /// ```
    /// let c = burrow::chan(1);
    /// assert!(c.try_recv().is_err());
    /// c.send(1);
    /// assert_eq!(c.try_recv(), Ok(1));
    /// ```
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
    ///
    /// ```
    /// let c = burrow::chan(0);
    /// let lost = c.send_timeout(1, burrow::time::Duration::from_millis(1));
    /// assert_eq!(lost.unwrap_err().into_inner(), 1); // nobody came
    /// ```
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
    ///
    /// ```
    /// let c = burrow::chan(1);
    /// c.send(1);
    /// c.close();
    /// assert_eq!((c.recv(), c.recv()), (Some(1), None));
    /// assert!(burrow::recover(|| c.close()).is_err()); // a second time
    /// ```
    #[track_caller]
    pub fn close(&self) {
        match &self.0 {
            Some(c) => c.core.close(),
            None => panic!("close of nil channel"),
        }
    }

    /// Number of buffered values, now.
    ///
    /// ```
    /// let c = burrow::chan(4);
    /// c.send(1);
    /// assert_eq!(c.len(), 1);
    /// ```
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |c| c.core.len())
    }

    /// Is nothing buffered, now?
    ///
    /// ```
    /// assert!(burrow::chan::<u8>(4).is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The buffer's size.
    ///
    /// ```
    /// assert_eq!(burrow::chan::<u8>(4).cap(), 4);
    /// ```
    pub fn cap(&self) -> usize {
        self.0.as_ref().map_or(0, |c| c.core.cap())
    }

    /// Receives until the channel is closed and drained.
    ///
    /// ```
    /// let c = burrow::chan(2);
    /// c.send(1);
    /// c.send(2);
    /// c.close();
    /// assert_eq!(c.iter().sum::<i32>(), 3);
    /// ```
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

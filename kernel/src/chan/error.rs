//! What can go wrong with a channel operation that does not wait, or not for ever.
#![forbid(unsafe_code)]

use core::{error::Error, fmt};

/// Why `try_send` did not send; the value comes back.
///
/// ```
/// use burrow::TrySendError;
/// let c = burrow::chan(0);
/// assert_eq!(c.try_send(1), Err(TrySendError::Full(1)));
/// c.close();
/// assert_eq!(c.try_send(1), Err(TrySendError::Closed(1)));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum TrySendError<T> {
    /// It would have to wait (or the channel is nil).
    Full(T),
    /// The channel is closed.
    Closed(T),
}

/// Why `send_timeout` did not send; the value comes back.
///
/// ```
/// use burrow::{SendTimeoutError, time::Duration};
/// let c = burrow::chan(0);
/// assert_eq!(c.send_timeout(1, Duration::from_millis(1)), Err(SendTimeoutError::Timeout(1)));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum SendTimeoutError<T> {
    /// Nobody took it in time.
    Timeout(T),
    /// The channel is closed, or was while waiting.
    Closed(T),
}

/// Why `try_recv` has no value.
///
/// ```
/// use burrow::TryRecvError;
/// let c = burrow::chan::<u8>(0);
/// assert_eq!(c.try_recv(), Err(TryRecvError::Empty));
/// c.close();
/// assert_eq!(c.try_recv(), Err(TryRecvError::Closed));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TryRecvError {
    /// It would have to wait (or the channel is nil).
    Empty,
    /// The channel is closed and drained.
    Closed,
}

/// Why `recv_timeout` has no value.
///
/// ```
/// use burrow::{RecvTimeoutError, time::Duration};
/// let c = burrow::chan::<u8>(0);
/// c.close();
/// assert_eq!(c.recv_timeout(Duration::from_secs(1)), Err(RecvTimeoutError::Closed));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecvTimeoutError {
    /// Nothing came in time.
    Timeout,
    /// The channel is closed and drained.
    Closed,
}

impl<T> TrySendError<T> {
    /// The value that was not sent.
    ///
    /// ```
    /// let lost = burrow::chan(0).try_send("mine").unwrap_err();
    /// assert_eq!(lost.into_inner(), "mine");
    /// ```
    pub fn into_inner(self) -> T {
        match self {
            Self::Full(v) | Self::Closed(v) => v,
        }
    }
}

impl<T> SendTimeoutError<T> {
    /// The value that was not sent.
    ///
    /// ```
    /// let lost = burrow::chan(0).send_timeout("mine", burrow::time::Duration::ZERO).unwrap_err();
    /// assert_eq!(lost.into_inner(), "mine");
    /// ```
    pub fn into_inner(self) -> T {
        match self {
            Self::Timeout(v) | Self::Closed(v) => v,
        }
    }
}

impl<T> fmt::Debug for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Full(_) => "Full(..)",
            Self::Closed(_) => "Closed(..)",
        })
    }
}

impl<T> fmt::Debug for SendTimeoutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Timeout(_) => "Timeout(..)",
            Self::Closed(_) => "Closed(..)",
        })
    }
}

impl<T> fmt::Display for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Full(_) => "channel is full",
            Self::Closed(_) => "channel is closed",
        })
    }
}

impl<T> fmt::Display for SendTimeoutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Timeout(_) => "timed out sending on a channel",
            Self::Closed(_) => "channel is closed",
        })
    }
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Empty => "channel is empty",
            Self::Closed => "channel is closed",
        })
    }
}

impl fmt::Display for RecvTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Timeout => "timed out receiving from a channel",
            Self::Closed => "channel is closed",
        })
    }
}

impl<T> Error for TrySendError<T> {}
impl<T> Error for SendTimeoutError<T> {}
impl Error for TryRecvError {}
impl Error for RecvTimeoutError {}

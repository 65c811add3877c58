//! What can go wrong on a socket, in the words everybody knows.
#![forbid(unsafe_code)]

use alloc::alloc::AllocError;
use core::fmt;

use super::poll::Evicted;

/// Why a network call failed.
///
/// ```
/// use burrow::net::Error;
/// assert_eq!(Error::Refused.to_string(), "connection refused");
/// assert_eq!(Error::TimedOut.to_string(), "i/o timeout");
/// assert_eq!(Error::Closed.to_string(), "use of closed network connection");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Error {
    /// Nobody listens there.
    Refused,
    /// The peer reset the connection.
    Reset,
    /// Writing to a connection whose writing side is shut down.
    BrokenPipe,
    /// The deadline passed, or the peer did not answer for too long.
    TimedOut,
    /// The socket was closed on this side.
    Closed,
    /// Another socket has the address.
    AddrInUse,
    /// No interface has the address.
    AddrNotAvailable,
    /// There is no way to the address.
    Unreachable,
    /// The datagram is larger than the socket's buffer.
    MessageTooLong,
    /// No memory for the socket.
    OutOfMemory,
    /// A datagram without an address, and the socket is not connected.
    NotConnected,
    /// The name has no address.
    NoSuchHost,
    /// No name server answered, or none could: the name may exist.
    NameServer,
    /// The text is no address, or the address makes no sense for the call.
    InvalidAddr,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Error::Refused => "connection refused",
            Error::Reset => "connection reset by peer",
            Error::BrokenPipe => "broken pipe",
            Error::TimedOut => "i/o timeout",
            Error::Closed => "use of closed network connection",
            Error::AddrInUse => "address already in use",
            Error::AddrNotAvailable => "cannot assign requested address",
            Error::Unreachable => "network is unreachable",
            Error::MessageTooLong => "message too long",
            Error::OutOfMemory => "cannot allocate memory",
            Error::NotConnected => "socket is not connected",
            Error::NoSuchHost => "no such host",
            Error::NameServer => "name server failure",
            Error::InvalidAddr => "invalid address",
        })
    }
}

impl core::error::Error for Error {}

impl From<Evicted> for Error {
    fn from(e: Evicted) -> Self {
        match e {
            Evicted::Closed => Error::Closed,
            Evicted::Timeout => Error::TimedOut,
        }
    }
}

impl From<AllocError> for Error {
    fn from(_: AllocError) -> Self {
        Error::OutOfMemory
    }
}

//! What can go wrong with a request or its answer.
#![forbid(unsafe_code)]

use core::fmt;

use embedded_io::ErrorKind;

use super::BadHeader;
use crate::net;

/// Why a request failed, on either side.
///
/// ```
/// use burrow::net::http::{Client, Error};
/// let e = Client::new().get("http://127.0.0.1:1/").unwrap_err();
/// assert_eq!(e, Error::Net(burrow::net::Error::Refused));
/// assert_eq!(e.to_string(), "http: connection refused");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Error {
    /// The connection failed.
    Net(net::Error),
    /// The peer took longer than a limit allows.
    TimedOut,
    /// The connection ended in the middle of a message.
    UnexpectedEnd,
    /// The peer sent something that is not HTTP; what is wrong with it.
    Malformed(&'static str),
    /// The message's head is larger than the limit.
    HeadTooLarge,
    /// The body is larger than the limit.
    BodyTooLarge,
    /// A header that must not be sent.
    BadHeader,
    /// A response's body is longer than its Content-Length says, or may not have a body.
    BodyNotAllowed,
    /// The response was given up.
    Aborted,
    /// The address is no URL that this client can use.
    BadUrl,
    /// More redirects than the limit.
    TooManyRedirects,
    /// A body that should be text is not UTF-8.
    NotText,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Net(e) => write!(f, "http: {e}"),
            Error::TimedOut => f.write_str("http: timed out"),
            Error::UnexpectedEnd => f.write_str("http: the connection ended in the middle of a message"),
            Error::Malformed(what) => write!(f, "http: malformed message: {what}"),
            Error::HeadTooLarge => f.write_str("http: headers too large"),
            Error::BodyTooLarge => f.write_str("http: body too large"),
            Error::BadHeader => BadHeader.fmt(f),
            Error::BodyNotAllowed => f.write_str("http: body not allowed, or longer than declared"),
            Error::Aborted => f.write_str("http: response given up"),
            Error::BadUrl => f.write_str("http: unsupported or malformed URL"),
            Error::TooManyRedirects => f.write_str("http: too many redirects"),
            Error::NotText => f.write_str("http: body is not UTF-8"),
        }
    }
}

impl core::error::Error for Error {}

impl From<net::Error> for Error {
    fn from(e: net::Error) -> Self {
        match e {
            net::Error::TimedOut => Error::TimedOut,
            e => Error::Net(e),
        }
    }
}

impl From<BadHeader> for Error {
    fn from(_: BadHeader) -> Self {
        Error::BadHeader
    }
}

impl embedded_io::Error for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Error::Net(e) => e.kind(),
            Error::TimedOut => ErrorKind::TimedOut,
            Error::UnexpectedEnd | Error::Aborted => ErrorKind::ConnectionAborted,
            Error::Malformed(_) | Error::NotText => ErrorKind::InvalidData,
            Error::BadUrl | Error::BadHeader => ErrorKind::InvalidInput,
            _ => ErrorKind::Other,
        }
    }
}

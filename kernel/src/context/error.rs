//! Why a context has ended: [`Error`] is one of two, [`Cause`] is what somebody said about it.
#![forbid(unsafe_code)]

use alloc::{boxed::Box, sync::Arc};
use core::{error, fmt, ops::Deref};

/// How a context ended. The variants are also names of this module: `context::Canceled`.
///
/// ```
/// use burrow::context::{Canceled, DeadlineExceeded};
/// assert_eq!(Canceled.to_string(), "context canceled");
/// assert_eq!(DeadlineExceeded.to_string(), "context deadline exceeded");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Error {
    /// Somebody cancelled it, or a context it was derived from.
    Canceled,
    /// Its deadline passed.
    DeadlineExceeded,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Error::Canceled => "context canceled",
            Error::DeadlineExceeded => "context deadline exceeded",
        })
    }
}

impl error::Error for Error {}

/// What a context was cancelled with: any error, shared. Made from whatever can become a `Box<dyn Error>`, strings
/// included.
///
/// ```
/// use burrow::context::Cause;
/// let cause = Cause::from("out of paper");
/// assert_eq!(cause.to_string(), "out of paper");
/// let cause = Cause::from(burrow::TryRecvError::Closed);
/// assert!(cause.downcast_ref::<burrow::TryRecvError>().is_some());
/// ```
#[derive(Clone)]
pub struct Cause(Repr);

#[derive(Clone)]
enum Repr {
    /// No more than `err` says.
    Plain(Error),
    Told(Arc<dyn error::Error + Send + Sync>),
}

impl Cause {
    pub(super) fn plain(e: Error) -> Self {
        Cause(Repr::Plain(e))
    }

    /// Was it this, and nothing more specific?
    ///
    /// ```
    /// use burrow::context::{Canceled, Cause};
    /// assert!(Cause::from(Canceled).is(Canceled) && !Cause::from("x").is(Canceled));
    /// ```
    pub fn is(&self, e: Error) -> bool {
        self.downcast_ref() == Some(&e)
    }

    /// The error, if it is an `E`.
    ///
    /// ```
    /// use burrow::context::{Cause, DeadlineExceeded, Error};
    /// assert_eq!(Cause::from(DeadlineExceeded).downcast_ref::<Error>(), Some(&DeadlineExceeded));
    /// ```
    pub fn downcast_ref<E: error::Error + 'static>(&self) -> Option<&E> {
        (**self).downcast_ref()
    }
}

impl<E: Into<Box<dyn error::Error + Send + Sync>>> From<E> for Cause {
    fn from(e: E) -> Self {
        Cause(Repr::Told(Arc::from(e.into())))
    }
}

impl Deref for Cause {
    type Target = dyn error::Error + Send + Sync + 'static;
    fn deref(&self) -> &Self::Target {
        match &self.0 {
            Repr::Plain(e) => e,
            Repr::Told(e) => &**e,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&**self, f)
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

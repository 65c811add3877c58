//! The one-way views of a channel: [`Sender`] and [`Receiver`].
//!
//! Each is a handle of the channel that lets less through. Receivers are counted apart, when they are made and when they
//! go: `leak` asks whether somebody is left who could send.
#![forbid(unsafe_code)]

use core::fmt;

use super::{
    Chan,
    error::{RecvTimeoutError, SendTimeoutError, TryRecvError, TrySendError},
    hchan::Hchan,
    iter::{IntoIter, Iter},
};
use crate::{shim::Arc, time::Duration};

/// The sending end of a channel.
///
/// ```
/// let c = burrow::chan::<u32>(1);
/// let tx: burrow::Sender<u32> = c.sender();
/// burrow::go(move || tx.send(7));
/// assert_eq!(c.recv(), Some(7));
/// ```
pub struct Sender<T>(Chan<T>);

/// The receiving end of a channel.
///
/// ```
/// let c = burrow::chan::<u32>(1);
/// let rx: burrow::Receiver<u32> = c.receiver();
/// c.send(7);
/// assert_eq!(rx.recv(), Some(7));
/// ```
pub struct Receiver<T>(Chan<T>);

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
            ///
            /// ```
            /// assert!(burrow::Sender::<u8>::nil().is_nil() && burrow::Receiver::<u8>::nil().is_nil());
            /// ```
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
    pub(super) fn of(c: Chan<T>) -> Self {
        Sender(c)
    }
}

impl<T> Receiver<T> {
    #[inline]
    pub(super) fn of(c: Chan<T>) -> Self {
        if let Some(c) = c.inner() {
            c.core.receiver_made();
        }
        Receiver(c)
    }

    /// The receiving end of a channel that nobody has a handle of yet.
    pub(crate) fn of_new(c: Arc<Hchan<T>>) -> Self {
        Self::of(Chan::of(c))
    }
}

impl<T> Drop for Receiver<T> {
    #[inline]
    fn drop(&mut self) {
        if let Some(c) = self.0.inner() {
            c.core.receiver_goes();
        }
    }
}

view! { Sender:
    /// See [`Chan::send`].
    ///
    /// ```
    /// let c = burrow::chan(1);
    /// c.sender().send(1);
    /// assert_eq!(c.recv(), Some(1));
    /// ```
    fn send(&self, v: T);
    /// See [`Chan::try_send`].
    ///
    /// ```
    /// assert!(burrow::chan(0).sender().try_send(1).is_err()); // nobody receives
    /// ```
    fn try_send(&self, v: T) -> Result<(), TrySendError<T>>;
    /// See [`Chan::send_timeout`].
    ///
    /// ```
    /// let tx = burrow::chan(0).sender();
    /// assert!(tx.send_timeout(1, burrow::time::Duration::from_millis(1)).is_err());
    /// ```
    fn send_timeout(&self, v: T, d: Duration) -> Result<(), SendTimeoutError<T>>;
    /// See [`Chan::close`].
    ///
    /// ```
    /// let c = burrow::chan::<u8>(0);
    /// c.sender().close();
    /// assert_eq!(c.recv(), None);
    /// ```
    fn close(&self);
    /// See [`Chan::len`].
    ///
    /// ```
    /// assert_eq!(burrow::chan::<u8>(4).sender().len(), 0);
    /// ```
    fn len(&self) -> usize;
    /// See [`Chan::is_empty`].
    ///
    /// ```
    /// assert!(burrow::chan::<u8>(4).sender().is_empty());
    /// ```
    fn is_empty(&self) -> bool;
    /// See [`Chan::cap`].
    ///
    /// ```
    /// assert_eq!(burrow::chan::<u8>(4).sender().cap(), 4);
    /// ```
    fn cap(&self) -> usize;
    /// See [`Chan::is_nil`].
    ///
    /// ```
    /// assert!(!burrow::chan::<u8>(4).sender().is_nil());
    /// ```
    fn is_nil(&self) -> bool;
}

view! { Receiver:
    /// See [`Chan::recv`].
    ///
    /// ```
    /// let c = burrow::chan(1);
    /// c.send(1);
    /// assert_eq!(c.receiver().recv(), Some(1));
    /// ```
    fn recv(&self) -> Option<T>;
    /// See [`Chan::try_recv`].
    ///
    /// ```
    /// assert!(burrow::chan::<u8>(0).receiver().try_recv().is_err());
    /// ```
    fn try_recv(&self) -> Result<T, TryRecvError>;
    /// See [`Chan::recv_timeout`].
    ///
    /// ```
    /// let rx = burrow::chan::<u8>(0).receiver();
    /// assert!(rx.recv_timeout(burrow::time::Duration::from_millis(1)).is_err());
    /// ```
    fn recv_timeout(&self, d: Duration) -> Result<T, RecvTimeoutError>;
    /// See [`Chan::iter`].
    ///
    /// ```
    /// let c = burrow::chan(1);
    /// c.send(1);
    /// c.close();
    /// assert_eq!(c.receiver().iter().count(), 1);
    /// ```
    fn iter(&self) -> Iter<'_, T>;
    /// See [`Chan::len`].
    ///
    /// ```
    /// assert_eq!(burrow::chan::<u8>(4).receiver().len(), 0);
    /// ```
    fn len(&self) -> usize;
    /// See [`Chan::is_empty`].
    ///
    /// ```
    /// assert!(burrow::chan::<u8>(4).receiver().is_empty());
    /// ```
    fn is_empty(&self) -> bool;
    /// See [`Chan::cap`].
    ///
    /// ```
    /// assert_eq!(burrow::chan::<u8>(4).receiver().cap(), 4);
    /// ```
    fn cap(&self) -> usize;
    /// See [`Chan::is_nil`].
    ///
    /// ```
    /// assert!(!burrow::chan::<u8>(4).receiver().is_nil());
    /// ```
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

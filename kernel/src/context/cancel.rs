//! What the constructors hand out besides the context: functions that end it. They are types with a name, to be kept
//! in structures, and called like closures: `cancel()`.
#![forbid(unsafe_code)]

use core::fmt;

use super::{
    error::{Cause, Error},
    node::NodeRef,
};

/// Cancels a context of [`with_cancel`](super::Context::with_cancel), `with_timeout` or `with_deadline`. Dropping it does
/// not.
///
/// When it returns, the context and all that was derived from it has ended, also if somebody else cancels at the same time:
/// then it waits for him.
///
/// ```
/// let (ctx, cancel) = burrow::context::background().with_cancel();
/// let other = cancel.clone();
/// burrow::spawn(move || other()).join().unwrap();
/// assert!(ctx.err().is_some());
/// cancel(); // once more does nothing
/// ```
#[derive(Clone)]
#[must_use = "dropping it cancels nothing: call it when the work is done"]
pub struct CancelFn(pub(super) NodeRef);

/// Cancels a context of [`with_cancel_cause`](super::Context::with_cancel_cause), saying why. Dropping it does not.
///
/// ```
/// let (ctx, cancel) = burrow::context::background().with_cancel_cause();
/// cancel("first");
/// cancel("second");
/// assert_eq!(ctx.cause().unwrap().to_string(), "first");
/// ```
#[derive(Clone)]
#[must_use = "dropping it cancels nothing: call it when the work is done"]
pub struct CancelCauseFn(pub(super) NodeRef);

/// Calls off a function of [`after_func`](super::Context::after_func).
///
/// ```
/// let (ctx, cancel) = burrow::context::background().with_cancel();
/// let stop = ctx.after_func(|| unreachable!());
/// assert!(stop());
/// assert!(!stop());
/// # cancel();
/// ```
pub struct StopFn(pub(super) NodeRef);

impl CancelFn {
    /// The same as calling it.
    ///
    /// ```
    /// let (ctx, cancel) = burrow::context::background().with_cancel();
    /// cancel.cancel();
    /// assert!(ctx.err().is_some());
    /// ```
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn cancel(&self) {
        crate::lock::might_sleep();
        self.0.cancel(Error::Canceled, Cause::plain(Error::Canceled));
    }
}

impl CancelCauseFn {
    /// The same as calling it.
    ///
    /// ```
    /// let (ctx, cancel) = burrow::context::background().with_cancel_cause();
    /// cancel.cancel("enough");
    /// assert_eq!(ctx.cause().unwrap().to_string(), "enough");
    /// ```
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn cancel(&self, cause: impl Into<Cause>) {
        crate::lock::might_sleep();
        self.0.cancel(Error::Canceled, cause.into());
    }
}

impl StopFn {
    /// The same as calling it.
    ///
    /// ```
    /// assert!(burrow::context::background().after_func(|| {}).stop());
    /// ```
    pub fn stop(&self) -> bool {
        self.0.call_off()
    }
}

/// Makes a type callable: `f(args)` is `f.method(args)`.
macro_rules! callable {
    ([$($g:tt)*] $t:ty, ($($a:ident: $at:ty)?) -> $r:ty, $m:ident) => {
        impl<$($g)*> FnOnce<($($at,)?)> for $t {
            type Output = $r;
            extern "rust-call" fn call_once(self, ($($a,)?): ($($at,)?)) -> $r {
                <$t>::$m(&self $(, $a)?)
            }
        }
        impl<$($g)*> FnMut<($($at,)?)> for $t {
            extern "rust-call" fn call_mut(&mut self, ($($a,)?): ($($at,)?)) -> $r {
                <$t>::$m(self $(, $a)?)
            }
        }
        impl<$($g)*> Fn<($($at,)?)> for $t {
            extern "rust-call" fn call(&self, ($($a,)?): ($($at,)?)) -> $r {
                <$t>::$m(self $(, $a)?)
            }
        }
    };
}

callable!([] CancelFn, () -> (), cancel);
callable!([C: Into<Cause>] CancelCauseFn, (cause: C) -> (), cancel);
callable!([] StopFn, () -> bool, stop);

impl fmt::Debug for CancelFn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CancelFn")
    }
}

impl fmt::Debug for CancelCauseFn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CancelCauseFn")
    }
}

impl fmt::Debug for StopFn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StopFn")
    }
}

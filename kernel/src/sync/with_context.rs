//! Locks and contexts: a group that ends one, a semaphore that listens to one.
//!
//! The one file of this room that knows of contexts, which are made of what the room offers: everything goes through seams that
//! need none, [`Group::with_stop`] and [`Semaphore::acquire_unless`].
#![forbid(unsafe_code)]

use alloc::string::ToString;
use core::fmt::Display;

use super::{Semaphore, errgroup::Group};
use crate::context::{Canceled, Cause, Context, Error};

impl<E: Display + Send + 'static> Group<E> {
    /// A group, and a context derived from `parent` that ends with the group: with its first error or panic, or when
    /// `wait` is through. The error's text is the context's cause.
    ///
    /// ```
    /// use burrow::{context::{Canceled, Context}, sync::errgroup::Group};
    /// let (g, ctx) = Group::<String>::with_context(&Context::background());
    /// let theirs = ctx.clone();
    /// g.go(move || {
    ///     theirs.done().recv(); // works until told to stop
    ///     Err("stopped".into())
    /// });
    /// g.go(|| Err("no such page".into()));
    /// assert_eq!(g.wait(), Err("no such page".into()));
    /// assert_eq!(ctx.err(), Some(Canceled));
    /// assert_eq!(ctx.cause().unwrap().to_string(), "no such page");
    /// ```
    pub fn with_context(parent: &Context) -> (Self, Context) {
        let (ctx, cancel) = parent.with_cancel_cause();
        let group = Self::with_stop(move |e| match e {
            Some(e) => cancel.cancel(e.to_string()),
            None => cancel.cancel(Cause::from(Canceled)),
        });
        (group, ctx)
    }
}

impl Semaphore {
    /// As [`acquire`](Self::acquire), but gives up when `ctx` ends; if it has ended already nothing is taken. More permits
    /// than there are altogether it waits for until then.
    ///
    /// # Errors
    /// How the context ended.
    ///
    /// ```
    /// use burrow::{context::{Context, DeadlineExceeded}, sync::Semaphore, time::Duration};
    /// let s = Semaphore::new(1);
    /// let (ctx, cancel) = Context::background().with_timeout(Duration::from_millis(2));
    /// assert_eq!(s.acquire_ctx(&ctx, 1), Ok(()));
    /// assert_eq!(s.acquire_ctx(&ctx, 1), Err(DeadlineExceeded));
    /// # s.release(1); cancel();
    /// ```
    pub fn acquire_ctx(&self, ctx: &Context, n: usize) -> Result<(), Error> {
        match ctx.err() {
            Some(e) => Err(e),
            None if self.acquire_unless(n, &ctx.done()) => Ok(()),
            None => Err(ctx.err().unwrap_or(Canceled)),
        }
    }
}

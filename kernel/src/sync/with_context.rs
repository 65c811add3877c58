//! Locks and contexts: a group that ends one, waits that listen to one.
//!
//! The one file of this room that knows of contexts, which are made of what the room offers: everything goes through seams that
//! need none, [`Group::with_stop`] and [`Stop`].
//!
//! To listen to a context takes memory. Without any a wait gives up (`limit` says why not in the midst of it), and the panic
//! comes afterwards, here.
#![forbid(unsafe_code)]

use alloc::{
    alloc::{Layout, handle_alloc_error},
    boxed::Box,
    string::ToString,
};
use core::fmt::Display;

use super::{
    Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, Semaphore, WaitGroup,
    errgroup::Group,
    limit::{Limit, Stop},
};
use crate::{
    context::{Canceled, Cause, Context, Error, StopFn},
    panic::catch,
};

impl Stop for Context {
    fn is_over(&self) -> bool {
        self.err().is_some()
    }

    fn on_end(&self, f: Box<dyn FnOnce() + Send>) -> Option<Box<dyn FnOnce() -> bool>> {
        let place = Box::try_new_uninit().ok()?; // before there is something to call off
        let off = catch(|| self.after_func(f)).ok()?;
        Some(Box::write(place, off))
    }
}

/// Waits as long as `ctx` lives; not at all if it has ended. Panics if there is no memory to listen to it.
fn within<T>(ctx: &Context, wait: impl FnOnce(Limit<'_>) -> Option<T>) -> Result<T, Error> {
    match ctx.err() {
        Some(e) => Err(e),
        None => wait(Limit::stopped_by(ctx)).ok_or_else(|| match ctx.err() {
            Some(e) => e,
            None => handle_alloc_error(Layout::new::<StopFn>()),
        }),
    }
}

impl<T: ?Sized> Mutex<T> {
    /// As [`lock`](Self::lock), but gives up when `ctx` ends; if it has ended already nothing is locked.
    ///
    /// # Errors
    /// How the context ended.
    ///
    /// # Panics
    /// If it has to wait and there is no memory to listen to the context.
    ///
    /// ```
    /// use burrow::{context::{Context, DeadlineExceeded}, sync::Mutex, time::Duration};
    /// let m = Mutex::new(1);
    /// let guard = m.lock_ctx(&Context::background()).unwrap();
    /// let (ctx, cancel) = Context::background().with_timeout(Duration::from_millis(2));
    /// assert_eq!(m.lock_ctx(&ctx).err(), Some(DeadlineExceeded));
    /// # drop(guard); cancel();
    /// ```
    pub fn lock_ctx(&self, ctx: &Context) -> Result<MutexGuard<'_, T>, Error> {
        within(ctx, |l| self.lock_within(l))
    }
}

impl<T: ?Sized> RwLock<T> {
    /// As [`read`](Self::read), but gives up when `ctx` ends; if it has ended already nothing is locked.
    ///
    /// # Errors
    /// How the context ended.
    ///
    /// ```
    /// use burrow::{context::Context, sync::RwLock};
    /// let l = RwLock::new(5);
    /// assert_eq!(*l.read_ctx(&Context::background()).unwrap(), 5);
    /// ```
    pub fn read_ctx(&self, ctx: &Context) -> Result<RwLockReadGuard<'_, T>, Error> {
        within(ctx, |l| self.read_within(l))
    }

    /// As [`write`](Self::write), but gives up when `ctx` ends; if it has ended already nothing is locked.
    ///
    /// # Errors
    /// How the context ended.
    ///
    /// ```
    /// use burrow::{context::{Canceled, Context}, sync::RwLock};
    /// let l = RwLock::new(5);
    /// let (ctx, cancel) = Context::background().with_cancel();
    /// *l.write_ctx(&ctx).unwrap() += 1;
    /// cancel();
    /// assert_eq!(l.write_ctx(&ctx).err(), Some(Canceled));
    /// ```
    pub fn write_ctx(&self, ctx: &Context) -> Result<RwLockWriteGuard<'_, T>, Error> {
        within(ctx, |l| self.write_within(l))
    }
}

impl WaitGroup {
    /// As [`wait`](Self::wait), but gives up when `ctx` ends; if it has ended already it does not wait.
    ///
    /// # Errors
    /// How the context ended.
    ///
    /// ```
    /// use burrow::{context::{Context, DeadlineExceeded}, sync::WaitGroup, time::Duration};
    /// let wg = WaitGroup::new();
    /// wg.add(1);
    /// let (ctx, cancel) = Context::background().with_timeout(Duration::from_millis(2));
    /// assert_eq!(wg.wait_ctx(&ctx), Err(DeadlineExceeded));
    /// # cancel();
    /// ```
    pub fn wait_ctx(&self, ctx: &Context) -> Result<(), Error> {
        within(ctx, |l| self.wait_within(l).then_some(()))
    }
}

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
    /// assert_eq!(s.acquire_ctx(&Context::background(), 1), Ok(()));
    /// let (ctx, cancel) = Context::background().with_timeout(Duration::from_millis(2));
    /// assert_eq!(s.acquire_ctx(&ctx, 1), Err(DeadlineExceeded));
    /// # s.release(1); cancel();
    /// ```
    pub fn acquire_ctx(&self, ctx: &Context, n: usize) -> Result<(), Error> {
        within(ctx, |l| self.acquire_within(n, l).then_some(()))
    }
}

//! [`Context`], and how one is made from another.
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use core::{any::Any, fmt, panic::Location};

use super::{
    cancel::{CancelCauseFn, CancelFn, StopFn},
    deadline,
    error::{Cause, Error},
    node::NodeRef,
    value::{self, Entry},
};
use crate::{
    Receiver,
    time::{self, Duration, Instant},
};

/// What a call inherits from its caller: until when, whether still, and values of the request. See the
/// [module](super).
///
/// Cheap to clone; pass it by reference, first. Cancelling a context cancels all that were derived from it.
///
/// ```
/// use burrow::{context, time::Duration};
/// let (ctx, cancel) = context::background().with_timeout(Duration::from_secs(5));
/// let theirs = ctx.clone(); // cheap
/// cancel();
/// assert!(theirs.err().is_some());
/// ```
///
/// There is no context that is nil, so none has a nil parent:
///
/// ```compile_fail,E0599
/// let parent: Option<burrow::context::Context> = None;
/// parent.with_cancel();
/// ```
#[derive(Clone)]
pub struct Context {
    scope: Option<NodeRef>,
    values: Option<Arc<Entry>>,
    root: &'static str,
}

/// [`Context::background`].
///
/// ```
/// assert!(burrow::context::background().err().is_none());
/// ```
pub const fn background() -> Context {
    Context::background()
}

/// [`Context::todo`].
///
/// ```
/// assert!(burrow::context::todo().deadline().is_none());
/// ```
pub const fn todo() -> Context {
    Context::todo()
}

impl Context {
    /// The root of a tree: never cancelled, no deadline, no values.
    ///
    /// ```
    /// use burrow::context::Context;
    /// let ctx = Context::background();
    /// assert!(ctx.done().is_nil() && ctx.err().is_none() && ctx.deadline().is_none());
    /// ```
    pub const fn background() -> Context {
        Context {
            scope: None,
            values: None,
            root: "background",
        }
    }

    /// As [`background`](Context::background), where it is not clear yet which context to use.
    ///
    /// ```
    /// assert_eq!(format!("{:?}", burrow::context::Context::todo()), "Context(todo)");
    /// ```
    pub const fn todo() -> Context {
        Context {
            scope: None,
            values: None,
            root: "todo",
        }
    }

    /// A context that ends when `cancel` is called, or with this one.
    ///
    /// Call `cancel` as soon as the work is done: `defer! { cancel() }`.
    ///
    /// ```
    /// use burrow::context::{Canceled, Context};
    /// let (ctx, cancel) = Context::background().with_cancel();
    /// assert_eq!(ctx.err(), None);
    /// cancel();
    /// assert_eq!(ctx.err(), Some(Canceled));
    /// assert_eq!(ctx.done().recv(), None);
    /// ```
    #[must_use = "nobody can cancel it without the function"]
    pub fn with_cancel(&self) -> (Context, CancelFn) {
        let node = self.child(None);
        (self.in_scope(node.clone()), CancelFn(node))
    }

    /// [`with_cancel`](Context::with_cancel), with a reason given by who cancels.
    ///
    /// ```
    /// use burrow::context::{Canceled, Context};
    /// let (ctx, cancel) = Context::background().with_cancel_cause();
    /// cancel("disk full");
    /// assert_eq!(ctx.err(), Some(Canceled));
    /// assert_eq!(ctx.cause().unwrap().to_string(), "disk full");
    /// ```
    #[must_use = "nobody can cancel it without the function"]
    pub fn with_cancel_cause(&self) -> (Context, CancelCauseFn) {
        let node = self.child(None);
        (self.in_scope(node.clone()), CancelCauseFn(node))
    }

    /// A context that ends at `at` at the latest. If this one ends earlier, so does the new one.
    ///
    /// ```
    /// use burrow::{context::{Context, DeadlineExceeded}, time::{Duration, Instant}};
    /// let (early, cancel_early) = Context::background().with_timeout(Duration::from_millis(1));
    /// let (late, cancel_late) = early.with_deadline(Instant::now() + Duration::from_secs(60));
    /// assert_eq!(late.deadline(), early.deadline());
    /// late.done().recv();
    /// assert_eq!(late.err(), Some(DeadlineExceeded));
    /// # cancel_early(); cancel_late();
    /// ```
    #[track_caller]
    #[must_use = "cancel it when the work is done"]
    pub fn with_deadline(&self, at: Instant) -> (Context, CancelFn) {
        let node = match self.deadline() {
            Some(d) if d <= at => self.child(None),
            _ => deadline::child(self.scope.as_ref(), at, Location::caller()),
        };
        (self.in_scope(node.clone()), CancelFn(node))
    }

    /// [`with_deadline`](Context::with_deadline), `d` from now.
    ///
    /// ```
    /// use burrow::{context::Context, time::Duration};
    /// let (ctx, cancel) = Context::background().with_timeout(Duration::from_secs(60));
    /// assert!(ctx.deadline().is_some());
    /// cancel();
    /// assert_eq!(ctx.err().unwrap().to_string(), "context canceled");
    /// ```
    #[track_caller]
    #[must_use = "cancel it when the work is done"]
    pub fn with_timeout(&self, d: Duration) -> (Context, CancelFn) {
        self.with_deadline(Instant::at(time::deadline(d)))
    }

    /// This context with `v`, which [`value`](Context::value) finds by its type. Give each key a type of its own.
    ///
    /// ```
    /// use burrow::context::Context;
    /// struct RequestId(u64);
    /// let ctx = Context::background().with_value(RequestId(7));
    /// assert_eq!(ctx.value::<RequestId>().unwrap().0, 7);
    /// ```
    #[must_use = "the new context has the value, this one has not"]
    pub fn with_value<V: Any + Send + Sync>(&self, v: V) -> Context {
        Context {
            scope: self.scope.clone(),
            values: Some(Entry::before(self.values.clone(), v)),
            root: self.root,
        }
    }

    /// The values of this context, without its cancellation and deadline: for work that outlives the request.
    ///
    /// ```
    /// use burrow::context::Context;
    /// let (ctx, cancel) = Context::background().with_value("tag").with_cancel();
    /// let detached = ctx.without_cancel();
    /// cancel();
    /// assert!(ctx.err().is_some() && detached.err().is_none());
    /// assert_eq!(detached.value::<&str>(), Some(&"tag"));
    /// ```
    #[must_use = "this one is cancelled as before"]
    pub fn without_cancel(&self) -> Context {
        Context {
            scope: None,
            values: self.values.clone(),
            root: self.root,
        }
    }

    /// Calls `f` in a goroutine of its own once this context has ended; at once if it has. The returned function calls
    /// that off: `true` if `f` will not run because of that. Dropping it changes nothing.
    ///
    /// As long as `f` may run, it keeps what it needs of the tree alive: of a context that is never cancelled, for ever.
    ///
    /// ```
    /// use burrow::context::Context;
    /// let (ctx, cancel) = Context::background().with_cancel();
    /// let ended = burrow::chan::<()>(0);
    /// let tx = ended.sender();
    /// let first = ctx.after_func(move || tx.close());
    /// let second = ctx.after_func(|| unreachable!("called off"));
    /// assert!(second());
    /// cancel();
    /// assert_eq!(ended.recv(), None);
    /// assert!(!first());
    /// ```
    #[track_caller]
    pub fn after_func(&self, f: impl FnOnce() + Send + 'static) -> StopFn {
        StopFn(NodeRef::hook(
            self.scope.as_ref(),
            alloc::boxed::Box::new(f),
            Location::caller(),
        ))
    }

    /// A channel that is closed when this context ends; nil if it never does. Always the same channel.
    ///
    /// ```
    /// use burrow::{context::Context, select};
    /// let (ctx, cancel) = Context::background().with_cancel();
    /// cancel();
    /// select! {
    ///     recv(ctx.done()) => {}
    ///     default => unreachable!("it has ended"),
    /// }
    /// ```
    ///
    /// Only the context closes it:
    ///
    /// ```compile_fail,E0599
    /// burrow::context::background().done().close();
    /// ```
    pub fn done(&self) -> Receiver<()> {
        self.scope.as_ref().map_or_else(Receiver::default, NodeRef::done)
    }

    /// Why this context has ended; `None` as long as it has not.
    ///
    /// ```
    /// assert_eq!(burrow::context::background().err(), None);
    /// ```
    pub fn err(&self) -> Option<Error> {
        self.scope.as_ref()?.err()
    }

    /// The reason given by who cancelled this context or the one it was derived from, else the same as
    /// [`err`](Context::err).
    ///
    /// ```
    /// use burrow::context::{Canceled, Context};
    /// let (ctx, cancel) = Context::background().with_cancel();
    /// assert!(ctx.cause().is_none());
    /// cancel();
    /// assert!(ctx.cause().unwrap().is(Canceled));
    /// ```
    pub fn cause(&self) -> Option<Cause> {
        self.scope.as_ref()?.cause()
    }

    /// When this context ends at the latest.
    ///
    /// ```
    /// use burrow::{context::Context, time::{Duration, Instant}};
    /// let at = Instant::now() + Duration::from_secs(60);
    /// let (ctx, cancel) = Context::background().with_deadline(at);
    /// assert_eq!(ctx.deadline(), Some(at));
    /// # cancel();
    /// ```
    pub fn deadline(&self) -> Option<Instant> {
        self.scope.as_ref()?.deadline()
    }

    /// The value of type `K` that was put in last.
    ///
    /// ```
    /// let ctx = burrow::context::background().with_value(1_u32).with_value("x").with_value(2_u32);
    /// assert_eq!(ctx.value::<u32>(), Some(&2));
    /// assert_eq!(ctx.value::<u64>(), None);
    /// ```
    pub fn value<K: Any>(&self) -> Option<&K> {
        value::find(self.values.as_deref())
    }

    fn child(&self, deadline: Option<Instant>) -> NodeRef {
        NodeRef::child(self.scope.as_ref(), deadline)
    }

    fn in_scope(&self, node: NodeRef) -> Context {
        Context {
            scope: Some(node),
            values: self.values.clone(),
            root: self.root,
        }
    }
}

impl Default for Context {
    /// The background.
    fn default() -> Self {
        Self::background()
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Context({}", self.root)?;
        if let Some(n) = &self.scope {
            match (n.err(), n.deadline()) {
                (Some(e), _) => write!(f, ", {e}")?,
                (None, Some(d)) => write!(f, ", until {d:?}")?,
                (None, None) => f.write_str(", cancellable")?,
            }
        }
        f.write_str(")")
    }
}

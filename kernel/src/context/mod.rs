//! Contexts: a deadline, a cancellation and request-scoped values that travel down a tree of calls.
//!
//! A [`Context`] is two short lists that grow independently, one link per derivation:
//!
//! ```text
//!   scope:  node ──parent──▶ node ──parent──▶ (nothing: never cancelled)        what can be cancelled: `node`
//!   values: entry ──▶ entry ──▶ entry ──▶ (nothing)                              what it carries: `value`
//! ```
//! `with_cancel` and its kin put a node before the scope, `with_value` an entry before the values, `without_cancel`
//! starts with no scope. Asking whether it is cancelled looks at one node; looking up a value meets values only. (Go
//! has one list for both, so each question walks over the answers to the other.) A clone is two counted handles.
//!
//! Read `node` for the tree: who keeps whom alive; `ending` for how cancelling walks it without a stack, a lock or an allocation.
//! `deadline` is the node's timer, `cancel` the functions that callers get, `error` what `err` and `cause` say.
//!
//! ```
//! use burrow::{context::{self, Context}, select, time::{self, Duration}};
//! fn work(ctx: &Context) -> Result<&'static str, context::Error> {
//!     select! {
//!         recv(ctx.done()) => Err(ctx.err().expect("done")),
//!         recv(time::after(Duration::from_secs(60))) => Ok("worked"),
//!     }
//! }
//! let (ctx, cancel) = Context::background().with_timeout(Duration::from_millis(5));
//! burrow::defer! { cancel() }
//! assert_eq!(work(&ctx).unwrap_err().to_string(), "context deadline exceeded");
//! ```

mod cancel;
mod deadline;
mod ending;
mod error;
mod handle;
mod node;
#[cfg(test)]
mod tests;
mod value;

pub use cancel::{CancelCauseFn, CancelFn, StopFn};
pub use error::{
    Cause, Error,
    Error::{Canceled, DeadlineExceeded},
};
pub use handle::{Context, background, todo};

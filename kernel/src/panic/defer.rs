//! `defer!`: run a block when the enclosing scope is left, however it is left.
//!
//! A guard whose drop calls the closure; so defers and drops interleave in reverse order of declaration,
//! and a return, a panic and `goexit` all run them. Go's defers wait for the end of the *function*; here it
//! is the enclosing block, as Rust readers expect of guards.

/// The guard behind [`defer!`](crate::defer).
#[must_use = "the block runs when this guard is dropped"]
pub struct Defer<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Defer<F> {
    /// Runs `f` on drop.
    pub const fn new(f: F) -> Self {
        Defer(Some(f))
    }
}

impl<F: FnOnce()> Drop for Defer<F> {
    fn drop(&mut self) {
        if let Some(f) = self.0.take() {
            f();
        }
    }
}

/// Runs a block when the enclosing scope is left, by return, panic or `goexit`; last declared, first run.
///
/// ```
/// # use std::cell::RefCell;
/// let log = RefCell::new(Vec::new());
/// {
///     burrow::defer! { log.borrow_mut().push("first declared") }
///     burrow::defer! { log.borrow_mut().push("last declared") }
/// }
/// assert_eq!(*log.borrow(), ["last declared", "first declared"]);
/// ```
#[macro_export]
macro_rules! defer {
    ($($body:tt)*) => {
        let _defer = $crate::panic::Defer::new(|| { $($body)* });
    };
}

//! `goexit`: leave a goroutine from any depth.
//!
//! An unwinding like a panic's, with a payload of its own that `recover` and `spawn` pass on, so that only
//! the goroutine's entry ends it. Refused: unwinding straight to the entry past the catchers, which would
//! leave their catch frames linked.

use super::{Unwound, raise};

/// Ends the calling goroutine after running the drops and `defer!`s of the frames it leaves.
///
/// In the main goroutine it ends only that: the others go on (Go's rule).
///
/// ```
/// let h = burrow::spawn(|| {
///     burrow::goexit();
/// });
/// assert!(h.join().is_err()); // it did not return
/// ```
pub fn goexit() -> ! {
    raise::throw(Unwound::Goexit)
}

//! What is known about a test before it runs.
#![forbid(unsafe_code)]

use core::fmt::Debug;

/// A test, as `#[burrow::test]` describes it.
#[derive(Debug)]
pub struct TestDesc {
    /// `module::path::name`.
    pub name: &'static str,
    /// Where it stands.
    pub file: &'static str,
    /// Where it stands.
    pub line: u32,
    /// The test itself; it fails by panicking.
    pub run: fn(),
    /// The test passes if it panics with a message that contains this.
    pub should_panic: Option<&'static str>,
    /// The test is skipped unless asked for, and why.
    pub ignore: Option<&'static str>,
    /// Seconds it may take.
    pub timeout_secs: u32,
    /// The test should end the whole program with this code.
    pub exit: Option<i32>,
    /// …and the output must contain this.
    pub says: &'static str,
}

/// What `main` or a test may return.
///
/// ```
/// use burrow::test::Outcome;
/// Outcome::check(());
/// Outcome::check("7".parse::<u8>().map(|_| ()));
/// assert!(burrow::recover(|| Outcome::check("x".parse::<u8>().map(|_| ()))).is_err());
/// ```
pub trait Outcome {
    /// Panics if this is a failure.
    fn check(self);
}

impl Outcome for () {
    fn check(self) {}
}

impl<E: Debug> Outcome for Result<(), E> {
    #[track_caller]
    fn check(self) {
        if let Err(error) = self {
            panic!("returned Err({error:?})");
        }
    }
}

/// Panics if `outcome` is a failure. The attribute macros wrap functions in this.
#[track_caller]
pub fn check(outcome: impl Outcome) {
    outcome.check();
}

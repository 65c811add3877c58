//! Whose turn it is: a mutex for calls that block, released also when one unwinds.
#![forbid(unsafe_code)]

use crate::sync::RawMutex;

/// See the file head.
pub(super) struct Turn(RawMutex);

impl Turn {
    pub(super) fn new() -> Self {
        Self(RawMutex::new())
    }

    /// Waits for the turn.
    pub(super) fn take(&self) -> Taken<'_> {
        self.0.lock();
        Taken(self)
    }
}

/// The turn; dropping it passes it on.
#[must_use = "the turn lasts as long as this"]
pub(super) struct Taken<'a>(&'a Turn);

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.0.0.unlock();
    }
}

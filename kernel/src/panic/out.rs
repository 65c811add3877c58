//! Output of last resort: straight to the serial port. Its driver works in every context and lets a core that
//! dies in the middle of a line walk through its lock.

use core::fmt;

/// Writes to the first serial port, unbuffered.
pub(super) struct Out;

impl fmt::Write for Out {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        crate::print::raw(s.as_bytes());
        Ok(())
    }
}

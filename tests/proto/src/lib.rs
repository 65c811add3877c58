//! The words that the guest and the host program share.
//!
//! A kernel under test talks over a serial line that user code prints to as well. Machine lines are told
//! apart by their first byte, `MARK` (0x1e, the ASCII record separator): from there to the end of the line the
//! bytes are a [`Line`]; everything else is the user's. `MARK` may stand in the middle of a line, because a
//! program need not end its output with a newline. One crate with one grammar, printed by `Display` and read
//! by [`Line::parse`], so that the two sides cannot drift apart; the refused alternative is a format string
//! here and a regular expression there.
//!
//! ```text
//! BURROW-MAIN                                   main is about to run (boot-time measurement)
//! BURROW-TEST plan TOTAL RUN FROM               TOTAL tests in the image, RUN selected, beginning with number FROM
//! BURROW-TEST list NAME                         answer to `test_list=1`
//! BURROW-TEST start NAME LIMIT EXIT SAYS        seconds allowed; exit code the test should end with, or `-`
//! BURROW-TEST ok NAME MICROS
//! BURROW-TEST failed NAME MICROS MESSAGE
//! BURROW-TEST ignored NAME REASON
//! BURROW-TEST end PASSED FAILED IGNORED
//! BURROW-EXIT CODE                              the last line of every run (also without MARK)
//! ```
//!
//! Free text (`MESSAGE`, `REASON`, `SAYS`) is the rest of the line, escaped by [`Escaped`].
//!
//! Invariants: every started test gets exactly one outcome in the same boot, or the boot failed; exactly one
//! `BURROW-EXIT` per boot, and the status that QEMU exits with agrees with it (see [`ExitPort`]).
#![no_std]
#![forbid(unsafe_code)]

mod escape;
pub mod exit;
mod line;
pub mod options;
pub mod symbols;

pub use escape::{Escaped, Unescaped};
pub use exit::{ExitPort, code_agrees};
pub use line::Line;

/// The byte that starts a machine line.
pub const MARK: u8 = 0x1e;

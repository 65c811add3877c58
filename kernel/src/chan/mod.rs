//! Channels, as Go has them: `chan`, one-way views, `select!`.
//!
//! | operation | nil | open | closed |
//! | --- | --- | --- | --- |
//! | `send` | blocks for ever | waiting receiver, else buffer, else waits FIFO | panics |
//! | `recv` | blocks for ever | buffer, then waiting sender, else waits FIFO | drains, then `None` |
//! | `try_send` | `Full` | `Full` if it would wait | `Closed` |
//! | `try_recv` | `Empty` | `Empty` if it would wait | `Closed` after draining |
//! | `close` | panics | wakes everybody | panics |
//!
//! Read in this order: `wait` (who waits, and who may wake them), `hchan` (the channel), `handle` and `view`
//! (what programs hold), `arm`, `select` and `macros` (several channels at once), `dynamic` (any number of them).

pub(crate) mod arm;
mod dynamic;
mod error;
mod handle;
pub(crate) mod hchan;
mod iter;
#[cfg(target_os = "none")]
pub(crate) mod leak;
mod macros;
pub(crate) mod select;
#[cfg(test)]
mod tests;
mod view;
pub(crate) mod wait;

pub use dynamic::Select;
pub use error::{RecvTimeoutError, SendTimeoutError, TryRecvError, TrySendError};
pub use handle::{Chan, chan};
pub use iter::{IntoIter, Iter};
pub use view::{Receiver, Sender};

/// What `select!` expands to; not for use by hand.
#[doc(hidden)]
pub mod __select {
    pub use super::{
        arm::{Arm, Case, RecvArm, SendArm, SendValue},
        select::{Choice, Nothing, block, block_on_nothing, block_until, discard, no_arm, poll},
    };
}

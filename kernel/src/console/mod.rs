//! The serial console: a prompt for people, and a list of commands for scripts.
//!
//! ```text
//!  UART ─interrupt─▶ ring ─g0 hook─▶ "console" goroutine ─▶ key queue ─▶ prompt (main goroutine)
//!                                        │ Ctrl-\                  └───▶ `top`, until a key
//!                                        └▶ dump of all goroutines
//! ```
//! The goroutine in the middle (`input`) is the runtime's own, so that Ctrl-\ works whatever the program does,
//! and so that it does not count for deadlock detection. Whoever waits for a *key* waits for a device: no
//! deadlock while somebody may still type.
//!
//! A program puts itself behind the prompt: it gives [`Program`]s to [`run_list`] and [`prompt`], and each becomes a word after `run`. Programs run as goroutines of their own whose panics are
//! contained: nothing typed here can end the kernel but `exit`.
#![forbid(unsafe_code)]

#[cfg(target_os = "none")]
mod banner;
#[cfg(target_os = "none")]
mod commands;
#[cfg(target_os = "none")]
mod input;
#[cfg(any(target_os = "none", test))]
mod line;
#[cfg(target_os = "none")]
mod mem;
#[cfg(target_os = "none")]
mod net;
#[cfg(target_os = "none")]
mod ps;
#[cfg(target_os = "none")]
mod top;

#[cfg(target_os = "none")]
pub(crate) use input::start;

#[cfg(target_os = "none")]
pub use self::{
    banner::banner,
    commands::{Program, prompt, run_list},
    input::{key, key_within},
};

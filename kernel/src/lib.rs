//! Burrow.
#![cfg_attr(target_os = "none", no_std)]
#![feature(allow_internal_unsafe)] // attribute macros in crates that forbid unsafe code
#![feature(lang_items)] // the unwinder's personality is a lang item
#![cfg_attr(target_os = "none", feature(fn_traits, unboxed_closures))] // `catch` names a closure's body
#![feature(core_intrinsics)] // catch_unwind: there is no stable way to catch without std
#![cfg_attr(target_os = "none", feature(alloc_error_handler, panic_can_unwind))] // DECISIONS 12: out of memory is a panic; tell aborts apart
#![allow(
    internal_features,
    clippy::allow_attributes,
    reason = "the two above; a runtime has to"
)]
extern crate alloc;

#[macro_use]
mod shim;
#[macro_use]
pub mod print;
pub mod arch;
#[cfg(target_os = "none")]
mod boot;
pub mod chan;
pub mod console;
#[cfg(target_os = "none")]
#[doc(hidden)]
pub mod debug;
pub mod lock;
pub mod mem;
pub mod opts;
pub mod panic;
#[cfg(target_os = "none")]
pub mod prelude;
#[cfg(target_os = "none")]
pub mod runtime;
#[cfg(target_os = "none")]
pub mod sched;
#[cfg(not(target_os = "none"))]
#[path = "sched/host.rs"]
pub mod sched;
pub mod sync;
pub mod test;
pub mod time;
#[cfg(target_os = "none")]
pub mod trace;

pub use burrow_macros::{main, test};
#[doc(hidden)]
pub use chan::__select;
pub use chan::{
    Chan, Receiver, RecvTimeoutError, Select, SendTimeoutError, Sender, TryRecvError, TrySendError, chan,
};
pub use panic::{Panic, goexit, panic_any, recover};
pub use sched::{
    Builder, JoinHandle, Scope, ScopedJoinHandle, SpawnError, blocking, go, scope, spawn, yield_now,
};

#[cfg(target_os = "none")]
unsafe extern "C" {
    /// Where the machine starts: a program that names it has the whole kernel linked.
    #[doc(hidden)]
    #[link_name = "bl_entry"]
    pub fn __boot_entry();
}

//! Burrow: a Go-style runtime that is its own kernel.
//!
//! Goroutines run on all cores of an x86_64 machine, talk over channels, and are preempted by timer interrupts.
//! Nothing sits underneath: Go's threads are cores here, its signals are interrupts, its `mmap` is the page-fault
//! handler. A program is a crate that uses this library:
//!
//! ```ignore (needs the metal target)
//! #![no_std]
//! #![no_main]
//! extern crate alloc;
//! use burrow::prelude::*;
//!
//! #[burrow::main]
//! fn main() {
//!     let ch = chan::<u32>(0);
//!     let tx = ch.sender();
//!     go(move || tx.send(42));
//!     println!("{}", ch.recv().unwrap());
//! }
//! ```
//!
//! # The map
//!
//! | room | what is in it | what a user sees of it |
//! | --- | --- | --- |
//! | [`arch`] | boot entries, page tables, interrupts, clocks, cores, serial port | [`arch::exit`] |
//! | [`lock`] | spin locks with ranks; guards for preemption and interrupts: what stops the *core* | – |
//! | [`mem`] | frames, the span heap, goroutine stacks | `alloc`, [`runtime::read_mem_stats`], [`runtime::free_os_memory`] … |
//! | [`sched`] | G, M, P; queues, idle, preemption, sysmon, stop-the-world | [`go`], [`spawn`](fn@spawn), [`Builder`], [`scope`](fn@scope), [`blocking`], [`yield_now`], [`runtime`] |
//! | [`panic`](mod@panic) | unwinding, faults as panics, reports | [`recover`], [`defer!`], [`goexit`], [`Panic`] |
//! | [`chan`](mod@chan) | channels and select | [`chan`](fn@chan), [`Chan`], [`select!`] |
//! | [`sync`] | what parks the *goroutine*, and what needs no parking | [`sync::Mutex`], [`sync::WaitGroup`], [`errgroup`], [`atomic::Value`] … |
//! | [`time`] | clock, timers per P, sleep | [`time::sleep`], [`time::Instant`], [`time::Timer`], [`time::Ticker`] |
//! | [`context`] | deadlines and cancellation that travel down a tree of calls | [`context::Context`] |
//! | [`net`] | sockets, the netpoller, devices | [`net::TcpListener`], [`net::TcpStream`], [`net::UdpSocket`] |
//! | [`test`](mod@test) | tests that run inside the machine | [`#[burrow::test]`](macro@test), [`test_main!`] |
//!
//! Imports go down the table's order of layers, `arch ← lock ← mem ← sched ← {panic, chan, sync, time} ← {context, net}`; where a lower
//! room needs an upper one it owns a hook that is filled in at boot. `docs/architecture.md` has the picture,
//! `docs/hacking.md` the full vocabulary, lock ranks and how to find a bug.
//!
//! # Public and internal
//!
//! A program uses what the last column names. The rooms `lock`, `mem` and `sched`, most of `arch`, and single items elsewhere
//! are `pub` for the kernel's own tests and benchmarks only: they are `#[doc(hidden)]` and may change at any time.
//! `make doc` shows them all the same. Everything else has an example, which `make test T=docs` compiles and runs
//! (`make lint` looks for items without).
//!
//! # Words
//!
//! - **G**: a goroutine. **M**: a core. **P**: the right to run goroutines, with a run queue; there are `gomaxprocs`.
//! - **g0**: a core's scheduler stack; interrupts are off on it.
//! - **park / ready**: leave the core to wait / become runnable again. The **commit step** runs on g0 in between, when
//!   the goroutine is off its stack, and makes it findable for its waker.
//! - **preempt count**: why this core must not be preempted now; raised by every spin lock and guard. With the count
//!   raised a goroutine may not park, yield or panic.
//! - **fatal**: ends the program and cannot be recovered.
//!
//! # Two targets
//!
//! On `x86_64-burrow` (`target_os = "none"`) this is the kernel. The parts that need no machine also compile for the
//! host, where unit tests, doc examples and loom models run (`make test-host`).
#![cfg_attr(target_os = "none", no_std)]
#![feature(allow_internal_unsafe)] // attribute macros in crates that forbid unsafe code
#![feature(lang_items)] // the unwinder's personality is a lang item
#![feature(rust_cold_cc)] // calls that hardly ever come, in the fast paths of locks
#![feature(fn_traits, unboxed_closures)] // `catch` names a closure's body; `context::CancelFn` is called like one
#![feature(allocator_ext)] // Arc::try_new: a spawn without memory is an error
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
#[cfg(not(loom))] // its commands want all of the network
pub mod console;
pub mod context;
#[cfg(target_os = "none")]
#[doc(hidden)]
pub mod debug;
#[cfg(any(target_os = "none", all(test, not(loom))))]
mod leak;
#[doc(hidden)] // see "Public and internal" above
pub mod lock;
#[doc(hidden)] // see "Public and internal" above
pub mod mem;
pub mod net;
pub mod opts;
pub mod panic;
#[cfg(target_os = "none")]
pub mod prelude;
#[cfg(target_os = "none")]
pub mod runtime;
#[cfg(target_os = "none")]
#[doc(hidden)] // see "Public and internal" above
pub mod sched;
#[cfg(not(target_os = "none"))]
#[path = "sched/host.rs"]
#[doc(hidden)] // see "Public and internal" above
pub mod sched;
pub mod sync;
pub mod test;
pub mod time;
#[cfg(target_os = "none")]
pub mod trace;

/// ```ignore-burrow (the machine has one main)
/// #[burrow::main]
/// fn main() {
///     assert_eq!(burrow::spawn(|| 42).join().unwrap(), 42);
/// }
/// ```
pub use burrow_macros::main;
/// ```
/// #[burrow::test(timeout = 10)]
/// fn one_and_one() {
///     assert_eq!(1 + 1, 2);
/// }
/// # one_and_one();
/// ```
pub use burrow_macros::test;
#[doc(hidden)]
pub use chan::__select;
pub use chan::{
    Chan, Receiver, RecvTimeoutError, Select, SendTimeoutError, Sender, TryRecvError, TrySendError, chan,
};
pub use panic::{Panic, goexit, panic_any, recover};
pub use sched::{
    Builder, JoinHandle, Scope, ScopedJoinHandle, SpawnError, blocking, go, scope, spawn, yield_now,
};
pub use sync::{atomic, errgroup, singleflight};

#[cfg(target_os = "none")]
unsafe extern "C" {
    /// Where the machine starts: a program that names it has the whole kernel linked.
    #[doc(hidden)]
    #[link_name = "bl_entry"]
    pub fn __boot_entry();
}

/// The code of `docs/go-to-burrow.md` is run with the other examples.
#[cfg(doctest)]
#[doc = include_str!("../../docs/go-to-burrow.md")]
mod go_to_burrow {}

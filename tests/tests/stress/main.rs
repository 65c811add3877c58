//! Stress: what must hold on all cores at once, for as long as you like.
//!
//! A storm lasts a second or so; `soak_secs=N` on the kernel command line (`make soak MINUTES=`) stretches all of them
//! to N seconds together. Everything random comes from the boot seed.
#![no_std]
#![no_main]
extern crate alloc;

mod blocking;
mod chan;
mod locked;
mod locks;
mod memory;
mod panics;
mod recursion;
mod registers;
mod resize;
mod shrink;
mod steal;
mod wake;

burrow::test_main!();

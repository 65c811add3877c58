//! The examples in the kernel's documentation, one test each. `build.rs` takes them out of the doc comments. (rustdoc runs
//! those that compile there on the host: `make test-host`.)
//!
//! They are written for rustdoc, which brings std. What they use of it comes from `core`, `alloc` and the kernel here.
#![no_std]
#![no_main]
#![allow(
    unused,
    clippy::all,
    clippy::allow_attributes,
    reason = "as rustdoc: an example shows one thing, in more words than needed; and not all use what the prelude brings"
)]
extern crate alloc;

use alloc::{
    borrow::ToOwned,
    boxed::Box,
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

use burrow::{eprintln, print, println};

/// As much of std as the examples use.
mod std {
    pub(crate) use core::{cell, hash, num};

    pub(crate) mod sync {
        pub(crate) use alloc::sync::Arc;
        pub(crate) use core::sync::atomic;
    }
}

burrow::test_main!();

include!(concat!(env!("OUT_DIR"), "/docs.rs"));

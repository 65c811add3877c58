//! What most programs want: `use burrow::prelude::*;`.
//!
//! Goroutines, channels, time, the `runtime` functions, printing, and the parts of `alloc` that std's own prelude
//! would bring.
#![forbid(unsafe_code)]

pub use alloc::{
    borrow::ToOwned,
    boxed::Box,
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

pub use crate::{
    Builder, Chan, JoinHandle, Panic, Receiver, Sender, chan, context, defer, eprint, eprintln, go, goexit,
    print, println, recover, runtime, scope, select, spawn, sync, time,
    time::{Duration, Instant},
    yield_now,
};

//! Leaks: what `runtime::leaked` must find, and what it must never report.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]
extern crate alloc;

mod chan;
mod locks;
mod storm;

use alloc::{format, sync::Arc};
use core::sync::atomic::{AtomicU64, Ordering};

use burrow::{
    go,
    runtime::{Leak, goid, leaked},
    yield_now,
};

burrow::test_main!();

/// Starts `f` and returns its number.
#[track_caller]
fn start(f: impl FnOnce() + Send + 'static) -> u64 {
    let id = Arc::new(AtomicU64::new(0));
    let theirs = id.clone();
    go(move || {
        theirs.store(goid(), Ordering::Release);
        drop(theirs);
        f();
    });
    loop {
        match id.load(Ordering::Acquire) {
            0 => yield_now(),
            g => return g,
        }
    }
}

/// Waits until goroutine `g` is reported; the watchdog ends a test in which it never is.
fn found(g: u64) -> Leak {
    loop {
        if let Some(l) = leaked().into_iter().find(|l| l.goid() == g) {
            return l;
        }
        yield_now();
    }
}

/// Goroutine `g` waits as `state` says, and is not reported.
#[track_caller]
fn not_found(g: u64, state: &str) {
    let line = format!("goroutine {g} [{state}");
    while !burrow::runtime::stack(true).contains(&line) {
        yield_now();
    }
    for _ in 0..3 {
        assert!(leaked().iter().all(|l| l.goid() != g), "goroutine {g} [{state}]");
    }
}

//! A worker pool with at most N goroutines, whose jobs have weights, buffers to reuse, and a time limit.
//!
//! A weighted semaphore bounds what runs at once, by cost and not by number; a `Pool` hands buffers from one job to
//! the next; the context ends the waiting when time is up.
// expect: exit=0 says=40 jobs done, never more than 8 units at once
// expect: says=then time was up: context deadline exceeded
#![no_std]
#![no_main]
#![forbid(unsafe_code)]
extern crate alloc;

use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering};

use burrow::{
    context::{Context, Error},
    prelude::*,
    sync::{Pool, Semaphore, WaitGroup},
};

const UNITS: usize = 8;

static BUFFERS: Pool<Vec<u8>> = Pool::new(|| Vec::with_capacity(1024));
static UNITS_FREE: Semaphore = Semaphore::new(UNITS);
static BUSY: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

/// The work: writes into a borrowed buffer and sleeps, so that all units are really taken.
fn job(n: usize, cost: usize) -> usize {
    MOST.fetch_max(BUSY.fetch_add(cost, Ordering::SeqCst) + cost, Ordering::SeqCst);
    let mut buffer = BUFFERS.get();
    buffer.extend((0..=n).map(|i| i as u8));
    time::sleep(Duration::from_millis(1));
    let len = buffer.len();
    buffer.clear();
    BUFFERS.put(buffer);
    BUSY.fetch_sub(cost, Ordering::SeqCst);
    len
}

/// Starts `jobs` as they fit; stops when `ctx` ends. The submitter waits, so the queue cannot grow.
fn run_all(ctx: &Context, jobs: usize) -> Result<usize, Error> {
    let (wg, sum) = (Arc::new(WaitGroup::new()), Arc::new(AtomicUsize::new(0)));
    let mut result = Ok(());
    for n in 0..jobs {
        let cost = 1 + n % 3;
        result = UNITS_FREE.acquire_ctx(ctx, cost);
        if result.is_err() {
            break;
        }
        let sum = sum.clone();
        wg.go(move || {
            defer! { UNITS_FREE.release(cost) }
            sum.fetch_add(job(n, cost), Ordering::Relaxed);
        });
    }
    wg.wait();
    result.map(|()| sum.load(Ordering::Relaxed))
}

#[burrow::main]
fn main() {
    let bytes = run_all(&Context::background(), 40).unwrap();
    let most = MOST.load(Ordering::SeqCst);
    assert!(most <= UNITS && bytes == (1..=40).sum());
    println!("40 jobs done, never more than {UNITS} units at once");

    let (ctx, cancel) = Context::background().with_timeout(Duration::from_millis(20));
    defer! { cancel() }
    println!("then time was up: {}", run_all(&ctx, usize::MAX).unwrap_err());
    assert_eq!(UNITS_FREE.available(), UNITS);
}

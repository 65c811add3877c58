//! Fan-out, fan-in: many goroutines take work from one channel, their results meet in another.
//!
//! The work: the length of the Collatz sequence of every number below 20,000. The last worker to finish
//! closes the results, so that the collector's loop ends by itself.
// expect: exit=0 says=longest Collatz sequence below 20000: starts at 17673, 279 numbers
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering};

use burrow::prelude::*;

const LIMIT: u64 = 20_000;
const BLOCK: u64 = 250;

fn collatz(mut n: u64) -> u64 {
    let mut len = 1;
    while n != 1 {
        n = if n.is_multiple_of(2) { n / 2 } else { 3 * n + 1 };
        len += 1;
    }
    len
}

#[burrow::main]
fn main() {
    let blocks = chan::<u64>(0);
    let results = chan::<(u64, u64)>(8);
    let workers = 2 * runtime::num_cpu();
    let left = Arc::new(AtomicUsize::new(workers));
    for _ in 0..workers {
        let (blocks, results, left) = (blocks.clone(), results.clone(), left.clone());
        go(move || {
            for first in &blocks {
                let best = (first..first + BLOCK).map(|n| (collatz(n), n)).max().unwrap();
                results.send(best);
            }
            if left.fetch_sub(1, Ordering::AcqRel) == 1 {
                results.close();
            }
        });
    }
    go(move || {
        for first in (1..LIMIT).step_by(BLOCK as usize) {
            blocks.send(first);
        }
        blocks.close();
    });
    let (mut best, mut count) = ((0, 0), 0);
    for r in &results {
        best = best.max(r);
        count += 1;
    }
    println!("{count} blocks from {workers} workers");
    println!(
        "longest Collatz sequence below {LIMIT}: starts at {}, {} numbers",
        best.1, best.0
    );
}

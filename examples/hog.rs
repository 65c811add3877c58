//! A goroutine in `loop {}` on every core, and the others still run.
//!
//! The loops call nothing, so nothing in them can give up the core. The timer interrupt takes them off it when
//! their 10 ms are over. How late a sleeper is then depends on who it has to wait for: printed below.
// expect: exit=0 says=woke up 20 times of 20
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use burrow::prelude::*;

const NAPS: usize = 20;

#[burrow::main]
fn main() {
    let cores = runtime::num_cpu();
    for _ in 0..cores {
        #[expect(clippy::empty_loop, reason = "a hog is the point")]
        go(|| loop {});
    }
    let before = runtime::sched_stats();
    let nap = Duration::from_millis(5);
    let mut late = Vec::new();
    for _ in 0..NAPS {
        let start = Instant::now();
        time::sleep(nap);
        late.push(start.elapsed() - nap);
    }
    late.sort();
    let after = runtime::sched_stats();
    println!(
        "{cores} hogs on {cores} cores: main woke up {} times of {NAPS}",
        late.len()
    );
    println!(
        "late by: best {:?}, median {:?}, worst {:?}",
        late[0],
        late[NAPS / 2],
        late[NAPS - 1]
    );
    println!(
        "preemptions meanwhile: {}",
        after.preemptions - before.preemptions
    );
}

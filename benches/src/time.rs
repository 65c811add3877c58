//! Sleeping, timers, contexts, and reading the clock.
#![forbid(unsafe_code)]

use alloc::{sync::Arc, vec::Vec};
use core::{hint::black_box, time::Duration};

use burrow::{
    context, go,
    sync::WaitGroup,
    time::{self, Instant},
};

/// Operation = the whole batch: 1000 goroutines that each sleep 1 ms, wall time.
pub fn sleep_1ms_x1000(n: usize) -> (usize, Duration) {
    let begin = Instant::now();
    for _ in 0..n {
        let wg = Arc::new(WaitGroup::new());
        wg.add(1000);
        for _ in 0..1000 {
            let wg = wg.clone();
            go(move || {
                time::sleep(Duration::from_millis(1));
                wg.done();
            });
        }
        wg.wait();
    }
    (n, begin.elapsed())
}

/// Operation = one reading of the clock, as a duration.
pub fn nanotime(n: usize) -> (usize, Duration) {
    let begin = Instant::now();
    let mut sum = 0_u64;
    for _ in 0..n {
        sum = sum.wrapping_add(begin.elapsed().as_nanos() as u64);
    }
    black_box(sum);
    (n, begin.elapsed())
}

/// Operation = a function an hour from now, called off: it really enters the P's timer heap.
pub fn timer_start_stop(n: usize) -> (usize, Duration) {
    let begin = Instant::now();
    for _ in 0..n {
        time::after_func(Duration::from_secs(3600), || {}).stop();
    }
    (n, begin.elapsed())
}

/// Operation = a timer with its channel, an hour from now, stopped. (Go's is not in a heap while nobody receives; ours is.)
pub fn timer_new_stop(n: usize) -> (usize, Duration) {
    let begin = Instant::now();
    for _ in 0..n {
        time::Timer::new(Duration::from_secs(3600)).stop();
    }
    (n, begin.elapsed())
}

/// Operation = one context of a tree of 10,000 (a root, 100 children, 99 below each): made, and ended by cancelling
/// the root.
pub fn ctx_cancel_tree_10k(n: usize) -> (usize, Duration) {
    let trees = n.div_ceil(10_000);
    let mut all = Vec::with_capacity(10_000);
    let begin = Instant::now();
    for _ in 0..trees {
        let (root, cancel) = context::background().with_cancel();
        for _ in 0..100 {
            let (child, _) = root.with_cancel();
            all.extend((0..99).map(|_| child.with_cancel().0));
            all.push(child);
        }
        cancel();
        assert!(all.iter().all(|ctx| ctx.err().is_some()));
        all.clear();
    }
    (trees * 10_000, begin.elapsed())
}

//! Sleeping and reading the clock.
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use core::{hint::black_box, time::Duration};

use burrow::{
    go,
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

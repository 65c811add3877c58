//! Goroutines: start and join, trees of them, yielding.
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use core::time::Duration;

use burrow::{Sender, chan, go, sync::WaitGroup, time::Instant, yield_now};

/// Operation = one goroutine started and joined; batches of 1000 per wait.
pub fn join(n: usize) -> (usize, Duration) {
    let begin = Instant::now();
    let mut left = n;
    while left > 0 {
        let k = left.min(1000);
        let wg = Arc::new(WaitGroup::new());
        wg.add(k as i32);
        for _ in 0..k {
            let wg = wg.clone();
            go(move || wg.done());
        }
        wg.wait();
        left -= k;
    }
    (n, begin.elapsed())
}

fn fib(n: usize, out: Sender<usize>) {
    if n < 2 {
        out.send(n);
        return;
    }
    let c = chan::<usize>(2);
    for k in [n - 1, n - 2] {
        let tx = c.sender();
        go(move || fib(k, tx));
    }
    out.send(c.recv().unwrap_or(0) + c.recv().unwrap_or(0));
}

/// Operation = one fib call = one goroutine and (for inner nodes) one channel of capacity 2.
pub fn nested_fib(n: usize) -> (usize, Duration) {
    // The largest k with calls(k) <= n, where calls(k) = 2 * fib(k + 1) - 1.
    let (mut a, mut b, mut k) = (1, 1, 1);
    while 2 * (a + b) - 1 <= n {
        (a, b) = (b, a + b);
        k += 1;
    }
    let out = chan::<usize>(1);
    let begin = Instant::now();
    let tx = out.sender();
    go(move || fib(k, tx));
    out.recv();
    (2 * b - 1, begin.elapsed())
}

/// Operation = one `yield_now`.
pub fn yield_pair(n: usize) -> (usize, Duration) {
    let took = crate::par(2, move |_| {
        for _ in 0..n / 2 {
            yield_now();
        }
    });
    (n / 2 * 2, took)
}

//! Locks and atomics.
#![forbid(unsafe_code)]

use core::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use burrow::{sync::Mutex, time::Instant};

/// Operation = lock and unlock.
pub fn mutex_uncontended(n: usize) -> (usize, Duration) {
    let m = Mutex::new(());
    let begin = Instant::now();
    for _ in 0..n {
        drop(m.lock());
    }
    (n, begin.elapsed())
}

/// Operation = lock, count, unlock; eight goroutines.
pub fn mutex_contended8(n: usize) -> (usize, Duration) {
    let m = Mutex::new(0_usize);
    let took = crate::par(8, move |_| {
        for _ in 0..n / 8 {
            *m.lock() += 1;
        }
    });
    (n / 8 * 8, took)
}

/// Operation = one atomic addition; eight goroutines.
pub fn atomic_add8(n: usize) -> (usize, Duration) {
    let v = AtomicI64::new(0);
    let took = crate::par(8, move |_| {
        for _ in 0..n / 8 {
            v.fetch_add(1, Ordering::SeqCst); // as Go's
        }
    });
    (n / 8 * 8, took)
}

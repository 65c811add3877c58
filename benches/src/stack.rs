//! A fresh goroutine that recurses deep.
#![forbid(unsafe_code)]

use core::time::Duration;

use burrow::{chan, go, time::Instant};

#[inline(never)]
fn deep(n: usize, s: &mut u64) -> u64 {
    let mut local = [0_u64; 8];
    for (i, slot) in local.iter_mut().enumerate() {
        *slot = s.wrapping_add((n + i) as u64);
    }
    core::hint::black_box(&mut local); // the array lives in memory, as the peer's does
    if n > 0 {
        let below = deep(n - 1, s);
        *s = s.wrapping_add(below);
    }
    local[n & 7].wrapping_add(local[(n + 3) & 7])
}

/// Operation = one fresh goroutine recursing to depth 1000 with a 64-byte local array.
pub fn grow_1000(n: usize) -> (usize, Duration) {
    let begin = Instant::now();
    for _ in 0..n {
        let c = chan::<u64>(0);
        let tx = c.sender();
        go(move || {
            let mut s = 0;
            tx.send(deep(1000, &mut s));
        });
        c.recv();
    }
    (n, begin.elapsed())
}

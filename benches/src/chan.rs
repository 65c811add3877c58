//! Channels: ping-pong, one to one, four to four.
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use core::{hint::black_box, time::Duration};

use burrow::{chan, go, sync::WaitGroup, time::Instant};

/// Operation = one round trip (two unbuffered hand-offs).
pub fn pingpong(n: usize) -> (usize, Duration) {
    let (a, b) = (chan::<usize>(0), chan::<usize>(0));
    let (their_a, their_b) = (a.clone(), b.clone());
    go(move || {
        for v in &their_a {
            their_b.send(v);
        }
        their_b.close();
    });
    let begin = Instant::now();
    for i in 0..n {
        a.send(i);
        b.recv();
    }
    let took = begin.elapsed();
    a.close();
    b.recv();
    (n, took)
}

/// Operation = one item moved.
pub fn spsc(n: usize) -> (usize, Duration) {
    let (c, done) = (chan::<usize>(128), chan::<usize>(0));
    let begin = Instant::now();
    let (theirs, their_done) = (c.clone(), done.clone());
    go(move || {
        let mut sum = 0_usize;
        for v in &theirs {
            sum = sum.wrapping_add(v);
        }
        their_done.send(sum);
    });
    for i in 0..n {
        c.send(i);
    }
    c.close();
    done.recv();
    (n, begin.elapsed())
}

/// Operation = one item moved.
pub fn mpmc4x4(n: usize) -> (usize, Duration) {
    let c = chan::<usize>(128);
    let (producers, consumers) = (Arc::new(WaitGroup::new()), Arc::new(WaitGroup::new()));
    producers.add(4);
    consumers.add(4);
    let begin = Instant::now();
    for _ in 0..4 {
        let (c, wg) = (c.clone(), consumers.clone());
        go(move || {
            let mut sum = 0_usize;
            for v in &c {
                sum = sum.wrapping_add(v);
            }
            black_box(sum);
            wg.done();
        });
    }
    for _ in 0..4 {
        let (c, wg) = (c.clone(), producers.clone());
        go(move || {
            for k in 0..n / 4 {
                c.send(k);
            }
            wg.done();
        });
    }
    producers.wait();
    c.close();
    consumers.wait();
    (n / 4 * 4, begin.elapsed())
}

//! `select!`: waiting on two channels, polling one, polling two.
#![forbid(unsafe_code)]

use core::{hint::black_box, time::Duration};

use burrow::{chan, go, select, time::Instant};

/// Operation = one value received through a two-way select; two producers, unbuffered.
pub fn recv2(n: usize) -> (usize, Duration) {
    let (a, b) = (chan::<usize>(0), chan::<usize>(0));
    let n = n / 2 * 2;
    let begin = Instant::now();
    for c in [a.clone(), b.clone()] {
        go(move || {
            for i in 0..n / 2 {
                c.send(i);
            }
        });
    }
    let mut sum = 0_usize;
    for _ in 0..n {
        select! {
            recv(a) -> v => sum = sum.wrapping_add(v.unwrap_or(0)),
            recv(b) -> v => sum = sum.wrapping_sub(v.unwrap_or(0)),
        }
    }
    black_box(sum);
    (n, begin.elapsed())
}

/// Operation = one non-blocking poll of one empty channel.
pub fn default1(n: usize) -> (usize, Duration) {
    let a = chan::<usize>(1);
    let mut sum = 0_usize;
    let begin = Instant::now();
    for _ in 0..n {
        select! {
            recv(a) -> v => sum = sum.wrapping_add(v.unwrap_or(0)),
            default => {}
        }
    }
    black_box(sum);
    (n, begin.elapsed())
}

/// Operation = one non-blocking poll of two empty channels.
pub fn default2(n: usize) -> (usize, Duration) {
    let (a, b) = (chan::<usize>(1), chan::<usize>(1));
    let mut sum = 0_usize;
    let begin = Instant::now();
    for _ in 0..n {
        select! {
            recv(a) -> v => sum = sum.wrapping_add(v.unwrap_or(0)),
            recv(b) -> v => sum = sum.wrapping_add(v.unwrap_or(0)),
            default => {}
        }
    }
    black_box(sum);
    (n, begin.elapsed())
}

//! The concurrent prime sieve.
#![forbid(unsafe_code)]

use alloc::{format, vec::Vec};
use core::time::Duration;

use burrow::{chan, go, time::Instant};

use crate::{Suite, emit_best};

/// Operation = one channel hand-off; `n` = number of primes.
fn sieve(n: usize) -> (usize, Duration) {
    // The number of hand-offs, computed on the side.
    let mut primes: Vec<usize> = Vec::new();
    let (mut hand_offs, mut limit) = (0, 0);
    let mut v = 2_usize;
    while primes.len() < n {
        let k = primes.iter().take_while(|p| !v.is_multiple_of(**p)).count();
        hand_offs += k + 1;
        if k == primes.len() {
            primes.push(v);
        }
        limit = v;
        v += 1;
    }
    let begin = Instant::now();
    let mut c = chan::<usize>(0);
    let source = c.clone();
    go(move || {
        for i in 2..=limit {
            source.send(i);
        }
        source.close();
    });
    let mut last = 0;
    for i in 0..n {
        let p = c.recv().expect("there are enough numbers");
        last = p;
        if i == n - 1 {
            break;
        }
        let out = chan::<usize>(0);
        let (from, to) = (c, out.clone());
        go(move || {
            for v in &from {
                if v % p != 0 {
                    to.send(v);
                }
            }
            to.close();
        });
        c = out;
    }
    let took = begin.elapsed();
    assert!(last == limit, "not a prime sieve");
    for _ in &c {}
    (hand_offs, took)
}

/// `sieve_2000`: hand-offs grow with the square of `n`, so the number of primes shrinks by the root.
pub fn run(suite: &Suite, n: usize, procs: usize) {
    let mut primes = n;
    while primes * primes < n * 2000 {
        primes += 1;
    }
    let figures = suite.repeat(|| sieve(primes));
    let total = figures[0].0 * figures[0].1 as f64;
    emit_best(
        "sieve_2000",
        procs,
        &figures,
        &format!(" primes={primes} total_ns={total:.0}"),
    );
}

//! Primes below two millions: the sieve of Eratosthenes in segments, which goroutines take from a shared counter.
//!
//! First with `gomaxprocs(1)`, then with all cores: same program, same answer.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicUsize, Ordering};

use burrow::prelude::*;

const LIMIT: usize = 2_000_000;
const SEGMENT: usize = 32 * 1024;
/// π(2,000,000), from the tables.
const EXPECTED: usize = 148_933;

pub(crate) fn run() {
    let cores = runtime::num_cpu();
    let before = runtime::gomaxprocs(1);
    let (one, alone) = timed(1);
    runtime::gomaxprocs(cores);
    let (all, together) = timed(cores);
    runtime::gomaxprocs(before);
    assert_eq!((one, all), (EXPECTED, EXPECTED));
    println!("  {all} primes below {LIMIT}");
    println!(
        "  1 core: {} ms, {cores} cores: {} ms",
        alone.as_millis(),
        together.as_millis()
    );
}

fn timed(workers: usize) -> (usize, Duration) {
    let start = Instant::now();
    (count(workers), start.elapsed())
}

fn count(workers: usize) -> usize {
    let base = base_primes();
    let (next, found) = (AtomicUsize::new(0), AtomicUsize::new(0));
    scope(|s| {
        for _ in 0..workers {
            s.spawn(|| {
                let mut composite = vec![false; SEGMENT];
                loop {
                    let from = next.fetch_add(SEGMENT, Ordering::Relaxed);
                    if from >= LIMIT {
                        return;
                    }
                    let n = sieve(&mut composite, from, LIMIT.min(from + SEGMENT), &base);
                    found.fetch_add(n, Ordering::Relaxed);
                }
            });
        }
    });
    found.into_inner()
}

/// Counts the primes in `from..to`.
fn sieve(composite: &mut [bool], from: usize, to: usize, base: &[usize]) -> usize {
    composite.fill(false);
    for &p in base {
        let first = (p * p).max(from.next_multiple_of(p));
        for multiple in (first..to).step_by(p) {
            composite[multiple - from] = true;
        }
    }
    (from.max(2)..to).filter(|n| !composite[n - from]).count()
}

/// The primes up to the root of the limit.
fn base_primes() -> Vec<usize> {
    let prime = |n: &usize| (2..).take_while(|d| d * d <= *n).all(|d| !n.is_multiple_of(d));
    (2..=LIMIT.isqrt()).filter(prime).collect()
}

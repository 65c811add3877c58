//! Memory comes back: a hundred thousand goroutines at once, a million in a row.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};

use burrow::{mem::frames, runtime, sched, time::Instant};
use burrow_tests::Parker;

/// Frames that per-core caches may hold at one moment and not at another.
const SLACK: usize = 4096;
/// What a goroutine that was there once keeps for ever, in bytes: its G and its share of a page table.
const KEPT: usize = 1024;

fn free_now() -> usize {
    runtime::free_os_memory();
    frames::free_count()
}

/// Starts `n` goroutines that all are alive before any of them ends.
fn crowd(n: usize) {
    struct Crowd {
        here: AtomicU32,
        all_here: Parker,
        gone: AtomicU32,
        all_gone: Parker,
        gates: alloc::vec::Vec<Parker>,
    }
    let crowd = Arc::new(Crowd {
        here: AtomicU32::new(0),
        all_here: Parker::new(),
        gone: AtomicU32::new(0),
        all_gone: Parker::new(),
        gates: (0..n).map(|_| Parker::new()).collect(),
    });
    for i in 0..n {
        let crowd = crowd.clone();
        burrow::go(move || {
            if crowd.here.fetch_add(1, Ordering::AcqRel) + 1 == n as u32 {
                crowd.all_here.release();
            }
            crowd.gates[i].acquire();
            if crowd.gone.fetch_add(1, Ordering::AcqRel) + 1 == n as u32 {
                crowd.all_gone.release();
            }
        });
    }
    crowd.all_here.acquire();
    assert!(runtime::num_goroutine() > n);
    crowd.gates.iter().for_each(Parker::release);
    crowd.all_gone.acquire();
    // The last ones are through with the crowd, not yet with their stacks.
    while runtime::num_goroutine() > 64 {
        sched::yield_now();
    }
}

/// The first crowd leaves its Gs and page tables behind, the second must not leave anything.
#[burrow::test(timeout = 180)]
fn a_hundred_thousand_at_once() {
    let n = 100_000;
    let start = free_now();
    let begin = Instant::now();
    crowd(n);
    let took = begin.elapsed();
    let first = free_now();
    crowd(n);
    let second = free_now();
    burrow::println!("free frames: {start}, after {n}: {first}, again: {second}; {took:?}");
    assert!(
        second + SLACK >= first,
        "the second crowd kept {} frames",
        first - second
    );
    let kept = start.saturating_sub(first) * 4096 / n;
    assert!(kept <= KEPT, "{kept} bytes kept per goroutine");
}

/// One after the other, a thousand at a time.
#[burrow::test(timeout = 180)]
fn a_million_in_a_row() {
    let batch = 1000;
    let start = free_now();
    let begin = Instant::now();
    for _ in 0..1_000_000 / batch {
        let (left, done) = (Arc::new(AtomicU32::new(batch)), Arc::new(Parker::new()));
        for _ in 0..batch {
            let (left, done) = (left.clone(), done.clone());
            burrow::go(move || {
                if left.fetch_sub(1, Ordering::AcqRel) == 1 {
                    done.release();
                }
            });
        }
        done.acquire();
    }
    let took = begin.elapsed();
    let end = free_now();
    burrow::println!("free frames: {start}, after a million: {end}; {took:?}");
    assert!(end + SLACK >= start, "{} frames lost", start - end);
}

//! `gomaxprocs` at random, while goroutines compute, park, yield and sleep.

use alloc::{sync::Arc, vec::Vec};
use core::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use burrow::{runtime, spawn, time};
use burrow_tests::{Echo, Rng, Until};

#[burrow::test(timeout = 120)]
fn procs_are_resized_at_random_under_load() {
    let until = Until::storm(Duration::from_millis(1000));
    let before = runtime::gomaxprocs(0);
    let cores = runtime::num_cpu() as u64;
    let stop = Arc::new(AtomicU64::new(0));
    let mut handles = Vec::new();
    for id in 0..cores * 2 {
        let over = stop.clone();
        handles.push(spawn(move || {
            let echo = Echo::start();
            let (mut rng, mut n) = (Rng::new(id), 0_u64);
            while over.load(Ordering::Relaxed) == 0 {
                echo.round_trip();
                match rng.below(16) {
                    0 => time::sleep(Duration::from_nanos(rng.below(200_000))),
                    1 => burrow::yield_now(),
                    2 => drop(spawn(|| 1).join()),
                    _ => {}
                }
                n += 1;
            }
            echo.finish();
            n
        }));
    }
    for _ in 0..cores {
        let over = stop.clone();
        handles.push(spawn(move || {
            let mut n = 0_u64;
            while over.load(Ordering::Relaxed) == 0 {
                n += 1; // a hog: only an interrupt takes it off
                core::hint::spin_loop();
            }
            n
        }));
    }
    let (mut rng, mut resized) = (Rng::new(7), 0);
    let mut now = before;
    while !until.over() {
        let n = 1 + rng.below(cores) as usize;
        assert_eq!(runtime::gomaxprocs(n), now);
        now = n;
        assert_eq!(runtime::sched_stats().gomaxprocs, n);
        resized += 1;
        time::sleep(Duration::from_nanos(rng.below(2_000_000)));
    }
    runtime::gomaxprocs(before);
    stop.store(1, Ordering::Relaxed);
    let sum: u64 = handles.into_iter().map(|h| h.join().expect("no panic")).sum();
    burrow::println!("resized {resized} times, sum of work {sum}");
}

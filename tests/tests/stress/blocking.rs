//! `blocking` hands its P on: others run meanwhile, nobody is lost on the way back.

use alloc::{sync::Arc, vec::Vec};
use core::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use burrow::{blocking, runtime, spawn, time};
use burrow_tests::{Echo, Rng, Until, spin_for};

#[burrow::test(timeout = 120)]
fn hand_off_under_load() {
    let until = Until::storm(Duration::from_millis(1000));
    let cores = runtime::num_cpu() as u64;
    let (stop, rounds) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let callers: Vec<_> = (0..cores * 2)
        .map(|id| {
            let theirs = rounds.clone();
            spawn(move || {
                let (mut rng, mut calls) = (Rng::new(id), 0_u64);
                while !until.over() || calls == 0 || theirs.load(Ordering::Relaxed) == 0 {
                    let length = match rng.below(8) {
                        0 => 2_000_000,
                        1..=3 => 200_000,
                        _ => 5_000,
                    };
                    let length = Duration::from_nanos(rng.below(length));
                    let value = blocking(|| {
                        spin_for(length);
                        if rng.below(4) == 0 {
                            burrow::yield_now(); // any operation is allowed inside
                        }
                        id + 1
                    });
                    assert_eq!(value, id + 1);
                    calls += 1;
                    if rng.below(4) == 0 {
                        time::sleep(Duration::from_nanos(rng.below(100_000)));
                    }
                }
                calls
            })
        })
        .collect();
    let workers: Vec<_> = (0..cores * 2)
        .map(|_| {
            let (stop, rounds) = (stop.clone(), rounds.clone());
            spawn(move || Echo::round_trips_until(&stop, &rounds))
        })
        .collect();
    let calls: u64 = callers.into_iter().map(|h| h.join().expect("no panic")).sum();
    stop.store(1, Ordering::Relaxed);
    for h in workers {
        h.join().expect("no panic");
    }
    burrow::println!("{calls} calls, {rounds:?} round trips beside them");
}

/// A panic inside the call passes through it and leaves the P where it belongs.
#[burrow::test]
fn panics_leave_the_call() {
    for _ in 0..200 {
        let result = spawn(|| blocking(|| -> u32 { panic!("inside") })).join();
        assert_eq!(alloc::format!("{}", result.unwrap_err()), "inside");
    }
}

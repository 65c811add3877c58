//! Time: sleepers wake in order, never early, also when every P is busy or only one is there.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]
extern crate alloc;

use alloc::{sync::Arc, vec::Vec};
use core::{
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use burrow::{
    chan, runtime, spawn,
    time::{self, Instant},
};
use burrow_tests::Rng;

burrow::test_main!();

#[burrow::test]
fn the_clock_never_goes_back_on_any_core() {
    let latest = Arc::new(AtomicU64::new(0));
    let handles: Vec<_> = (0..runtime::num_cpu() * 2)
        .map(|_| {
            let latest = latest.clone();
            spawn(move || {
                for i in 0..20_000 {
                    let seen = latest.load(Ordering::Acquire); // pairs with the Release below
                    let now = Instant::now().as_nanos();
                    assert!(now >= seen, "{now} after another core read {seen}");
                    latest.fetch_max(now, Ordering::AcqRel);
                    if i % 1000 == 0 {
                        burrow::yield_now();
                    }
                }
            })
        })
        .collect();
    for handle in handles {
        handle.join().unwrap_or_else(|p| panic!("{p}"));
    }
}

#[burrow::test]
fn sleepers_wake_in_the_order_of_their_deadlines() {
    let previous = runtime::gomaxprocs(1); // one P: the order of wake-ups is the order of deadlines
    let order = chan::<u64>(64);
    // 3 ms apart: far more than it takes to start them all.
    let mut delays: Vec<u64> = (1..=32).collect();
    let mut rng = Rng::new(3);
    for i in (1..delays.len()).rev() {
        delays.swap(i, rng.below(i as u64 + 1) as usize);
    }
    let base = Instant::now() + Duration::from_millis(20);
    for delay in delays {
        let order = order.clone();
        burrow::go(move || {
            let deadline = base + Duration::from_millis(3 * delay);
            time::sleep(deadline.saturating_duration_since(Instant::now()));
            order.send(delay);
        });
    }
    let mut woken: Vec<u64> = order.iter().take(32).collect();
    // On a busy host two deadlines may pass before the core notices; both are due then, in either order.
    if burrow::opts::flag("det") {
        assert!(woken.is_sorted(), "{woken:?}");
    }
    woken.sort_unstable();
    assert_eq!(woken, (1..=32).collect::<Vec<_>>());
    runtime::gomaxprocs(previous);
}

#[burrow::test]
fn nobody_wakes_early() {
    let handles: Vec<_> = (0..200_u64)
        .map(|id| {
            spawn(move || {
                let mut rng = Rng::new(id);
                for _ in 0..5 {
                    let d = Duration::from_nanos(rng.below(5_000_000));
                    let begin = Instant::now();
                    time::sleep(d);
                    let took = begin.elapsed();
                    assert!(took >= d, "asked for {d:?}, slept {took:?}");
                }
            })
        })
        .collect();
    for handle in handles {
        handle.join().unwrap_or_else(|p| panic!("{p}"));
    }
}

#[burrow::test]
fn a_zero_sleep_returns_at_once() {
    for _ in 0..1000 {
        time::sleep(Duration::ZERO);
    }
}

#[burrow::test]
fn ten_thousand_sleepers_at_once() {
    let (awake, done) = (Arc::new(AtomicU32::new(0)), chan::<()>(1));
    let begin = Instant::now();
    for i in 0..10_000_u64 {
        let (awake, done) = (awake.clone(), done.clone());
        burrow::go(move || {
            time::sleep(Duration::from_micros(50_000 + i % 1000));
            if awake.fetch_add(1, Ordering::AcqRel) + 1 == 10_000 {
                done.send(());
            }
        });
    }
    done.recv();
    assert!(begin.elapsed() >= Duration::from_millis(50));
}

/// A due timer takes the core from a goroutine that never yields.
#[burrow::test]
fn a_sleeper_wakes_while_hogs_hold_every_p() {
    let stop = Arc::new(AtomicBool::new(false));
    let hogs: Vec<_> = (0..runtime::gomaxprocs(0))
        .map(|_| {
            let stop = stop.clone();
            spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    core::hint::spin_loop();
                }
            })
        })
        .collect();
    for _ in 0..20 {
        time::sleep(Duration::from_millis(1));
    }
    stop.store(true, Ordering::Relaxed);
    for hog in hogs {
        hog.join().expect("no panic");
    }
}

/// Timers of a P that goes away go on elsewhere.
#[burrow::test]
fn timers_outlive_their_p() {
    let previous = runtime::gomaxprocs(0);
    let handles: Vec<_> = (0..64_u64)
        .map(|i| spawn(move || time::sleep(Duration::from_millis(30 + i % 7))))
        .collect();
    time::sleep(Duration::from_millis(5));
    runtime::gomaxprocs(1);
    for handle in handles {
        handle.join().expect("no panic");
    }
    runtime::gomaxprocs(previous);
}

#[burrow::test]
fn timeouts_of_channels_and_select() {
    let ch = chan::<u8>(0);
    let begin = Instant::now();
    assert!(ch.recv_timeout(Duration::from_millis(5)).is_err());
    assert!(begin.elapsed() >= Duration::from_millis(5));
    assert!(ch.send_timeout(1, Duration::from_millis(5)).is_err());
    assert!(begin.elapsed() >= Duration::from_millis(10));
    burrow::select! {
        recv(ch) -> _v => unreachable!("nobody sends"),
        default(Duration::from_millis(5)) => {}
    }
    assert!(begin.elapsed() >= Duration::from_millis(15));
}

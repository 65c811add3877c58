//! No wake-up is lost: park and ready on all cores, in and out of idle.

use alloc::{sync::Arc, vec::Vec};
use core::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use burrow::{runtime, spawn, time};
use burrow_tests::{Parker, Rng, Until, spin_for, storm};

/// Many pairs, more than cores, so that a waker is always somewhere else than its sleeper. A lost wake-up leaves a
/// pair parked for ever: the watchdog tells.
#[burrow::test]
fn no_wake_up_is_lost_between_pairs() {
    let until = Until::storm(Duration::from_millis(1000));
    let pairs = runtime::num_cpu() as u64 * 3;
    let rounds = Arc::new(AtomicU64::new(0));
    let mut handles = Vec::new();
    for pair in 0..pairs {
        let ends = Arc::new((Parker::new(), Parker::new()));
        let stop = Arc::new(AtomicU64::new(0));
        let (theirs, their_stop) = (ends.clone(), stop.clone());
        handles.push(spawn(move || {
            while their_stop.load(Ordering::Relaxed) == 0 {
                theirs.0.acquire();
                theirs.1.release();
            }
        }));
        let rounds = rounds.clone();
        handles.push(spawn(move || {
            let mut rng = Rng::new(pair);
            while !until.over() {
                // Now and then wait so long that the other side's core goes idle, or just does not.
                if rng.below(8) == 0 {
                    spin_for(Duration::from_nanos(rng.below(20_000)));
                }
                ends.0.release();
                ends.1.acquire();
                rounds.fetch_add(1, Ordering::Relaxed);
            }
            // The other side may be past its last look at `stop` or before it: it gets a permit and owes none.
            stop.store(1, Ordering::Relaxed);
            ends.0.release();
        }));
    }
    for handle in handles {
        handle.join().expect("no panic");
    }
    burrow::println!("{} round trips", rounds.load(Ordering::Relaxed));
}

/// One releases, everybody waits: all cores idle between bursts, and each burst must wake exactly its sleepers.
#[burrow::test]
fn bursts_wake_idle_cores() {
    let until = Until::storm(Duration::from_millis(700));
    const SLEEPERS: usize = 32;
    let parkers: Arc<Vec<Parker>> = Arc::new((0..SLEEPERS).map(|_| Parker::new()).collect());
    let back = Arc::new(Parker::new());
    let (left, bursts) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let stop = Arc::new(AtomicU64::new(0));
    let mut handles = Vec::new();
    for me in 0..SLEEPERS {
        let (parkers, back, left, stop) = (parkers.clone(), back.clone(), left.clone(), stop.clone());
        handles.push(spawn(move || {
            loop {
                parkers[me].acquire();
                if stop.load(Ordering::Relaxed) == 1 {
                    return;
                }
                if left.fetch_sub(1, Ordering::AcqRel) == 1 {
                    back.release();
                }
            }
        }));
    }
    let mut rng = Rng::new(99);
    while !until.over() {
        left.store(SLEEPERS as u64, Ordering::Release);
        parkers.iter().for_each(Parker::release);
        back.acquire();
        bursts.fetch_add(1, Ordering::Relaxed);
        match rng.below(4) {
            0 => time::sleep(Duration::from_micros(rng.below(300))),
            1 => spin_for(Duration::from_micros(rng.below(100))),
            _ => {}
        }
    }
    stop.store(1, Ordering::Relaxed);
    parkers.iter().for_each(Parker::release);
    for handle in handles {
        handle.join().expect("no panic");
    }
    burrow::println!("{} bursts of {SLEEPERS}", bursts.load(Ordering::Relaxed));
}

/// Sleepers with deadlines of microseconds: the idle path races with timers, steals and wake-ups.
#[burrow::test]
fn short_sleeps_all_end() {
    let length = storm(Duration::from_millis(700));
    let handles: Vec<_> = (0..runtime::num_cpu() as u64 * 4)
        .map(|id| {
            spawn(move || {
                let (until, mut rng, mut slept) = (time::Instant::now() + length, Rng::new(1000 + id), 0_u64);
                while time::Instant::now() < until {
                    let d = Duration::from_nanos(rng.below(400_000));
                    let begin = time::Instant::now();
                    time::sleep(d);
                    assert!(begin.elapsed() >= d, "woke early");
                    slept += 1;
                }
                slept
            })
        })
        .collect();
    let slept: u64 = handles.into_iter().map(|h| h.join().expect("no panic")).sum();
    burrow::println!("{slept} sleeps");
}

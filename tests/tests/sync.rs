//! Mutex and wait group on goroutines.
#![no_std]
#![no_main]
extern crate alloc;

use alloc::{sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use burrow::{
    chan, go,
    sched::WaitReason,
    spawn,
    sync::{Mutex, RawMutex, WaitGroup},
    time::{Duration, Instant},
    yield_now,
};
use burrow_tests::until_parked;

burrow::test_main!();

#[burrow::test]
fn mutex_excludes() {
    static TOTAL: Mutex<u64> = Mutex::new(0);
    let wg = Arc::new(WaitGroup::new());
    for _ in 0..8 {
        wg.go(|| {
            for i in 0..5000 {
                let mut t = TOTAL.lock();
                let old = *t;
                if i % 1000 == 0 {
                    yield_now();
                }
                *t = old + 1;
            }
        });
    }
    wg.wait();
    assert_eq!(*TOTAL.lock(), 40_000);
}

#[burrow::test]
fn mutex_does_not_poison() {
    let m = Arc::new(Mutex::new(1));
    let theirs = m.clone();
    let h = spawn(move || {
        let _g = theirs.lock();
        panic!("with the lock held");
    });
    assert!(h.join().is_err());
    *m.lock() += 1;
    assert_eq!(*m.try_lock().expect("free"), 2);
    assert!(size_of::<RawMutex>() == 8);
}

#[burrow::test]
fn a_hog_does_not_starve_a_waiter() {
    let m = Arc::new(Mutex::new(()));
    let stop = Arc::new(AtomicBool::new(false));
    let (hog, halt) = (m.clone(), stop.clone());
    go(move || {
        while !halt.load(Ordering::Relaxed) {
            let _g = hog.lock();
            let t = Instant::now();
            while t.elapsed() < Duration::from_micros(300) {
                core::hint::spin_loop();
            }
        }
    });
    while !m.is_locked() {
        yield_now();
    }
    for _ in 0..20 {
        drop(m.lock());
    }
    stop.store(true, Ordering::Relaxed);
}

#[burrow::test]
fn wait_group_waits_for_all() {
    let (wg, n) = (Arc::new(WaitGroup::new()), Arc::new(AtomicU32::new(0)));
    for round in 1..=10 {
        for _ in 0..100 {
            let n = n.clone();
            wg.go(move || {
                n.fetch_add(1, Ordering::Relaxed);
            });
        }
        wg.wait();
        assert_eq!(n.load(Ordering::Relaxed), round * 100);
    }
}

#[burrow::test]
fn wait_group_has_many_waiters() {
    let (wg, out) = (Arc::new(WaitGroup::new()), chan::<()>(0));
    wg.add(1);
    let hs: Vec<_> = (0..50)
        .map(|_| {
            let (wg, out) = (wg.clone(), out.receiver());
            spawn(move || {
                wg.wait();
                out.recv();
            })
        })
        .collect();
    until_parked(WaitReason::WaitGroupWait, 50);
    wg.done();
    out.close();
    for h in hs {
        h.join().unwrap();
    }
}

#[burrow::test]
#[should_panic(expected = "negative WaitGroup counter")]
fn wait_group_below_zero() {
    WaitGroup::new().done();
}

//! Reports while everybody is busy, and of many.

use alloc::{format, sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use burrow::{
    Builder, chan, go, goexit,
    runtime::{Leak, leaked},
    scope, select, spawn,
    sync::{Mutex, WaitGroup},
    time::Duration,
    yield_now,
};

use crate::{found, start};

/// Names, a scope whose goroutine left by `goexit`, and stacks that are used again.
#[burrow::test(timeout = 60)]
fn reuse_of_goroutines() {
    for i in 0..20 {
        let c = chan::<u32>(0);
        let h = Builder::new()
            .name(format!("w{i}"))
            .spawn(move || {
                scope(|s| drop(s.spawn(|| ())));
                c.recv()
            })
            .unwrap();
        let leak = found(h.id());
        assert_eq!(leak.name(), format!("w{i}"));
        let h = spawn(|| {
            scope(|s| {
                s.spawn(|| ());
                goexit();
            })
        });
        assert!(h.join().is_err());
    }
}

/// Everybody talks to everybody while reports are made: none may name one of them, and the leaked stay.
#[burrow::test(timeout = 300)]
fn never_a_false_report() {
    const PAIRS: usize = 6;
    let stop = Arc::new(AtomicBool::new(false));
    let (moved, known) = (Arc::new(AtomicUsize::new(0)), chan::<u32>(0));
    let forgotten = start(move || _ = known.recv());
    found(forgotten);
    let before: Vec<u64> = leaked().iter().map(Leak::goid).collect();
    let wg = Arc::new(WaitGroup::new());
    for i in 0..PAIRS {
        // Handles are made and dropped all the time; each channel is now and then all but alone.
        let (s, m) = (stop.clone(), moved.clone());
        wg.go(move || {
            while !s.load(Ordering::Relaxed) {
                let (c, back) = (chan::<u32>(i % 3), chan::<u32>(0));
                let (rx, tx) = (c.receiver(), back.sender());
                let h = spawn(move || {
                    for v in rx {
                        tx.send(v);
                    }
                    tx.close();
                });
                for v in 0..8 {
                    if i % 4 == 3 {
                        burrow::blocking(|| c.send(v));
                    } else {
                        c.send(v);
                    }
                    select! {
                        recv(back) -> got => assert_eq!(got, Some(v)),
                        default(Duration::from_secs(200)) => panic!("nothing came"),
                    }
                    m.fetch_add(1, Ordering::Relaxed);
                }
                c.close();
                drop(c);
                assert_eq!(back.recv(), None);
                h.join().unwrap();
            }
        });
        let (s, lock) = (stop.clone(), Arc::new(Mutex::new(0_u32)));
        let other = lock.clone();
        wg.go(move || {
            while !s.load(Ordering::Relaxed) {
                *lock.lock() += 1;
                yield_now();
            }
        });
        let s = stop.clone();
        wg.go(move || {
            while !s.load(Ordering::Relaxed) {
                let mut n = other.lock();
                yield_now();
                *n += 1;
            }
        });
    }
    let mut reports = 0;
    while reports < 60 || moved.load(Ordering::Relaxed) < 300 {
        let all = leaked();
        assert!(
            all.iter().any(|l| l.goid() == forgotten),
            "once leaked, always leaked"
        );
        for l in &all {
            assert!(before.contains(&l.goid()), "{l}\n{}", l.stack());
        }
        reports += 1;
        yield_now();
    }
    stop.store(true, Ordering::Relaxed);
    wg.wait();
}

/// Many at once: the report is bounded by their number.
#[burrow::test(timeout = 300)]
fn twenty_thousand() {
    const N: usize = 20_000;
    let c = chan::<u32>(0);
    let before = leaked().len();
    for _ in 0..N {
        let c = c.clone();
        go(move || _ = c.recv());
    }
    assert_eq!(leaked().len(), before, "we have a handle");
    drop(c);
    while leaked().len() < before + N {
        yield_now();
    }
}

//! On threads.
#![forbid(unsafe_code)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use super::{sleepers, until};
use crate::{
    recover, spawn,
    sync::{Mutex, RawMutex, WaitGroup},
};

fn panics(f: impl FnOnce()) -> String {
    recover(f).expect_err("should panic").to_string()
}

#[test]
fn mutex_excludes() {
    let m = Arc::new(Mutex::new(0u64));
    let hs: Vec<_> = (0..4)
        .map(|_| {
            let m = m.clone();
            spawn(move || (0..20_000).for_each(|_| *m.lock() += 1))
        })
        .collect();
    for h in hs {
        h.join().unwrap();
    }
    assert_eq!(Arc::into_inner(m).unwrap().into_inner(), 80_000);
}

#[test]
fn mutex_interface() {
    assert_eq!(size_of::<RawMutex>(), 8);
    let mut m = Mutex::from(3);
    assert_eq!(format!("{m:?}"), "Mutex(3)");
    *m.get_mut() = 4;
    let g = m.lock();
    assert!(m.try_lock().is_none() && m.is_locked());
    assert_eq!(format!("{m:?} {g:?} {g}"), "Mutex(<locked>) 4 4");
    drop(g);
    assert!(m.try_lock().is_some_and(|g| *g == 4));
}

#[test]
fn panic_unlocks_without_poison() {
    let m = Mutex::new(1);
    let _ = recover(|| {
        let _g = m.lock();
        panic!("inside");
    });
    assert_eq!(*m.lock(), 1);
}

#[test]
fn any_goroutine_may_unlock_a_raw_mutex() {
    let m = Arc::new(RawMutex::new());
    m.lock();
    let n = m.clone();
    thread::spawn(move || n.unlock()).join().unwrap();
    assert!(m.try_lock());
}

/// A hog that gives the mutex away for an instant at a time would win every race in normal mode.
#[test]
fn starvation_mode_serves_the_waiter() {
    let (m, stop) = (Arc::new(Mutex::new(())), Arc::new(AtomicBool::new(false)));
    let (n, halt) = (m.clone(), stop.clone());
    let hog = thread::spawn(move || {
        while !halt.load(SeqCst) {
            let _g = n.lock();
            let t = Instant::now();
            while t.elapsed() < Duration::from_micros(300) {
                std::hint::spin_loop();
            }
        }
    });
    until(|| m.is_locked());
    let t = Instant::now();
    for _ in 0..20 {
        drop(m.lock());
    }
    let took = t.elapsed();
    stop.store(true, SeqCst);
    hog.join().unwrap();
    assert!(took < Duration::from_secs(30), "20 locks took {took:?}");
}

#[test]
fn wait_group_waits() {
    let (wg, n) = (Arc::new(WaitGroup::new()), Arc::new(AtomicU32::new(0)));
    for round in 1..=20 {
        for _ in 0..5 {
            let n = n.clone();
            wg.go(move || {
                n.fetch_add(1, SeqCst);
            });
        }
        let other = wg.clone();
        let h = (round == 1).then(|| spawn(move || other.wait()));
        wg.wait();
        assert_eq!(n.load(SeqCst), round * 5);
        if let Some(h) = h {
            h.join().unwrap();
        }
    }
    assert_eq!((wg.count(), format!("{wg:?}")), (0, "WaitGroup(0)".into()));
    WaitGroup::new().wait();
}

#[test]
fn wait_group_misuse() {
    assert_eq!(
        panics(|| WaitGroup::new().done()),
        "sync: negative WaitGroup counter"
    );
    let wg = WaitGroup::new();
    wg.add(2);
    assert_eq!(panics(|| wg.add(-3)), "sync: negative WaitGroup counter");
}

/// The counter rises from zero while somebody is counted as waiting; and reuse before `wait` has returned.
#[test]
fn wait_group_reuse_is_noticed() {
    let wg = Arc::new(WaitGroup::new());
    wg.add(1);
    let w = wg.clone();
    let h = spawn(move || w.wait());
    until(|| sleepers(&*wg) == 1);
    // As `done` would, but the group is in use again before the waiter can have looked.
    wg.finish_and_reuse();
    let msg = h.join().expect_err("should panic").to_string();
    assert_eq!(msg, "sync: WaitGroup is reused before previous wait has returned");
}

/// The counter rises from zero while the last `done` is about to wake who waits: told. The next to bring it down wakes.
#[test]
fn wait_group_add_is_noticed() {
    let wg = Arc::new(WaitGroup::new());
    wg.add(1);
    let w = wg.clone();
    let h = spawn(move || w.wait());
    until(|| sleepers(&*wg) == 1);
    wg.half_a_done();
    assert_eq!(
        panics(|| wg.add(1)),
        "sync: WaitGroup misuse: add called concurrently with wait"
    );
    wg.done();
    assert!(h.join().is_ok());
}

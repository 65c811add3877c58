//! Locks, and whoever waits for somebody else.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};

use burrow::{
    Chan, chan,
    runtime::{LeakCause, leaked},
    scope, spawn,
    sync::{Condvar, Mutex, Once, RwLock, WaitGroup},
    time::{Duration, sleep},
    yield_now,
};

use crate::{found, not_found, start};

#[burrow::test(timeout = 60)]
fn joining_a_leaked_goroutine_is_a_leak() {
    let c = chan::<u32>(0);
    let first = spawn(move || c.recv());
    let id = first.id();
    let g = start(move || _ = first.join());
    assert_eq!(found(g).cause(), LeakCause::Joins(id));
    found(id);
    let busy = Arc::new(AtomicBool::new(true));
    let b = busy.clone();
    let runs = spawn(move || {
        while b.load(Ordering::Acquire) {
            yield_now();
        }
    });
    let g = start(move || runs.join().unwrap());
    not_found(g, "join");
    busy.store(false, Ordering::Release);
}

#[cfg_attr(debug_assertions, burrow::test(timeout = 60))]
#[cfg_attr(
    not(debug_assertions),
    expect(dead_code, reason = "release builds do not know the owner")
)]
fn a_lock_whose_holder_is_gone_or_leaked() {
    // Ended with the guard forgotten.
    let m = Arc::new(Mutex::new(0));
    let n = m.clone();
    let holder = spawn(move || core::mem::forget(n.lock()));
    let id = holder.id();
    holder.join().unwrap();
    let n = m.clone();
    let g = start(move || *n.lock() += 1);
    assert_eq!(found(g).cause(), LeakCause::HolderEnded(id));

    // Held by one that is leaked; and transitively.
    let (m, l) = (Arc::new(Mutex::new(0)), Arc::new(RwLock::new(0)));
    let (n, k) = (m.clone(), l.clone());
    let first = start(move || {
        let _n = n.lock();
        Chan::<u8>::nil().recv();
    });
    found(first);
    let n = m.clone();
    let second = start(move || {
        let _k = k.write();
        *n.lock() += 1;
    });
    assert_eq!(found(second).cause(), LeakCause::HolderLeaked(first));
    let third = start(move || _ = *l.read());
    assert_eq!(found(third).cause(), LeakCause::HolderLeaked(second));

    // A cycle of two while the program goes on.
    let (a, b) = (Arc::new(Mutex::new(())), Arc::new(Mutex::new(())));
    let both = Arc::new(WaitGroup::new());
    both.add(2);
    let lock_both = |a: Arc<Mutex<()>>, b: Arc<Mutex<()>>| {
        let both = both.clone();
        start(move || {
            let _a = a.lock();
            both.done();
            both.wait();
            let _b = b.lock();
        })
    };
    let (x, y) = (lock_both(a.clone(), b.clone()), lock_both(b, a));
    assert_eq!(found(x).cause(), LeakCause::HolderLeaked(y));
    assert_eq!(found(y).cause(), LeakCause::HolderLeaked(x));
}

#[burrow::test(timeout = 60)]
fn a_lock_whose_holder_runs_is_not_leaked() {
    let (m, free) = (Arc::new(Mutex::new(0)), chan::<()>(0));
    let (n, f) = (m.clone(), free.clone());
    let holder = spawn(move || {
        let mut n = n.lock();
        f.recv();
        *n += 1;
    });
    not_found(holder.id(), "chan receive");
    let n = m.clone();
    let h = spawn(move || *n.lock() += 1);
    not_found(h.id(), "sync.Mutex.Lock");
    free.send(());
    h.join().unwrap();
    holder.join().unwrap();
    assert_eq!(*m.lock(), 2);
}

/// A raw mutex may be unlocked by anybody.
#[burrow::test(timeout = 60)]
fn a_raw_mutex_is_not_known() {
    let m = Arc::new(burrow::sync::RawMutex::new());
    let n = m.clone();
    spawn(move || n.lock()).join().unwrap();
    let n = m.clone();
    let h = spawn(move || n.lock());
    not_found(h.id(), "sync.Mutex.Lock");
    m.unlock();
    h.join().unwrap();
}

#[burrow::test(timeout = 60)]
fn a_once_that_waits_for_a_leaked_one() {
    let once = Arc::new(Once::new());
    let o = once.clone();
    let first = start(move || o.call_once(|| Chan::<u8>::nil().send(1)));
    found(first);
    let second = start(move || once.call_once(|| ()));
    assert_eq!(found(second).cause(), LeakCause::HolderLeaked(first));
}

#[burrow::test(timeout = 60)]
fn what_lies_on_the_own_stack() {
    let gs = [
        start(|| {
            let wg = WaitGroup::new();
            wg.add(1);
            wg.wait();
        }),
        start(|| {
            let m = Mutex::new(0);
            let _a = m.lock();
            let _b = m.lock();
        }),
        start(|| {
            let (m, c) = (Mutex::new(0), Condvar::new());
            drop(c.wait(m.lock()));
        }),
    ];
    for g in gs {
        assert_eq!(found(g).cause(), LeakCause::Private);
    }
    // With a scope open others may get at it.
    let h = spawn(|| {
        let wg = WaitGroup::new();
        wg.add(1);
        scope(|s| {
            s.spawn(|| {
                sleep(Duration::from_millis(20));
                wg.done();
            });
            wg.wait();
        });
    });
    while !h.is_finished() {
        assert!(leaked().iter().all(|l| l.goid() != h.id()));
    }
    h.join().unwrap();
    let wg = Arc::new(WaitGroup::new());
    wg.add(1);
    let theirs = wg.clone();
    let h = spawn(move || theirs.wait());
    not_found(h.id(), "sync.WaitGroup.Wait");
    wg.done();
    h.join().unwrap();
}

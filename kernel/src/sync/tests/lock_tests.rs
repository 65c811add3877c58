//! `RwLock`, `Once` and its family, `Condvar`, on threads.
#![forbid(unsafe_code)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    thread,
};

use super::{sleepers, until};
use crate::{
    recover, scope, spawn,
    sync::{Condvar, LazyLock, Mutex, Once, OnceLock, RwLock, RwLockWriteGuard},
};

fn panics(f: impl FnOnce()) -> String {
    recover(f).expect_err("should panic").to_string()
}

#[test]
fn rwlock_interface() {
    let mut l = RwLock::from(3);
    *l.get_mut() += 1;
    assert_eq!(format!("{l:?}"), "RwLock(4)");
    let (a, b) = (l.read(), l.read());
    assert!(l.try_write().is_none() && l.is_locked());
    drop((a, b));
    let w = l.write();
    assert!(l.try_read().is_none() && l.try_write().is_none());
    assert_eq!(format!("{l:?} {w:?}"), "RwLock(<locked>) 4");
    let r = RwLockWriteGuard::downgrade(w);
    assert_eq!(l.try_read().map(|g| *g), Some(*r));
    drop(r);
    assert!(!l.is_locked());
    assert_eq!(l.into_inner(), 4);
}

#[test]
fn rwlock_writers_exclude_everybody() {
    let l = Arc::new(RwLock::new([0u64; 2]));
    let hs: Vec<_> = (0..6)
        .map(|i| {
            let l = l.clone();
            spawn(move || {
                for _ in 0..5_000 {
                    if i < 2 {
                        let mut g = l.write();
                        g[0] += 1;
                        g[1] += 1;
                    } else {
                        let g = l.read();
                        assert_eq!(g[0], g[1]);
                    }
                }
            })
        })
        .collect();
    for h in hs {
        h.join().unwrap();
    }
    assert_eq!(*l.read(), [10_000; 2]);
}

#[test]
fn rwlock_a_waiting_writer_goes_before_new_readers() {
    let (l, log) = (RwLock::new(()), std::sync::Mutex::new(Vec::new()));
    scope(|s| {
        let first = l.read();
        s.spawn(|| {
            let _g = l.write();
            log.lock().unwrap().push("writer");
        });
        until(|| sleepers(&l) == 1);
        s.spawn(|| {
            let _g = l.read();
            log.lock().unwrap().push("reader");
        });
        until(|| sleepers(&l) == 2);
        assert!(l.try_read().is_none());
        drop(first);
    });
    assert_eq!(*log.lock().unwrap(), ["writer", "reader"]);
}

#[test]
fn rwlock_recursion_is_told() {
    let l = RwLock::new(());
    scope(|s| {
        let r = l.read();
        assert!(panics(|| drop(l.write())).contains("holds for reading"));
        let w = s.spawn(|| drop(l.write()));
        until(|| sleepers(&l) == 1);
        assert!(panics(|| drop(l.read())).contains("recursive read lock"));
        drop(r);
        w.join().unwrap();
    });
    assert!(l.try_write().is_some(), "the failed attempts left nothing behind");
}

/// A goroutine whose number differs in the upper half only is another one: it waits, it is no deadlock.
#[test]
fn once_knows_its_runner_by_the_whole_number() {
    let (once, me) = (Once::new(), || crate::sched::current().id());
    once.call_once(|| assert!(once.is_run_by(me()) && !once.is_run_by(me() + (1 << 32))));
    assert!(!once.is_run_by(me()));
}

#[test]
fn once_runs_once() {
    let (once, n) = (Once::new(), AtomicU32::new(0));
    scope(|s| {
        for _ in 0..4 {
            s.spawn(|| {
                once.call_once(|| {
                    until(|| sleepers(&once) == 3);
                    n.fetch_add(1, SeqCst);
                });
                assert_eq!(n.load(SeqCst), 1);
            });
        }
    });
    assert_eq!(format!("{once:?}"), "Once(done)");
}

#[test]
fn once_that_panics_is_done() {
    let once = Once::new();
    assert_eq!(panics(|| once.call_once(|| panic!("first"))), "first");
    once.call_once(|| unreachable!());
    assert!(once.is_done());
}

#[test]
fn once_in_itself_is_told() {
    let once = Once::new();
    let text = panics(|| once.call_once(|| once.call_once(|| ())));
    assert!(text.contains("deadlock"), "{text}");
    let cell = OnceLock::new();
    let text = panics(|| {
        cell.get_or_init(|| *cell.get_or_init(|| 1));
    });
    assert!(text.contains("deadlock"), "{text}");
    assert_eq!(cell.get_or_init(|| 2), &2);
}

#[test]
fn once_lock_tries_again_after_a_panic() {
    let (cell, running) = (OnceLock::new(), AtomicU32::new(0));
    scope(|s| {
        s.spawn(|| {
            assert_eq!(
                panics(|| _ = cell.get_or_init(|| {
                    running.store(1, SeqCst);
                    until(|| sleepers(&cell) == 1);
                    panic!("no value")
                })),
                "no value"
            );
        });
        until(|| running.load(SeqCst) == 1);
        assert_eq!(cell.get_or_init(|| 5), &5);
    });
}

#[test]
fn once_lock_interface() {
    let mut cell = OnceLock::new();
    assert_eq!((cell.get(), cell.set(1), cell.set(2)), (None, Ok(()), Err(2)));
    *cell.get_mut().unwrap() += 10;
    assert_eq!(
        format!("{:?} {:?}", cell, OnceLock::<u8>::new()),
        "OnceLock(11) OnceLock(<empty>)"
    );
    assert_eq!(
        (cell.clone().into_inner(), cell.take(), cell.take()),
        (Some(11), Some(11), None)
    );
    let counted = Arc::new(());
    let full = OnceLock::from(counted.clone());
    assert_eq!(Arc::strong_count(&counted), 2);
    drop(full);
    assert_eq!(Arc::strong_count(&counted), 1);
}

#[test]
fn lazy_lock_is_made_once_and_poisons() {
    let n = AtomicU32::new(0);
    let lazy = LazyLock::new(|| n.fetch_add(1, SeqCst) + 41);
    assert_eq!(format!("{lazy:?}"), "LazyLock(<not made>)");
    scope(|s| {
        for _ in 0..4 {
            s.spawn(|| assert_eq!(*lazy, 41));
        }
    });
    assert_eq!(
        (n.load(SeqCst), format!("{lazy:?}").as_str()),
        (1, "LazyLock(41)")
    );
    let bad: LazyLock<u8> = LazyLock::new(|| panic!("bad"));
    assert_eq!(panics(|| _ = *bad), "bad");
    assert_eq!(panics(|| _ = *bad), "LazyLock: the initializer panicked earlier");
}

#[test]
fn condvar_wakes_in_order_of_arrival() {
    let (m, c, log) = (Mutex::new(0), Condvar::new(), std::sync::Mutex::new(Vec::new()));
    scope(|s| {
        for i in 1..=4 {
            let (m, c, log) = (&m, &c, &log);
            s.spawn(move || {
                let mut turn = m.lock();
                while *turn == 0 {
                    turn = c.wait(turn);
                }
                *turn -= 1;
                log.lock().unwrap().push(i);
            });
            until(|| format!("{c:?}") == format!("Condvar({i} waiting)"));
        }
        for n in 1..=4 {
            *m.lock() += 1;
            c.notify_one();
            while log.lock().unwrap().len() < n {
                thread::yield_now();
            }
        }
    });
    assert_eq!(*log.lock().unwrap(), [1, 2, 3, 4]);
    c.notify_one();
    c.notify_all();
}

#[test]
fn condvar_broadcast_reaches_all() {
    let (m, c) = (Mutex::new((0, 0)), Condvar::new());
    scope(|s| {
        for _ in 0..8 {
            s.spawn(|| {
                for round in 1..=200 {
                    let mut g = m.lock();
                    g.1 += 1;
                    g = c.wait_while(g, |g| g.0 < round);
                    drop(g);
                }
            });
        }
        for round in 1..=200 {
            loop {
                let mut g = m.lock();
                if g.1 == 8 {
                    *g = (round, 0);
                    break;
                }
                drop(g);
                thread::yield_now();
            }
            c.notify_all();
        }
    });
}

//! Corners of `sync`: every guard and every wait left by a panic or by `goexit`, user code that calls back, counters at
//! their ends. One promise a test; where Go promises the same, the test says what.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]
extern crate alloc;

use alloc::{
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};

use burrow::{
    chan, defer, goexit, recover, scope, spawn,
    sync::{
        Condvar, LazyLock, Map, Mutex, Once, OnceLock, Pool, RwLock, Semaphore, Value, WaitGroup, errgroup,
        pool, singleflight,
    },
    time::{Duration, sleep},
    yield_now,
};

burrow::test_main!();

fn panics(f: impl FnOnce()) -> String {
    recover(f).expect_err("should panic").to_string()
}

fn until(f: impl Fn() -> bool) {
    while !f() {
        sleep(Duration::from_micros(100));
    }
}

/// Runs `f` in a goroutine of its own, which may leave by `goexit`, and waits for its end.
fn apart(f: impl FnOnce() + Send + 'static) {
    let ended = chan::<()>(0);
    let end = ended.sender();
    burrow::go(move || {
        defer! { end.close() }
        f();
    });
    assert_eq!(ended.recv(), None);
}

#[burrow::test]
fn goexit_lets_go_of_every_guard() {
    struct All {
        mutex: Mutex<u32>,
        rw: RwLock<u32>,
        seats: Semaphore,
        wg: Arc<WaitGroup>,
    }
    let all = Arc::new(All {
        mutex: Mutex::new(0),
        rw: RwLock::new(0),
        seats: Semaphore::new(3),
        wg: Arc::new(WaitGroup::new()),
    });
    for leave_by_panic in [false, true] {
        let a = all.clone();
        let work = move || {
            let (_m, _r, _p) = (a.mutex.lock(), a.rw.read(), a.seats.permit(2));
            a.wg.clone().go(|| goexit());
            if leave_by_panic {
                panic!("on the way out");
            }
            goexit();
        };
        apart(move || {
            if leave_by_panic {
                assert!(recover(work).is_err());
            } else {
                work();
            }
        });
        all.wg.wait();
        assert!(all.mutex.try_lock().is_some() && all.rw.try_write().is_some());
        assert_eq!(all.seats.available(), 3);
    }
    let a = all.clone();
    apart(move || {
        let _w = a.rw.write();
        goexit();
    });
    assert!(all.rw.try_read().is_some());
}

/// The mutex is locked again, and unlocked by the guard, when what follows a `wait` unwinds.
#[burrow::test]
fn condvar_wait_left_by_goexit_and_panic() {
    let pair = Arc::new((Mutex::new(0), Condvar::new()));
    for leave_by_panic in [false, true] {
        let p = pair.clone();
        let h = spawn(move || {
            let n = p.1.wait_while(p.0.lock(), |n| *n == 0);
            if leave_by_panic {
                panic!("{n}");
            }
            goexit();
        });
        let p = pair.clone();
        let condition = spawn(move || {
            // A condition that panics finds the mutex locked, and unlocks it.
            recover(|| drop(p.1.wait_while(p.0.lock(), |n| if *n == 0 { true } else { panic!("condition") })))
                .is_err()
        });
        until(|| alloc::format!("{:?}", pair.1) == "Condvar(2 waiting)");
        *pair.0.lock() = 1;
        pair.1.notify_all();
        assert!(h.join().is_err());
        assert!(condition.join().expect("recovered"));
        *pair.0.try_lock().expect("unlocked") = 0;
    }
}

/// One condition, two mutexes: each waiter gets its own mutex back. (Go's Cond has one; here the guard says which.)
#[burrow::test]
fn condvar_with_two_mutexes() {
    let all = Arc::new((Mutex::new(1), Mutex::new(2), Condvar::new()));
    let waiters: Vec<_> = (0..8)
        .map(|i| {
            let all = all.clone();
            spawn(move || {
                let mutex = if i % 2 == 0 { &all.0 } else { &all.1 };
                let mut n = all.2.wait_while(mutex.lock(), |n| *n < 10);
                *n += 1;
            })
        })
        .collect();
    until(|| alloc::format!("{:?}", all.2) == "Condvar(8 waiting)");
    *all.0.lock() += 10;
    *all.1.lock() += 20;
    all.2.notify_all();
    waiters.into_iter().for_each(|w| w.join().unwrap());
    assert_eq!((*all.0.lock(), *all.1.lock()), (15, 26));
}

#[burrow::test]
fn once_left_by_goexit() {
    static ONCE: Once = Once::new();
    static CELL: OnceLock<u32> = OnceLock::new();
    static LAZY: LazyLock<u32> = LazyLock::new(|| goexit());
    apart(|| ONCE.call_once(|| goexit()));
    assert!(ONCE.is_done(), "done, as in Go: it is not tried twice");
    ONCE.call_once(|| unreachable!("a second time"));
    apart(|| _ = CELL.get_or_init(|| goexit()));
    assert_eq!((CELL.get(), CELL.get_or_init(|| 7)), (None, &7));
    apart(|| _ = *LAZY);
    assert!(panics(|| _ = *LAZY).contains("initializer"));
}

/// Those who wait for a `Once` whose function leaves by `goexit` go on; a cell's waiter makes the value itself.
#[burrow::test]
fn once_waiters_outlive_a_goexit() {
    for _ in 0..50 {
        let all = Arc::new((Once::new(), OnceLock::new(), chan::<()>(0), chan::<()>(0)));
        let a = all.clone();
        let first = spawn(move || {
            a.0.call_once(|| {
                a.1.get_or_init(|| {
                    a.3.close();
                    a.2.recv();
                    goexit()
                });
            });
        });
        all.3.recv(); // it runs
        let waiters: Vec<_> = (0..4)
            .map(|i| {
                let a = all.clone();
                spawn(move || {
                    if i % 2 == 0 {
                        a.0.call_once(|| unreachable!())
                    } else {
                        _ = a.1.get_or_init(|| i)
                    }
                })
            })
            .collect();
        yield_now();
        all.2.close();
        assert!(first.join().is_err());
        waiters.into_iter().for_each(|w| w.join().unwrap());
        assert!(all.0.is_done());
    }
}

#[burrow::test]
fn wait_group_at_the_end_of_its_counter() {
    let wg = WaitGroup::new();
    wg.add(i32::MAX);
    assert_eq!(wg.count(), i32::MAX as u32);
    assert!(panics(|| wg.add(1)).contains("negative WaitGroup counter"));
    let wg = WaitGroup::new();
    assert!(panics(|| wg.add(i32::MIN)).contains("negative WaitGroup counter"));
    let wg = WaitGroup::new();
    wg.add(0);
    wg.wait();
}

/// Used again and again by one and the same waiter: each round is closed before the next begins.
#[burrow::test]
fn wait_group_round_after_round() {
    let wg = Arc::new(WaitGroup::new());
    let n = Arc::new(AtomicU32::new(0));
    for round in 1..=500 {
        for _ in 0..4 {
            let n = n.clone();
            wg.go(move || _ = n.fetch_add(1, SeqCst));
        }
        wg.wait();
        assert_eq!(n.load(SeqCst), 4 * round);
    }
}

#[burrow::test]
fn semaphore_of_nothing_and_of_everything() {
    let s = Semaphore::new(0);
    s.acquire(0);
    assert!(s.try_acquire(0) && !s.try_acquire(1));
    assert!(panics(|| s.acquire(1)).contains("1 permits of a semaphore of 0"));
    let s = Semaphore::new(usize::MAX);
    s.acquire(usize::MAX);
    assert!(!s.try_acquire(1));
    s.release(usize::MAX);
    assert!(panics(|| s.release(1)).contains("more than held"));
    // More than there are: until the context ends, and nothing stays behind.
    let (s, end) = (Arc::new(Semaphore::new(2)), chan::<()>(0));
    let (theirs, rx) = (s.clone(), end.receiver());
    let h = spawn(move || theirs.acquire_unless(3, &rx));
    yield_now();
    assert!(s.try_acquire(2), "who can never be served stands in nobody's way");
    end.close();
    assert!(!h.join().unwrap());
    s.release(2);
    assert_eq!((s.available(), s.waiting()), (2, 0));
}

/// Values use the pool they are dropped by, and the one that is made uses it too.
#[burrow::test]
fn pool_is_used_by_its_own_values() {
    static DROPS: AtomicUsize = AtomicUsize::new(0);
    static POOL: Pool<Nested> = Pool::new(|| Nested(POOL.try_get().map_or(1, |n| n.0 + 1)));
    struct Nested(u32);
    impl Drop for Nested {
        fn drop(&mut self) {
            DROPS.fetch_add(1, SeqCst);
            if let Some(n) = POOL.try_get() {
                POOL.put(n);
            }
            if self.0 > 1 {
                POOL.put(Nested(self.0 - 1));
            }
        }
    }
    for i in 0..200 {
        POOL.put(Nested(i % 5));
    }
    assert!(POOL.get().0 <= 5);
    // Each drop may put a smaller one in, so five generations end it.
    for _ in 0..12 {
        pool::on_collection();
    }
    assert!(POOL.try_get().is_none());
    assert!(DROPS.load(SeqCst) >= 200);
}

/// `range` meets no key twice, however much is stored and deleted meanwhile, and every one that stays.
#[burrow::test]
fn map_range_under_its_own_changes() {
    let map = Map::new();
    (0..300_u32).for_each(|i| map.store(i, i));
    let mut met = alloc::vec![0; 600];
    map.range(|k, _| {
        met[*k as usize] += 1;
        map.delete(&(299 - k % 300));
        map.store(300 + k % 300, 0);
        map.store(*k, 1); // itself, anew
        true
    });
    assert!(met.iter().all(|n| *n <= 1), "{met:?}");
    map.clear();
    let mut calls = 0;
    (0..10_u32).for_each(|i| map.store(i, i));
    map.range(|_, _| {
        calls += 1;
        map.clear();
        calls < 3
    });
    assert!((1..=3).contains(&calls) && map.is_empty());
}

/// A reader that is parked in `load_with` holds nobody up, and what it looks at stays.
#[burrow::test]
fn map_readers_may_park() {
    let (map, go_on) = (Arc::new(Map::new()), chan::<()>(0));
    map.store(1, String::from("one"));
    let (theirs, rx) = (map.clone(), go_on.receiver());
    let h = spawn(move || {
        theirs.load_with(&1, |v| {
            rx.recv();
            v.clone()
        })
    });
    yield_now();
    for i in 0..1000 {
        map.store(1, i.to_string());
        map.delete(&1);
    }
    go_on.close();
    let seen = h.join().unwrap();
    assert!(seen.is_none_or(|s| s == "one" || s.parse::<u32>().is_ok()));
}

/// What a value is made from may be the value itself; a drop of the old one may store.
#[burrow::test]
fn value_is_updated_from_within() {
    let v = Arc::new(Value::new(1_u32));
    v.update(|n| {
        n + if *n == 1 {
            v.update(|m| m + 10);
            0
        } else {
            1
        }
    });
    assert_eq!(*v.load(), 12, "the outer one tried again");
    static CELL: LazyLock<Value<Chained>> = LazyLock::new(|| Value::new(Chained(0)));
    struct Chained(u32);
    impl Drop for Chained {
        fn drop(&mut self) {
            if self.0 > 1 {
                CELL.store(Chained(self.0 - 1));
            }
        }
    }
    CELL.store(Chained(5));
    for left in [4, 3, 2, 1, 0] {
        CELL.store(Chained(0)); // the old one, as it goes, puts the next smaller in its place
        assert_eq!(CELL.load().0, left);
    }
}

#[burrow::test]
fn errgroup_members_that_leave() {
    let g = errgroup::Group::<&str>::new();
    g.set_limit(1);
    g.go(|| goexit());
    g.go(|| Ok(())); // the place came back
    assert_eq!(g.wait(), Ok(()));
    g.set_limit(usize::MAX); // a limit that is none
    (0..50).for_each(|_| g.go(|| Err("one of fifty")));
    assert_eq!((g.wait(), g.wait()), (Err("one of fifty"), Ok(())));
    // A panic goes before an error, and the group can be used again.
    g.go(|| Err("error"));
    g.go(|| panic!("panic"));
    assert!(panics(|| _ = g.wait()).contains("panic"));
    assert_eq!(g.wait(), Ok(()));
}

#[burrow::test]
fn singleflight_leader_that_leaves() {
    let (group, go_on) = (Arc::new(singleflight::Group::<u8, u8>::new()), chan::<()>(0));
    let (g, rx) = (group.clone(), go_on.receiver());
    let leader = spawn(move || {
        g.do_call(1, || {
            rx.recv();
            goexit()
        })
    });
    until(|| group.in_flight() == 1);
    let g = group.clone();
    let follower = spawn(move || g.do_call(1, || unreachable!("in flight")));
    sleep(Duration::from_millis(2));
    go_on.close();
    assert!(leader.join().is_err() && follower.join().is_err());
    assert_eq!(group.do_call(1, || 3), (3, false));
}

/// Unlocking in another order than locking, and try_* in every state a lock can be in.
#[burrow::test]
fn try_locks_in_each_state() {
    let (m, l) = (Mutex::new(()), RwLock::new(()));
    assert!(m.try_lock().is_some() && l.try_read().is_some() && l.try_write().is_some());
    let (a, b) = (l.read(), l.read());
    assert!(l.try_write().is_none() && l.try_read().is_some());
    drop(a);
    assert!(l.try_write().is_none());
    scope(|s| {
        s.spawn(|| drop(l.write()));
        until(|| l.try_read().is_none()); // the writer waits: no reader gets in any more
        assert!(l.try_write().is_none());
        drop(b);
    });
    assert!(l.try_write().is_some());
    let w = l.write();
    assert!(l.try_read().is_none() && l.try_write().is_none());
    drop(w);
    let held = m.lock();
    assert!(m.try_lock().is_none());
    scope(|s| {
        let h = s.spawn(|| drop(m.lock()));
        sleep(Duration::from_millis(3)); // it starves: the mutex is handed over
        drop(held);
        h.join().unwrap();
    });
    assert!(m.try_lock().is_some());
}

//! `sync` used wrongly, alone and in a race: what is promised then is told, and what was misused works on.
//! `docs/coverage.md` lists them by item.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]
extern crate alloc;

use alloc::{
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};
use core::{
    hash::{Hash, Hasher},
    sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::SeqCst},
};

use burrow::{
    context::Context,
    recover,
    sched::WaitReason,
    scope, spawn,
    sync::{
        Condvar, LazyLock, Map, Mutex, OnceLock, Pool, RawMutex, Semaphore, Value, WaitGroup, errgroup,
        singleflight,
    },
    time::Duration,
    yield_now,
};
use burrow_tests::{Rng, until_parked};

burrow::test_main!();

fn panics(f: impl FnOnce()) -> String {
    recover(f).expect_err("should panic").to_string()
}

/// Locked once, unlocked by two at once: one of them is told.
#[burrow::test(exit = 2, says = "fatal error: sync: unlock of unlocked mutex")]
fn a_mutex_unlocked_by_two_at_once() {
    static MUTEX: RawMutex = RawMutex::new();
    MUTEX.lock();
    scope(|s| (0..2).for_each(|_| drop(s.spawn(|| MUTEX.unlock()))));
}

/// One ends the last wait while another adds: each sees all of it or is told; nobody sleeps for ever.
#[burrow::test(timeout = 60)]
fn wait_group_add_meets_the_last_done() {
    const TOLD: [&str; 2] = [
        "sync: WaitGroup misuse: add called concurrently with wait",
        "sync: WaitGroup is reused before previous wait has returned",
    ];
    let mut rng = Rng::new(1);
    for round in 0..400 {
        let wg = Arc::new(WaitGroup::new());
        wg.add(1);
        let w = wg.clone();
        let waiter = spawn(move || w.wait());
        if round % 2 == 0 {
            until_parked(WaitReason::WaitGroupWait, 1);
        }
        let (a, d, late) = (wg.clone(), wg.clone(), rng.below(2));
        let adder = spawn(move || a.add(1));
        (0..late).for_each(|_| yield_now());
        let done = spawn(move || d.done());
        let told = |r: Result<(), burrow::Panic>| {
            if let Err(p) = r {
                assert!(TOLD.contains(&p.to_string().as_str()), "{p}");
            }
        };
        told(adder.join());
        told(done.join());
        assert_eq!(wg.count(), 1, "told or not, it is counted");
        wg.done(); // whoever still waits waits for this
        told(waiter.join());
        assert_eq!(wg.count(), 0);
        wg.wait();
    }
}

/// A value that is made from itself: told, whatever way it asks.
#[burrow::test]
fn cells_made_from_themselves() {
    static LAZY: LazyLock<u32> = LazyLock::new(|| *LAZY + 1);
    let cell = OnceLock::new();
    assert!(panics(|| _ = cell.get_or_init(|| *cell.get_or_init(|| 1) + 1)).contains("deadlock"));
    assert!(panics(|| _ = cell.get_or_init(|| cell.set(1).map_or(0, |()| 2))).contains("deadlock"));
    assert_eq!((cell.get(), cell.get_or_init(|| 3)), (None, &3), "tried again");
    assert!(panics(|| _ = *LAZY).contains("deadlock"));
    assert!(panics(|| _ = *LAZY).contains("the initializer panicked earlier"));
    assert_eq!(alloc::format!("{:?}", LAZY), "LazyLock(<poisoned>)");
}

/// Everybody who waits for an initializer that panics panics; it ran once.
#[burrow::test]
fn lazy_lock_poisons_those_who_wait() {
    for _ in 0..50 {
        let (runs, go_on) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
        let (r, g) = (runs.clone(), go_on.clone());
        let lazy = Arc::new(LazyLock::new(move || -> u8 {
            r.fetch_add(1, SeqCst);
            while !g.load(SeqCst) {
                yield_now();
            }
            panic!("no value")
        }));
        let users: Vec<_> = (0..6)
            .map(|_| {
                let lazy = lazy.clone();
                spawn(move || **lazy)
            })
            .collect();
        until_parked(WaitReason::OnceWait, 5); // all but the one that makes it
        go_on.store(true, SeqCst);
        let mut first = 0;
        for u in users {
            match u.join().expect_err("poisoned").to_string().as_str() {
                "no value" => first += 1,
                other => assert_eq!(other, "LazyLock: the initializer panicked earlier"),
            }
        }
        assert_eq!((first, runs.load(SeqCst)), (1, 1));
    }
}

/// A notification that nobody waits for is gone: it is no permit.
#[burrow::test]
fn condvar_keeps_no_notification() {
    let (m, c) = (Mutex::new(()), Condvar::new());
    c.notify_one();
    c.notify_all();
    assert!(c.wait_timeout(m.lock(), Duration::from_millis(1)).1.timed_out());
    assert!(m.try_lock().is_some());
    // Nor is one kept by somebody who had given up.
    c.notify_one();
    assert!(c.wait_timeout(m.lock(), Duration::ZERO).1.timed_out());
}

#[burrow::test]
fn pool_whose_maker_panics() {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    static POOL: Pool<usize> = Pool::new(|| match MADE.fetch_add(1, SeqCst) {
        n if n.is_multiple_of(2) => panic!("maker {n}"),
        n => n,
    });
    scope(|s| {
        for _ in 0..8 {
            s.spawn(|| {
                for _ in 0..200 {
                    if let Ok(n) = recover(|| POOL.get()) {
                        assert!(n % 2 == 1);
                        if n % 3 == 0 {
                            POOL.put(n);
                        }
                    }
                }
            });
        }
    });
    POOL.put(9);
    assert!(POOL.try_get().is_some(), "it goes on as before");
}

/// Keys whose hash changes and which equal nothing: values get lost in the map, and that is all.
#[burrow::test]
fn map_with_keys_that_lie() {
    static TURN: AtomicU32 = AtomicU32::new(0);
    static DROPS: AtomicUsize = AtomicUsize::new(0);
    struct Liar(u32);
    impl PartialEq for Liar {
        fn eq(&self, other: &Self) -> bool {
            self.0 == other.0 && TURN.fetch_add(1, SeqCst).is_multiple_of(3)
        }
    }
    impl Eq for Liar {}
    impl Hash for Liar {
        fn hash<H: Hasher>(&self, h: &mut H) {
            (self.0 % 4 + TURN.fetch_add(1, SeqCst) % 2).hash(h);
        }
    }
    struct Counted(bool);
    impl PartialEq for Counted {
        fn eq(&self, _: &Self) -> bool {
            false
        }
    }
    impl Drop for Counted {
        fn drop(&mut self) {
            DROPS.fetch_add(usize::from(self.0), SeqCst);
        }
    }
    let map = Map::new();
    let stored = AtomicUsize::new(0);
    scope(|s| {
        for i in 0..4 {
            let (map, stored) = (&map, &stored);
            s.spawn(move || {
                let mut rng = Rng::new(i);
                for _ in 0..300 {
                    let key = rng.below(16) as u32;
                    match rng.below(8) {
                        0..3 => {
                            stored.fetch_add(1, SeqCst);
                            map.store(Liar(key), Counted(true));
                        }
                        3 => drop(map.load_with(&Liar(key), |_| ())),
                        4 => _ = map.delete(&Liar(key)),
                        5 => _ = map.contains_key(&Liar(key)),
                        6 => {
                            stored.fetch_add(1, SeqCst);
                            let made = map.compare_and_swap(Liar(key), &Counted(false), Counted(true));
                            assert!(!made, "no two values are equal");
                        }
                        _ => map.range(|_, _| true),
                    }
                }
            });
        }
    });
    map.clear();
    assert!(map.is_empty());
    drop(map);
    assert_eq!(
        DROPS.load(SeqCst),
        stored.load(SeqCst),
        "each value is dropped once"
    );
}

/// What was loaded from another cell, or is no longer in, is never taken for what is in.
#[burrow::test]
fn value_swaps_only_what_is_in() {
    let (a, b) = (Value::new(1), Value::new(1));
    assert!(!a.compare_and_swap(&b.load(), 2), "equal is not the same");
    let old = a.load();
    a.store(1);
    assert!(!a.compare_and_swap(&old, 2));
    // Of many who swap the same one, one wins.
    for round in 0..100 {
        let (seen, wins) = (a.load(), AtomicU32::new(0));
        scope(|s| {
            for i in 0..4 {
                let (a, seen, wins) = (&a, &seen, &wins);
                s.spawn(move || wins.fetch_add(u32::from(a.compare_and_swap(seen, round * 4 + i)), SeqCst));
            }
        });
        assert_eq!(wins.load(SeqCst), 1);
    }
}

/// A release of more than there are changes nothing for those who use it rightly.
#[burrow::test]
fn semaphore_over_released_under_load() {
    let s = Semaphore::new(3);
    let inside = AtomicUsize::new(0);
    scope(|sc| {
        for _ in 0..4 {
            sc.spawn(|| {
                for _ in 0..200 {
                    let _p = s.permit(2);
                    assert!(inside.fetch_add(2, SeqCst) + 2 <= 3, "more in than there are");
                    yield_now();
                    inside.fetch_sub(2, SeqCst);
                }
            });
        }
        sc.spawn(|| {
            for _ in 0..200 {
                assert!(panics(|| s.release(4)).contains("released more than held"));
                yield_now();
            }
        });
    });
    assert_eq!((s.available(), s.waiting()), (3, 0));
}

/// All fail at once: one error comes out, the hook saw it, and the context has it for its cause.
#[burrow::test]
fn errgroup_errors_meet() {
    for round in 0..60 {
        let (g, ctx) = errgroup::Group::<String>::with_context(&Context::background());
        let together = Arc::new(AtomicU32::new(0));
        for i in 0..8 {
            let together = together.clone();
            g.go(move || {
                together.fetch_add(1, SeqCst);
                while together.load(SeqCst) < 8 {
                    yield_now();
                }
                Err(alloc::format!("{round}.{i}"))
            });
        }
        let first = g.wait().expect_err("all failed");
        assert_eq!(ctx.cause().expect("ended").to_string(), first);
        assert_eq!(g.wait(), Ok(()));
    }
}

/// Go waits for ever, too.
#[burrow::test(exit = 2, says = "all goroutines are asleep - deadlock!")]
fn errgroup_go_with_a_limit_of_nothing() {
    let g = errgroup::Group::<()>::new();
    g.set_limit(0);
    g.go(|| Ok(()));
}

#[burrow::test(exit = 2, says = "all goroutines are asleep - deadlock!")]
fn singleflight_call_within_itself() {
    let g = singleflight::Group::<u8, u8>::new();
    g.do_call(1, || g.do_call(1, || 2).0);
}

#[burrow::test(exit = 2, says = "panic: no luck")]
fn singleflight_channel_call_that_panics() {
    let g = Arc::new(singleflight::Group::<u8, u8>::new());
    g.do_chan(1, || panic!("no luck")).recv();
}

/// Calls, failures and `forget` at once: who gets a value gets that of one run, and each run was led by one.
#[burrow::test]
fn singleflight_forget_storm() {
    let g = singleflight::Group::<u8, u32>::new();
    let (runs, alone, failed) = (AtomicU32::new(0), Mutex::new(Vec::new()), AtomicU32::new(0));
    scope(|s| {
        for i in 0..6 {
            let (g, runs, alone, failed) = (&g, &runs, &alone, &failed);
            s.spawn(move || {
                let mut rng = Rng::new(i);
                for _ in 0..200 {
                    let mut led = None;
                    let got = recover(|| {
                        g.do_call(0, || {
                            let run = runs.fetch_add(1, SeqCst);
                            led = Some(run);
                            yield_now();
                            assert!(run % 7 != 0, "run {run} fails");
                            run
                        })
                    });
                    match got {
                        Ok((run, shared)) => {
                            assert!(run % 7 != 0 && led.is_none_or(|l| l == run));
                            assert!(led.is_some() || shared, "somebody else's, so it is shared");
                            if led.is_some() {
                                alone.lock().push(run);
                            }
                        }
                        Err(p) => {
                            assert!(p.to_string().contains("fails"), "{p}");
                            failed.fetch_add(u32::from(led.is_some()), SeqCst);
                        }
                    }
                    if rng.below(4) == 0 {
                        g.forget(&0);
                    }
                }
            });
        }
    });
    let mut led = alone.into_inner();
    led.sort_unstable();
    led.dedup();
    assert_eq!(led.len() as u32 + failed.load(SeqCst), runs.load(SeqCst));
    assert_eq!(g.in_flight(), 0);
}

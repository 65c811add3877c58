//! `RwLock`, `Once` and its family, `Condvar`, and the mutex's two modes, on goroutines.
#![no_std]
#![no_main]
extern crate alloc;

use alloc::{format, string::ToString, sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};

use burrow::{
    chan,
    lock::PreemptGuard,
    recover, scope, spawn,
    sync::{
        Condvar, LazyLock, Mutex, Once, OnceLock, RawMutex, RwLock, RwLockWriteGuard, WaitGroup, lock_stats,
    },
    time::{Duration, Instant, sleep},
    yield_now,
};
use burrow_tests::Procs;

burrow::test_main!();

fn panics(f: impl FnOnce()) -> alloc::string::String {
    recover(f).expect_err("should panic").to_string()
}

fn until(f: impl Fn() -> bool) {
    while !f() {
        sleep(Duration::from_micros(100));
    }
}

#[burrow::test]
fn rwlock_readers_share_and_writers_exclude() {
    let l = Arc::new(RwLock::new([0u64; 2]));
    let wg = Arc::new(WaitGroup::new());
    for i in 0..12 {
        let l = l.clone();
        wg.go(move || {
            for n in 0..2_000 {
                if i % 4 == 0 {
                    let mut g = l.write();
                    g[0] += 1;
                    if n % 500 == 0 {
                        yield_now();
                    }
                    g[1] += 1;
                } else {
                    let g = l.read();
                    assert_eq!(g[0], g[1], "a writer was half-way");
                }
            }
        });
    }
    wg.wait();
    assert_eq!(*l.read(), [6_000; 2]);
}

#[burrow::test]
fn rwlock_many_read_at_once() {
    let (l, inside) = (RwLock::new(()), AtomicU32::new(0));
    scope(|s| {
        for _ in 0..20 {
            s.spawn(|| {
                let _g = l.read();
                inside.fetch_add(1, SeqCst);
                until(|| inside.load(SeqCst) == 20); // all are in together, or this never ends
            });
        }
    });
}

#[burrow::test]
fn rwlock_a_waiting_writer_goes_before_new_readers() {
    let (l, log) = (RwLock::new(()), Mutex::new(Vec::new()));
    scope(|s| {
        let first = l.read();
        s.spawn(|| {
            let _g = l.write();
            log.lock().push("writer");
        });
        until(|| l.try_read().is_none());
        let before = lock_stats().rw_read_sleeps;
        for _ in 0..5 {
            s.spawn(|| {
                let _g = l.read();
                log.lock().push("reader");
            });
        }
        until(|| lock_stats().rw_read_sleeps >= before + 5);
        drop(first);
    });
    let log = log.into_inner();
    assert_eq!((log[0], log.len()), ("writer", 6));
}

/// Readers that waited for a writer go before the next writer: neither side starves.
#[burrow::test]
fn rwlock_readers_get_their_turn_between_writers() {
    let (l, stop, reads) = (RwLock::new(0u64), AtomicBool::new(false), AtomicU32::new(0));
    scope(|s| {
        for _ in 0..4 {
            s.spawn(|| {
                while !stop.load(SeqCst) {
                    // not a spin: it locks
                    *l.write() += 1;
                }
            });
        }
        for _ in 0..4 {
            s.spawn(|| {
                for _ in 0..50 {
                    let _ = *l.read();
                    reads.fetch_add(1, SeqCst);
                }
                if reads.load(SeqCst) == 200 {
                    stop.store(true, SeqCst);
                }
            });
        }
    });
    assert_eq!(reads.load(SeqCst), 200);
}

#[burrow::test]
fn rwlock_downgrade_lets_readers_in_and_no_writer_between() {
    let l = RwLock::new(1);
    let mut w = l.write();
    scope(|s| {
        let before = lock_stats().mutex_sleeps;
        let writer = s.spawn(|| *l.write() += 10);
        until(|| lock_stats().mutex_sleeps > before); // it waits for the one before it
        *w += 1;
        let r = RwLockWriteGuard::downgrade(w);
        assert_eq!(*r, 2);
        drop(r);
        writer.join().unwrap();
    });
    assert_eq!(*l.read(), 12);
}

#[burrow::test]
fn rwlock_recursion_that_would_wait_for_ever_panics_in_debug_builds() {
    if !cfg!(debug_assertions) {
        return;
    }
    let l = RwLock::new(());
    scope(|s| {
        let r = l.read();
        drop(l.read()); // nobody waits: fine, if unwise
        assert!(panics(|| drop(l.write())).contains("holds for reading"));
        let w = s.spawn(|| drop(l.write()));
        until(|| l.try_read().is_none());
        assert!(panics(|| drop(l.read())).contains("recursive read lock"));
        drop(r);
        w.join().unwrap();
    });
    assert!(l.try_write().is_some());
}

#[burrow::test]
fn rwlock_guards_unlock_when_their_holder_panics() {
    let l = Arc::new(RwLock::new(1));
    let (a, b) = (l.clone(), l.clone());
    let reader = spawn(move || {
        let _g = a.read();
        panic!("reading")
    });
    assert!(reader.join().is_err());
    assert!(
        spawn(move || {
            *b.write() = 2;
            let _g = b.write();
            panic!("writing")
        })
        .join()
        .is_err()
    );
    assert_eq!(*l.try_write().expect("free"), 2);
}

#[burrow::test]
fn once_runs_once_and_everybody_waits_for_it() {
    for _ in 0..50 {
        let (once, n) = (Once::new(), AtomicU32::new(0));
        scope(|s| {
            for _ in 0..8 {
                s.spawn(|| {
                    once.call_once(|| {
                        yield_now();
                        n.fetch_add(1, SeqCst);
                    });
                    assert_eq!(n.load(SeqCst), 1);
                });
            }
        });
        assert!(once.is_done());
    }
}

#[burrow::test]
fn once_that_panics_counts_as_done() {
    let once = Once::new();
    assert_eq!(panics(|| once.call_once(|| panic!("first"))), "first");
    once.call_once(|| unreachable!());
}

#[burrow::test]
fn once_within_itself_is_reported() {
    let once = Once::new();
    let text = panics(|| once.call_once(|| once.call_once(|| ())));
    assert!(text.contains("deadlock"), "{text}");
}

#[burrow::test]
fn once_lock_is_tried_again_by_those_who_waited() {
    let (cell, tries) = (OnceLock::new(), AtomicU32::new(0));
    scope(|s| {
        for _ in 0..8 {
            s.spawn(|| {
                let r = recover(|| {
                    *cell.get_or_init(|| {
                        sleep(Duration::from_micros(200));
                        let n = tries.fetch_add(1, SeqCst);
                        assert!(n >= 3, "not yet");
                        n
                    })
                });
                assert!(r.is_err() || r.is_ok_and(|n| n == 3));
            });
        }
    });
    assert_eq!((cell.get(), tries.load(SeqCst)), (Some(&3), 4));
}

#[burrow::test]
fn lazy_lock_in_a_static() {
    static SUM: LazyLock<u64> = LazyLock::new(|| (1..=1000).sum());
    scope(|s| {
        for _ in 0..8 {
            s.spawn(|| assert_eq!(*SUM, 500_500));
        }
    });
    let bad: LazyLock<u8> = LazyLock::new(|| panic!("bad"));
    assert_eq!(panics(|| _ = *bad), "bad");
    assert!(panics(|| _ = *bad).contains("earlier"));
}

#[burrow::test]
fn condvar_notify_one_is_first_come_first_served() {
    let (m, c, log) = (Mutex::new(0), Condvar::new(), chan::<usize>(8));
    scope(|s| {
        for i in 0..8 {
            let (m, c, log) = (&m, &c, &log);
            s.spawn(move || {
                let mut go = m.lock();
                while *go == 0 {
                    go = c.wait(go);
                }
                *go -= 1;
                drop(go);
                log.send(i);
            });
            until(|| format!("{c:?}") == format!("Condvar({} waiting)", i + 1));
        }
        for i in 0..8 {
            *m.lock() += 1;
            c.notify_one();
            assert_eq!(log.recv(), Some(i));
        }
    });
}

/// On one P a broadcast runs its goroutines in the order in which they came.
#[burrow::test]
fn condvar_broadcast_keeps_the_order_on_one_p() {
    let _one = Procs::one();
    let (m, c, log) = (Mutex::new(false), Condvar::new(), Mutex::new(Vec::new()));
    scope(|s| {
        for i in 0..20 {
            let (m, c, log) = (&m, &c, &log);
            s.spawn(move || {
                drop(c.wait_while(m.lock(), |go| !*go));
                log.lock().push(i);
            });
            until(|| format!("{c:?}") == format!("Condvar({} waiting)", i + 1));
        }
        *m.lock() = true;
        c.notify_all();
    });
    let log = log.into_inner();
    assert_eq!(log.len(), 20);
    // A preemption may reorder neighbours; the deterministic run has none.
    if burrow::opts::flag("det") && burrow::opts::get("chaos").is_none() {
        assert!(log.is_sorted(), "{log:?}");
    }
}

#[burrow::test]
fn condvar_is_a_queue_of_producers_and_consumers() {
    const N: u32 = 3_000;
    let (q, filled, drained) = (Mutex::new(Vec::new()), Condvar::new(), Condvar::new());
    let sum = AtomicU32::new(0);
    scope(|s| {
        for _ in 0..3 {
            s.spawn(|| {
                for i in 1..=N {
                    let mut q = drained.wait_while(q.lock(), |q| q.len() >= 4);
                    q.push(i);
                    filled.notify_one();
                }
            });
            s.spawn(|| {
                for _ in 0..N {
                    let mut q = filled.wait_while(q.lock(), |q| q.is_empty());
                    sum.fetch_add(q.pop().unwrap(), SeqCst);
                    drained.notify_one();
                }
            });
        }
    });
    assert_eq!(sum.load(SeqCst), 3 * (N * (N + 1) / 2));
}

/// A greedy goroutine that holds the mutex in slices of 100 µs, and ten polite ones. In virtual time each polite one
/// has it within 10 ms.
#[burrow::test]
fn mutex_is_fair_to_the_polite() {
    let (m, stop) = (Mutex::new(()), AtomicBool::new(false));
    let before = lock_stats();
    let nobody_slept = || lock_stats().mutex_sleeps == before.mutex_sleeps;
    let mut longest = Duration::ZERO;
    scope(|s| {
        s.spawn(|| {
            while !stop.load(SeqCst) {
                let _g = m.lock();
                let t = Instant::now();
                while t.elapsed() < Duration::from_micros(100) {
                    core::hint::spin_loop();
                }
            }
        });
        until(|| m.is_locked());
        let hs: Vec<_> = (0..10)
            .map(|_| {
                s.spawn(|| {
                    let (mut longest, mut turns) = (Duration::ZERO, 0);
                    // The greedy one may be kept from the host's cores when it has just unlocked: then again.
                    while turns < 5 || nobody_slept() {
                        let t = Instant::now();
                        drop(m.lock());
                        longest = longest.max(t.elapsed());
                        sleep(Duration::from_micros(500));
                        turns += 1;
                    }
                    longest
                })
            })
            .collect();
        for h in hs {
            longest = longest.max(h.join().unwrap());
        }
        stop.store(true, SeqCst);
    });
    let after = lock_stats();
    burrow::println!("longest wait {longest:?}; {after:?}");
    if burrow::opts::flag("det") && burrow::opts::get("chaos").is_none() && burrow::runtime::num_cpu() > 1 {
        assert!(longest < Duration::from_millis(10), "{longest:?}");
    }
    assert!(after.to_normal <= after.to_starving);
}

/// To unlock is allowed with preemption off, also where the mutex is handed over and the waiter would run at once.
#[burrow::test]
fn a_mutex_is_handed_over_with_preemption_off() {
    let m = RawMutex::new();
    for _ in 0..5 {
        m.lock();
        scope(|s| {
            let sleeps = lock_stats().mutex_sleeps;
            s.spawn(|| {
                m.lock();
                m.unlock();
            });
            until(|| lock_stats().mutex_sleeps > sleeps);
            sleep(Duration::from_millis(2)); // it starves
            m.unlock();
            m.lock(); // sooner than who was woken, mostly: that one sets starvation mode
            sleep(Duration::from_millis(2));
            let _here = PreemptGuard::new();
            m.unlock();
        });
    }
}

//! Waits that end early: at a deadline, with a context, at the very moment at which they would have been served anyway.
//! What is released is neither lost nor doubled, and who stays is served in order.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]
extern crate alloc;

use alloc::{format, sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};

use burrow::{
    context::{Canceled, Context, DeadlineExceeded},
    scope,
    sync::{Condvar, Mutex, RwLock, Semaphore, WaitGroup},
    time::{self, Duration, Instant},
    yield_now,
};
use burrow_tests::{Rng, Until};

burrow::test_main!();

const MS: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(3600);

fn until(f: impl Fn() -> bool) {
    while !f() {
        yield_now();
    }
}

/// Up to 40 µs: as long as a short critical section of somebody else.
fn soon(rng: &mut Rng) -> Duration {
    Duration::from_nanos(rng.below(40_000))
}

#[burrow::test]
fn nobody_gives_up_early_and_free_locks_are_had_at_once() {
    let (m, l, wg) = (Mutex::new(()), RwLock::new(()), WaitGroup::new());
    let (guard, r) = (m.lock(), l.read());
    wg.add(1);
    scope(|s| {
        for _ in 0..4 {
            s.spawn(|| {
                let begin = Instant::now();
                assert!(m.try_lock_for(3 * MS).is_none());
                assert!(begin.elapsed() >= 3 * MS);
                assert!(l.try_write_for(3 * MS).is_none());
                assert!(begin.elapsed() >= 6 * MS);
                assert!(!wg.wait_timeout(3 * MS));
                assert!(begin.elapsed() >= 9 * MS);
                assert!(m.try_lock_until(begin).is_none() && m.try_lock_for(Duration::ZERO).is_none());
            });
        }
    });
    assert!(
        l.try_read_for(Duration::ZERO).is_some(),
        "those who gave up stop nobody"
    );
    drop((guard, r));
    wg.done();
    assert!(m.try_lock_for(Duration::ZERO).is_some() && l.try_write_for(Duration::ZERO).is_some());
    assert!(wg.wait_timeout(Duration::ZERO) && m.try_lock_until(Instant::now()).is_some());
    let w = l.write();
    scope(|s| assert!(s.spawn(|| l.try_read_for(MS).is_none()).join().unwrap()));
    drop(w);
    assert!(l.try_read_until(Instant::now() + MS).is_some());
}

/// Patient and impatient ones on one mutex; the greedy one makes it starve, so that hand-offs meet deadlines. It also lets
/// others run while it has the mutex: without that, one core alone might never see anybody come too late.
#[burrow::test]
fn mutex_impatience_loses_no_wake_up() {
    let storm = Until::storm(Duration::from_secs(1));
    let (m, inside, had, missed) = (
        Mutex::new(0_u64),
        AtomicBool::new(false),
        AtomicU32::new(0),
        AtomicU32::new(0),
    );
    let total = scope(|s| {
        let (m, inside, had, missed) = (&m, &inside, &had, &missed);
        // On a host that lets us run now and then only, it goes on until somebody has come too late.
        let over = move || storm.over() && missed.load(SeqCst) > 0;
        let section = move |n: &mut u64, busy: Duration, yields: bool| {
            assert!(!inside.swap(true, SeqCst), "two at once");
            let begin = Instant::now();
            while begin.elapsed() < busy {
                core::hint::spin_loop();
            }
            if yields {
                yield_now();
            }
            *n += 1;
            inside.store(false, SeqCst);
        };
        let hs: Vec<_> = (0..10_u64)
            .map(|id| {
                s.spawn(move || {
                    let (mut rng, mut mine) = (Rng::new(id), 0_u64);
                    while !over() {
                        let busy = Duration::from_nanos(rng.below(if id == 0 { 300_000 } else { 3_000 }));
                        if id < 3 {
                            section(&mut m.lock(), busy, id == 0);
                            mine += 1;
                        } else if let Some(mut n) = m.try_lock_for(soon(&mut rng) * (1 + id as u32 % 4 * 20))
                        {
                            section(&mut n, busy, false);
                            mine += 1;
                            had.fetch_add(1, SeqCst);
                        } else {
                            missed.fetch_add(1, SeqCst);
                        }
                        if rng.below(8) == 0 {
                            yield_now();
                        }
                    }
                    mine
                })
            })
            .collect();
        hs.into_iter().map(|h| h.join().unwrap()).sum::<u64>()
    });
    assert_eq!(*m.try_lock().expect("free"), total);
    burrow::println!(
        "{total} sections; in time {had:?}, too late {missed:?}; {:?}",
        burrow::sync::lock_stats()
    );
}

#[burrow::test]
fn rwlock_impatience_loses_no_wake_up() {
    let until_over = Until::storm(Duration::from_secs(1));
    let (l, writes) = (RwLock::new([0_u64; 2]), AtomicU32::new(0));
    scope(|s| {
        for id in 0..12_u64 {
            let (l, writes) = (&l, &writes);
            s.spawn(move || {
                let mut rng = Rng::new(100 + id);
                let pause = |rng: &mut Rng| {
                    for _ in 0..rng.below(200) {
                        core::hint::spin_loop();
                    }
                    if rng.below(16) == 0 {
                        yield_now();
                    }
                };
                let write = |pair: &mut [u64; 2], rng: &mut Rng| {
                    pair[0] += 1;
                    pause(rng);
                    pair[1] += 1;
                    writes.fetch_add(1, SeqCst);
                };
                while !until_over.over() {
                    let d = soon(&mut rng);
                    match id % 6 {
                        0 => write(&mut l.write(), &mut rng),
                        1 | 2 => _ = l.try_write_for(d).map(|mut w| write(&mut w, &mut rng)),
                        3 => {
                            if let Some(r) = l.try_read_for(d) {
                                assert_eq!(r[0], r[1], "a writer was half-way");
                                pause(&mut rng);
                            }
                        }
                        _ => {
                            let r = l.read();
                            assert_eq!(r[0], r[1], "a writer was half-way");
                            pause(&mut rng);
                        }
                    }
                }
            });
        }
    });
    let n = u64::from(writes.load(SeqCst));
    assert_eq!(*l.try_write().expect("free"), [n, n]);
}

/// A writer that gives up lets the readers in that came after it, while the one before it still reads.
#[burrow::test]
fn rwlock_readers_go_on_when_the_writer_gives_up() {
    let l = RwLock::new(());
    let first = l.read();
    scope(|s| {
        let writer = s.spawn(|| l.try_write_for(20 * MS).is_some());
        let readers: Vec<_> = (0..4).map(|_| s.spawn(|| drop(l.read()))).collect();
        assert!(!writer.join().unwrap());
        for r in readers {
            r.join().unwrap();
        }
        assert!(l.try_read().is_some());
    });
    drop(first);
    assert!(l.try_write().is_some());
}

/// While it waits, a writer that may give up is a writer like every other: no new reader comes in, so it gets its turn
/// however many come; and those who wait for it are in when its context ends.
#[burrow::test]
fn rwlock_a_writer_that_may_give_up_goes_before_new_readers() {
    let (l, log) = (RwLock::new(()), Mutex::new(Vec::new()));
    scope(|s| {
        let first = l.read();
        s.spawn(|| {
            let _w = l.try_write_for(LONG).expect("an hour is enough");
            log.lock().push("writer");
        });
        until(|| l.try_read().is_none());
        for _ in 0..4 {
            s.spawn(|| {
                let _r = l.read();
                log.lock().push("reader");
            });
        }
        assert!(l.try_read_for(MS).is_none());
        drop(first);
    });
    let log = log.into_inner();
    assert_eq!((log[0], log.len()), ("writer", 5));

    let (ctx, cancel) = Context::background().with_cancel();
    let first = l.read();
    scope(|s| {
        let writer = s.spawn(|| l.write_ctx(&ctx).err());
        until(|| l.try_read().is_none());
        let readers: Vec<_> = (0..4).map(|_| s.spawn(|| drop(l.read()))).collect();
        cancel();
        assert_eq!(writer.join().unwrap(), Some(Canceled));
        for r in readers {
            r.join().unwrap();
        }
    });
    drop(first);
    assert!(l.try_write().is_some());
}

/// What a reader reads already it may read again while the writer between is one that gives up: that is a wait, no deadlock.
#[burrow::test]
fn rwlock_reading_again_beside_a_writer_that_gives_up() {
    let l = RwLock::new(());
    let first = l.read();
    scope(|s| {
        let writer = s.spawn(|| l.try_write_for(20 * MS).is_some());
        until(|| l.try_read().is_none() || writer.is_finished());
        drop(l.read());
        assert!(!writer.join().unwrap());
    });
    drop(first);
    assert!(l.try_write().is_some());
}

/// The last reader leaves, and the next ones come, at the very moment at which the writers' patience ends.
#[burrow::test]
fn rwlock_writers_give_up_at_the_last_moment() {
    let (mut had, mut missed) = (0, 0);
    for round in 0..4_000_u64 {
        if round >= 400 && missed > 0 {
            break;
        }
        let (l, n) = (RwLock::new([0_u32; 2]), AtomicU32::new(0));
        scope(|s| {
            let first = l.read();
            for id in 0..5_u64 {
                let (l, n) = (&l, &n);
                s.spawn(move || {
                    let mut rng = Rng::new(round * 8 + id);
                    let d = soon(&mut rng);
                    match id {
                        0 | 1 => {
                            if let Some(mut w) = l.try_write_for(d) {
                                *w = w.map(|x| x + 1);
                                n.fetch_add(1, SeqCst);
                            }
                        }
                        2 => _ = l.try_read_for(d).map(|r| assert_eq!(r[0], r[1])),
                        3 => {
                            let r = l.read();
                            assert_eq!(r[0], r[1]);
                        }
                        _ => *l.write() = [100; 2],
                    }
                });
            }
            let (mut rng, begin) = (Rng::new(round), Instant::now());
            let d = soon(&mut rng);
            while begin.elapsed() < d {
                yield_now();
            }
            drop(first);
        });
        let got = n.load(SeqCst);
        had += got;
        missed += 2 - got;
        assert!(l.try_write().is_some(), "round {round}: {l:?}");
    }
    burrow::println!("in time {had}, too late {missed}");
    assert!(missed > 0);
}

#[burrow::test]
fn wait_group_waiters_give_up_at_the_last_moment() {
    for round in 0..400_u64 {
        let wg = WaitGroup::new();
        wg.add(2);
        scope(|s| {
            for id in 0..4_u64 {
                let wg = &wg;
                s.spawn(move || {
                    let mut rng = Rng::new(round * 8 + id);
                    if id == 0 {
                        wg.wait();
                    } else if wg.wait_timeout(soon(&mut rng)) {
                        assert_eq!(wg.count(), 0);
                    }
                });
            }
            for id in 4..6 {
                let wg = &wg;
                s.spawn(move || {
                    let mut rng = Rng::new(round * 8 + id);
                    let begin = Instant::now();
                    let d = soon(&mut rng);
                    while begin.elapsed() < d {
                        yield_now();
                    }
                    wg.done();
                });
            }
        });
        wg.add(1); // as new
        assert!(!wg.wait_timeout(Duration::from_nanos(1)));
        wg.done();
        wg.wait();
    }
}

/// Of a queue in which every other one times out, the rest is notified in order, by exactly as many notifications.
#[burrow::test]
fn condvar_order_survives_timeouts() {
    let (m, c, log) = (Mutex::new(0), Condvar::new(), burrow::chan::<usize>(16));
    let waiting = |n: usize| format!("{c:?}") == format!("Condvar({n} waiting)");
    scope(|s| {
        let mut timed = Vec::new();
        for i in 0..12 {
            let (m, c, log) = (&m, &c, &log);
            if i % 3 == 1 {
                timed.push(s.spawn(move || {
                    let (_guard, end) = c.wait_timeout(m.lock(), 60 * MS);
                    assert!(end.timed_out());
                }));
            } else {
                s.spawn(move || {
                    let mut go = m.lock();
                    while *go == 0 {
                        go = c.wait(go);
                    }
                    *go -= 1;
                    drop(go);
                    log.send(i);
                });
            }
            until(|| waiting(i + 1 - timed.iter().filter(|h| h.is_finished()).count()));
        }
        for h in timed {
            h.join().unwrap();
        }
        assert!(waiting(8), "{c:?}");
        for i in (0..12).filter(|i| i % 3 != 1) {
            *m.lock() += 1;
            c.notify_one();
            assert_eq!(log.recv(), Some(i));
        }
    });
    assert!(waiting(0));
}

/// As many notifications as items: consumers that time out take none along.
#[burrow::test]
fn condvar_notifications_are_not_spent_on_who_timed_out() {
    const N: u32 = 2_000;
    let (q, filled, took) = (Mutex::new(0_u32), Condvar::new(), AtomicU32::new(0));
    let stop = AtomicBool::new(false);
    scope(|s| {
        for id in 0..4_u64 {
            let (q, filled, stop) = (&q, &filled, &stop);
            s.spawn(move || {
                let mut rng = Rng::new(200 + id);
                while !stop.load(SeqCst) {
                    let (guard, end) = filled.wait_timeout(q.lock(), soon(&mut rng));
                    drop(guard);
                    if !end.timed_out() {
                        filled.notify_one(); // it was for somebody who takes one
                    }
                }
            });
        }
        let consumers: Vec<_> = (0..3)
            .map(|i| {
                let (q, filled, took) = (&q, &filled, &took);
                s.spawn(move || {
                    for _ in 0..N / 4 * (1 + i % 2) {
                        let mut n = filled.wait_while(q.lock(), |n| *n == 0);
                        *n -= 1;
                        took.fetch_add(1, SeqCst);
                    }
                })
            })
            .collect();
        for i in 0..N {
            *q.lock() += 1;
            filled.notify_one();
            if i % 7 == 0 {
                yield_now();
            }
        }
        for h in consumers {
            h.join().unwrap();
        }
        stop.store(true, SeqCst);
    });
    assert_eq!((took.load(SeqCst), *q.lock()), (N, 0));
    assert_eq!(format!("{filled:?}"), "Condvar(0 waiting)");
}

#[burrow::test]
fn condvar_broadcasts_meet_timeouts() {
    let until_over = Until::storm(Duration::from_secs(1));
    let (m, c, running) = (Mutex::new(0_u64), Condvar::new(), AtomicU32::new(8));
    scope(|s| {
        for id in 0..8_u64 {
            let (m, c, running) = (&m, &c, &running);
            s.spawn(move || {
                let mut rng = Rng::new(300 + id);
                while !until_over.over() {
                    let guard = m.lock();
                    let seen = *guard;
                    if id % 2 == 0 {
                        drop(c.wait_timeout(guard, soon(&mut rng)));
                    } else {
                        let now = c.wait_while(guard, |n| *n == seen);
                        assert!(*now > seen);
                    }
                }
                running.fetch_sub(1, SeqCst);
            });
        }
        while running.load(SeqCst) != 0 {
            *m.lock() += 1;
            c.notify_all();
            yield_now();
        }
    });
    assert_eq!(format!("{c:?}"), "Condvar(0 waiting)");
}

#[burrow::test]
fn a_context_ends_waits() {
    let (m, l, wg, sem) = (
        Mutex::new(()),
        RwLock::new(()),
        WaitGroup::new(),
        Semaphore::new(1),
    );
    let held = (m.lock(), l.read(), sem.permit(1));
    wg.add(1);
    let (ctx, cancel) = Context::background().with_cancel();
    scope(|s| {
        let hs = [
            s.spawn(|| m.lock_ctx(&ctx).err()),
            s.spawn(|| l.write_ctx(&ctx).err()),
            s.spawn(|| wg.wait_ctx(&ctx).err()),
            s.spawn(|| sem.acquire_ctx(&ctx, 1).err()),
        ];
        until(|| sem.waiting() == 1);
        assert!(hs.iter().all(|h| !h.is_finished()));
        cancel();
        for h in hs {
            assert_eq!(h.join().unwrap(), Some(Canceled));
        }
    });
    drop(held);
    assert!(m.try_lock().is_some() && l.try_write().is_some() && sem.try_acquire(1));
    let (soon, _cancel) = Context::background().with_timeout(2 * MS);
    assert_eq!(wg.wait_ctx(&soon), Err(DeadlineExceeded));
    assert_eq!(
        m.lock_ctx(&soon).err(),
        Some(DeadlineExceeded),
        "it is free, but too late"
    );
}

/// Cancelled at the moment of the unlock: had or not, the mutex goes on.
#[burrow::test]
fn contexts_end_while_locks_change_hands() {
    for round in 0..300_u64 {
        let (m, had) = (Mutex::new(0), AtomicU32::new(0));
        let (ctx, cancel) = Context::background().with_cancel();
        scope(|s| {
            let guard = m.lock();
            for _ in 0..3 {
                s.spawn(|| {
                    if let Ok(mut n) = m.lock_ctx(&ctx) {
                        *n += 1;
                        had.fetch_add(1, SeqCst);
                    }
                });
            }
            s.spawn(|| *m.lock() += 1);
            s.spawn(|| cancel.cancel());
            for _ in 0..Rng::new(round).below(4) {
                yield_now();
            }
            drop(guard);
        });
        assert_eq!(*m.try_lock().expect("free"), had.load(SeqCst) + 1);
    }
}

/// Ten thousand give up at one moment; nothing of them is left.
#[burrow::test]
fn a_crowd_gives_up_together() {
    let (m, late, timers) = (
        Arc::new(Mutex::new(())),
        Arc::new(AtomicU32::new(0)),
        time::live_timers(),
    );
    let guard = m.lock();
    let at = Instant::now() + 100 * MS;
    for i in 0..10_000_u64 {
        let (m, late) = (m.clone(), late.clone());
        burrow::go(move || {
            assert!(m.try_lock_until(at + Duration::from_micros(i % 100)).is_none());
            late.fetch_add(1, SeqCst);
        });
    }
    until(|| late.load(SeqCst) == 10_000);
    drop(guard);
    assert!(m.try_lock().is_some());
    assert!(time::live_timers() < timers + 100);
    drop(m.try_lock_for(LONG).expect("free"));
}

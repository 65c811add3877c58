//! Corners of `time` and `context`: durations at their ends, timers that are changed from within, trees that end while
//! they are walked.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]
extern crate alloc;

use alloc::{string::ToString, sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};

use burrow::{
    Select, chan,
    context::{Canceled, Context, DeadlineExceeded, background},
    recover, runtime, select, spawn,
    sync::{Mutex, OnceLock, WaitGroup},
    time::{self, Duration, Instant, Ticker, Timer, sleep},
    yield_now,
};

burrow::test_main!();

const MS: Duration = Duration::from_millis(1);
const ENDLESS: [Duration; 3] = [
    Duration::MAX,
    Duration::from_nanos(u64::MAX),
    Duration::from_secs(u64::MAX / 1_000_000_000 / 2),
];

fn until(f: impl Fn() -> bool) {
    while !f() {
        sleep(Duration::from_micros(100));
    }
}

/// Nothing that lasts for ever ends at once, or keeps what is due from ending.
#[burrow::test]
fn endless_durations_do_not_end() {
    for d in ENDLESS {
        let (timer, ticker) = (Timer::new(d), Ticker::new(d));
        let (ctx, cancel) = background().with_timeout(d);
        let never = chan::<u8>(0);
        let (n, c) = (never.clone(), ctx.clone());
        let waits = spawn(move || n.recv_timeout(d));
        let selects = spawn(move || {
            select! {
                recv(c.done()) => "cancelled",
                default(d) => "timed out",
            }
        });
        let func = time::after_func(d, || unreachable!("called"));
        for _ in 0..3 {
            sleep(MS);
        }
        assert!(timer.c.try_recv().is_err() && ticker.c.try_recv().is_err() && ctx.err().is_none());
        assert!(timer.stop() && func.stop());
        ticker.stop();
        never.send(1);
        cancel();
        assert_eq!(waits.join().unwrap(), Ok(1));
        assert_eq!(selects.join().unwrap(), "cancelled");
    }
    let far = Instant::now() + Duration::from_nanos(u64::MAX / 8 * 7);
    let (ctx, _cancel) = background().with_deadline(far);
    sleep(2 * MS);
    assert_eq!((ctx.err(), ctx.deadline()), (None, Some(far)));
}

#[burrow::test]
fn no_time_at_all() {
    assert!(chan::<u8>(0).recv_timeout(Duration::ZERO).is_err());
    assert!(chan::<u8>(0).send_timeout(1, Duration::ZERO).is_err());
    assert!(Timer::new(Duration::ZERO).c.recv().is_some());
    let full = chan::<u8>(1);
    full.send(1);
    assert_eq!(
        full.recv_timeout(Duration::ZERO),
        Ok(1),
        "what is there needs no time"
    );
    for f in [
        || drop(Ticker::new(Duration::ZERO)),
        || Ticker::new(MS).reset(Duration::ZERO),
    ] {
        let p = recover(f).expect_err("zero interval");
        assert!(p.to_string().contains("zero interval for a Ticker"));
    }
    assert!(
        time::tick(Duration::ZERO).is_nil(),
        "Go's rule: no ticks, and no panic"
    );
    let t = Ticker::new(MS);
    assert!(recover(|| t.reset(Duration::ZERO)).is_err());
    assert!(t.c.recv().is_some(), "it goes on as before");
}

/// A ticker that is always due keeps nobody from working, on one core either.
#[burrow::test(timeout = 60)]
fn a_ticker_of_one_nanosecond() {
    let tickers: Vec<_> = (0..4).map(|_| Ticker::new(Duration::from_nanos(1))).collect();
    for t in &tickers {
        for _ in 0..50 {
            assert!(t.c.recv().is_some());
        }
    }
    let mut n = 1_u64;
    for i in 0..2_000_000_u64 {
        n = core::hint::black_box(n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(i));
    }
    sleep(MS);
    drop(tickers);
    assert_ne!(n, 0);
}

/// A function may reset its own timer, also to "at once", and stop it.
#[burrow::test]
fn a_function_resets_its_own_timer() {
    let (calls, timer) = (Arc::new(AtomicU32::new(0)), Arc::new(OnceLock::<Timer>::new()));
    let done = chan::<u32>(1);
    let (c, t, tx) = (calls.clone(), timer.clone(), done.sender());
    let func = time::after_func(2 * MS, move || {
        let n = c.fetch_add(1, SeqCst) + 1;
        let timer = loop {
            match t.get() {
                Some(timer) => break timer,
                None => yield_now(), // due before the one who made it had the time to say where it is
            }
        };
        if n < 20 {
            assert!(
                !timer.reset(if n % 2 == 0 { MS } else { Duration::ZERO }),
                "it had fired"
            );
        } else {
            assert!(!timer.stop(), "it runs");
            tx.send(n);
        }
    });
    assert!(timer.set(func).is_ok());
    assert_eq!(done.recv(), Some(20));
    sleep(3 * MS);
    assert_eq!(calls.load(SeqCst), 20);
}

/// A ticker is stopped, reset and read by those that listen to it; nobody gets a tick of before.
#[burrow::test]
fn a_ticker_changed_by_its_readers() {
    let ticker = Arc::new(Ticker::new(MS));
    let readers: Vec<_> = (0..4)
        .map(|i| {
            let t = ticker.clone();
            spawn(move || {
                for _ in 0..10 {
                    assert!(t.c.recv_timeout(Duration::from_secs(10)).is_ok());
                    if i == 0 {
                        t.stop();
                        t.reset(MS / 2);
                    }
                }
            })
        })
        .collect();
    readers.into_iter().for_each(|r| r.join().unwrap());
    ticker.stop();
    assert!(ticker.c.try_recv().is_err());
}

/// A timer is dropped by the goroutine that it is just waking, thousands of times, on all cores.
#[burrow::test]
fn timers_dropped_while_they_fire() {
    let before = time::live_timers();
    let wg = Arc::new(WaitGroup::new());
    for i in 0..runtime::num_cpu() as u64 * 2 {
        wg.go(move || {
            for n in 0..300 {
                let d = Duration::from_micros((i * 37 + n * 11) % 120);
                select! {
                    recv(time::after(d)) => {}
                    recv(time::after(d)) => {}
                    default(d) => {}
                }
            }
        });
    }
    wg.wait();
    until(|| time::live_timers() <= before + 8); // the runtime has some of its own, now and then
}

#[burrow::test]
fn a_context_cancelled_by_its_own_function() {
    let (ctx, cancel) = background().with_cancel();
    let (child, cancel_child) = ctx.with_cancel();
    let ran = chan::<Option<burrow::context::Error>>(2);
    let (tx, again, c) = (ran.sender(), cancel.clone(), child.clone());
    let stop = ctx.after_func(move || {
        again(); // a second time, from within
        cancel_child();
        tx.send(c.err());
    });
    cancel();
    assert_eq!(ran.recv(), Some(Some(Canceled)));
    assert!(!stop(), "it ran");
    // One that comes too late runs at once, elsewhere.
    let tx = ran.sender();
    let stop = ctx.after_func(move || tx.send(None));
    assert_eq!(ran.recv(), Some(None));
    assert!(!stop());
    // On a context that never ends it never runs, and is called off.
    assert!(background().after_func(|| unreachable!("never"))());
}

#[burrow::test]
fn values_hide_others_of_their_type() {
    #[derive(Debug, PartialEq)]
    struct User(&'static str);
    let (timed, cancel) = background().with_value(User("ada")).with_timeout(MS);
    let inner = timed.with_value(User("bob")).with_value(7_u32);
    assert_eq!(timed.value(), Some(&User("ada")));
    assert_eq!((inner.value(), inner.value()), (Some(&User("bob")), Some(&7_u32)));
    assert_eq!(inner.value::<&str>(), None);
    let free = inner.without_cancel();
    timed.done().recv();
    assert_eq!(inner.err(), Some(DeadlineExceeded));
    assert_eq!(
        (free.err(), free.deadline(), free.value()),
        (None, None, Some(&User("bob")))
    );
    assert!(free.done().is_nil());
    let (sub, cancel_sub) = free.with_cancel();
    cancel_sub();
    assert_eq!((sub.err(), free.err()), (Some(Canceled), None));
    cancel();
    assert_eq!(timed.err(), Some(DeadlineExceeded), "the first reason stays");
}

/// Who sees the error finds `done` closed, and the other way round, whoever ends the context.
#[burrow::test]
fn err_and_done_agree() {
    for round in 0..200 {
        let (ctx, cancel) = background().with_timeout(if round % 2 == 0 {
            MS / 5
        } else {
            Duration::from_secs(60)
        });
        let start = Arc::new(AtomicBool::new(false));
        let watchers: Vec<_> = (0..3)
            .map(|i| {
                let (ctx, start): (Context, _) = (ctx.clone(), start.clone());
                let done = ctx.done();
                spawn(move || {
                    start.store(true, SeqCst);
                    loop {
                        if i % 2 == 0 && ctx.err().is_some() {
                            return assert!(
                                done.try_recv() == Err(burrow::TryRecvError::Closed),
                                "ended, not done"
                            );
                        }
                        if i % 2 == 1 && done.try_recv() == Err(burrow::TryRecvError::Closed) {
                            return assert!(ctx.err().is_some() && ctx.cause().is_some(), "done, not ended");
                        }
                        yield_now();
                    }
                })
            })
            .collect();
        until(|| start.load(SeqCst));
        if round % 2 == 1 {
            cancel();
        }
        watchers.into_iter().for_each(|w| w.join().unwrap());
    }
}

/// A child that is made, cancelled or dropped while its parent ends, under every parent of a deep tree.
#[burrow::test]
fn a_tree_that_grows_while_it_ends() {
    for _ in 0..30 {
        let (root, cancel) = background().with_cancel();
        let made = Arc::new(Mutex::new(Vec::new()));
        let growers: Vec<_> = (0..4)
            .map(|i| {
                let (root, made) = (root.clone(), made.clone());
                spawn(move || {
                    let mut at = root;
                    // A bound: a chain that grows faster than it is ended never ends, here or in Go.
                    for _ in 0..500 {
                        if at.err().is_some() {
                            return;
                        }
                        let (child, stop) = at.with_cancel();
                        if i == 0 {
                            stop(); // its own end, not the parent's
                        } else {
                            made.lock().push(child.clone());
                            at = child;
                        }
                        yield_now();
                    }
                    at.done().recv();
                })
            })
            .collect();
        sleep(MS / 2);
        cancel();
        growers.into_iter().for_each(|g| g.join().unwrap());
        assert!(
            made.lock().iter().all(|c| c.err() == Some(Canceled)),
            "a child escaped"
        );
    }
}

/// The same channels many times over in one dynamic `Select`, some nil, with a limit of time.
#[burrow::test]
fn a_select_with_everything_twice() {
    let (a, timer) = (chan::<u32>(1), Timer::new(Duration::from_secs(60)));
    let (rx, tx, nil) = (a.receiver(), a.sender(), chan::<u32>(0).receiver());
    for round in 0..50 {
        let mut values = [const { None::<u32> }; 8];
        let (mut fired, mut out) = (None, Some(round));
        let i = {
            let mut s = Select::new();
            let (first, second) = values.split_at_mut(4);
            first.iter_mut().for_each(|v| _ = s.recv(&rx, v));
            second.iter_mut().for_each(|v| _ = s.recv(&nil, v));
            s.recv(&timer.c, &mut fired);
            s.send(&tx, &mut out);
            s.select_timeout(Duration::from_secs(10))
                .expect("the buffer has room, or a value")
        };
        assert!(i < 4 || i == 9, "arm {i}");
        assert_eq!(values.iter().flatten().count(), usize::from(i < 4));
        assert_eq!(out.is_none(), i == 9);
        assert!(fired.is_none());
    }
}

//! `Semaphore`, `errgroup` and `singleflight` on goroutines.
#![no_std]
#![no_main]
extern crate alloc;

use alloc::{
    boxed::Box,
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};
use core::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use burrow::{
    chan,
    context::Context,
    goexit, recover,
    sched::WaitReason,
    scope, spawn,
    sync::{Mutex, Semaphore, errgroup, singleflight},
    time::{Duration, sleep},
    yield_now,
};
use burrow_tests::until_parked;

burrow::test_main!();

fn panics(f: impl FnOnce()) -> String {
    recover(f).expect_err("should panic").to_string()
}

fn until(f: impl Fn() -> bool) {
    while !f() {
        sleep(Duration::from_micros(100));
    }
}

#[burrow::test]
fn semaphore_bounds_and_loses_nothing() {
    let (s, inside) = (Semaphore::new(7), AtomicUsize::new(0));
    scope(|sc| {
        for n in [1, 2, 3, 7, 1, 2, 5, 1] {
            let (s, inside) = (&s, &inside);
            sc.spawn(move || {
                for _ in 0..300 {
                    let _permit = s.permit(n);
                    assert!(inside.fetch_add(n, SeqCst) + n <= 7);
                    yield_now();
                    inside.fetch_sub(n, SeqCst);
                }
            });
        }
    });
    assert_eq!((s.available(), s.waiting()), (7, 0));
}

#[burrow::test]
fn semaphore_is_first_come_first_served() {
    let (s, log) = (Semaphore::new(3), Mutex::new(Vec::new()));
    s.acquire(3);
    scope(|sc| {
        for (i, n) in [3, 1, 2].into_iter().enumerate() {
            let (s, log) = (&s, &log);
            sc.spawn(move || {
                s.acquire(n);
                log.lock().push(n);
                s.release(n);
            });
            until(|| s.waiting() == i + 1);
        }
        s.release(2);
        assert!(
            !s.try_acquire(1) && s.waiting() == 3,
            "the big one is not overtaken"
        );
        s.release(1);
    });
    assert_eq!(log.into_inner()[0], 3);
}

/// Waiters that give up at the moment they are served neither lose nor keep permits.
#[burrow::test]
fn semaphore_cancelled_waits_give_everything_back() {
    let s = Semaphore::new(4);
    for round in 0..60 {
        let (ctx, cancel) = Context::background().with_cancel();
        s.acquire(4);
        scope(|sc| {
            for n in [2, 4, 1, 3] {
                let (s, ctx) = (&s, ctx.clone());
                sc.spawn(move || {
                    if s.acquire_ctx(&ctx, n).is_ok() {
                        s.release(n);
                    }
                });
            }
            if round % 2 == 0 {
                until(|| s.waiting() == 4);
            }
            sc.spawn(|| cancel.cancel());
            s.release(4);
        });
        assert_eq!((s.available(), s.waiting()), (4, 0));
    }
}

#[burrow::test]
fn semaphore_misuse_panics() {
    let s = Semaphore::new(2);
    assert!(panics(|| s.release(1)).contains("released more than held"));
    assert!(panics(|| s.acquire(3)).contains("3 permits of a semaphore of 2"));
}

#[burrow::test]
fn errgroup_first_error_wins_and_stops_the_others() {
    let done = chan::<()>(0);
    let tx = done.clone();
    let g = errgroup::Group::<String>::with_stop(move |e| {
        assert_eq!(e.map(String::as_str), Some("worker 3"));
        tx.close();
    });
    for i in 0..8 {
        let done = done.receiver();
        g.go(move || {
            if i == 3 {
                return Err(alloc::format!("worker {i}"));
            }
            done.recv();
            Err("stopped".into())
        });
    }
    assert_eq!(g.wait(), Err("worker 3".into()));
    assert_eq!(g.wait(), Ok(()));
}

#[burrow::test]
fn errgroup_panics_come_out_of_wait() {
    let g = errgroup::Group::<Box<dyn core::error::Error + Send + Sync>>::new();
    for i in 0..4 {
        g.go(move || {
            if i == 2 {
                panic!("member {i}");
            }
            Err("an error".into())
        });
    }
    assert_eq!(panics(|| _ = g.wait()), "member 2");
    g.go(|| goexit());
    g.go(|| "x".parse::<u8>().map(|_| ()).map_err(Into::into));
    assert_eq!(g.wait().unwrap_err().to_string(), "invalid digit found in string");
}

#[burrow::test]
fn errgroup_limit_is_kept_under_storm() {
    let (busy, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let g = errgroup::Group::<()>::new();
    g.set_limit(3);
    let mut started = 0;
    for i in 0..500 {
        let (busy, most) = (busy.clone(), most.clone());
        let work = move || {
            most.fetch_max(busy.fetch_add(1, SeqCst) + 1, SeqCst);
            yield_now();
            busy.fetch_sub(1, SeqCst);
            if i % 50 == 0 { goexit() } else { Ok(()) }
        };
        if i % 5 == 0 {
            started += usize::from(g.try_go(work));
        } else {
            g.go(work);
            started += 1;
        }
    }
    g.wait().unwrap();
    assert!(started >= 400 && most.load(SeqCst) <= 3);
    g.set_limit(0);
    assert!(!g.try_go(|| Ok(())));
}

#[burrow::test]
fn errgroup_limit_cannot_change_under_way() {
    let (g, hold) = (errgroup::Group::<()>::new(), chan::<()>(0));
    let rx = hold.receiver();
    g.go(move || {
        rx.recv();
        Ok(())
    });
    assert!(panics(|| g.set_limit(2)).contains("1 goroutines in the group are still active"));
    hold.close();
    g.wait().unwrap();
}

#[burrow::test]
fn singleflight_one_goes_for_all() {
    let (g, runs) = (
        Arc::new(singleflight::Group::new()),
        Arc::new(AtomicUsize::new(0)),
    );
    let hs: Vec<_> = (0..20)
        .map(|_| {
            let (g, runs) = (g.clone(), runs.clone());
            spawn(move || {
                g.do_call("key", || {
                    runs.fetch_add(1, SeqCst);
                    until_parked(WaitReason::WaitGroupWait, 19); // all the others follow
                    42
                })
            })
        })
        .collect();
    for h in hs {
        assert_eq!(h.join().unwrap(), (42, true));
    }
    assert_eq!(runs.load(SeqCst), 1);
    assert_eq!(g.in_flight(), 0);
}

#[burrow::test]
fn singleflight_forget_and_panic() {
    let g = Arc::new(singleflight::Group::new());
    let (started, go_on) = (chan::<()>(0), chan::<()>(0));
    let (s, o) = (started.clone(), go_on.clone());
    let first = g.do_chan("k", move || {
        s.send(());
        o.recv();
        1
    });
    started.recv();
    g.forget(&"k");
    assert_eq!(g.do_call("k", || 2), (2, false));
    go_on.send(());
    assert_eq!(first.recv(), Some((1, false)));

    let h = g.clone();
    let tx = started.clone();
    let leader = spawn(move || {
        h.do_call("p", || {
            tx.send(());
            sleep(Duration::from_millis(20));
            panic!("no luck")
        })
    });
    started.recv();
    let text = panics(|| _ = g.do_call("p", || panic!("a straggler")));
    assert!(text == "singleflight: no luck" || text == "a straggler");
    assert_eq!(leader.join().unwrap_err().to_string(), "no luck");
    assert_eq!((g.do_call("p", || 3), g.in_flight()), ((3, false), 0));
}

//! `time` and `context` used wrongly, alone and in a race. `docs/coverage.md` lists them by item.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]
extern crate alloc;

use alloc::{
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};
use core::sync::atomic::{AtomicU32, Ordering::SeqCst};

use burrow::{
    TryRecvError,
    context::{Canceled, Context, DeadlineExceeded, background, todo},
    go, recover, spawn,
    time::{self, Duration, Instant, Ticker, Timer, sleep},
};
use burrow_tests::Rng;

burrow::test_main!();

const MS: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(3600);

fn panics(f: impl FnOnce()) -> String {
    recover(f).expect_err("should panic").to_string()
}

/// Beyond the ends of the clock's range: told, not wrapped. An interval that would be negative is zero.
#[burrow::test]
fn instants_beyond_their_range() {
    let now = Instant::now();
    assert!(panics(|| _ = now + Duration::MAX).contains("overflow when adding"));
    assert!(panics(|| _ = now - Duration::MAX).contains("overflow when subtracting"));
    assert_eq!(
        (now.checked_add(Duration::MAX), now.checked_sub(Duration::MAX)),
        (None, None)
    );
    assert_eq!(
        (now - (now + LONG), (now + LONG).elapsed()),
        (Duration::ZERO, Duration::ZERO)
    );
}

#[burrow::test]
fn timers_stopped_twice_and_started_when_over() {
    let t = Timer::new(LONG);
    assert!(t.stop() && !t.stop() && t.c.try_recv() == Err(TryRecvError::Empty));
    assert!(!t.reset(MS), "it was not running");
    assert!(t.c.recv().is_some());
    assert!(!t.stop() && !t.reset(Duration::ZERO));
    assert!(t.c.recv().is_some());
    let calls = Arc::new(AtomicU32::new(0));
    let c = calls.clone();
    let f = time::after_func(LONG, move || _ = c.fetch_add(1, SeqCst));
    assert!(f.c.is_nil(), "a function's timer has no channel");
    assert!(f.stop() && !f.stop() && !f.reset(MS));
    while calls.load(SeqCst) == 0 {
        sleep(MS / 10);
    }
    assert!(!f.stop() && calls.load(SeqCst) == 1);
    let ticker = Ticker::new(MS);
    ticker.stop();
    ticker.stop();
    ticker.reset(MS);
    assert!(ticker.c.recv().is_some());
}

/// Two who stop one timer while it fires: one of them has stopped it, or the value was there to be had.
#[burrow::test]
fn timers_stopped_by_two_as_they_fire() {
    let mut rng = Rng::new(3);
    for _ in 0..500 {
        let t = Arc::new(Timer::new(Duration::from_nanos(rng.below(60_000))));
        let stoppers = [0, 1].map(|_| {
            let t = t.clone();
            spawn(move || t.stop())
        });
        let stopped = stoppers.map(|s| s.join().expect("no panic"));
        assert_eq!(
            stopped,
            [stopped[0], !stopped[0]],
            "nobody received: exactly one prevented it"
        );
        assert_eq!(t.c.try_recv(), Err(TryRecvError::Empty), "stale");
    }
}

/// Whoever waits on a timer that was stopped waits for ever, and is told.
#[burrow::test(exit = 2, says = "all goroutines are asleep - deadlock!")]
fn a_stopped_timer_never_comes() {
    let t = Timer::new(MS);
    t.stop();
    t.c.recv();
}

#[burrow::test(exit = 2, says = "panic: in a timer's function")]
fn a_function_of_a_timer_that_panics() {
    let _t = time::after_func(MS, || panic!("in a timer's function"));
    sleep(LONG);
}

#[burrow::test(exit = 2, says = "panic: in a context's function")]
fn a_function_of_a_context_that_panics() {
    let (ctx, cancel) = background().with_cancel();
    ctx.after_func(|| panic!("in a context's function"));
    cancel();
    sleep(LONG);
}

/// On a root, with a deadline that has passed, again, after the end, in the wrong order: nothing happens twice.
#[burrow::test]
fn contexts_ended_again_and_too_late() {
    for root in [
        background(),
        todo(),
        Context::default(),
        background().without_cancel(),
    ] {
        assert!(root.done().is_nil() && root.err().is_none() && root.value::<u8>().is_none());
    }
    let (ctx, cancel) = background().with_deadline(Instant::now() - MS);
    assert_eq!(ctx.err(), Some(DeadlineExceeded));
    cancel();
    cancel();
    assert_eq!(ctx.err(), Some(DeadlineExceeded), "the first reason stays");
    let (ctx, cancel) = background().with_cancel_cause();
    cancel("first");
    cancel("second");
    let (under, cancel_under) = ctx.with_timeout(Duration::ZERO);
    cancel_under();
    for c in [&ctx, &under] {
        assert_eq!(c.cause().expect("ended").to_string(), "first");
        assert_eq!(c.err(), Some(Canceled));
    }
    let (ctx, cancel) = background().with_timeout(LONG);
    let stop = ctx.after_func(|| unreachable!("called off"));
    assert!(stop() && !stop());
    cancel();
    assert!(!stop());
}

/// Many causes at once: one wins, and the whole subtree has it when `cancel` returns, to whomever.
#[burrow::test]
fn causes_race() {
    for _ in 0..100 {
        let (ctx, cancel) = background().with_cancel_cause();
        let (under, _c) = ctx.with_cancel();
        let cancel = Arc::new(cancel);
        let cancellers: Vec<_> = (0..4)
            .map(|i| {
                let (cancel, under) = (cancel.clone(), under.clone());
                spawn(move || {
                    cancel.cancel(alloc::format!("cause {i}"));
                    // Who cancels second waits until the first is through with the tree.
                    under.cause().expect("all below has ended").to_string()
                })
            })
            .collect();
        under.done().recv();
        let cause = under.cause().expect("ended").to_string();
        assert_eq!(ctx.cause().expect("ended").to_string(), cause);
        for c in cancellers {
            assert_eq!(c.join().expect("no panic"), cause);
        }
    }
}

/// Values are read by many while the tree they hang in ends and goes.
#[burrow::test]
fn values_while_the_tree_ends() {
    struct Name(u32);
    for round in 0..50 {
        let (ctx, cancel) = background().with_value(Name(round)).with_cancel();
        let readers: Vec<_> = (0..4)
            .map(|_| {
                let mut at = ctx.clone();
                spawn(move || {
                    for i in 0..100_u64 {
                        at = at.with_value(i);
                        assert!(at.value::<Name>().is_some_and(|n| n.0 == round));
                        assert_eq!(at.value(), Some(&i));
                        at = at.with_cancel().0;
                    }
                    let free = at.without_cancel();
                    drop(at);
                    (free.err(), free.value::<Name>().map(|n| n.0))
                })
            })
            .collect();
        drop(ctx);
        go(move || cancel.cancel());
        for r in readers {
            assert_eq!(r.join().expect("no panic"), (None, Some(round)));
        }
    }
}

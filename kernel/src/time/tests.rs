//! Sleeping and cancelling on the host's clock.

use core::{
    ptr::NonNull,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};

use super::{
    Duration, Instant, Ticker, Timer, after, after_func, deadline, sleep,
    timer::{Fire, TimerNode, has_user_timers, move_timers, run_due},
};
use crate::{
    lock::{Rank, SpinLock},
    sched, spawn,
    time::{TimerHeap, Timers},
};

#[test]
fn sleeps_at_least_so_long() {
    let out = crate::chan(8);
    for ms in [30, 10, 20] {
        let out = out.sender();
        crate::go(move || {
            let t = Instant::now();
            sleep(Duration::from_millis(ms));
            assert!(t.elapsed() >= Duration::from_millis(ms));
            out.send(ms);
        });
    }
    let mut woken: Vec<_> = (0..3).filter_map(|_| out.recv()).collect();
    woken.sort_unstable(); // in which order they get on is the host's business
    assert_eq!(woken, [10, 20, 30]);
    sleep(Duration::ZERO);
}

#[test]
fn a_thousand_sleepers() {
    let hs: Vec<_> = (0..200u64)
        .map(|i| {
            spawn(move || {
                let t = Instant::now();
                let d = Duration::from_micros(i * 37 % 3000);
                sleep(d);
                assert!(t.elapsed() >= d);
            })
        })
        .collect();
    for h in hs {
        h.join().unwrap();
    }
}

#[test]
fn cancelled_timers_do_not_fire() {
    static FIRED: AtomicUsize = AtomicUsize::new(0);
    unsafe fn bump(_: NonNull<TimerNode>, told: u64) {
        FIRED.fetch_add(told as usize, SeqCst);
    }
    unsafe fn begin(_: NonNull<TimerNode>) -> Option<u64> {
        Some(1)
    }
    let nodes: Vec<_> = (0..50)
        .map(|_| {
            TimerNode::new(Fire::Call {
                begin,
                run: bump,
                awaited: None,
            })
        })
        .collect();
    let (cancelled, left) = nodes.split_at(40);
    let due = deadline(Duration::from_millis(30));
    for n in &nodes {
        // SAFETY: 1. all are cancelled below.
        unsafe { n.start(due, true) };
    }
    // Some fire before they are cancelled if the host keeps us from it until they are due.
    let late = cancelled.iter().filter(|n| !n.cancel()).count();
    assert!(late == 0 || sched::now_ns() >= due);
    assert!(cancelled.iter().all(|n| !n.cancel()));
    sleep(Duration::from_millis(60)); // the same thread wakes us that fires those before
    assert_eq!(FIRED.load(SeqCst), left.len() + late);
    assert!(nodes.iter().all(|n| !n.cancel()));
}

#[test]
fn timers_move_with_their_p() {
    static A: Timers = SpinLock::new(Rank::Timers, TimerHeap::new());
    static B: Timers = SpinLock::new(Rank::Timers, TimerHeap::new());
    unsafe fn nothing(_: NonNull<TimerNode>, _: u64) {}
    unsafe fn begin(_: NonNull<TimerNode>) -> Option<u64> {
        None
    }
    let nodes: Vec<_> = (0..100)
        .map(|_| {
            TimerNode::new(Fire::Call {
                begin,
                run: nothing,
                awaited: None,
            })
        })
        .collect();
    for (i, n) in nodes.iter().enumerate() {
        n.start_on(&A, i as u64 + 1);
    }
    assert!(has_user_timers(&A));
    move_timers(&A, &B);
    assert!(!has_user_timers(&A) && has_user_timers(&B));
    assert!(nodes[0].cancel() && nodes[99].cancel());
    assert_eq!(run_due(&B, 50), Some(51));
    assert!(!nodes[49].cancel() && nodes[50].cancel());
    assert_eq!(run_due(&B, 1000), None);
}

/// A claim and its timer race: exactly one of them gets the token.
#[test]
fn a_timer_loses_against_an_earlier_claim() {
    let token = crate::chan::wait::Token::new();
    let node = TimerNode::new(Fire::Claim(NonNull::from(&token)));
    assert!(token.claim());
    // SAFETY: 1. cancelled below.
    unsafe { node.start(deadline(Duration::from_millis(1)), false) };
    sleep(Duration::from_millis(20));
    assert!(!node.cancel());
    assert!(!token.claim());
    let _ = sched::current();
}

const MS: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(3600);

/// Timers in the heap now: other tests add their own, so only "very many gone" can be told from it.
fn queued() -> usize {
    sched::timer_heap().lock().len()
}

#[test]
fn a_timer_fires_once() {
    let begin = Instant::now();
    let t = Timer::new(2 * MS);
    let at = t.c.recv().expect("never closed");
    assert!(at >= begin + 2 * MS && begin.elapsed() >= 2 * MS);
    assert!(!t.stop() && t.c.try_recv().is_err());
    assert_eq!((t.c.len(), t.c.cap()), (0, 0));
}

#[test]
fn stop_and_reset_leave_no_stale_value() {
    let t = Timer::new(MS);
    sleep(10 * MS);
    assert!(t.stop(), "fired, but nobody received");
    assert!(!t.stop() && t.c.try_recv().is_err());
    assert!(!t.reset(MS));
    sleep(10 * MS);
    assert!(t.reset(LONG), "the value of before is discarded");
    assert!(t.c.recv_timeout(5 * MS).is_err());
    assert!(t.reset(MS));
    assert!(t.c.recv().is_some());
    assert!(!t.reset(LONG) && t.stop());
}

#[test]
fn the_last_receiver_takes_its_timer_along() {
    let _one = sched::COUNTING.lock().unwrap_or_else(|e| e.into_inner());
    let before = queued();
    let many: Vec<_> = (0..100_000).map(|_| after(LONG)).collect();
    assert!(queued() >= before + 90_000);
    drop(many);
    assert!(queued() < before + 10_000);
    let t = Timer::new(MS);
    let c = t.c.clone();
    drop(t);
    assert!(c.recv().is_some(), "a clone keeps the timer");
}

#[test]
fn a_ticker_drops_what_is_missed() {
    let t = Ticker::new(5 * MS);
    let first = t.c.recv().expect("never closed");
    sleep(52 * MS); // about 10 ticks, of which one waits
    let begin = Instant::now();
    let waited = core::iter::from_fn(|| t.c.try_recv().ok()).count() as u32;
    // And as many as came while we looked, should the host have stopped us there.
    assert!(
        waited > 0 && (waited - 1) * 5 * MS <= begin.elapsed() + 5 * MS,
        "{waited} ticks waited"
    );
    let next = t.c.recv().expect("never closed");
    assert!(next - first >= 50 * MS);
    t.stop();
    assert!(t.c.recv_timeout(12 * MS).is_err());
    t.reset(MS);
    assert!(t.c.recv().is_some());
}

#[test]
fn after_func_runs_elsewhere_and_again() {
    let out = crate::chan(8);
    let tx = out.sender();
    let me = sched::current().id();
    let t = after_func(MS, move || tx.send(sched::current().id()));
    assert!(out.recv().is_some_and(|id| id != me));
    assert!(!t.stop() && t.c.is_nil());
    assert!(!t.reset(MS));
    assert!(out.recv().is_some());
    assert!(!t.reset(LONG));
    assert!(t.reset(LONG) && t.stop() && !t.stop());
}

/// The closure goes with the last of handle, heap and running goroutine.
#[test]
fn after_func_drops_its_closure_once() {
    let counted = std::sync::Arc::new(());
    let make = |d| {
        let c = counted.clone();
        after_func(d, move || drop(c.clone()))
    };
    let t = make(LONG);
    assert_eq!(std::sync::Arc::strong_count(&counted), 2);
    t.stop();
    drop(t);
    assert_eq!(std::sync::Arc::strong_count(&counted), 1);
    drop(make(MS)); // fires all the same
    while std::sync::Arc::strong_count(&counted) != 1 {
        sleep(MS);
    }
}

/// Four goroutines reset and stop one timer while a fifth receives: every value received after a stop is of a
/// later start.
#[test]
fn resets_race_with_firing() {
    let t = std::sync::Arc::new(Timer::new(MS));
    let hs: Vec<_> = (0..4u64)
        .map(|k| {
            let t = t.clone();
            spawn(move || {
                for i in 0..2000u64 {
                    match (i + k) % 3 {
                        0 => _ = t.stop(),
                        1 => _ = t.reset(Duration::from_micros(i % 7)),
                        _ => _ = t.c.try_recv(),
                    }
                }
            })
        })
        .collect();
    for h in hs {
        h.join().unwrap();
    }
    for _ in 0..500 {
        t.reset(Duration::from_micros(1));
        let begin = Instant::now();
        t.reset(Duration::from_micros(30));
        assert!(t.c.recv().expect("never closed") >= begin + Duration::from_micros(30));
    }
}

#[test]
fn instants() {
    let (a, d) = (Instant::now(), Duration::from_millis(3));
    assert_eq!((a + d) - a, d);
    assert_eq!(a.checked_sub(Duration::MAX), None);
    assert_eq!((a + d - d, a - (a + d)), (a, Duration::ZERO));
    assert!(a.checked_add(Duration::MAX).is_none());
    assert_eq!(a.checked_duration_since(a + d), None);
}

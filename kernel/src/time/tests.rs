//! Sleeping and cancelling on the host's clock.

use core::ptr::NonNull;

use super::{
    Duration, Instant, deadline, sleep,
    timer::{Fire, TimerNode, has_user_timers, move_timers, run_due},
};
use crate::{
    lock::{Rank, SpinLock},
    sched, spawn,
    time::{TimerHeap, Timers},
};

#[test]
fn sleeps_at_least_so_long_and_in_order() {
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
    let order: Vec<_> = (0..3).filter_map(|_| out.recv()).collect();
    assert_eq!(order, [10, 20, 30]);
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
    fn bump(at: usize) {
        // SAFETY: the test passes a counter that outlives its timers.
        let n = unsafe { &*core::ptr::with_exposed_provenance::<core::sync::atomic::AtomicUsize>(at) };
        n.fetch_add(1, core::sync::atomic::Ordering::SeqCst);
    }
    let fired = core::sync::atomic::AtomicUsize::new(0);
    let arg = (&raw const fired).expose_provenance();
    let nodes: Vec<_> = (0..50).map(|_| TimerNode::new(Fire::Call(bump, arg))).collect();
    for n in &nodes {
        // SAFETY: 1. all are cancelled below.
        unsafe { n.start(deadline(Duration::from_millis(30)), true) };
    }
    assert!(nodes[..40].iter().all(|n| n.cancel() && !n.cancel()));
    sleep(Duration::from_millis(60));
    assert_eq!(fired.load(core::sync::atomic::Ordering::SeqCst), 10);
    assert!(nodes.iter().all(|n| !n.cancel()));
}

#[test]
fn timers_move_with_their_p() {
    static A: Timers = SpinLock::new(Rank::Timers, TimerHeap::new());
    static B: Timers = SpinLock::new(Rank::Timers, TimerHeap::new());
    fn nothing(_: usize) {}
    let nodes: Vec<_> = (0..100).map(|_| TimerNode::new(Fire::Call(nothing, 0))).collect();
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

#[test]
fn instants() {
    let (a, d) = (Instant::now(), Duration::from_millis(3));
    assert_eq!((a + d) - a, d);
    assert_eq!(a.checked_sub(Duration::MAX), None);
    assert_eq!((a + d - d, a - (a + d)), (a, Duration::ZERO));
    assert!(a.checked_add(Duration::MAX).is_none());
    assert_eq!(a.checked_duration_since(a + d), None);
}

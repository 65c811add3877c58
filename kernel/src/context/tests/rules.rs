//! What Go's package says, one statement at a time.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use crate::{
    TryRecvError, chan,
    context::{Canceled, Context, DeadlineExceeded, background, todo},
    select, spawn,
    time::{Duration, Instant, sleep},
};

const MS: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(3600);

fn is_done(ctx: &Context) -> bool {
    select! {
        recv(ctx.done()) => true,
        default => false,
    }
}

#[test]
fn roots_never_end() {
    for ctx in [
        background(),
        todo(),
        background().with_value(1),
        Context::default(),
    ] {
        assert!(ctx.done().is_nil() && !is_done(&ctx));
        assert!(ctx.err().is_none() && ctx.cause().is_none() && ctx.deadline().is_none());
    }
}

#[test]
fn cancelling_a_parent_cancels_the_subtree_only() {
    let (root, cancel_root) = background().with_cancel();
    let (a, cancel_a) = root.with_cancel();
    let (b, _cancel_b) = root.with_cancel();
    let under_a = a.with_value('v').with_cancel().0;
    let seen_before = under_a.done();
    cancel_a();
    assert!(is_done(&a) && is_done(&under_a) && seen_before.recv().is_none());
    assert_eq!(seen_before, under_a.done(), "always the same channel");
    assert!(!is_done(&root) && !is_done(&b));
    cancel_root();
    assert_eq!((b.err(), a.err()), (Some(Canceled), Some(Canceled)));
}

#[test]
fn what_is_derived_from_an_ended_context_has_ended() {
    let (ctx, cancel) = background().with_cancel_cause();
    cancel("because");
    let (child, _c) = ctx.with_timeout(LONG);
    assert_eq!(child.err(), Some(Canceled));
    assert_eq!(child.cause().expect("ended").to_string(), "because");
    assert!(is_done(&child) && is_done(&child.with_value(())));
    assert!(!is_done(&child.without_cancel()));
    let (late, _c) = background().with_timeout(Duration::ZERO);
    let (child, _c) = late.with_cancel_cause();
    assert_eq!(child.err(), Some(DeadlineExceeded));
    assert!(child.cause().expect("ended").is(DeadlineExceeded));
}

#[test]
fn the_first_cause_wins_and_goes_down() {
    let (root, cancel_root) = background().with_cancel_cause();
    let (mid, cancel_mid) = root.with_cancel_cause();
    let (leaf, _c) = mid.with_cancel();
    let (other, _c) = root.with_cancel();
    cancel_mid(crate::TryRecvError::Empty);
    cancel_root("later");
    for ctx in [&mid, &leaf] {
        let cause = ctx.cause().expect("ended");
        assert_eq!(cause.downcast_ref(), Some(&crate::TryRecvError::Empty));
        assert_eq!(ctx.err(), Some(Canceled));
    }
    assert_eq!(other.cause().expect("ended").to_string(), "later");
}

#[test]
fn deadlines() {
    let begin = Instant::now();
    let (ctx, _c) = background().with_timeout(5 * MS);
    let (later, _c) = ctx.with_timeout(LONG);
    let (sooner, _c) = ctx.with_deadline(begin + MS);
    assert_eq!(later.deadline(), ctx.deadline());
    assert_eq!(sooner.deadline(), Some(begin + MS));
    sooner.done().recv();
    assert!(begin.elapsed() >= MS);
    assert_eq!(sooner.err(), Some(DeadlineExceeded));
    assert!(sooner.cause().expect("ended").is(DeadlineExceeded));
    later.done().recv();
    assert!(begin.elapsed() >= 5 * MS);
    assert_eq!(
        (ctx.err(), later.err()),
        (Some(DeadlineExceeded), Some(DeadlineExceeded))
    );
    assert_eq!(ctx.without_cancel().deadline(), None);
}

/// Further away than half the clock's range: still to come, not long past.
#[test]
fn a_deadline_in_a_thousand_years() {
    let far = [
        Duration::from_secs(1000 * 365 * 86_400 / 2),
        Duration::from_nanos(u64::MAX / 8 * 7),
    ];
    for d in far {
        let (ctx, _c) = background().with_deadline(Instant::now() + d);
        let (near, _c) = background().with_timeout(2 * MS);
        near.done().recv();
        assert_eq!(ctx.err(), None, "{d:?} are not over");
        assert!(ctx.deadline().expect("it has one") > Instant::now() + d / 2);
    }
    let (ctx, cancel) = background().with_timeout(Duration::MAX);
    let (under, _c) = ctx.with_deadline(Instant::now() + LONG);
    let (near, _c) = under.with_timeout(2 * MS);
    near.done().recv();
    assert_eq!((ctx.err(), under.err()), (None, None));
    cancel();
    assert_eq!(under.err(), Some(Canceled));
}

#[test]
fn a_deadline_that_has_passed() {
    let (ctx, cancel) = background().with_timeout(Duration::ZERO);
    assert_eq!(ctx.err(), Some(DeadlineExceeded));
    assert!(is_done(&ctx));
    cancel();
    assert_eq!(ctx.err(), Some(DeadlineExceeded));
}

#[test]
fn cancelling_before_the_deadline() {
    let (ctx, cancel) = background().with_timeout(20 * MS);
    cancel();
    let in_time = Instant::now() < ctx.deadline().expect("it has one"); // else the host kept us from it
    sleep(40 * MS);
    assert!(!in_time || ctx.err() == Some(Canceled));
}

#[test]
fn values_through_a_hundred_levels() {
    struct Key(u32);
    let mut ctx = background().with_value(Key(42)).with_value("shadowed");
    for i in 0..100_u64 {
        ctx = ctx.with_value(i).with_cancel().0;
    }
    assert_eq!(ctx.value::<Key>().map(|k| k.0), Some(42));
    assert_eq!(ctx.value::<u64>(), Some(&99));
    assert_eq!(
        ctx.without_cancel().with_value("top").value::<&str>(),
        Some(&"top")
    );
    assert!(ctx.value::<i8>().is_none());
}

#[test]
fn functions_run_once_elsewhere_or_never() {
    let (ctx, cancel) = background().with_cancel();
    let (ran, out) = (Arc::new(AtomicUsize::new(0)), chan(8));
    let hook = |n: usize| {
        let (ran, tx) = (ran.clone(), out.sender());
        move || {
            ran.fetch_add(n, SeqCst);
            tx.send(std::thread::current().id());
        }
    };
    let first = ctx.after_func(hook(1));
    let second = ctx.after_func(hook(100));
    drop(ctx.after_func(hook(10))); // nobody can stop this one
    assert!(second() && !second());
    cancel();
    let ids = [out.recv(), out.recv()];
    assert!(
        ids.iter()
            .all(|i| i.is_some_and(|i| i != std::thread::current().id()))
    );
    assert_eq!(ran.load(SeqCst), 11);
    assert!(!first());
    let late = ctx.after_func(hook(1000));
    out.recv();
    assert!(!late());
    assert_eq!(ran.load(SeqCst), 1011);
}

/// A function waits for the deadline of a context that nobody holds any more.
#[test]
fn a_function_keeps_what_it_waits_for() {
    let done = chan::<()>(0);
    let tx = done.sender();
    drop(background().with_timeout(2 * MS).0.after_func(move || tx.close()));
    assert!(done.recv().is_none());
}

/// Who has nothing of a context but its channel learns of its end.
#[test]
fn a_channel_keeps_what_may_close_it() {
    let due = background().with_timeout(2 * MS).0.done();
    let (root, cancel) = background().with_cancel();
    let below = root.with_cancel().0.with_value(1).with_cancel().0.done();
    assert_eq!(due.recv(), None);
    assert_eq!(below.try_recv(), Err(TryRecvError::Empty));
    cancel();
    assert_eq!(below.try_recv(), Err(TryRecvError::Closed));
}

#[test]
fn messages() {
    assert_eq!(Canceled.to_string(), "context canceled");
    assert_eq!(format!("{DeadlineExceeded:>26}"), " context deadline exceeded");
    let (ctx, cancel) = todo().with_cancel();
    assert_eq!(format!("{ctx:?}"), "Context(todo, cancellable)");
    cancel();
    assert_eq!(format!("{ctx:?}"), "Context(todo, context canceled)");
}

/// Everybody cancels, derives and waits at once.
#[test]
fn races() {
    for round in 0..50_u64 {
        let (root, cancel) = background().with_cancel();
        let hs: Vec<_> = (0..4_u64)
            .map(|k| {
                let (root, cancel) = (root.clone(), cancel.clone());
                spawn(move || {
                    for i in 0..50_u64 {
                        let (a, stop) = root.with_timeout(Duration::from_micros(i * 10));
                        let (b, _c) = a.with_cancel();
                        match (i + k) % 4 {
                            0 => stop(),
                            1 => drop(a),
                            2 => _ = b.done().recv(),
                            _ => _ = b.after_func(|| {})(),
                        }
                        if k == 0 && i == round {
                            cancel();
                        }
                    }
                })
            })
            .collect();
        for h in hs {
            h.join().unwrap();
        }
        assert_eq!(root.with_cancel().0.err(), root.err());
    }
}

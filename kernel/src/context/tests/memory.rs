//! Nothing is left behind, and no tree is too deep or too wide.

use std::sync::Arc;

use crate::{
    context::background,
    recover, sched,
    time::{Duration, sleep},
};

const LONG: Duration = Duration::from_secs(3600);

#[test]
fn a_hundred_thousand_children() {
    let (root, cancel) = background().with_cancel();
    let children: Vec<_> = (0..100_000).map(|_| root.with_cancel().0).collect();
    let done = children[50_000].done();
    cancel();
    assert!(children.iter().all(|c| c.err().is_some()));
    assert!(done.recv().is_none());
}

/// Neither dropping nor cancelling a chain recurses: a test's thread has 2 MiB of stack.
#[test]
fn a_chain_of_a_hundred_thousand() {
    let deep = || {
        let mut ctx = background().with_cancel().0;
        let top = ctx.clone();
        for i in 0..100_000_u32 {
            ctx = ctx.with_cancel().0.with_value(i);
        }
        (top, ctx)
    };
    drop(deep());
    let (root, cancel) = background().with_cancel();
    let mut ctx = root;
    for i in 0..100_000_u32 {
        ctx = ctx.with_value(i).with_cancel().0;
    }
    cancel();
    assert!(ctx.err().is_some());
    drop(ctx);
}

/// Dropped handles free the value, cancelled or not; siblings stay.
#[test]
fn values_and_closures_are_dropped_once() {
    let counted = Arc::new(());
    let count = || Arc::strong_count(&counted) - 1;
    let (root, cancel) = background().with_cancel();
    {
        let (ctx, cancel) = root.with_cancel();
        let a = ctx.with_value(counted.clone());
        let b = a.clone().with_timeout(LONG).0;
        assert_eq!(count(), 1);
        drop((a, ctx));
        assert_eq!(count(), 1);
        drop(b);
        assert_eq!(count(), 0);
        cancel();
    }
    let (stop, kept) = (
        root.after_func({
            let c = counted.clone();
            move || drop(c)
        }),
        root.after_func({
            let c = counted.clone();
            move || drop(c)
        }),
    );
    assert_eq!(count(), 2);
    assert!(stop());
    assert_eq!(count(), 1);
    drop(kept);
    assert_eq!(count(), 1);
    drop(root);
    cancel();
    while count() != 0 {
        sleep(Duration::from_millis(1));
    }
    drop(background().after_func({
        let c = counted.clone();
        move || drop(c)
    }));
    assert_eq!(count(), 0, "a function that can never run is not kept");
}

/// A reason that tells when it is gone.
#[derive(Debug)]
struct Reason(#[expect(dead_code, reason = "it counts")] Arc<()>);

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("reason")
    }
}

impl std::error::Error for Reason {}

/// A context that is kept for its channel goes once it has ended; one that nothing can end goes at once.
#[test]
fn what_a_channel_keeps_goes_in_the_end() {
    let reason = Arc::new(());
    let (root, cancel) = background().with_cancel_cause();
    let done: Vec<_> = (0..10).map(|_| root.with_cancel().0.done()).collect();
    let child = root.with_cancel().0;
    let dropped = child.done();
    drop((child, root));
    cancel(Reason(reason.clone()));
    assert!(done.iter().chain([&dropped]).all(|d| d.recv().is_none()));
    drop(cancel);
    assert_eq!(Arc::strong_count(&reason), 1, "a node is left");
    let above = background().with_cancel();
    let below = above.0.with_cancel();
    let alone = below.0.done();
    drop(above);
    drop(below);
    assert_eq!(
        alone.chan().handle().map(|c| c.count()),
        Some(1),
        "a node is left"
    );
}

/// A function that is called off, and panics as it is dropped, leaves nothing of the tree behind.
#[test]
fn a_function_that_panics_as_it_is_dropped() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }
    let reason = Arc::new(());
    let (root, cancel) = background().with_cancel_cause();
    let bomb = Bomb;
    let stop = root.after_func(move || std::mem::forget(bomb));
    assert!(recover(|| stop.stop()).is_err());
    assert!(!stop.stop());
    cancel(Reason(reason.clone()));
    drop((root, cancel, stop));
    assert_eq!(Arc::strong_count(&reason), 1, "a node is left");
}

/// A context's timer goes with its cancellation and with its last handle.
#[test]
fn timers_go_with_their_contexts() {
    let queued = || sched::timer_heap().lock().len();
    let _one = sched::COUNTING.lock().unwrap_or_else(|e| e.into_inner());
    let before = queued();
    let all: Vec<_> = (0..100_000).map(|_| background().with_timeout(LONG)).collect();
    assert!(queued() >= before + 90_000);
    all[..50_000].iter().for_each(|(_, cancel)| cancel());
    assert!(queued() < before + 60_000);
    drop(all);
    assert!(queued() < before + 10_000);
}

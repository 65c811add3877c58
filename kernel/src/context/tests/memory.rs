//! Nothing is left behind, and no tree is too deep or too wide.

use std::sync::Arc;

use crate::{
    context::background,
    sched,
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

/// A context's timer goes with its cancellation and with its last handle.
#[test]
fn timers_go_with_their_contexts() {
    let queued = || sched::timer_heap().lock().len();
    let before = queued();
    let all: Vec<_> = (0..100_000).map(|_| background().with_timeout(LONG)).collect();
    assert!(queued() >= before + 90_000);
    all[..50_000].iter().for_each(|(_, cancel)| cancel());
    assert!(queued() < before + 60_000);
    drop(all);
    assert!(queued() < before + 10_000);
}

//! Models: cancelling against deriving, dropping, asking. Every interleaving with up to three preemptions.

use loom::thread;

use crate::{
    TryRecvError,
    context::{Canceled, Context, DeadlineExceeded, background},
    sched::{NO_MEMORY, timer_heap},
    time::{Duration, run_due},
};

fn model(f: impl Fn() + Sync + Send + 'static) {
    let mut b = loom::model::Builder::new();
    b.preemption_bound = b.preemption_bound.or(Some(3));
    b.check(f);
}

/// A child made while its parent is cancelled ends, whichever comes first.
#[test]
fn loom_cancel_against_derive() {
    model(|| {
        let (root, cancel) = background().with_cancel();
        let h = thread::spawn(move || cancel());
        let (child, _c) = root.with_cancel();
        h.join().unwrap();
        assert_eq!(child.err(), Some(Canceled));
        assert!(child.cause().is_some());
    });
}

/// The last handle of a child goes while its parent takes it off the list.
#[test]
fn loom_cancel_against_drop() {
    model(|| {
        let (root, cancel) = background().with_cancel();
        let (child, c) = root.with_cancel();
        let grandchild = child.with_cancel().0;
        drop((root, child, c));
        let h = thread::spawn(move || cancel());
        drop(grandchild);
        h.join().unwrap();
    });
}

/// Two cancel the same node and one below it.
#[test]
fn loom_two_cancel() {
    model(|| {
        let (root, cancel_root) = background().with_cancel();
        let (child, cancel_child) = root.with_cancel_cause();
        let h = thread::spawn(move || cancel_root());
        cancel_child("x");
        h.join().unwrap();
        let cause = child.cause().expect("ended").to_string();
        assert!(cause == "x" || cause == "context canceled");
        drop(root);
    });
}

/// Who has cancelled finds all below ended, however many cancel it or something below it at the same time.
#[test]
fn loom_cancel_returns_when_all_has_ended() {
    for below in [false, true] {
        model(move || {
            let (root, cancel_root) = background().with_cancel();
            let (mid, cancel_mid) = root.with_cancel();
            let leaf = mid.with_cancel().0;
            let done = leaf.done();
            let theirs = if below { cancel_mid } else { cancel_root.clone() };
            let h = thread::spawn(move || theirs());
            cancel_root();
            assert!(leaf.err().is_some(), "cancelled, and not ended");
            assert_eq!(done.try_recv(), Err(TryRecvError::Closed));
            h.join().unwrap();
        });
    }
}

/// A child that is derived while its parent ends has not ended before its parent's channel is closed.
#[test]
fn loom_child_ends_after_its_parent() {
    model(|| {
        let (root, cancel) = background().with_cancel();
        let done = root.done();
        let h = thread::spawn(move || cancel());
        let child = root.with_cancel().0;
        if child.done().try_recv() == Err(TryRecvError::Closed) {
            assert_eq!(done.try_recv(), Err(TryRecvError::Closed));
        }
        h.join().unwrap();
    });
}

/// The last handles of a context go, by two at once, while its parent is cancelled; who has its channel learns of it.
#[test]
fn loom_channel_outlives_its_context() {
    model(|| {
        let (root, cancel) = background().with_cancel();
        let (child, c) = root.with_cancel();
        let done = child.done();
        let (a, b) = (
            thread::spawn(move || drop(child)),
            thread::spawn(move || cancel()),
        );
        drop(c);
        assert_eq!(done.recv(), None);
        a.join().unwrap();
        b.join().unwrap();
    });
}

/// Who sees the error, or the cause, finds `done` closed: Go's promise. The other way round as well.
#[test]
fn loom_ended_means_done_is_closed() {
    fn closed(ctx: &Context) -> bool {
        ctx.done().try_recv() == Err(TryRecvError::Closed)
    }
    let looks: [fn(&Context); 3] = [
        |ctx| assert!(ctx.err().is_none() || closed(ctx), "ended, and not done"),
        |ctx| assert!(ctx.cause().is_none() || closed(ctx), "a cause, and not done"),
        |ctx| assert!(!closed(ctx) || ctx.err() == Some(Canceled), "done, and not ended"),
    ];
    for look in looks {
        for asked_before in [true, false] {
            model(move || {
                let (ctx, cancel) = background().with_cancel();
                let done = asked_before.then(|| ctx.done());
                let h = thread::spawn(move || look(&ctx));
                cancel();
                h.join().unwrap();
                drop(done);
            });
        }
    }
}

/// Who waits on `done` is woken, also if the channel is made at the last moment.
#[test]
fn loom_done_against_cancel() {
    fn wait(ctx: &Context) {
        assert!(ctx.done().recv().is_none());
        assert_eq!(
            ctx.err(),
            Some(Canceled),
            "the error is there before the channel closes"
        );
    }
    model(|| {
        let (root, cancel) = background().with_cancel();
        let h = thread::spawn(move || wait(&root));
        cancel();
        h.join().unwrap();
    });
}

/// A function is either called off or called.
#[test]
fn loom_after_func_against_cancel() {
    model(|| {
        let (root, cancel) = background().with_cancel();
        let ran = crate::chan::<()>(1);
        let tx = ran.sender();
        let stop = root.after_func(move || tx.send(()));
        let h = thread::spawn(move || cancel());
        if stop() {
            assert!(ran.try_recv().is_err());
        } else {
            assert_eq!(ran.recv(), Some(()));
        }
        h.join().unwrap();
    });
}

const LONG: Duration = Duration::from_secs(3600);

/// The deadline passes while somebody cancels: one of them decides.
#[test]
fn loom_deadline_against_cancel() {
    model(|| {
        let (ctx, cancel) = background().with_timeout(LONG);
        let h = thread::spawn(|| run_due(timer_heap(), u64::MAX >> 1));
        cancel();
        h.join().unwrap();
        assert!([Some(Canceled), Some(DeadlineExceeded)].contains(&ctx.err()));
    });
}

/// A parent ends before its child has a timer to stop: the child stops it itself, and nothing stays in the heap.
#[test]
fn loom_deadline_set_while_the_parent_ends() {
    model(|| {
        let (root, cancel) = background().with_cancel();
        let h = thread::spawn(move || root.with_timeout(Duration::from_secs(3600)));
        cancel();
        let (child, _c) = h.join().unwrap();
        assert_eq!(child.err(), Some(Canceled));
        assert!(timer_heap().lock().is_empty(), "a timer that nobody stops");
    });
}

/// The deadline passes while the last handle goes: the timer finds the context alive and keeps it, or not at all.
#[test]
fn loom_deadline_against_drop() {
    model(|| {
        let ctx = background().with_timeout(LONG);
        let h = thread::spawn(|| run_due(timer_heap(), u64::MAX >> 1));
        drop(ctx);
        h.join().unwrap();
        assert!(timer_heap().lock().is_empty());
    });
}

/// Without memory for a goroutine a deadline is late, and so is a function: it never runs where the context was cancelled.
#[test]
fn loom_no_memory_for_goroutines() {
    model(|| {
        let (ctx, _cancel) = background().with_timeout(LONG);
        NO_MEMORY.set(1);
        let h = thread::spawn(|| run_due(timer_heap(), u64::MAX >> 1)); // in 10 ms is due, too
        assert!(ctx.done().recv().is_none());
        assert_eq!(ctx.err(), Some(DeadlineExceeded));
        h.join().unwrap();
        let (ctx, cancel) = background().with_cancel();
        let ran = crate::chan::<()>(1);
        let tx = ran.sender();
        drop(ctx.after_func(move || tx.send(())));
        NO_MEMORY.set(1);
        cancel();
        assert!(ran.try_recv().is_err());
        let h = thread::spawn(|| run_due(timer_heap(), u64::MAX >> 1));
        assert_eq!(ran.recv(), Some(()));
        h.join().unwrap();
        assert!(timer_heap().lock().is_empty());
    });
}

/// A function waits for memory in the heap, and everybody lets go of the context meanwhile.
#[test]
fn loom_function_waits_for_memory_alone() {
    model(|| {
        let (ctx, cancel) = background().with_cancel();
        let ran = crate::chan::<()>(1);
        let tx = ran.sender();
        let stop = ctx.after_func(move || tx.send(()));
        NO_MEMORY.set(1);
        cancel();
        let h = thread::spawn(|| run_due(timer_heap(), u64::MAX >> 1));
        assert!(!stop(), "it was due");
        drop((ctx, cancel, stop));
        h.join().unwrap();
        assert_eq!(ran.recv(), Some(()));
    });
}

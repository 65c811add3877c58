//! Contexts on goroutines and real timers: deadlines from interrupts, cancelling against preemption, crowds.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]
extern crate alloc;

use alloc::{string::ToString, sync::Arc, vec::Vec};
use core::{
    sync::atomic::{AtomicU32, AtomicUsize, Ordering},
    time::Duration,
};

use burrow::{
    Select, chan,
    context::{Canceled, Context, DeadlineExceeded, background},
    go, runtime, select, spawn,
    sync::WaitGroup,
    time::{self, Instant},
};
use burrow_tests::{Rng, Until};

burrow::test_main!();

const MS: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(3600);

#[burrow::test]
fn messages() {
    assert_eq!(Canceled.to_string(), "context canceled");
    assert_eq!(DeadlineExceeded.to_string(), "context deadline exceeded");
}

#[burrow::test]
fn a_deadline_ends_the_subtree_and_not_before() {
    let begin = Instant::now();
    let (ctx, _cancel) = background().with_timeout(5 * MS);
    let (child, _cancel) = ctx.with_cancel();
    let (later, _cancel) = child.with_timeout(LONG);
    assert_eq!(later.deadline(), ctx.deadline());
    assert_eq!(later.done().recv(), None);
    assert!(begin.elapsed() >= 5 * MS);
    for c in [&ctx, &child, &later] {
        assert_eq!(c.err(), Some(DeadlineExceeded));
        assert!(c.cause().expect("ended").is(DeadlineExceeded));
    }
}

#[burrow::test]
fn cancelling_a_child_leaves_the_parent() {
    let (parent, cancel_parent) = background().with_cancel_cause();
    let (child, cancel_child) = parent.with_cancel();
    let (sibling, _cancel) = parent.with_timeout(LONG);
    cancel_child();
    assert_eq!(
        (child.err(), parent.err(), sibling.err()),
        (Some(Canceled), None, None)
    );
    cancel_parent("over");
    assert_eq!(sibling.cause().expect("ended").to_string(), "over");
    assert!(child.cause().expect("ended").is(Canceled));
}

/// Deadlines race with `cancel`: whoever is first decides, once, and everybody sees the same.
#[burrow::test]
fn deadlines_race_with_cancel() {
    let (mut exceeded, mut canceled) = (0, 0);
    let until = Until::storm(Duration::from_secs(1));
    let mut rng = Rng::new(5);
    while !until.over() {
        let (ctx, cancel) = background().with_timeout(Duration::from_nanos(rng.below(60_000)));
        let seen: Vec<_> = (0..3)
            .map(|_| {
                let ctx = ctx.clone();
                spawn(move || {
                    assert_eq!(ctx.done().recv(), None);
                    ctx.err()
                })
            })
            .collect();
        for _ in 0..rng.below(3_000) {
            core::hint::spin_loop();
        }
        cancel();
        let err = ctx.err();
        match err {
            Some(DeadlineExceeded) => exceeded += 1,
            Some(Canceled) => canceled += 1,
            None => unreachable!("cancelled"),
        }
        for s in seen {
            assert_eq!(s.join().expect("no panic"), err);
        }
    }
    burrow::println!("{exceeded} exceeded, {canceled} canceled");
}

/// Everything at once: derive, cancel, drop, wait, hook, from many goroutines on one tree.
#[burrow::test]
fn a_storm_on_one_tree() {
    let until = Until::storm(Duration::from_secs(1));
    let before = time::live_timers();
    while !until.over() {
        let (root, cancel) = background().with_cancel();
        let (hooks, calls) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let handles: Vec<_> = (0..8_u64)
            .map(|id| {
                let (root, cancel, hooks, calls) =
                    (root.clone(), cancel.clone(), hooks.clone(), calls.clone());
                spawn(move || {
                    let mut rng = Rng::new(id);
                    let mut kept = Vec::new();
                    for _ in 0..100 {
                        let base = kept.last().map_or(&root, |(c, _)| c);
                        match rng.below(8) {
                            0 => kept.push(base.with_cancel()),
                            1 => kept.push(base.with_timeout(Duration::from_nanos(rng.below(200_000)))),
                            2 => kept.push((base.with_value(rng.next_u64()), cancel.clone())),
                            3 => drop(kept.pop()),
                            4 => kept.iter().rev().take(1).for_each(|(_, stop)| stop()),
                            5 => {
                                let calls = calls.clone();
                                let stop = base.after_func(move || _ = calls.fetch_add(1, Ordering::AcqRel));
                                hooks.fetch_add(1, Ordering::AcqRel);
                                if rng.below(2) == 0 && stop() {
                                    hooks.fetch_sub(1, Ordering::AcqRel);
                                }
                            }
                            6 => burrow::yield_now(),
                            _ => _ = base.done().try_recv(),
                        }
                        if id == 0 && rng.below(150) == 0 {
                            cancel();
                        }
                    }
                })
            })
            .collect();
        for handle in handles {
            handle.join().expect("no panic");
        }
        cancel();
        drop(root);
        // Every function that was not called off is called: all were below the root.
        let begin = Instant::now();
        while calls.load(Ordering::Acquire) != hooks.load(Ordering::Acquire) {
            assert!(
                begin.elapsed() < Duration::from_secs(20),
                "a function was forgotten"
            );
            burrow::yield_now();
        }
    }
    let begin = Instant::now();
    while time::live_timers() > before + 8 {
        let left = time::live_timers() - before;
        // Some may be about to fire on a core that was kept from it.
        assert!(
            begin.elapsed() < Duration::from_secs(20),
            "{left} timers of dead contexts"
        );
        burrow::yield_now();
    }
}

#[burrow::test]
fn a_hundred_thousand_children_end_at_once() {
    const N: u32 = 100_000;
    let (root, cancel) = background().with_cancel();
    let children: Vec<_> = (0..N).map(|_| root.with_cancel().0).collect();
    let waiting = Arc::new(AtomicU32::new(0));
    let wg = Arc::new(WaitGroup::new());
    for child in children.iter().step_by(100) {
        let (done, waiting) = (child.done(), waiting.clone());
        wg.go(move || {
            waiting.fetch_add(1, Ordering::AcqRel);
            assert_eq!(done.recv(), None);
        });
    }
    while waiting.load(Ordering::Acquire) != N / 100 {
        burrow::yield_now();
    }
    let begin = Instant::now();
    cancel();
    let took = begin.elapsed();
    assert!(children.iter().all(|c| c.err() == Some(Canceled)));
    wg.wait();
    burrow::println!("{N} children cancelled in {took:?}");
}

/// A goroutine has 256 KiB of stack: neither cancelling nor dropping may recurse.
#[burrow::test]
fn a_chain_of_twenty_thousand() {
    let build = |ctx: Context| (0..20_000_u32).fold(ctx, |ctx, i| ctx.with_cancel().0.with_value(i));
    drop(build(background()));
    let (root, cancel) = background().with_cancel();
    let leaf = build(root);
    cancel();
    assert_eq!(leaf.err(), Some(Canceled));
}

#[burrow::test]
fn values_through_a_hundred_levels() {
    struct User(&'static str);
    let mut ctx = background().with_value(User("gopher"));
    for i in 0..100_u64 {
        ctx = ctx.with_value(i).with_timeout(LONG).0;
    }
    assert_eq!(ctx.value::<User>().map(|u| u.0), Some("gopher"));
    assert_eq!(ctx.value::<u64>(), Some(&99));
    assert!(ctx.value::<u8>().is_none());
    assert_eq!(ctx.without_cancel().value::<u64>(), Some(&99));
}

/// No goroutine exists for a context before it ends.
#[burrow::test]
fn contexts_need_no_goroutines() {
    let before = runtime::num_goroutine();
    let all: Vec<_> = (0..1000)
        .map(|_| background().with_timeout(LONG).0.with_cancel())
        .collect();
    let stop = all[0].0.after_func(|| {});
    assert!(runtime::num_goroutine() <= before); // those of earlier tests may still be on their way out
    assert!(stop());
}

/// However a context and its functions end, they leave no memory behind.
#[burrow::test]
fn contexts_leave_no_memory_behind() {
    let ways: [(&str, fn()); 5] = [
        ("dropped", || drop(background().with_cancel())),
        ("cancelled", || {
            let (ctx, cancel) = background().with_timeout(LONG);
            let (child, _cancel) = ctx.with_cancel_cause();
            cancel();
            assert_eq!(child.err(), Some(Canceled));
        }),
        ("a child that ended before its parent", || {
            let (ctx, _cancel) = background().with_cancel();
            let (_child, cancel) = ctx.with_timeout(LONG);
            cancel();
        }),
        ("a function called off", || {
            let (ctx, _cancel) = background().with_timeout(LONG);
            assert!(ctx.after_func(|| {}).stop());
        }),
        ("a function that ran", || {
            let (ctx, cancel) = background().with_cancel();
            let ran = chan::<()>(0);
            let tx = ran.sender();
            drop(ctx.after_func(move || tx.close()));
            cancel();
            ran.recv();
        }),
    ];
    for (what, way) in ways {
        (0..100).for_each(|_| way());
        let objects = || runtime::read_mem_stats().heap_objects;
        let before = objects();
        (0..2_000).for_each(|_| way());
        let begin = Instant::now();
        while objects() > before + 500 {
            let left = objects() - before;
            assert!(
                begin.elapsed() < Duration::from_secs(20),
                "{what}: {left} objects"
            );
            time::sleep(MS); // the last goroutines are on their way out
        }
    }
}

#[burrow::test]
fn many_deadlines_at_one_moment() {
    let at = Instant::now() + 20 * MS;
    let all: Vec<_> = (0..5_000).map(|_| background().with_deadline(at)).collect();
    for (ctx, _) in &all {
        assert_eq!(ctx.done().recv(), None);
        assert_eq!(ctx.err(), Some(DeadlineExceeded));
    }
    assert!(Instant::now() >= at);
}

/// The usual loop: work arrives until the context says that it is over.
#[burrow::test]
fn select_on_done_and_work() {
    let (ctx, cancel) = background().with_cancel();
    let (jobs, results) = (chan::<u32>(0), chan::<u32>(64));
    let worker = {
        let (jobs, results) = (jobs.clone(), results.clone());
        spawn(move || {
            loop {
                select! {
                    recv(ctx.done()) => return ctx.err(),
                    recv(jobs) -> job => results.send(job.expect("open") * 2),
                }
            }
        })
    };
    for i in 0..50 {
        jobs.send(i);
    }
    cancel();
    assert_eq!(worker.join().expect("no panic"), Some(Canceled));
    assert_eq!((0..50).filter_map(|_| results.recv()).sum::<u32>(), 49 * 50);
}

/// The dynamic form over many contexts at once.
#[burrow::test]
fn dynamic_select_over_contexts() {
    let all: Vec<_> = (0..100_u32)
        .map(|i| background().with_timeout(if i == 42 { 3 * MS } else { LONG }))
        .collect();
    let done: Vec<_> = all.iter().map(|(ctx, _)| ctx.done()).collect();
    let mut got = [const { None }; 100];
    let mut sel = Select::new();
    for (rx, place) in done.iter().zip(&mut got) {
        sel.recv(rx, place);
    }
    assert_eq!(sel.select(), 42);
}

/// Functions of contexts run in goroutines of their own: one that blocks holds nobody up.
#[burrow::test]
fn functions_do_not_hold_up_the_canceller() {
    let (ctx, cancel) = background().with_cancel();
    let gate = chan::<()>(0);
    let wg = Arc::new(WaitGroup::new());
    wg.add(100);
    for _ in 0..100 {
        let (gate, wg) = (gate.receiver(), wg.clone());
        drop(ctx.after_func(move || {
            gate.recv();
            wg.done();
        }));
    }
    cancel();
    gate.close();
    wg.wait();
    let late = chan::<()>(0);
    let tx = late.sender();
    drop(ctx.after_func(move || tx.close()));
    assert_eq!(late.recv(), None);
    go(|| {});
}

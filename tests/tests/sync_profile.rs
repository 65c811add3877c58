//! The block profile, the mutex profile, lock statistics; contexts that groups end and semaphores listen to.
#![no_std]
#![no_main]
extern crate alloc;

use alloc::string::{String, ToString};

use burrow::{
    chan,
    context::{Canceled, Context, DeadlineExceeded},
    runtime,
    sched::WaitReason,
    scope,
    sync::{Mutex, Semaphore, errgroup::Group},
    time::{Duration, sleep},
};
use burrow_tests::{parked, until_parked};

burrow::test_main!();

#[inline(never)]
fn hold_it_long(m: &Mutex<u32>) {
    let mut g = m.lock();
    sleep(Duration::from_millis(5));
    *g += 1;
    drop(g);
    // Else the unlocking is a jump at the function's end, and the function has no frame any more.
    core::hint::black_box(m);
}

#[burrow::test]
fn mutex_profile_names_who_unlocked() {
    assert_eq!(runtime::set_mutex_profile_fraction(1), 0);
    let m = Mutex::new(0);
    let others = parked(WaitReason::MutexLock);
    scope(|s| {
        let all_wait = m.lock();
        for _ in 0..4 {
            s.spawn(|| (0..3).for_each(|_| hold_it_long(&m)));
        }
        until_parked(WaitReason::MutexLock, others + 4);
        drop(all_wait);
    });
    assert_eq!(runtime::set_mutex_profile_fraction(0), 1);
    let profile = runtime::mutex_profile();
    let text = profile.to_string();
    burrow::println!("{text}");
    let first = &profile.rows[0];
    assert!(first.count >= 1 && first.ns >= 5_000_000, "{first:?}");
    assert!(
        text.starts_with("--- mutex\n") && text.contains("hold_it_long"),
        "{text}"
    );
    let before = profile.rows.iter().map(|r| r.count).sum::<u64>();
    hold_it_long(&m);
    let after = runtime::mutex_profile().rows.iter().map(|r| r.count).sum::<u64>();
    assert_eq!(before, after, "off is off");
}

#[inline(never)]
fn wait_for_a_value(ch: &burrow::Chan<u8>) -> Option<u8> {
    ch.recv()
}

#[burrow::test]
fn block_profile_names_who_waited() {
    runtime::set_block_profile_rate(1);
    let ch = chan::<u8>(0);
    let others = parked(WaitReason::ChanRecv);
    scope(|s| {
        s.spawn(|| {
            until_parked(WaitReason::ChanRecv, others + 1);
            sleep(Duration::from_millis(5));
            ch.send(1);
        });
        assert_eq!(wait_for_a_value(&ch), Some(1));
    });
    runtime::set_block_profile_rate(0);
    let text = runtime::block_profile().to_string();
    burrow::println!("{text}");
    assert!(text.starts_with("--- block\n"));
    let rows = runtime::block_profile().rows;
    assert!(rows.iter().any(|r| r.ns >= 5_000_000), "{text}");
    assert!(rows.is_sorted_by_key(|r| core::cmp::Reverse(r.ns)));
    assert!(text.contains("block_profile_names_who_waited"), "{text}");
}

/// Waits much shorter than the rate are taken rarely and count for many: the total is about right.
#[burrow::test]
fn block_profile_samples_short_waits() {
    let total = || runtime::block_profile().rows.iter().map(|r| r.ns).sum::<u64>();
    let before = total();
    runtime::set_block_profile_rate(1 << 40);
    let (a, b) = (chan::<()>(0), chan::<()>(0));
    scope(|s| {
        s.spawn(|| {
            for () in &a {
                b.send(());
            }
        });
        for _ in 0..500 {
            a.send(());
            b.recv();
        }
        a.close();
    });
    runtime::set_block_profile_rate(0);
    // 1 in 10^8 or so is taken; anything but a rare accident leaves the profile as it was.
    assert!(total() - before < 1 << 42);
}

#[burrow::test]
fn errgroup_ends_its_context() {
    let (parent, cancel) = Context::background().with_cancel();
    let (g, ctx) = Group::<String>::with_context(&parent);
    for i in 0..5 {
        let ctx = ctx.clone();
        g.go(move || {
            if i == 3 {
                return Err("three".into());
            }
            ctx.done().recv();
            Err("told to stop".into())
        });
    }
    assert_eq!(g.wait(), Err("three".into()));
    assert_eq!(ctx.cause().unwrap().to_string(), "three");
    assert_eq!((ctx.err(), parent.err()), (Some(Canceled), None));

    let (g, ctx) = Group::<String>::with_context(&parent);
    let inner = ctx.clone();
    g.go(move || {
        inner.done().recv();
        Ok(())
    });
    cancel();
    assert_eq!(g.wait(), Ok(()));
    assert_eq!(ctx.err(), Some(Canceled));

    let (g, ctx) = Group::<String>::with_context(&Context::background());
    g.go(|| panic!("a member"));
    assert!(burrow::recover(|| g.wait()).is_err());
    assert_eq!(ctx.err(), Some(Canceled));
}

#[burrow::test]
fn semaphore_listens_to_a_context() {
    let s = Semaphore::new(2);
    s.acquire(2);
    let (ctx, cancel) = Context::background().with_timeout(Duration::from_millis(3));
    assert_eq!(s.acquire_ctx(&ctx, 1), Err(DeadlineExceeded));
    s.release(2);
    assert_eq!(s.acquire_ctx(&ctx, 1), Err(DeadlineExceeded), "over is over");
    cancel();
    let (ctx, cancel) = Context::background().with_cancel();
    assert_eq!(s.acquire_ctx(&ctx, 2), Ok(()));
    scope(|sc| {
        let h = sc.spawn(|| s.acquire_ctx(&ctx, 5));
        sleep(Duration::from_millis(1));
        cancel();
        assert_eq!(h.join().unwrap(), Err(Canceled));
    });
    s.release(2);
    assert_eq!((s.available(), s.waiting()), (2, 0));
}

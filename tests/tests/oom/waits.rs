//! Timers, contexts, locks and channels without memory.

use alloc::{format, sync::Arc, vec::Vec};
use core::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use burrow::{
    Builder, chan,
    context::Context,
    println, recover, select,
    sync::{Mutex, RwLock, Semaphore, WaitGroup},
    time,
};
use burrow_tests::{MemoryLimit, Procs};

use super::{is_out_of_memory, memory_comes_back, take};

/// What a timer or a context calls when no goroutine can be started comes later: it is not lost, does not come twice, and
/// does not run in whoever set it off.
#[burrow::test(timeout = 120)]
fn functions_wait_for_memory() {
    const N: u64 = 20;
    memory_comes_back(|| {
        let (ran, elsewhere) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let counts = || {
            let (ran, elsewhere, here) = (ran.clone(), elsewhere.clone(), burrow::sched::current().id());
            move || {
                elsewhere.fetch_add(
                    u64::from(here != burrow::sched::current().id()),
                    Ordering::Relaxed,
                );
                ran.fetch_add(1, Ordering::Relaxed);
            }
        };
        // All that needs memory is there before it ends.
        let timers: Vec<_> = (0..N)
            .map(|_| time::after_func(Duration::from_secs(3600), counts()))
            .collect();
        let (ctx, cancel) = Context::background().with_cancel();
        let _off: Vec<_> = (0..N).map(|_| ctx.after_func(counts())).collect();
        let (late, _cancel) = ctx.without_cancel().with_timeout(Duration::from_millis(300));
        let seen = late.done(); // its channel
        let gate = chan::<()>(0);
        let limit = MemoryLimit::to(4 << 20);
        let waits = |_| {
            let gate = gate.receiver();
            Builder::new().spawn(move || gate.recv()).is_ok()
        };
        assert!((0..100_000).map(waits).any(|ok| !ok), "there is no end to memory");
        // What other cores have left over goes, too.
        let mut full = 0;
        while full < 50 {
            full = if waits(0) { 0 } else { full + 1 };
            burrow::yield_now();
        }
        cancel();
        for t in &timers {
            t.reset(Duration::from_micros(100));
        }
        time::sleep(Duration::from_millis(50)); // several attempts
        time::sleep(
            late.deadline()
                .expect("it has one")
                .saturating_duration_since(time::Instant::now()),
        );
        time::sleep(Duration::from_millis(5));
        let early = ran.load(Ordering::Relaxed);
        assert!(early < N, "{early} found memory");
        let stopped = u64::from(timers[0].stop()) + u64::from(timers[1].stop());
        timers[2].reset(Duration::from_millis(1)); // counts once, unless it has run
        gate.close();
        drop(limit);
        assert_eq!(seen.recv(), None);
        while ran.load(Ordering::Relaxed) < 2 * N - stopped {
            time::sleep(Duration::from_millis(1));
        }
        time::sleep(Duration::from_millis(30)); // nothing comes twice
        let all = ran.load(Ordering::Relaxed);
        assert!(
            all - (2 * N - stopped) <= early,
            "{all} of {} and {early}",
            2 * N - stopped
        );
        assert_eq!(elsewhere.load(Ordering::Relaxed), all);
        burrow::println!("{early} ran without memory, {stopped} stopped, {all} in all");
    });
}

/// Who finds no memory to listen to its context panics before it waits, and nobody waits for it or serves it: a lock, a
/// group, a semaphore goes on as if it had never come.
#[burrow::test(timeout = 120)]
fn waits_with_a_context_at_the_limit() {
    let mut refused = 0;
    let _one = Procs::one(); // no other core has memory left over
    for round in 0..10 {
        if round >= 2 && refused > 0 {
            break;
        }
        // It comes too early if the one that takes the memory is kept from its core meanwhile: then again.
        memory_comes_back(|| {
            let (m, read, written, wg, s) = (
                Mutex::new(()),
                RwLock::new(()),
                RwLock::new(()),
                WaitGroup::new(),
                Semaphore::new(1),
            );
            let (ctx, cancel) = Context::background().with_cancel();
            let full = AtomicBool::new(false);
            wg.add(1);
            s.acquire(1);
            burrow::scope(|scope| {
                let (mutex, r, w) = (m.lock(), read.read(), written.write());
                let begin = chan::<()>(0);
                let mut hoard: Vec<Vec<u8>> = Vec::with_capacity(200_000);
                let (go_on, ctx, full) = (begin.receiver(), &ctx, &full);
                let (m, read, written, wg, s) = (&m, &read, &written, &wg, &s);
                let worker = scope.spawn(move || {
                    go_on.recv();
                    // As large as a part of a context; failing shakes some memory loose.
                    while take(&mut hoard, [4096, 256, 224, 192, 160, 144, 128, 112, 96]) {}
                    full.store(true, Ordering::Relaxed);
                    let ends = [
                        recover(|| m.lock_ctx(ctx).is_ok()),
                        recover(|| read.write_ctx(ctx).is_ok()),
                        recover(|| written.read_ctx(ctx).is_ok()),
                        recover(|| wg.wait_ctx(ctx).is_ok()),
                        recover(|| s.acquire_ctx(ctx, 1).is_ok()),
                    ];
                    hoard.clear();
                    ends
                });
                let limit = MemoryLimit::to(256 << 10);
                begin.send(());
                while !full.load(Ordering::Relaxed) {
                    time::sleep(Duration::from_millis(1));
                }
                time::sleep(Duration::from_millis(20));
                cancel(); // one that has found memory waits for this
                drop(limit);
                for end in worker.join().expect("it recovers") {
                    match end {
                        Ok(had) => assert!(!had),
                        Err(p) => {
                            assert!(is_out_of_memory(&p), "{p}");
                            refused += 1;
                        }
                    }
                }
                assert!(read.try_read().is_some(), "no writer waits");
                drop((mutex, r, w));
            });
            assert_eq!(format!("{m:?}"), "Mutex(())");
            assert!(read.try_write().is_some() && written.try_write().is_some());
            wg.done();
            wg.add(1); // nobody waits
            assert!(!wg.wait_timeout(Duration::from_nanos(1)));
            s.release(1);
            assert!(s.try_acquire(1));
        });
    }
    println!("{refused} found no memory");
    assert!(refused > 0, "none met the end of memory");
}

#[burrow::test]
fn channels_at_the_limit() {
    memory_comes_back(|| {
        let ch = chan::<[u64; 100]>(4);
        let lock = Mutex::new(0);
        let _limit = MemoryLimit::to(0);
        // A channel that is there works: its buffer is, too, and waiters lie on their own stacks.
        for i in 0..4 {
            ch.send([i; 100]);
        }
        select! {
            recv(ch) -> v => assert_eq!(v, Some([0; 100])),
            default => panic!("it is full"),
        }
        *lock.lock() += 1;
        // A new one does not fit.
        let end = burrow::recover(|| drop(chan::<[u64; 100]>(100_000)));
        assert!(is_out_of_memory(&end.expect_err("80 MB")));
        for i in 1..4 {
            assert_eq!(ch.recv(), Some([i; 100]));
        }
    });
}

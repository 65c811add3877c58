//! A thousand goroutines panic while others run.

use alloc::{sync::Arc, vec::Vec};
use core::{
    hint::black_box,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use burrow::{JoinHandle, panic::Kind, runtime, spawn};
use burrow_tests::{Echo, Until};

struct CountDrop(Arc<AtomicU32>);

impl Drop for CountDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[inline(never)]
fn fail(way: u32, depth: u32, drops: &Arc<AtomicU32>) -> u32 {
    let _guard = CountDrop(drops.clone());
    if depth > 0 {
        return fail(way, depth - 1, drops) + 1;
    }
    match way {
        0 => panic!("number {}", black_box(way)),
        1 => {
            let few = [1, 2, 3];
            black_box(&few[..])[black_box(7)]
        }
        2 => black_box(None::<u32>).expect("nothing there"),
        // SAFETY: not at all; the page is never mapped.
        3 => unsafe { black_box(core::ptr::without_provenance::<u32>(64)).read_volatile() },
        _ => burrow::panic_any(77_u32),
    }
}

fn expect_way(way: u32, panic: burrow::Panic) {
    let text = alloc::format!("{panic}");
    match way {
        0 => assert_eq!(text, "number 0"),
        1 => assert!(text.contains("index out of bounds"), "{text}"),
        2 => assert_eq!(text, "nothing there"),
        3 => assert!(
            matches!(
                panic.kind(),
                Kind::Fault {
                    vector: 14,
                    addr: 64,
                    ..
                }
            ),
            "{text}"
        ),
        _ => assert_eq!(panic.downcast::<u32>().ok(), Some(77)),
    }
}

#[burrow::test(timeout = 120)]
fn a_thousand_panics_while_others_run() {
    let until = Until::storm(Duration::from_millis(300));
    let (stop, rounds) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let others: Vec<_> = (0..runtime::num_cpu())
        .map(|_| {
            let (stop, rounds) = (stop.clone(), rounds.clone());
            spawn(move || Echo::round_trips_until(&stop, &rounds))
        })
        .collect();
    let mut total = 0;
    loop {
        const N: u32 = 1000;
        let drops = Arc::new(AtomicU32::new(0));
        let handles: Vec<(u32, JoinHandle<u32>)> = (0..N)
            .map(|i| {
                let drops = drops.clone();
                (i % 5, spawn(move || fail(i % 5, i % 11, &drops)))
            })
            .collect();
        for (way, handle) in handles {
            match handle.join() {
                Ok(_) => panic!("way {way} did not panic"),
                Err(panic) => expect_way(way, panic),
            }
        }
        // A fault's own frame may skip its drops (the compiler believes that it cannot unwind), its callers' not.
        let all: u32 = (0..N).map(|i| i % 11 + 1).sum();
        let faulted = N / 5;
        let dropped = drops.load(Ordering::Relaxed);
        assert!(
            dropped <= all && dropped + faulted >= all,
            "{dropped} of {all} guards dropped"
        );
        total += N;
        if until.over() && rounds.load(Ordering::Relaxed) > 0 {
            break;
        }
    }
    stop.store(1, Ordering::Relaxed);
    for h in others {
        h.join().expect("no panic");
    }
    burrow::println!("{total} panics, {rounds:?} round trips of the others");
}

//! Corners of the scheduler and of stacks, each of which was wrong once.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]
extern crate alloc;

use alloc::{sync::Arc, vec::Vec};
use core::{
    hint::black_box,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::Duration,
};

use burrow::{
    Builder, blocking, go, panic::Kind, recover, runtime, scope, spawn, time, time::Instant, yield_now,
};
use burrow_tests::spin_for;

burrow::test_main!();

#[burrow::test]
fn a_scope_hears_of_a_panic_whose_handle_outlived_it() {
    let result = recover(|| {
        scope(|s| {
            let handle = s.spawn(|| panic!("nobody joins this"));
            while !handle.is_finished() {
                yield_now();
            }
        });
    });
    assert!(result.is_err(), "an unjoined panic was lost");
}

#[burrow::test]
fn a_scope_is_silent_about_a_panic_that_was_joined() {
    let joined = scope(|s| s.spawn(|| panic!("joined")).join().is_err());
    assert!(joined);
}

#[inline(never)]
fn descend(bytes: usize) -> u8 {
    let room = black_box([1_u8; 1024]);
    if bytes <= 1024 {
        room[7]
    } else {
        descend(bytes - 1024).wrapping_add(black_box(&room)[3])
    }
}

#[burrow::test]
fn a_reused_big_stack_overflows_where_it_ends() {
    let deep = |size: usize, use_of_it: usize| {
        Builder::new()
            .stack_size(size)
            .spawn(move || descend(use_of_it))
            .expect("there is memory")
            .join()
    };
    for _ in 0..3 {
        assert!(deep(900 << 10, 600 << 10).is_ok());
        // The same class of slots, so very likely the same slot, with the pages of the one before.
        let panic = deep(600 << 10, 1 << 30).expect_err("recursion without end");
        assert!(
            matches!(panic.kind(), Kind::StackOverflow { size, .. } if size == 600 << 10),
            "{panic:?}"
        );
    }
}

#[burrow::test(timeout = 120)]
fn big_stacks_come_back_when_many_end_together() {
    let mut after_first = 0;
    for round in 0..4 {
        let gate = Arc::new(AtomicBool::new(false));
        let all: Vec<_> = (0..200)
            .map(|_| {
                let gate = gate.clone();
                let wait = move || {
                    while !gate.load(Ordering::Relaxed) {
                        time::sleep(Duration::from_millis(1));
                    }
                    descend(40 << 10)
                };
                Builder::new()
                    .stack_size(300 << 10)
                    .spawn(wait)
                    .expect("there is memory")
            })
            .collect();
        gate.store(true, Ordering::Relaxed);
        for handle in all {
            assert!(handle.join().is_ok());
        }
        if round == 0 {
            after_first = runtime_pages();
        }
    }
    // What the first round touched serves the others (a few slots may be late to come back).
    let grown = runtime_pages().saturating_sub(after_first);
    assert!(
        grown < 600,
        "{grown} more stack pages after three more rounds of the same"
    );
}

fn runtime_pages() -> u64 {
    burrow::mem::stack::pages_mapped()
}

/// A timer whose P was retaken from a core inside `blocking`, while every other core is busy for good, still
/// fires: P goes idle with its timers, and no core is asleep to be woken for them.
#[burrow::test(timeout = 120)]
fn timers_of_a_retaken_p_fire_on_busy_cores() {
    const SLEEPERS: u32 = 16;
    let (asleep, awake, stop) = (
        Arc::new(AtomicU32::new(0)),
        Arc::new(AtomicU32::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    for _ in 0..SLEEPERS {
        let (asleep, awake) = (asleep.clone(), awake.clone());
        go(move || {
            asleep.fetch_add(1, Ordering::Relaxed);
            time::sleep(Duration::from_millis(150));
            awake.fetch_add(1, Ordering::Relaxed);
        });
    }
    while asleep.load(Ordering::Relaxed) < SLEEPERS {
        yield_now();
    }
    for _ in 0..2 * runtime::num_cpu() {
        let stop = stop.clone();
        go(move || {
            while !stop.load(Ordering::Relaxed) {
                core::hint::spin_loop();
            }
        });
    }
    spin_for(Duration::from_millis(30));
    let woken = blocking(|| {
        let start = Instant::now();
        while awake.load(Ordering::Relaxed) < SLEEPERS && start.elapsed() < Duration::from_secs(20) {
            core::hint::spin_loop();
        }
        awake.load(Ordering::Relaxed)
    });
    stop.store(true, Ordering::Relaxed);
    assert_eq!(woken, SLEEPERS, "sleepers whose timers were nobody's");
}

/// While a locked goroutine is parked its core runs nobody else, as long as another core can; and it comes back.
#[burrow::test]
fn a_parked_locked_goroutine_keeps_others_off_its_core() {
    use burrow::{arch, runtime};
    if runtime::num_cpu() < 2 {
        return;
    }
    let stop = Arc::new(AtomicU32::new(0));
    let core_of_owner = Arc::new(AtomicU32::new(u32::MAX));
    let (over, home) = (stop.clone(), core_of_owner.clone());
    let owner = spawn(move || {
        runtime::lock_os_thread();
        home.store(arch::core_index() as u32, Ordering::Release);
        let mut turns = 0u32;
        loop {
            burrow::time::sleep(Duration::from_micros(300));
            assert_eq!(
                arch::core_index() as u32,
                home.load(Ordering::Relaxed),
                "it moved"
            );
            turns += 1;
            if over.load(Ordering::Acquire) != 0 {
                break;
            }
        }
        runtime::unlock_os_thread();
        turns
    });
    while core_of_owner.load(Ordering::Acquire) == u32::MAX {
        burrow::yield_now();
    }
    // Settled: whoever ran on the core when it was claimed is gone.
    burrow::time::sleep(Duration::from_millis(30));
    let others: Vec<_> = (0..runtime::num_cpu() * 3)
        .map(|_| {
            let home = core_of_owner.clone();
            spawn(move || {
                let mut seen = 0u32;
                for _ in 0..2_000 {
                    let _here = burrow::lock::PreemptGuard::new();
                    seen += u32::from(arch::core_index() as u32 == home.load(Ordering::Relaxed));
                    drop(_here);
                    burrow::yield_now();
                }
                seen
            })
        })
        .collect();
    let intruders: u32 = others.into_iter().map(|h| h.join().expect("no panic")).sum();
    stop.store(1, Ordering::Release);
    assert!(owner.join().expect("no panic") > 0);
    assert_eq!(intruders, 0, "others ran on the core of a locked goroutine");
}

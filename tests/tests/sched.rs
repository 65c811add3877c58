//! The scheduler as programs see it: handles, scopes, leaving, pinning, hogs, and how programs end.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]
extern crate alloc;

use alloc::{format, string::String, sync::Arc, vec, vec::Vec};
use core::{
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use burrow::{
    Builder, arch, blocking, chan, go, goexit, runtime, sched::WaitReason, scope, spawn, time, time::Instant,
    yield_now,
};
use burrow_tests::{Procs, parked, spin_for, until_parked};

burrow::test_main!();

// Handles.

#[burrow::test]
fn join_returns_the_value_or_the_panic() {
    assert_eq!(spawn(|| 6 * 7).join().ok(), Some(42));
    let panic = spawn(|| -> u8 { panic!("boom {}", 1) }).join().unwrap_err();
    assert_eq!(format!("{panic}"), "boom 1");
}

#[burrow::test]
fn a_detached_goroutine_goes_on() {
    let ch = chan::<u8>(0);
    let tx = ch.sender();
    drop(spawn(move || {
        time::sleep(Duration::from_millis(1));
        tx.send(3);
    }));
    assert_eq!(ch.recv(), Some(3));
}

#[burrow::test]
fn a_finished_handle_says_so() {
    let gate = chan::<()>(0);
    let rx = gate.receiver();
    let handle = spawn(move || rx.recv());
    assert!(!handle.is_finished());
    gate.close();
    while !handle.is_finished() {
        yield_now();
    }
    assert_eq!(handle.join().ok(), Some(None));
}

#[burrow::test]
fn builders_name_and_size() {
    let handle = Builder::new()
        .name("namely")
        .stack_size(4 << 20)
        .spawn(runtime::goid)
        .expect("there is memory");
    let id = handle.id();
    assert_eq!(handle.join().ok(), Some(id));
    assert!(Builder::new().stack_size(2 << 30).spawn(|| ()).is_err());
}

/// The spawner is often preempted in `spawn`, its goroutine made. That may have ended, and its G be another's, before
/// it goes on.
#[burrow::test]
fn a_handle_has_the_number_of_its_own_goroutine() {
    let before = burrow::debug::set_slice_ns(20_000);
    burrow::scope(|s| {
        for _ in 0..8 {
            s.spawn(|| {
                for _ in 0..2000 {
                    let handle = burrow::spawn(runtime::goid);
                    let id = handle.id();
                    assert_eq!(handle.join().ok(), Some(id));
                }
            });
        }
    });
    burrow::debug::set_slice_ns(before);
}

#[burrow::test]
fn a_name_shows_in_dumps() {
    let gate = chan::<()>(0);
    let rx = gate.receiver();
    let others = parked(WaitReason::ChanRecv);
    let handle = Builder::new()
        .name("in-the-dump")
        .spawn(move || rx.recv())
        .expect("there is memory");
    until_parked(WaitReason::ChanRecv, others + 1);
    let dump = runtime::stack(true);
    assert!(dump.contains("in-the-dump"), "{dump}");
    assert!(dump.contains("chan receive"), "{dump}");
    gate.close();
    handle.join().expect("no panic");
}

#[burrow::test]
fn closures_of_any_size_and_alignment() {
    #[repr(align(64))]
    struct Aligned([u64; 8]);
    let aligned = Aligned([7; 8]);
    assert_eq!(
        spawn(move || aligned.0.iter().sum::<u64>() + (&raw const aligned).addr() as u64 % 64)
            .join()
            .ok(),
        Some(56)
    );
    let big = [3_u8; 20_000];
    assert_eq!(
        spawn(move || big.iter().map(|b| u64::from(*b)).sum::<u64>())
            .join()
            .ok(),
        Some(60_000)
    );
}

// Scopes.

#[burrow::test]
fn scopes_lend_and_wait() {
    let mut values = vec![0_u64; 64];
    let sum = scope(|s| {
        for (i, value) in values.iter_mut().enumerate() {
            s.spawn(move || {
                yield_now();
                *value = i as u64;
            });
        }
        s.spawn(|| 5_u64).join().unwrap_or(0)
    });
    assert_eq!(sum, 5);
    assert_eq!(values.iter().sum::<u64>(), 63 * 64 / 2);
}

#[burrow::test]
fn a_scope_waits_also_when_its_body_panics() {
    let ended = AtomicBool::new(false);
    let result = burrow::recover(|| {
        scope(|s| {
            s.spawn(|| {
                time::sleep(Duration::from_millis(3));
                ended.store(true, Ordering::Release);
            });
            panic!("body");
        })
    });
    let panic = result.expect_err("passed on");
    assert!(ended.load(Ordering::Acquire));
    assert_eq!(format!("{panic}"), "body");
}

#[burrow::test]
#[should_panic(expected = "a scoped goroutine panicked")]
fn a_scope_tells_of_panics_nobody_joined() {
    scope(|s| {
        drop(s.spawn(|| panic!("alone")));
    });
}

#[burrow::test]
fn scopes_nest() {
    let n = AtomicU32::new(0);
    scope(|a| {
        for _ in 0..8 {
            a.spawn(|| scope(|b| (0..8).for_each(|_| drop(b.spawn(|| n.fetch_add(1, Ordering::Relaxed))))));
        }
    });
    assert_eq!(n.load(Ordering::Relaxed), 64);
}

// Leaving.

#[burrow::test]
fn goexit_runs_drops_and_defers_and_nothing_else() {
    let log = chan::<&'static str>(8);
    let theirs = log.clone();
    let result = spawn(move || {
        let (a, b) = (theirs.clone(), theirs.clone());
        burrow::defer! { a.send("first") }
        let _passed_on = burrow::recover(|| {
            burrow::defer! { b.send("inner") }
            goexit();
        });
        theirs.send("not reached");
    })
    .join();
    assert!(result.is_err());
    log.close();
    assert_eq!(log.iter().collect::<Vec<_>>(), ["inner", "first"]);
}

#[burrow::test]
fn goexit_of_a_go_goroutine_does_not_end_the_program() {
    let ch = chan::<()>(0);
    let tx = ch.clone();
    go(move || {
        burrow::defer! { tx.close() }
        goexit();
    });
    assert_eq!(ch.recv(), None);
}

// Fairness.

/// A goroutine that never calls anything is taken off its core, whatever the number of Ps.
#[burrow::test]
fn hogs_on_every_p_do_not_keep_others_from_running() {
    let before = runtime::gomaxprocs(0);
    for procs in [1, before] {
        runtime::gomaxprocs(procs);
        let (stop, started) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let hogs: Vec<_> = (0..procs * 2)
            .map(|_| {
                let (stop, started) = (stop.clone(), started.clone());
                spawn(move || {
                    started.fetch_add(1, Ordering::Relaxed);
                    let mut n = 0_u64;
                    while !stop.load(Ordering::Relaxed) {
                        // not a spin: a hog
                        n = core::hint::black_box(n + 1);
                    }
                })
            })
            .collect();
        // Twice as many as there are Ps: the second half starts only if the first is preempted.
        while started.load(Ordering::Relaxed) < procs as u32 * 2 {
            yield_now();
        }
        let ch = chan::<u32>(0);
        let tx = ch.sender();
        go(move || (0..20).for_each(|i| tx.send(i)));
        for i in 0..20 {
            assert_eq!(ch.recv(), Some(i));
        }
        stop.store(true, Ordering::Relaxed);
        for hog in hogs {
            hog.join().expect("no panic");
        }
    }
    runtime::gomaxprocs(before);
}

/// `runnext` inherits the slice: a pair that keeps waking each other does not starve the rest of its P.
#[burrow::test]
fn a_ping_pong_pair_does_not_starve_its_p() {
    let _one = Procs::one();
    let stop = Arc::new(AtomicBool::new(false));
    let (a, b) = (chan::<()>(0), chan::<()>(0));
    let (their_a, their_b, their_stop) = (a.clone(), b.clone(), stop.clone());
    let ping = spawn(move || {
        while !their_stop.load(Ordering::Relaxed) {
            their_a.send(());
            their_b.recv();
        }
        their_a.close();
    });
    let pong = spawn(move || {
        for () in &a {
            b.send(());
        }
    });
    let ran = Arc::new(AtomicU64::new(0));
    let third = {
        let (ran, stop) = (ran.clone(), stop.clone());
        spawn(move || {
            for _ in 0..50 {
                ran.fetch_add(1, Ordering::Relaxed);
                yield_now();
            }
            stop.store(true, Ordering::Relaxed);
        })
    };
    third.join().expect("no panic");
    ping.join().expect("no panic");
    pong.join().expect("no panic");
    assert_eq!(ran.load(Ordering::Relaxed), 50);
}

/// The global queue is looked at even when the local one never runs dry.
#[burrow::test]
fn the_global_queue_is_served_under_local_load() {
    let _one = Procs::one();
    let stop = Arc::new(AtomicBool::new(false));
    let chains: Vec<_> = (0..300)
        .map(|_| {
            let stop = stop.clone();
            spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    yield_now();
                }
            })
        })
        .collect();
    assert_eq!(spawn(|| 1).join().ok(), Some(1));
    stop.store(true, Ordering::Relaxed);
    for chain in chains {
        chain.join().expect("no panic");
    }
}

// Blocking, pinning, Ps.

/// One P, a call that holds its core: the others run meanwhile, on another core or (the last core) by preemption.
#[burrow::test]
fn others_run_while_a_call_blocks() {
    let _one = Procs::one();
    let done = Arc::new(AtomicBool::new(false));
    let flag = done.clone();
    let caller = spawn(move || {
        blocking(|| {
            let end = Instant::now() + Duration::from_secs(20);
            while !flag.load(Ordering::Acquire) {
                assert!(Instant::now() < end, "the others never ran");
                core::hint::spin_loop();
            }
        });
    });
    yield_now();
    let other = spawn(|| 1);
    assert_eq!(other.join().ok(), Some(1));
    done.store(true, Ordering::Release);
    caller.join().unwrap_or_else(|p| panic!("{p}"));
}

#[burrow::test]
fn blocking_calls_on_every_core_at_once() {
    let handles: Vec<_> = (0..runtime::num_cpu() * 2)
        .map(|_| spawn(|| (0..5).for_each(|_| blocking(|| spin_for(Duration::from_millis(2))))))
        .collect();
    for handle in handles {
        handle.join().unwrap_or_else(|p| panic!("{p}"));
    }
}

#[burrow::test]
fn a_locked_goroutine_stays_on_its_core() {
    let handles: Vec<_> = (0..3)
        .map(|_| {
            spawn(|| {
                runtime::lock_os_thread();
                let home = arch::core_index();
                for i in 0..200 {
                    match i % 3 {
                        0 => yield_now(),
                        1 => time::sleep(Duration::from_micros(100)),
                        _ => drop(spawn(|| ()).join()),
                    }
                    assert_eq!(arch::core_index(), home);
                }
                runtime::unlock_os_thread();
            })
        })
        .collect();
    for handle in handles {
        handle.join().unwrap_or_else(|p| panic!("{p}"));
    }
}

#[burrow::test]
fn a_locked_goroutine_that_ends_unlocks_its_core() {
    for _ in 0..runtime::num_cpu() * 3 {
        spawn(runtime::lock_os_thread).join().expect("no panic");
    }
    // Every core still runs others.
    let handles: Vec<_> = (0..64).map(|_| spawn(yield_now)).collect();
    for handle in handles {
        handle.join().expect("no panic");
    }
}

#[burrow::test]
fn gomaxprocs_answers_and_clamps() {
    let before = runtime::gomaxprocs(0);
    assert_eq!(runtime::gomaxprocs(1), before);
    assert_eq!(runtime::gomaxprocs(100_000), 1);
    assert_eq!(runtime::gomaxprocs(before), runtime::num_cpu());
    assert_eq!(runtime::gomaxprocs(0), before);
}

#[burrow::test]
fn figures_add_up() {
    // Goroutines of earlier tests that were joined may still be leaving, however long that takes them: then again.
    let round = || {
        let before = runtime::num_goroutine();
        let gate = chan::<()>(0);
        for _ in 0..100 {
            let rx = gate.receiver();
            go(move || _ = rx.recv());
        }
        let with = runtime::num_goroutine();
        gate.close();
        let end = Instant::now() + Duration::from_secs(10);
        while runtime::num_goroutine() > before && Instant::now() < end {
            yield_now();
        }
        (with, runtime::num_goroutine()) == (before + 100, before)
    };
    assert!((0..100).any(|_| round()), "{}", runtime::num_goroutine());
    let line: String = format!("{}", runtime::sched_stats());
    assert!(
        line.starts_with("SCHED ") && line.contains(" gomaxprocs="),
        "{line}"
    );
}

// How programs end.

#[burrow::test(exit = 2, says = "fatal error: all goroutines are asleep - deadlock!")]
fn a_deadlock_is_found() {
    let ch = chan::<u8>(0);
    ch.recv();
}

#[burrow::test(exit = 2, says = "chan send")]
fn a_deadlock_of_several_tells_what_they_wait_for() {
    let ch = chan::<u8>(0);
    for _ in 0..4 {
        let other = chan::<u8>(0);
        go(move || other.send(1));
    }
    ch.recv();
}

#[burrow::test(exit = 2, says = "all goroutines are asleep")]
fn an_empty_select_alone_is_a_deadlock() {
    burrow::select! {}
}

#[burrow::test(exit = 2, says = "all goroutines are asleep")]
fn a_deadlock_after_the_last_timer() {
    go(|| time::sleep(Duration::from_millis(20)));
    Builder::new()
        .name("stuck")
        .spawn(|| chan::<u8>(0).recv())
        .map(drop)
        .expect("there is memory");
    chan::<u8>(0).recv();
}

#[burrow::test(exit = 2, says = "panic: out of the goroutine")]
fn a_panic_of_a_go_goroutine_ends_the_program() {
    go(|| panic!("out of the goroutine"));
    time::sleep(Duration::from_secs(30));
}

#[burrow::test(exit = 2, says = "created by")]
fn a_crash_report_says_who_started_it() {
    go(|| {
        let none: Option<u8> = core::hint::black_box(None);
        none.unwrap();
    });
    time::sleep(Duration::from_secs(30));
}

#[burrow::test(exit = 3)]
fn exit_from_any_goroutine() {
    go(|| arch::exit(3));
    time::sleep(Duration::from_secs(30));
}

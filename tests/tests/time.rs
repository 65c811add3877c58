//! Time: sleepers wake in order, never early, also when every P is busy or only one is there; timers and tickers keep
//! Go's promises about stale values and missed ticks, whoever stops and resets them meanwhile.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]
extern crate alloc;

use alloc::{sync::Arc, vec::Vec};
use core::{
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use burrow::{
    chan, runtime, spawn,
    time::{self, Instant, Ticker, Timer},
};
use burrow_tests::{Procs, Rng};

burrow::test_main!();

#[burrow::test]
fn the_clock_never_goes_back_on_any_core() {
    let latest = Arc::new(AtomicU64::new(0));
    let handles: Vec<_> = (0..runtime::num_cpu() * 2)
        .map(|_| {
            let latest = latest.clone();
            spawn(move || {
                for i in 0..20_000 {
                    let seen = latest.load(Ordering::Acquire); // pairs with the Release below
                    let now = Instant::now().as_nanos();
                    assert!(now >= seen, "{now} after another core read {seen}");
                    latest.fetch_max(now, Ordering::AcqRel);
                    if i % 1000 == 0 {
                        burrow::yield_now();
                    }
                }
            })
        })
        .collect();
    for handle in handles {
        handle.join().unwrap_or_else(|p| panic!("{p}"));
    }
}

#[burrow::test]
fn sleepers_wake_in_the_order_of_their_deadlines() {
    let _one = Procs::one(); // the order of wake-ups is the order of deadlines
    let order = chan::<u64>(64);
    // 3 ms apart: far more than it takes to start them all.
    let mut delays: Vec<u64> = (1..=32).collect();
    let mut rng = Rng::new(3);
    for i in (1..delays.len()).rev() {
        delays.swap(i, rng.below(i as u64 + 1) as usize);
    }
    let base = Instant::now() + Duration::from_millis(20);
    for delay in delays {
        let order = order.clone();
        burrow::go(move || {
            let deadline = base + Duration::from_millis(3 * delay);
            time::sleep(deadline.saturating_duration_since(Instant::now()));
            order.send(delay);
        });
    }
    let mut woken: Vec<u64> = order.iter().take(32).collect();
    // On a busy host two deadlines may pass before the core notices; both are due then, in either order.
    if burrow::opts::flag("det") {
        assert!(woken.is_sorted(), "{woken:?}");
    }
    woken.sort_unstable();
    assert_eq!(woken, (1..=32).collect::<Vec<_>>());
}

#[burrow::test]
fn nobody_wakes_early() {
    let handles: Vec<_> = (0..200_u64)
        .map(|id| {
            spawn(move || {
                let mut rng = Rng::new(id);
                for _ in 0..5 {
                    let d = Duration::from_nanos(rng.below(5_000_000));
                    let begin = Instant::now();
                    time::sleep(d);
                    let took = begin.elapsed();
                    assert!(took >= d, "asked for {d:?}, slept {took:?}");
                }
            })
        })
        .collect();
    for handle in handles {
        handle.join().unwrap_or_else(|p| panic!("{p}"));
    }
}

#[burrow::test]
fn a_zero_sleep_returns_at_once() {
    for _ in 0..1000 {
        time::sleep(Duration::ZERO);
    }
}

#[burrow::test]
fn ten_thousand_sleepers_at_once() {
    let (awake, done) = (Arc::new(AtomicU32::new(0)), chan::<()>(1));
    let begin = Instant::now();
    for i in 0..10_000_u64 {
        let (awake, done) = (awake.clone(), done.clone());
        burrow::go(move || {
            time::sleep(Duration::from_micros(50_000 + i % 1000));
            if awake.fetch_add(1, Ordering::AcqRel) + 1 == 10_000 {
                done.send(());
            }
        });
    }
    done.recv();
    assert!(begin.elapsed() >= Duration::from_millis(50));
}

/// A due timer takes the core from a goroutine that never yields.
#[burrow::test]
fn a_sleeper_wakes_while_hogs_hold_every_p() {
    let stop = Arc::new(AtomicBool::new(false));
    let hogs: Vec<_> = (0..runtime::gomaxprocs(0))
        .map(|_| {
            let stop = stop.clone();
            spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    core::hint::spin_loop();
                }
            })
        })
        .collect();
    for _ in 0..20 {
        time::sleep(Duration::from_millis(1));
    }
    stop.store(true, Ordering::Relaxed);
    for hog in hogs {
        hog.join().expect("no panic");
    }
}

/// Timers of a P that goes away go on elsewhere.
#[burrow::test]
fn timers_outlive_their_p() {
    let previous = runtime::gomaxprocs(0);
    let handles: Vec<_> = (0..64_u64)
        .map(|i| spawn(move || time::sleep(Duration::from_millis(30 + i % 7))))
        .collect();
    time::sleep(Duration::from_millis(5));
    runtime::gomaxprocs(1);
    for handle in handles {
        handle.join().expect("no panic");
    }
    runtime::gomaxprocs(previous);
}

#[burrow::test]
fn timeouts_of_channels_and_select() {
    let ch = chan::<u8>(0);
    let begin = Instant::now();
    assert!(ch.recv_timeout(Duration::from_millis(5)).is_err());
    assert!(begin.elapsed() >= Duration::from_millis(5));
    assert!(ch.send_timeout(1, Duration::from_millis(5)).is_err());
    assert!(begin.elapsed() >= Duration::from_millis(10));
    burrow::select! {
        recv(ch) -> _v => unreachable!("nobody sends"),
        default(Duration::from_millis(5)) => {}
    }
    assert!(begin.elapsed() >= Duration::from_millis(15));
}

const MS: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(3600);

fn spin_until(what: impl Fn() -> bool) {
    let begin = Instant::now();
    while !what() {
        assert!(begin.elapsed() < Duration::from_secs(20), "never happened");
        burrow::yield_now();
    }
}

#[burrow::test]
fn a_timer_sends_once_and_never_early() {
    let begin = Instant::now();
    let timer = Timer::new(3 * MS);
    let fired = timer.c.recv().expect("never closed");
    assert!(fired >= begin + 3 * MS && Instant::now() >= fired);
    assert!(!timer.stop());
    assert!(timer.c.recv_timeout(3 * MS).is_err());
    assert_eq!((timer.c.len(), timer.c.cap()), (0, 0));
}

#[burrow::test]
fn stop_and_reset_discard_what_nobody_received() {
    let timer = Timer::new(MS);
    time::sleep(3 * MS);
    assert!(timer.stop(), "it fired, but nobody saw that");
    assert!(!timer.stop());
    assert!(timer.c.try_recv().is_err());
    timer.reset(MS);
    time::sleep(3 * MS);
    let begin = Instant::now();
    assert!(timer.reset(2 * MS));
    let fired = timer.c.recv().expect("never closed");
    assert!(fired >= begin + 2 * MS, "the value of before the reset");
    assert!(!timer.reset(LONG));
    assert!(timer.stop());
}

/// Several goroutines stop and reset one timer at every moment of its firing. A value received after a reset has
/// returned is not from before it.
#[burrow::test]
fn resets_race_with_firing() {
    let until = burrow_tests::Until::storm(Duration::from_secs(1));
    let timer = Arc::new(Timer::new(MS));
    let handles: Vec<_> = (0..4_u64)
        .map(|id| {
            let timer = timer.clone();
            spawn(move || {
                let mut rng = Rng::new(id);
                while !until.over() {
                    match rng.below(4) {
                        0 => _ = timer.stop(),
                        1 => _ = timer.c.try_recv(),
                        2 => burrow::yield_now(),
                        _ => _ = timer.reset(Duration::from_nanos(rng.below(40_000))),
                    }
                }
            })
        })
        .collect();
    for handle in handles {
        handle.join().expect("no panic");
    }
    let mut rng = Rng::new(99);
    for _ in 0..2_000 {
        let d = Duration::from_nanos(rng.below(60_000));
        timer.reset(Duration::from_nanos(rng.below(30_000)));
        for _ in 0..rng.below(20) {
            core::hint::spin_loop();
        }
        let begin = Instant::now();
        timer.reset(d);
        assert!(timer.c.recv().expect("never closed") >= begin + d);
        assert!(!timer.stop() && timer.c.try_recv().is_err());
    }
}

/// Slow receivers miss ticks; the channel holds one, and the next comes at a multiple of the period.
#[burrow::test]
fn a_ticker_under_load_drops_ticks() {
    let begin = Instant::now();
    let ticker = Ticker::new(2 * MS);
    let first = ticker.c.recv().expect("never closed");
    assert!(first >= begin + 2 * MS);
    for _ in 0..5 {
        let busy = Instant::now();
        while busy.elapsed() < 15 * MS {
            core::hint::spin_loop();
        }
        let drain = Instant::now();
        assert!(ticker.c.recv().is_some(), "one is waiting");
        let mut ready = 0;
        while ticker.c.try_recv().is_ok() {
            ready += 1;
        }
        // One that was just due, and one for each period that a slow host makes of this.
        let most = 1 + drain.elapsed().as_nanos() / (2 * MS).as_nanos();
        assert!(ready <= most, "{ready} ticks in a bunch");
    }
    ticker.stop();
    assert!(ticker.c.try_recv().is_err());
    assert!(ticker.c.recv_timeout(5 * MS).is_err(), "a tick after stop");
    ticker.reset(MS);
    assert!(ticker.c.recv().is_some());
}

/// In the long run a ticker neither gains nor loses: tick k is not before k periods.
#[burrow::test]
fn ticks_keep_their_phase() {
    let begin = Instant::now();
    let ticker = Ticker::new(MS);
    for k in 1..=50 {
        let at = ticker.c.recv().expect("never closed");
        assert!(at >= begin + k * MS, "tick {k} after {:?}", at - begin);
    }
}

#[burrow::test]
#[should_panic(expected = "zero interval")]
fn a_ticker_needs_an_interval() {
    drop(Ticker::new(Duration::ZERO));
}

#[burrow::test]
fn after_func_has_a_goroutine_of_its_own() {
    let out = chan::<u64>(0);
    let tx = out.sender();
    let begin = Instant::now();
    let timer = time::after_func(2 * MS, move || tx.send(runtime::goid()));
    assert!(out.recv().is_some_and(|id| id != runtime::goid()));
    assert!(begin.elapsed() >= 2 * MS && timer.c.is_nil() && !timer.stop());
    assert!(!timer.reset(MS), "it had fired");
    assert!(out.recv().is_some());
    assert!(!timer.reset(LONG));
    assert!(timer.stop() && !timer.stop());
}

/// Ten thousand at one moment, while hogs hold every P: a core on its way to sleep, or none, starts them.
#[burrow::test]
fn functions_run_in_crowds() {
    let ran = Arc::new(AtomicU32::new(0));
    for i in 0..10_000_u64 {
        let ran = ran.clone();
        drop(time::after_func(
            Duration::from_micros(5_000 + i % 100),
            move || {
                ran.fetch_add(1, Ordering::Relaxed);
            },
        ));
    }
    spin_until(|| ran.load(Ordering::Relaxed) == 10_000);
}

/// A core whose own goroutine is locked to it and asleep fires timers without a P.
#[burrow::test]
fn functions_start_beside_a_locked_goroutine() {
    for _ in 0..20 {
        let done = chan::<()>(0);
        let tx = done.sender();
        spawn(move || {
            runtime::lock_os_thread();
            drop(time::after_func(MS, move || tx.send(())));
            time::sleep(3 * MS);
        })
        .join()
        .expect("no panic");
        done.recv();
    }
}

#[burrow::test]
fn dropped_timers_leave_nothing_behind() {
    let before = time::live_timers();
    for round in 0..20_000 {
        burrow::select! {
            recv(time::after(LONG)) -> _ => unreachable!("in an hour"),
            default => {}
        }
        drop((Timer::new(LONG), Ticker::new(LONG)));
        assert!(time::live_timers() < before + 100, "round {round}");
    }
}

/// As many timers as memory allows, up to a million, out of order, on all Ps; all are stopped before they fire.
#[burrow::test]
fn very_many_live_timers() {
    let n = if burrow::mem::frames::free_count() > 1 << 19 {
        1_000_000
    } else {
        100_000
    };
    let begin = Instant::now();
    let parts: Vec<_> = (0..8_u64)
        .map(|part| {
            spawn(move || {
                let mut rng = Rng::new(part);
                let all: Vec<_> = (0..n / 8)
                    .map(|_| time::after(LONG + Duration::from_nanos(rng.below(1 << 40))))
                    .collect();
                all
            })
        })
        .collect();
    let parts: Vec<_> = parts.into_iter().map(|h| h.join().expect("no panic")).collect();
    let made = begin.elapsed();
    assert!(time::live_timers() >= n);
    let soon = Timer::new(MS);
    assert!(soon.c.recv().is_some(), "the others are in nobody's way");
    let one = Procs::one(); // all heaps become one
    assert!(time::live_timers() >= n);
    drop(one);
    let begin = Instant::now();
    for part in parts {
        burrow::go(move || drop(part));
    }
    spin_until(|| time::live_timers() < 1000);
    burrow::println!("{n} timers: made in {made:?}, dropped in {:?}", begin.elapsed());
}

/// No tick while nothing is to be done: the machine sleeps through to the next deadline, for which one core wakes.
#[burrow::test(timeout = 120)]
fn an_idle_machine_takes_one_interrupt_for_a_deadline() {
    let count = || runtime::sched_stats().timer_interrupts;
    // (With `chaos` a running goroutine is interrupted all the time, here before it sleeps and after it woke.)
    let most = burrow::opts::get("chaos").map_or(1, |_| 31);
    let mut seen = Vec::new();
    // Not each time: the tests' watchdog looks once a second, and a core that watches others may look once more, 10 ms after
    // all have become idle.
    while seen.len() < 20 && !seen.last().is_some_and(|n| (1..=most).contains(n)) {
        time::sleep(25 * MS); // whatever went on before calms down
        let before = count();
        time::sleep(500 * MS);
        seen.push(count() - before);
    }
    if seen.last().is_some_and(|n| (1..=most).contains(n)) {
        return;
    }
    // On a busy host a core takes longer than 10 ms to become idle, each time, and is watched until then. But not for long:
    // a tick of 10 ms would come 300 times.
    let long = [(); 3].map(|()| {
        let before = count();
        time::sleep(3_000 * MS);
        count() - before
    });
    assert!(
        long.iter().any(|n| (1..60).contains(n)),
        "timer interrupts: {seen:?} in sleeps of half a second, {long:?} in three"
    );
}

/// The core that keeps the time gets busy, again and again; nobody sleeps past its deadline because of that.
#[burrow::test]
fn deadlines_of_idle_cores_are_kept_by_whoever_is_awake() {
    let until = burrow_tests::Until::storm(Duration::from_secs(1));
    let late = Arc::new(AtomicU64::new(0));
    let handles: Vec<_> = (0..3 * runtime::num_cpu() as u64)
        .map(|id| {
            let late = late.clone();
            spawn(move || {
                let mut rng = Rng::new(400 + id);
                while !until.over() {
                    let d = Duration::from_nanos(20_000 + rng.below(3_000_000));
                    let begin = Instant::now();
                    time::sleep(d);
                    let took = begin.elapsed();
                    assert!(took >= d);
                    late.fetch_max((took - d).as_nanos() as u64, Ordering::Relaxed);
                    if rng.below(4) == 0 {
                        let busy = Instant::now();
                        while busy.elapsed() < d / 8 {
                            core::hint::spin_loop();
                        }
                    }
                }
            })
        })
        .collect();
    for handle in handles {
        handle.join().expect("no panic");
    }
    let late = late.load(Ordering::Relaxed);
    burrow::println!("at most {late} ns late");
    // A lost deadline shows at the end of somebody's slice at best.
    if burrow::opts::flag("det") && burrow::opts::get("chaos").is_none() {
        assert!(late < 5_000_000, "{late} ns late");
    }
}

/// A timer that sends where nobody listens is no reason to wait for ever.
#[burrow::test(exit = 2, says = "all goroutines are asleep - deadlock!")]
fn a_forgotten_ticker_hides_no_deadlock() {
    let _ticker = Ticker::new(MS);
    let _timer = Timer::new(LONG);
    chan::<()>(0).recv();
}

/// And one on whose channel somebody waits is.
#[burrow::test]
fn a_timer_in_a_select_is_no_deadlock() {
    let (never, ticker) = (chan::<()>(0), Ticker::new(LONG));
    let timer = Timer::new(50 * MS);
    burrow::select! {
        recv(never) -> _ => unreachable!("nobody sends"),
        recv(ticker.c) => unreachable!("in an hour"),
        recv(timer.c) => {}
    }
}

/// How late is a sleeper on an idle machine? On virtual time it is a property of the kernel, else also of the host.
#[burrow::test]
fn sleeps_end_soon_after_their_deadline() {
    let mut rng = Rng::new(8);
    let mut late: Vec<u64> = (0..300)
        .map(|_| {
            let d = Duration::from_nanos(100_000 + rng.below(2_000_000));
            let begin = Instant::now();
            time::sleep(d);
            (begin.elapsed() - d).as_nanos() as u64
        })
        .collect();
    late.sort_unstable();
    let (half, most) = (late[150], late[297]);
    burrow::println!("late by {half} ns (p50), {most} ns (p99)");
    if burrow::opts::flag("det") {
        assert!(most < 1_000_000, "p99 {most} ns");
    }
}

#[burrow::test]
fn timers_in_select() {
    let (data, begin) = (chan::<u32>(0), Instant::now());
    let ticker = Ticker::new(MS);
    let timeout = Timer::new(8 * MS);
    let (mut ticks, mut ended) = (0, None);
    // Who comes late finds both due, and either may be chosen first.
    while ended.is_none() || ticks == 0 {
        burrow::select! {
            recv(data) -> _ => unreachable!("nobody sends"),
            recv(ticker.c) => ticks += 1,
            recv(timeout.c) => {
                assert!(ended.replace(begin.elapsed()).is_none(), "a timer fires once");
            }
        }
    }
    assert!(ended >= Some(8 * MS));
}

#[burrow::test]
fn the_wall_clock_agrees_with_the_monotonic_one() {
    let begin = Instant::now();
    let wall = time::now_unix();
    assert!(wall > 1_700_000_000, "{wall}");
    time::sleep(1100 * MS);
    let passed = time::now_unix() - wall;
    assert!(passed >= 1 && passed <= begin.elapsed().as_secs() + 1);
}

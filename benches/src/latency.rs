//! How long a goroutine that became ready waits while every P runs a loop that never yields.
//!
//! One hog per P. Hog 0 now and then makes the blocked probe ready (a channel send) and spins on; the probe reports
//! how long it stayed ready before it ran. Then the probe sleeps a millisecond at a time and reports how late it woke.

use alloc::{format, sync::Arc, vec::Vec};
use core::{
    arch::asm,
    hint::black_box,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use burrow::{
    chan, go,
    sync::WaitGroup,
    time::{self, Instant},
};

use crate::{Suite, emit};

/// Exactly two instructions per round.
fn loop_dec(n: u64) {
    // SAFETY: counts a register down; nothing else changes.
    unsafe { asm!("2:", "dec {n}", "jnz 2b", n = inout(reg) n.max(1) => _, options(nomem, nostack)) };
}

/// The two instructions of a counting loop that nobody optimizes away.
fn spin(n: u64, x: u64) -> u64 {
    let out: u64;
    // SAFETY: counts one register up and one down.
    unsafe {
        asm!("2:", "inc {x}", "dec {n}", "jnz 2b", n = inout(reg) n.max(1) => _, x = inout(reg) x => out, options(nomem, nostack))
    };
    out
}

fn percentile(sorted: &[u64], q: f64) -> f64 {
    sorted[(q * (sorted.len() - 1) as f64) as usize] as f64
}

/// `sleep_idle_late_*`: how late a sleeper wakes on a machine that does nothing else; the time asked for differs each time.
pub fn sleep_idle(_: &Suite, n: usize, procs: usize) {
    let mut rng = 88_172_645_463_325_252_u64;
    let mut late: Vec<u64> = Vec::with_capacity(n);
    for _ in 0..n {
        rng ^= rng << 13;
        rng ^= rng >> 7;
        rng ^= rng << 17;
        let d = Duration::from_nanos(100_000 + rng % 2_000_000);
        let begin = Instant::now();
        time::sleep(d);
        late.push((begin.elapsed() - d).as_nanos() as u64);
    }
    late.sort_unstable();
    let ends = format!(" min={} max={}", late[0], late[late.len() - 1]);
    emit(
        "sleep_idle_late_p50",
        procs,
        percentile(&late, 0.5),
        late.len(),
        &ends,
    );
    emit(
        "sleep_idle_late_p99",
        procs,
        percentile(&late, 0.99),
        late.len(),
        "",
    );
}

/// `preempt_latency_*` and `preempt_sleep1ms_late_*`.
pub fn run(_: &Suite, n: usize, procs: usize) {
    let (stop, idle) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let wg = Arc::new(WaitGroup::new());
    let ch = chan::<Instant>(1);
    let begin = Instant::now();
    loop_dec(2_000_000);
    let per = begin.elapsed().as_nanos() as u64 + 1;
    let ms = 2_000_000 * 1_000_000 / per; // rounds for about one millisecond
    wg.add(procs as i32);
    {
        let (stop, idle, wg, ch) = (stop.clone(), idle.clone(), wg.clone(), ch.clone());
        go(move || {
            let (mut x, mut rng) = (0_u64, 88_172_645_463_325_252_u64);
            while stop.load(Ordering::SeqCst) == 0 {
                rng ^= rng << 13;
                rng ^= rng >> 7;
                rng ^= rng << 17;
                x = spin(ms / 4 + rng % (ms * 8), x); // 0.25 to 8.25 ms
                if idle.load(Ordering::SeqCst) == 1 {
                    idle.store(0, Ordering::SeqCst);
                    ch.send(Instant::now());
                }
            }
            black_box(x);
            wg.done();
        });
    }
    for _ in 1..procs {
        let (stop, wg) = (stop.clone(), wg.clone());
        go(move || {
            let mut x = 0_u64;
            while stop.load(Ordering::SeqCst) == 0 {
                // not a spin: a hog, as the peer's
                x = spin(1, x);
            }
            black_box(x);
            wg.done();
        });
    }
    let mut waits: Vec<u64> = Vec::with_capacity(n);
    for i in 0..n + 5 {
        idle.store(1, Ordering::SeqCst);
        let since = ch.recv().expect("nobody closes it");
        let wait = since.elapsed().as_nanos() as u64;
        if i >= 5 {
            waits.push(wait); // the first few: hogs still settling
        }
    }
    let mut late: Vec<u64> = Vec::with_capacity(n / 2);
    for _ in 0..n / 2 {
        let begin = Instant::now();
        time::sleep(Duration::from_millis(1));
        late.push((begin.elapsed().as_nanos() as u64).saturating_sub(1_000_000));
    }
    stop.store(1, Ordering::SeqCst);
    wg.wait();
    waits.sort_unstable();
    late.sort_unstable();
    let ends = format!(" min={} max={}", waits[0], waits[waits.len() - 1]);
    emit(
        "preempt_latency_p50",
        procs,
        percentile(&waits, 0.5),
        waits.len(),
        &ends,
    );
    emit(
        "preempt_latency_p99",
        procs,
        percentile(&waits, 0.99),
        waits.len(),
        "",
    );
    emit(
        "preempt_sleep1ms_late_p50",
        procs,
        percentile(&late, 0.5),
        late.len(),
        "",
    );
    emit(
        "preempt_sleep1ms_late_p99",
        procs,
        percentile(&late, 0.99),
        late.len(),
        "",
    );
}

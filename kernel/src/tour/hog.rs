//! A hog on every core: a goroutine in a loop that calls nothing. The tour goes on beside them: the timer interrupt
//! takes a hog off its core after 10 ms, all its registers saved, and puts it back later.
//!
//! (They end by a flag, so that the tour's next part has the machine to itself again.)
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use burrow::prelude::*;

const NAPS: usize = 10;

pub(crate) fn run() {
    let cores = runtime::gomaxprocs(0);
    let (stop, rounds) = (AtomicBool::new(false), AtomicU64::new(0));
    let before = runtime::sched_stats();
    let nap = Duration::from_millis(5);
    let mut late = Vec::new();
    scope(|s| {
        for _ in 0..cores {
            s.spawn(|| {
                let mut n = 0;
                while !stop.load(Ordering::Relaxed) {
                    core::hint::spin_loop();
                    n += 1;
                }
                rounds.fetch_add(n, Ordering::Relaxed);
            });
        }
        for _ in 0..NAPS {
            let start = Instant::now();
            time::sleep(nap);
            late.push(start.elapsed() - nap);
        }
        stop.store(true, Ordering::Relaxed);
    });
    late.sort();
    let preempted = runtime::sched_stats().preemptions - before.preemptions;
    println!(
        "  {cores} hogs on {cores} cores made {} rounds and were preempted {preempted} times",
        rounds.into_inner()
    );
    println!(
        "  meanwhile a goroutine slept {NAPS} × 5 ms; it waited for a core: median {:.1} ms, worst {:.1} ms",
        millis(late[NAPS / 2]),
        millis(late[NAPS - 1])
    );
}

fn millis(d: Duration) -> f64 {
    d.as_micros() as f64 / 1000.0
}

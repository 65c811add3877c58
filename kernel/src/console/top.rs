//! `top`: the scheduler, live. Drawn anew every second until a key is pressed.
//!
//! Rates are differences of [`SchedStats`] over the time that really passed, so a late refresh is not a wrong
//! figure. The view is a goroutine like any other: with hogs on every core it still refreshes, because they are
//! preempted.
#![forbid(unsafe_code)]

use alloc::string::String;
use core::{fmt::Write, time::Duration};

use super::{input, ps::Short};
use crate::{
    mem::{frames, stack},
    sched::{SchedStats, p, sched_stats},
};

const PERIOD: Duration = Duration::from_secs(1);

/// Shows the view until a key is pressed, or `refreshes` times.
pub(super) fn top(refreshes: Option<u32>) {
    let mut before = sched_stats();
    let mut drawn = 0;
    loop {
        if input::key_within(PERIOD).is_some() {
            return;
        }
        let now = sched_stats();
        let mut text = String::new();
        // A String takes everything.
        let _ = draw(&mut text, &before, &now);
        crate::print::raw(text.as_bytes());
        before = now;
        drawn += 1;
        if refreshes.is_some_and(|n| drawn >= n) {
            return;
        }
    }
}

fn draw(w: &mut String, before: &SchedStats, now: &SchedStats) -> core::fmt::Result {
    let ns = (now.at_ns - before.at_ns).max(1);
    let rate = |a: u64, b: u64| (b - a) * 1_000_000_000 / ns;
    // Home, and clear: one write, so nothing flickers.
    w.write_str("\x1b[H\x1b[2J")?;
    writeln!(w, "burrow top    up {}    a key ends it\n", Short(now.at_ns))?;
    writeln!(
        w,
        "goroutines {:<9} cores {:<4} gomaxprocs {:<4} idle Ps {:<4} searching {:<3} global queue {}",
        now.goroutines, now.threads, now.gomaxprocs, now.idle_procs, now.spinning_threads, now.run_queue
    )?;
    writeln!(
        w,
        "per second:  created {:<8} switches {:<8} steals {:<8} preemptions {}",
        rate(before.created, now.created),
        rate(before.switches, now.switches),
        rate(before.steals, now.steals),
        rate(before.preemptions, now.preemptions)
    )?;
    writeln!(
        w,
        "memory: {} MiB free of {} MiB    goroutine stacks {} KiB\n",
        frames::free_count() / 256,
        frames::total_count() / 256,
        stack::pages_mapped() * 4
    )?;
    writeln!(w, "  P  STATUS    CORE  QUEUE  TICKS")?;
    for (queue, p) in now.local_queues.iter().zip(p::first(now.gomaxprocs)) {
        let core = p.core.load(core::sync::atomic::Ordering::Relaxed);
        let core = if core == 0 {
            String::from("-")
        } else {
            alloc::format!("{}", core - 1)
        };
        writeln!(
            w,
            "{:>3}  {:<9} {:<5} {:<6} {:<10} {}",
            p.id(),
            alloc::format!("{:?}", p.status()).to_lowercase(),
            core,
            queue,
            p.schedtick.load(core::sync::atomic::Ordering::Relaxed),
            "#".repeat((*queue).min(40))
        )?;
    }
    Ok(())
}

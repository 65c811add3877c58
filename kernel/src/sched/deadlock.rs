//! Deadlock: every core idle, nothing queued, no user timer, nobody waiting for a device.
//!
//! Checked by each core just before it halts; the last one to go idle sees all the others there. What has to
//! be looked at is in several places, so the check looks twice: nobody runs before, nobody runs after, and no P
//! left the idle list in between (`Sched::taken`). Without the latter a goroutine could be woken from a heap that
//! was not looked at yet, start a timer in one that was, and sleep again. Goroutines
//! and timers of the runtime itself (flag *system*) do not count, or a console would hide every deadlock.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU32, Ordering};

use super::{
    global::{self, LEN, SCHED, STW},
    irq_work::{DRAINING, has_irq_work},
    p,
};
use crate::arch::{self, x86_64::percpu::Core};

/// User goroutines parked for a device (`IoWait`).
static IO_WAITERS: AtomicU32 = AtomicU32::new(0);

/// A user goroutine is about to wait for a device: no deadlock meanwhile.
pub(crate) fn io_wait_begin() {
    IO_WAITERS.fetch_add(1, Ordering::AcqRel);
}

/// The device answered.
pub(crate) fn io_wait_end() {
    IO_WAITERS.fetch_sub(1, Ordering::AcqRel);
}

/// Is everything asleep for good? Then this is the end of the program.
pub(crate) fn check(_core: &Core) {
    let all = if arch::core_count() == 64 {
        u64::MAX
    } else {
        (1 << arch::core_count()) - 1
    };
    let quiet = || {
        let s = SCHED.lock();
        let quiet = s.idle_ms | s.locked_ms == all
            && s.idle_ps.count_ones() as usize == global::procs()
            && LEN.load(Ordering::Relaxed) == 0
            && !STW.load(Ordering::Relaxed);
        quiet.then_some(s.taken)
    };
    let before = quiet();
    if before.is_none() || IO_WAITERS.load(Ordering::Acquire) != 0 || has_irq_work() {
        return;
    }
    if !super::booted() {
        return;
    }
    if super::user_goroutines() == 0 && quiet() == before {
        // Main would have ended the program: it left by `goexit`.
        crate::panic::fatal("no goroutines (main called goexit) - deadlock!");
    }
    if p::first(global::procs())
        .iter()
        .any(|p| crate::time::has_user_timers(&p.timers))
        || DRAINING.load(Ordering::Acquire) != 0 // after the heaps: see there
        || quiet() != before
    {
        return;
    }
    crate::panic::fatal_fmt(format_args!(
        "all goroutines are asleep - deadlock!{}",
        crate::sync::cycle::Cycles
    ));
}

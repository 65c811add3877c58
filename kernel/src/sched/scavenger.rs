//! The background scavenger: one of the runtime's own goroutines, which gives idle heap pages back (`mem::scavenge`).
//!
//! While little is idle it is parked, and no timer is armed for it: a timer would wake an idle machine, and cost every
//! `schedule` a look at the clock. It is readied on g0 ([`poll`]), by a core that finds nothing to run, or, where no core
//! ever does, by the next `schedule` after sysmon's tick noticed ([`notice`]). Once up it makes a pass each period until
//! little is idle again.
//!
//! Sleeping: it publishes itself in `SLEEPER`, then looks whether it is wanted; who polls looks whether it is wanted, then
//! takes `SLEEPER`. A wish that falls between the two is seen by the next poll: nobody waits for the scavenger.
//!
//! `scavenge=off` on the command line turns it off; `scavenge=MS` sets its period (default 1000).

use core::{
    ptr,
    sync::atomic::{AtomicPtr, Ordering},
    time::Duration,
};

use super::{
    WaitReason,
    g::{G, GPtr},
    go_system, irq_work, park, ready,
};
use crate::{mem::scavenge, opts};

static SLEEPER: AtomicPtr<G> = AtomicPtr::new(ptr::null_mut());

/// Starts it, unless it is turned off. Once, before the program's main.
pub(crate) fn start() {
    let period = match opts::get("scavenge") {
        Some("off" | "0") => return,
        _ => Duration::from_millis(opts::get_u64("scavenge").unwrap_or(1000)),
    };
    go_system("scavenger", move || {
        loop {
            if !scavenge::wanted() {
                park(WaitReason::Idle, sleep, ptr::null_mut());
            }
            crate::time::sleep_as(period, true);
            scavenge::round();
        }
    });
}

/// Commit step of its sleep: `false` if it is wanted already.
unsafe fn sleep(g: GPtr, _: *mut ()) -> bool {
    SLEEPER.store(g.raw(), Ordering::Release); // pairs with the Acquire swaps
    !scavenge::wanted() || SLEEPER.swap(ptr::null_mut(), Ordering::AcqRel).is_null()
}

/// On g0, not in a hurry: readies it if it is wanted. `true` if so.
pub(super) fn poll() -> bool {
    if !scavenge::wanted() || SLEEPER.load(Ordering::Relaxed).is_null() {
        return false;
    }
    match GPtr::from_raw(SLEEPER.swap(ptr::null_mut(), Ordering::AcqRel)) {
        Some(g) => {
            ready(g);
            true
        }
        None => false,
    }
}

/// In sysmon's tick: has the next `schedule` poll, if there is something to do.
pub(super) fn notice() {
    if scavenge::wanted() && !SLEEPER.load(Ordering::Relaxed).is_null() {
        irq_work::ask_for_irq_work();
    }
}

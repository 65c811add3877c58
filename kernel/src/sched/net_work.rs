//! The netpoller's place in the scheduler: from a device's interrupt to the g0 that polls.
//!
//! ```text
//!   interrupt ─▶ on_net_interrupt ─▶ NET_WORK, IRQ_WORK set ─▶ some g0, within 50 µs (`preempt::divert_for_irq`) ─▶ poll
//!                                                        └─▶ none for a tick of sysmon's: it sends one ─▶ poll
//! ```
//! The handler touches no ring and no stack. sysmon's part is for faults, not how packets come. Nor is it a g0's that comes
//! by for another reason. Polls that are late are counted, so that a test can tell that it was the interrupt.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::{irq_work, preempt, sysmon};
use crate::{arch::x86_64::clock, lock::PreemptGuard};

/// A poll later than this (ns) after its interrupt came by another way. A tick of sysmon's is 10 ms.
const LATE_AFTER: u64 = 5_000_000;

/// A network device has frames: set by its interrupt before `IRQ_WORK`, cleared by who polls.
static NET_WORK: AtomicBool = AtomicBool::new(false);
static NETPOLL: irq_work::Hook = irq_work::Hook::new();
/// Since when (ns). Only for the count.
static SINCE: AtomicU64 = AtomicU64::new(0);
static INTERRUPTS: AtomicU64 = AtomicU64::new(0);
static LATE: AtomicU64 = AtomicU64::new(0);

/// The netpoller, which g0 runs when a device has frames: in `schedule`, on a core that wakes for it, and after
/// sysmon found that nobody did for a tick. It readies goroutines as one list.
pub(crate) fn set_netpoll_hook(f: fn()) {
    NETPOLL.set(f);
}

/// The interrupt of a network device: mark, and have a g0 look soon.
pub(crate) fn on_net_interrupt() {
    INTERRUPTS.fetch_add(1, Ordering::Relaxed);
    mark();
    preempt::divert_for_irq();
}

/// Before IRQ_WORK: who clears that one looks here afterwards.
fn mark() {
    if !pending() {
        SINCE.store(clock::now_ns(), Ordering::Relaxed);
    }
    NET_WORK.store(true, Ordering::Release); // pairs with the AcqRel swap in `poll`
}

/// There is more to poll than the caller should: has a g0 go on with it, after goroutines had their turn. `false`: there
/// is no netpoller.
pub(crate) fn poll_network_soon() -> bool {
    if NETPOLL.get().is_none() {
        return false;
    }
    mark();
    irq_work::ask_for_irq_work();
    let _here = PreemptGuard::new();
    sysmon::kick_idle_core();
    true
}

/// Has a network device frames that nobody took yet?
pub(super) fn pending() -> bool {
    NET_WORK.load(Ordering::Relaxed)
}

/// Interrupts so far, and how often somebody looked late after one.
pub(crate) fn net_interrupts() -> (u64, u64) {
    (INTERRUPTS.load(Ordering::Relaxed), LATE.load(Ordering::Relaxed))
}

/// On g0: polls, if there is something.
pub(super) fn poll() {
    if pending()
        && NET_WORK.swap(false, Ordering::AcqRel)
        && let Some(netpoll) = NETPOLL.get()
    {
        if clock::now_ns().saturating_sub(SINCE.load(Ordering::Relaxed)) > LATE_AFTER {
            LATE.fetch_add(1, Ordering::Relaxed);
        }
        netpoll();
    }
}

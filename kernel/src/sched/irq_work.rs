//! What interrupts leave to g0: a device's work, timers of idle Ps.
//!
//! A handler only marks that there is some ([`ask_for_irq_work`]) and sees to it that a g0 comes by soon: it diverts its own
//! core, or kicks an idle one. `schedule` calls [`drain_irq_work`] on its way to the next goroutine, and so does a core that
//! sleeps for its locked goroutine. Upper rooms own the work; they leave a hook here at boot. The network's has a mark of its
//! own beside this one: `net_work`.
//!
//! Whoever clears the mark does all that it stood for afterwards: one that is set meanwhile stays for the next.

use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};

use super::{
    find::run_timers,
    global, net_work,
    p::{self, PStatus},
    reclaimer,
};
use crate::arch::x86_64::clock;

/// Set by a device interrupt that made work for `IRQ_HOOK`, cleared by who runs it.
static IRQ_WORK: AtomicBool = AtomicBool::new(false);
/// Cores in `drain_irq_work`. One that sleeps for its locked goroutine fires timers without leaving the mask of
/// sleepers; what it has popped and not readied yet must not look like a deadlock.
pub(super) static DRAINING: AtomicU32 = AtomicU32::new(0);
static IRQ_HOOK: Hook = Hook::new();

/// A function that somebody above the scheduler has g0 call.
pub(super) struct Hook(AtomicPtr<()>);

impl Hook {
    pub(super) const fn new() -> Self {
        Self(AtomicPtr::new(core::ptr::null_mut()))
    }

    pub(super) fn set(&self, f: fn()) {
        self.0.store(f as *mut (), Ordering::Release); // pairs with the Acquire in `get`
    }

    pub(super) fn get(&self) -> Option<fn()> {
        let f = self.0.load(Ordering::Acquire);
        // SAFETY: only `set` stores here, and it stores a `fn()`.
        (!f.is_null()).then(|| unsafe { core::mem::transmute::<*mut (), fn()>(f) })
    }
}

/// What g0 runs after a device interrupt (the console readies its reader).
pub(crate) fn set_irq_hook(f: fn()) {
    IRQ_HOOK.set(f);
}

/// Is there work of interrupts that no g0 has taken yet?
#[inline(always)]
pub(super) fn has_irq_work() -> bool {
    IRQ_WORK.load(Ordering::Relaxed)
}

/// Has the next `schedule`, on whatever core, look at what interrupts left to do.
pub(super) fn ask_for_irq_work() {
    IRQ_WORK.store(true, Ordering::Release); // pairs with the AcqRel swap in `drain_irq_work`
}

/// Does what interrupts left to do, if anything. `true`: who runs next begins a slice of its own.
#[inline(always)]
pub(super) fn drain_irq_work() -> bool {
    has_irq_work() && drain_some()
}

#[cold]
fn drain_some() -> bool {
    let mut fresh = false;
    DRAINING.fetch_add(1, Ordering::AcqRel); // before the first pop, whose lock `deadlock::check` takes after us
    if IRQ_WORK.swap(false, Ordering::AcqRel) {
        // Also set when a timer of an idle P is due and every core is busy (`preempt::on_timer`).
        let now = clock::now_ns();
        for p in p::first(global::procs())
            .iter()
            .filter(|p| p.status() == PStatus::Idle)
        {
            run_timers(p, now);
        }
        net_work::poll();
        if let Some(f) = IRQ_HOOK.get() {
            f();
        }
        super::scavenger::poll();
        fresh = reclaimer::bring_forward(); // last: nobody is put before it
    }
    DRAINING.fetch_sub(1, Ordering::Release); // pairs with the Acquire in `deadlock::check`: what we readied is queued
    fresh
}

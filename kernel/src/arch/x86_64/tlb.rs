//! TLB shootdown: after an unmapping, every core forgets what it cached.
//!
//! A generation counter and one IPI per core. The initiator raises the generation, sends, flushes its own
//! TLB, and waits until every other core has acknowledged a generation at least as new. It must hold no lock
//! and have interrupts on: two initiators then answer each other's IPI while they wait, and a core that
//! spins with interrupts off waits only for locks whose holders make progress.

use core::{
    arch::asm,
    hint::spin_loop,
    sync::atomic::{AtomicU64, Ordering},
};

use super::{
    apic,
    percpu::{self, core_count},
    trap::VEC_TLB,
};
use crate::lock::PreemptGuard;

static GENERATION: AtomicU64 = AtomicU64::new(0);

fn flush_local() {
    // SAFETY: reloading CR3 only drops cached translations.
    unsafe { asm!("mov {t}, cr3", "mov cr3, {t}", t = out(reg) _, options(nostack)) };
}

/// The IPI handler.
pub(crate) fn on_ipi() {
    let g = GENERATION.load(Ordering::Acquire); // pairs with the AcqRel increment: the unmapping is visible
    flush_local();
    percpu::this().tlb_seen.fetch_max(g, Ordering::Release); // pairs with the Acquire in `shootdown_all`
}

/// Flushes every core's TLB; returns when all have. Interrupts on, no lock held.
pub(crate) fn shootdown_all() {
    let _here = PreemptGuard::new();
    debug_assert!(percpu::irqs_on(), "a shootdown with interrupts off can deadlock");
    let me = percpu::core_index();
    let g = GENERATION.fetch_add(1, Ordering::AcqRel) + 1;
    let others = || {
        (0..core_count())
            .filter(|&i| i != me)
            .map(percpu::core)
            .filter(|c| c.is_online())
    };
    for c in others() {
        apic::send_ipi(c.apic_id(), VEC_TLB);
    }
    flush_local();
    for c in others() {
        while c.tlb_seen.load(Ordering::Acquire) < g {
            spin_loop();
        }
    }
}

//! The local APIC of each core: end of interrupt, inter-processor interrupts, the one-shot timer.
//!
//! Two register interfaces to the same thing: memory (xAPIC, at 0xfee00000) and MSRs (x2APIC, if CPUID offers
//! it: ids beyond 255, and an IPI is one write that waits for nothing). Every access asks one flag.
//!
//! The timer is one-shot, divided by 1, never periodic: an idle machine is woken by exactly its next
//! deadline. With TSC-deadline mode the deadline is written as it is; else as a count, clamped to 32 bits: the
//! early interrupt finds nothing due and arms again.
//!
//! APIC ids are not core indices; here every id is an id ([`super::percpu::core`] translates).
//!
//! x2APIC and TSC-deadline are not run on hardware: QEMU 7.2's TCG has neither.

use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};

use super::{
    clock, paging, percpu,
    port::{cpuid, rdmsr, wrmsr},
    trap::{VEC_SPURIOUS, VEC_TIMER},
};

const APIC_BASE: u32 = 0x1b;
const TSC_DEADLINE: u32 = 0x6e0;

const ID: u32 = 0x20;
const TPR: u32 = 0x80;
const EOI: u32 = 0xb0;
const SVR: u32 = 0xf0;
const ICR_LO: u32 = 0x300;
const ICR_HI: u32 = 0x310;
const LVT_TIMER: u32 = 0x320;
const LVT_LINT0: u32 = 0x350;
const LVT_LINT1: u32 = 0x360;
const LVT_ERROR: u32 = 0x370;
const TIMER_INIT: u32 = 0x380;
const TIMER_NOW: u32 = 0x390;
const TIMER_DIV: u32 = 0x3e0;

const MASKED: u32 = 1 << 16;
const PENDING: u32 = 1 << 12;

static REGS: AtomicPtr<u8> = AtomicPtr::new(core::ptr::null_mut());
static X2: AtomicBool = AtomicBool::new(false);
static DEADLINE: AtomicBool = AtomicBool::new(false);
/// Timer counts per nanosecond, times 2^32.
static COUNTS_PER_NS: AtomicU64 = AtomicU64::new(1 << 32);

#[inline(always)]
fn read(reg: u32) -> u32 {
    if X2.load(Ordering::Relaxed) {
        // SAFETY: 1. x2APIC mode is on: register r is MSR 0x800 + r/16.
        return unsafe { rdmsr(0x800 + (reg >> 4)) } as u32;
    }
    // SAFETY: within the page of registers.
    let at = unsafe { REGS.load(Ordering::Relaxed).add(reg as usize) };
    // SAFETY: mapped, uncached, aligned.
    unsafe { at.cast::<u32>().read_volatile() }
}

#[inline(always)]
fn write(reg: u32, v: u32) {
    if X2.load(Ordering::Relaxed) {
        // SAFETY: 1. as in `read`; callers pass values that break nothing.
        return unsafe { wrmsr(0x800 + (reg >> 4), u64::from(v)) };
    }
    // SAFETY: within the page of registers.
    let at = unsafe { REGS.load(Ordering::Relaxed).add(reg as usize) };
    // SAFETY: mapped, uncached, aligned.
    unsafe { at.cast::<u32>().write_volatile(v) };
}

/// The id of the core this runs on, from CPUID; needs nothing initialised.
pub fn own_id() -> u32 {
    let topology = cpuid(0xb, 0);
    if topology.ebx != 0 {
        topology.edx
    } else {
        cpuid(1, 0).ebx >> 24
    }
}

/// Finds the registers. Once, on the boot core, after paging.
pub fn init_on_bsp() {
    let features = cpuid(1, 0);
    X2.store(features.ecx & 1 << 21 != 0, Ordering::Relaxed);
    DEADLINE.store(features.ecx & 1 << 24 != 0, Ordering::Relaxed);
    // SAFETY: 1. every x86_64 processor has it.
    let phys = unsafe { rdmsr(APIC_BASE) } & 0x000f_ffff_ffff_f000;
    let regs = paging::map_mmio(phys, 4096).expect("no memory to map the APIC");
    REGS.store(regs, Ordering::Relaxed);
    init_on_each_core();
}

/// Turns on this core's APIC, with everything masked but IPIs and the timer.
pub fn init_on_each_core() {
    // SAFETY: 1. every x86_64 processor has it.
    let base = unsafe { rdmsr(APIC_BASE) };
    let mode = if X2.load(Ordering::Relaxed) {
        3 << 10
    } else {
        1 << 11
    };
    // SAFETY: 1. turns the APIC on at its address.
    unsafe { wrmsr(APIC_BASE, base | mode) };
    write(TPR, 0);
    write(LVT_LINT0, MASKED);
    write(LVT_LINT1, 4 << 8); // NMI, as the MADT of every machine says
    write(LVT_ERROR, MASKED);
    write(SVR, 0x100 | u32::from(VEC_SPURIOUS));
    write(TIMER_DIV, 0b1011); // by 1
    let mode = if DEADLINE.load(Ordering::Relaxed) {
        2 << 17
    } else {
        0
    };
    write(LVT_TIMER, u32::from(VEC_TIMER) | mode);
    // The manual asks for MFENCE between a memory-mapped change to deadline mode and the first deadline.
    // SAFETY: a fence, part of every x86_64 processor.
    unsafe { core::arch::asm!("mfence", options(nostack, preserves_flags)) };
    timer_disarm();
}

/// Is the MSR interface in use?
pub fn is_x2apic() -> bool {
    X2.load(Ordering::Relaxed)
}

/// Is the timer in TSC-deadline mode?
pub fn has_tsc_deadline() -> bool {
    DEADLINE.load(Ordering::Relaxed)
}

/// Ends the interrupt being served.
#[inline(always)]
pub fn eoi() {
    write(EOI, 0);
}

/// Writes the command register. Interrupts are off meanwhile: a handler that sends between the two halves
/// would change the address.
fn command(apic_id: u32, v: u32) {
    let on = percpu::irq_save();
    if X2.load(Ordering::Relaxed) {
        // The MSR write does not wait for earlier stores to be seen; what the IPI announces must be.
        core::sync::atomic::fence(Ordering::SeqCst);
        // SAFETY: 1. x2APIC's command register; the vectors sent here are handled.
        unsafe { wrmsr(0x830, u64::from(apic_id) << 32 | u64::from(v)) };
    } else {
        wait_idle();
        write(ICR_HI, apic_id << 24);
        write(ICR_LO, v);
    }
    percpu::irq_restore(on);
}

/// Waits, bounded, until the last command has left.
fn wait_idle() {
    for _ in 0..100_000 {
        if read(ICR_LO) & PENDING == 0 {
            return;
        }
        core::hint::spin_loop();
    }
}

/// Interrupts the core with this APIC id.
#[inline]
pub fn send_ipi(apic_id: u32, vector: u8) {
    command(apic_id, 1 << 14 | u32::from(vector));
}

/// Interrupts this very core, as soon as it takes interrupts.
pub fn send_self(vector: u8) {
    let on = percpu::irq_save();
    command(own_id_from_registers(), 1 << 14 | u32::from(vector));
    percpu::irq_restore(on);
}

fn own_id_from_registers() -> u32 {
    if X2.load(Ordering::Relaxed) {
        read(ID)
    } else {
        read(ID) >> 24
    }
}

/// A non-maskable interrupt.
pub fn send_nmi(apic_id: u32) {
    command(apic_id, 1 << 14 | 4 << 8);
}

/// INIT: the core waits for [`send_startup`].
pub fn send_init(apic_id: u32) {
    command(apic_id, 1 << 15 | 1 << 14 | 5 << 8);
    if !is_x2apic() {
        wait_idle();
    }
}

/// STARTUP: the core begins at `page << 12` in real mode.
pub fn send_startup(apic_id: u32, page: u8) {
    command(apic_id, 1 << 14 | 6 << 8 | u32::from(page));
    if !is_x2apic() {
        wait_idle();
    }
}

/// Starts the longest count, masked, for calibration.
pub(super) fn calibration_start() {
    if DEADLINE.load(Ordering::Relaxed) {
        return;
    }
    write(LVT_TIMER, MASKED | u32::from(VEC_TIMER));
    write(TIMER_INIT, u32::MAX);
}

/// Counts since [`calibration_start`].
pub(super) fn calibration_read() -> u32 {
    if DEADLINE.load(Ordering::Relaxed) {
        0
    } else {
        u32::MAX - read(TIMER_NOW)
    }
}

/// Ends calibration: the timer runs at `hz`.
pub(super) fn calibration_end(hz: u64) {
    if DEADLINE.load(Ordering::Relaxed) {
        return;
    }
    write(TIMER_INIT, 0);
    write(LVT_TIMER, u32::from(VEC_TIMER));
    let factor = (u128::from(hz.max(1)) << 32) / 1_000_000_000;
    COUNTS_PER_NS.store(factor as u64, Ordering::Relaxed);
}

/// Interrupts this core once, `delta_ns` from now, replacing what was set. Never early; perhaps early if the
/// time is beyond what the counter holds (seconds): then arm again.
#[inline]
pub fn timer_arm(delta_ns: u64) {
    if DEADLINE.load(Ordering::Relaxed) {
        return write_deadline(clock::tsc().saturating_add(clock::ns_to_tsc(delta_ns)));
    }
    let counts = (u128::from(delta_ns) * u128::from(COUNTS_PER_NS.load(Ordering::Relaxed))) >> 32;
    write(
        TIMER_INIT,
        (counts as u64).saturating_add(1).min(u64::from(u32::MAX)) as u32,
    );
}

/// Interrupts this core once when the TSC reaches `deadline` (at once, if it has).
#[inline]
pub fn timer_arm_at(deadline: u64) {
    if DEADLINE.load(Ordering::Relaxed) {
        return write_deadline(deadline);
    }
    timer_arm(clock::tsc_to_ns(deadline.saturating_sub(clock::tsc())));
}

#[inline]
fn write_deadline(deadline: u64) {
    // SAFETY: 1. TSC-deadline mode is on; 0 would disarm.
    unsafe { wrmsr(TSC_DEADLINE, deadline.max(1)) };
}

/// Takes back [`timer_arm`]. An interrupt that is already on its way still comes.
#[inline]
pub fn timer_disarm() {
    if DEADLINE.load(Ordering::Relaxed) {
        // SAFETY: 1. TSC-deadline mode is on; 0 disarms.
        return unsafe { wrmsr(TSC_DEADLINE, 0) };
    }
    write(TIMER_INIT, 0);
}

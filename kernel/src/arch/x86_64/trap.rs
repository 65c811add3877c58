//! Exceptions and interrupts: the IDT, the stubs, and who handles what.
//!
//! A stub saves every general register as a [`TrapFrame`] and the SSE state (FXSAVE: compiled Rust uses
//! SSE anywhere) on the vector's own IST stack, calls `dispatch`, restores and returns by `iretq`.
//! Interrupts stay off until then, so each IST stack is free again before anything can switch.
//!
//! A handler decides nothing about scheduling itself. It may edit the frame: the preemption handler copies
//! it (and the SSE state) into the goroutine's save block and points the frame at g0; the fault handler
//! points it at a trampoline that raises a panic in the goroutine. Nothing here takes a lock or allocates.
//!
//! | vector | stack | handler |
//! | --- | --- | --- |
//! | 14 page fault | IST2 | stack growth, else a panic of the goroutine, else fatal |
//! | 8 double fault | IST3 | fatal |
//! | 2 NMI | IST4 | freeze (fatal error elsewhere) or fatal |
//! | 18 machine check | IST5 | fatal |
//! | others < 32 | IST1 | a panic of the goroutine or fatal |
//! | timer, IPIs, devices | IST1 | hooks |

use core::{
    arch::{asm, global_asm, naked_asm},
    cell::UnsafeCell,
    sync::atomic::{AtomicPtr, Ordering},
};

use super::percpu::{self, NO_RESCHED};

/// Registers at an interrupt, as the stubs push them and the CPU pushed the tail.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct TrapFrame {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rbp: u64,
    pub rdi: u64,
    pub rsi: u64,
    pub rdx: u64,
    pub rcx: u64,
    pub rbx: u64,
    pub rax: u64,
    pub vector: u64,
    pub error: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

/// The FXSAVE image.
#[repr(C, align(16))]
#[derive(Clone, Copy)]
pub struct FxState(pub [u8; 512]);

/// A preempted goroutine: everything the CPU needs to go on with it.
#[repr(C, align(16))]
pub struct SaveBlock {
    pub fx: FxState,
    pub frame: TrapFrame,
}

/// Vector of the LAPIC timer.
pub const VEC_TIMER: u8 = 0xf0;
/// Vector of the "look again" IPI: wakes a halted core, asks for a preemption.
pub const VEC_RESCHED: u8 = 0xf1;
/// Vector of the TLB shootdown IPI.
pub const VEC_TLB: u8 = 0xf2;
/// Vector of spurious LAPIC interrupts.
pub const VEC_SPURIOUS: u8 = 0xff;
/// First vector of the IOAPIC's lines.
pub const VEC_IRQ_BASE: u8 = 0x30;

/// Interrupt stack table slots.
pub mod ist {
    /// Interrupts and ordinary exceptions.
    pub const IRQ: u8 = 1;
    /// Page faults.
    pub const PF: u8 = 2;
    /// Double faults.
    pub const DF: u8 = 3;
    /// NMIs.
    pub const NMI: u8 = 4;
    /// Machine checks.
    pub const MC: u8 = 5;
}

/// What the upper rooms do on an interrupt or fault; filled in at boot (`set_hooks`), read by `dispatch`.
pub struct Hooks {
    /// LAPIC timer. May point the frame at g0.
    pub timer: fn(&mut TrapFrame, &FxState),
    /// RESCHED IPI. May point the frame at g0.
    pub resched: fn(&mut TrapFrame, &FxState),
    /// Page fault at an address: `true` if a stack page was mapped and the instruction can be retried.
    pub stack_fault: fn(usize, &TrapFrame) -> StackFault,
    /// Takes the goroutine to g0 for a frame ([`StackFault::Refill`]); it faults again afterwards.
    pub grow: fn(&mut TrapFrame, &FxState),
    /// A fault of a goroutine in a place where it may panic: edit the frame so that it does.
    pub inject: fn(&mut TrapFrame, cr2: usize, StackFault),
    /// Nothing can be done: report and stop.
    pub fatal: fn(&TrapFrame, cr2: usize, why: &str) -> !,
    /// Device interrupt (the vector); acknowledges by itself what the device needs.
    pub device: fn(u8),
    /// TLB shootdown IPI.
    pub tlb: fn(),
}

/// What became of a page fault in the stack region.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StackFault {
    /// Not a stack address.
    NotStack,
    /// A page was mapped: retry.
    Mapped,
    /// Below the usable part: stack overflow of the goroutine.
    Overflow,
    /// Below even the overflow reserve.
    Guard,
    /// The frame cache is low and the goroutine can wait: let g0 refill it.
    Refill,
    /// No frame to be had.
    NoMemory,
}

static HOOKS: AtomicPtr<Hooks> = AtomicPtr::new(core::ptr::null_mut());

/// Installs the hooks. Before this every trap is fatal.
pub fn set_hooks(h: &'static Hooks) {
    HOOKS.store(h as *const Hooks as *mut Hooks, Ordering::Release); // pairs with the Acquire in `hooks`
}

fn hooks() -> Option<&'static Hooks> {
    // SAFETY: only `set_hooks` stores here, from a `&'static Hooks`.
    unsafe { HOOKS.load(Ordering::Acquire).as_ref() }
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Gate {
    lo: u64,
    hi: u64,
}

#[repr(C, align(16))]
struct Idt(UnsafeCell<[Gate; 256]>);
// SAFETY: written once by the boot core before any other core loads it.
unsafe impl Sync for Idt {}
static IDT: Idt = Idt(UnsafeCell::new([Gate { lo: 0, hi: 0 }; 256]));

unsafe extern "C" {
    static trap_stubs: [u8; 256 * 16];
}

// 256 stubs of 16 bytes: push a zero where the CPU pushes no error code, push the vector, go on together.
global_asm!(
    r#"
    .section .text.traps, "ax"
    .balign 16
    .global trap_stubs
trap_stubs:
    .set v, 0
    .rept 256
    .balign 16
    .if (v == 8) || (v >= 10 && v <= 14) || (v == 17) || (v == 21) || (v == 29) || (v == 30)
    .else
    push 0
    .endif
    push v
    jmp {common}
    .set v, v + 1
    .endr
"#,
    common = sym trap_common,
);

#[unsafe(naked)]
unsafe extern "C" fn trap_common() {
    naked_asm!(
        "push rax",
        "push rbx",
        "push rcx",
        "push rdx",
        "push rsi",
        "push rdi",
        "push rbp",
        "push r8",
        "push r9",
        "push r10",
        "push r11",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "cld",
        "mov rdi, rsp",
        "mov rbp, rsp",
        "sub rsp, 512",
        "and rsp, -16",
        "fxsave64 [rsp]",
        "mov rsi, rsp",
        "push {fp}",
        "push {fp}",
        "ldmxcsr [rsp]",
        "add rsp, 16",
        "call {dispatch}",
        "fxrstor64 [rsp]",
        "mov rsp, rbp",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop r11",
        "pop r10",
        "pop r9",
        "pop r8",
        "pop rbp",
        "pop rdi",
        "pop rsi",
        "pop rdx",
        "pop rcx",
        "pop rbx",
        "pop rax",
        "add rsp, 16",
        "iretq",
        fp = const 0x1f80,
        dispatch = sym dispatch,
    )
}

/// Fills the IDT. Once, on the boot core.
pub fn init_idt() {
    let base = core::ptr::addr_of!(trap_stubs) as u64;
    for v in 0..256u64 {
        let stack = match v {
            14 => ist::PF,
            8 => ist::DF,
            2 => ist::NMI,
            18 => ist::MC,
            _ => ist::IRQ,
        } as u64;
        let a = base + v * 16;
        let gate = Gate {
            lo: (a & 0xffff) | 0x08 << 16 | stack << 32 | 0x8e << 40 | ((a >> 16) & 0xffff) << 48,
            hi: a >> 32,
        };
        // SAFETY: the boot core alone, before any core loads the table.
        unsafe { (*IDT.0.get())[v as usize] = gate };
    }
}

/// Loads the IDT on this core.
pub fn load_idt() {
    #[repr(C, packed)]
    struct Ptr(u16, u64);
    let p = Ptr(4095, IDT.0.get() as u64);
    // SAFETY: the table is filled and lives for ever.
    unsafe { asm!("lidt [{}]", in(reg) &p, options(nostack, readonly, preserves_flags)) };
}

/// Reads the address of the last page fault.
fn cr2() -> usize {
    let a: usize;
    // SAFETY: reading CR2 has no effect.
    unsafe { asm!("mov {}, cr2", out(reg) a, options(nostack, nomem, preserves_flags)) };
    a
}

/// May a fault at this frame become a panic of the goroutine? Only where a preemption could have come too.
fn may_panic(f: &TrapFrame, core: &percpu::Core) -> bool {
    !core.g.get().is_null()
        && core.preempt.get() & !NO_RESCHED == 0
        && f.rflags & 0x200 != 0
        && core.in_irq.get() == 1
}

extern "C" fn dispatch(f: &mut TrapFrame, fx: &FxState) {
    let core = percpu::this();
    let depth = core.in_irq.get() + 1;
    core.in_irq.set(depth);
    // Handlers' own locks and guards must never find the count at 0.
    core.preempt.set(core.preempt.get() + 1);
    handle(f, fx, core);
    core.preempt.set(core.preempt.get() - 1);
    core.in_irq.set(depth - 1);
}

fn handle(f: &mut TrapFrame, fx: &FxState, core: &percpu::Core) {
    let Some(h) = hooks() else {
        early_fatal(f);
    };
    match f.vector as u8 {
        VEC_TIMER => {
            super::apic::eoi();
            core.armed_at.set(u64::MAX);
            (h.timer)(f, fx);
        }
        VEC_RESCHED => {
            super::apic::eoi();
            (h.resched)(f, fx);
        }
        VEC_TLB => {
            super::apic::eoi();
            (h.tlb)();
        }
        VEC_SPURIOUS => {}
        2 => {
            if FREEZE.load(Ordering::Acquire) {
                core.frozen_rip.store(f.rip as usize, Ordering::Relaxed);
                core.frozen.store(true, Ordering::Release); // pairs with the Acquire in `freeze_others`
                loop {
                    // SAFETY: stops this core for good.
                    unsafe { asm!("cli", "hlt") };
                }
            }
            (h.fatal)(f, 0, "non-maskable interrupt");
        }
        8 => (h.fatal)(f, cr2(), "double fault"),
        18 => (h.fatal)(f, 0, "machine check"),
        14 => page_fault(f, fx, core, h),
        0 | 12 | 13 if may_panic_here(f, core) => (h.inject)(f, 0, StackFault::NotStack),
        v if v < 32 => (h.fatal)(f, 0, exception_name(v)),
        v => {
            (h.device)(v);
            super::apic::eoi();
        }
    }
}

/// As [`may_panic`], with the handler's own raise of the count taken off.
fn may_panic_here(f: &TrapFrame, core: &percpu::Core) -> bool {
    core.preempt.set(core.preempt.get() - 1);
    let ok = may_panic(f, core);
    core.preempt.set(core.preempt.get() + 1);
    ok
}

fn page_fault(f: &mut TrapFrame, fx: &FxState, core: &percpu::Core, h: &Hooks) {
    let addr = cr2();
    let panics = may_panic_here(f, core);
    // Bit 0 of the error code: the page was present, so this is a protection fault and no growth.
    let r = if f.error & 1 == 0 {
        (h.stack_fault)(addr, f)
    } else {
        StackFault::NotStack
    };
    match r {
        StackFault::Mapped => {}
        StackFault::Refill => (h.grow)(f, fx),
        StackFault::Overflow | StackFault::NoMemory | StackFault::NotStack if panics => {
            (h.inject)(f, addr, r)
        }
        StackFault::Overflow => (h.fatal)(f, addr, "stack overflow in the runtime"),
        StackFault::Guard => (h.fatal)(f, addr, "stack overflow through its reserve"),
        StackFault::NoMemory => (h.fatal)(f, addr, "out of memory growing a stack"),
        StackFault::NotStack => (h.fatal)(f, addr, "page fault in the runtime"),
    }
}

/// What the manual calls an exception.
pub fn exception_name(v: u8) -> &'static str {
    match v {
        0 => "divide error",
        1 => "debug exception",
        3 => "breakpoint",
        4 => "overflow",
        5 => "bound range exceeded",
        6 => "invalid opcode",
        7 => "device not available",
        8 => "double fault",
        10 => "invalid TSS",
        11 => "segment not present",
        12 => "stack segment fault",
        13 => "general protection fault",
        14 => "page fault",
        16 => "x87 floating-point exception",
        17 => "alignment check",
        18 => "machine check",
        19 => "SIMD floating-point exception",
        _ => "reserved exception",
    }
}

/// Set once a fatal error wants every other core to stand still.
static FREEZE: core::sync::atomic::AtomicBool = core::sync::atomic::AtomicBool::new(false);

/// Stops all other cores by NMI, waiting a bounded while for each. Only for fatal errors: they never go on.
/// Returns `false` if another core was first (then this one should stop, too).
pub fn freeze_others() -> bool {
    if FREEZE.swap(true, Ordering::AcqRel) {
        return false;
    }
    let me = percpu::core_index();
    for i in (0..percpu::core_count()).filter(|&i| i != me && percpu::core(i).is_online()) {
        super::apic::send_nmi(percpu::core(i).apic_id());
    }
    for i in (0..percpu::core_count()).filter(|&i| i != me && percpu::core(i).is_online()) {
        for _ in 0..1_000_000 {
            if percpu::core(i).frozen.load(Ordering::Acquire) {
                break;
            }
            core::hint::spin_loop();
        }
    }
    true
}

fn early_fatal(f: &TrapFrame) -> ! {
    crate::println!("fatal error: {} during boot", exception_name(f.vector as u8));
    crate::println!(
        "rip={:#x} error={:#x} cr2={:#x} rsp={:#x}",
        f.rip,
        f.error,
        cr2(),
        f.rsp
    );
    super::exit(2)
}

//! CPU exceptions of a goroutine become its panic.
//!
//! ```text
//! fault → IST stub → inject: frame copied aside, frame.rip = trampoline, IF = 0
//!       → iretq    → trampoline, on the goroutine's stack: copies the frame there, IF = 1
//!       → arrive   → raise a panic; the unwinder walks trampoline → faulting function → its callers
//! ```
//!
//! The trampoline's unwind entry says: every register is in the block at my stack pointer, and I am a
//! *signal frame* (the address in the block is the faulting instruction itself, not a return address). So
//! the unwinder goes on exactly where the fault was. The handler writes nothing to the goroutine's stack: a
//! page of it may have to be mapped first, and a fault inside the fault handler is fatal. The trampoline may
//! fault on its stack like any code.
//!
//! A wild jump (`call` of a null pointer) has no unwind entry at its address; the return address that the
//! call pushed is on top of the stack, and the panic continues from there.
//!
//! Unwinding from a fault is best effort: the faulting function's own drops run only if the instruction is
//! inside a call that may unwind (DECISIONS 1).

use core::{
    arch::naked_asm,
    cell::UnsafeCell,
    mem::{offset_of, size_of},
};

use super::{
    Kind, Panic, Unwound, backtrace,
    catch::{throw, with_backtrace},
    payload::Message,
    seam,
};
use crate::arch::{self, x86_64::trap::TrapFrame};

/// A fault on its way to its goroutine.
#[repr(C)]
#[derive(Clone, Copy)]
struct Block {
    frame: TrapFrame,
    kind: Kind,
}

/// Where each core leaves the fault between the handler and the trampoline, which both run with IF = 0.
struct PerCore([UnsafeCell<Block>; arch::MAX_CORES]);
// SAFETY: slot i is used by core i alone, with interrupts off.
unsafe impl Sync for PerCore {}

static PENDING: PerCore = PerCore(
    [const {
        UnsafeCell::new(Block {
            // SAFETY: a TrapFrame is integers only.
            frame: unsafe { core::mem::zeroed() },
            kind: Kind::Explicit,
        })
    }; arch::MAX_CORES],
);

/// Interrupts on.
const IF: u64 = 0x200;
/// Direction, trap, alignment-check, nested-task and resume flags: not wanted in the trampoline.
const UNWANTED_FLAGS: u64 = 0x400 | 0x100 | 0x4_0000 | 0x4000 | 0x1_0000;

/// Makes the interrupted goroutine panic: edits `frame` so that the handler's `iretq` lands in the
/// trampoline. Called on the fault's IST stack with IF = 0, for a fault of a goroutine with preempt count 0
/// and IF = 1. `false` (nothing changed) if its stack pointer is not in `stack`: then it is fatal.
///
/// `stack` is what the trampoline may use, the overflow reserve included once it is open. The trampoline
/// touches about 300 bytes below `frame.rsp` with IF = 0: a stack fault there must be served.
///
/// The caller makes `kind`: [`Kind::Fault`] through [`kind_of`], or [`Kind::StackOverflow`].
#[must_use = "false means that the fault is fatal"]
pub fn inject(frame: &mut TrapFrame, kind: Kind, stack: core::ops::Range<usize>) -> bool {
    let rsp = frame.rsp as usize;
    // The block, a call, and room for the unwinder to start with.
    let needed = size_of::<Block>() + 1024;
    if !rsp.is_multiple_of(8) || rsp > stack.end || rsp < stack.start.saturating_add(needed) {
        return false;
    }
    let slot = PENDING.0[seam::core_index()].get();
    // SAFETY: this core's slot, interrupts off; the trampoline empties it before anything can fault again.
    unsafe { slot.write(Block { frame: *frame, kind }) };
    frame.rip = trampoline as *const () as u64;
    frame.rsp = ((rsp - size_of::<Block>()) & !15) as u64;
    frame.rdi = slot as u64;
    frame.rflags &= !(IF | UNWANTED_FLAGS);
    true
}

/// The panic kind of an exception that is not a stack overflow.
pub fn kind_of(frame: &TrapFrame, cr2: usize) -> Kind {
    let addr = if frame.vector == 14 { cr2 } else { 0 };
    Kind::Fault {
        vector: frame.vector as u8,
        error: frame.error as u32,
        addr,
        pc: frame.rip as usize,
    }
}

/// DWARF expression rules for the unwind entry below: `DW_CFA_expression reg, [DW_OP_breg7 offset]`, the
/// register's value is at rsp + offset. Offsets of 64 and more need two SLEB128 bytes, so all have two.
macro_rules! at {
    ($reg:literal) => {
        concat!(".cfi_escape 0x10, ", $reg, ", 3, 0x77, ")
    };
}

const fn lo(offset: usize) -> usize {
    (offset & 0x7f) | 0x80
}

const fn hi(offset: usize) -> usize {
    assert!(offset >> 7 < 0x40);
    offset >> 7
}

/// Lands here instead of going on after the fault: rsp = room for a [`Block`] on the goroutine's stack, rdi =
/// this core's pending block, IF = 0, every other register as the fault left it.
#[unsafe(naked)]
unsafe extern "C-unwind" fn trampoline() {
    naked_asm!(
        // CFA = the interrupted stack pointer = [rsp + rsp's offset].
        ".cfi_startproc",
        ".cfi_signal_frame",
        ".cfi_escape 0x0f, 4, 0x77, {rsp_lo}, {rsp_hi}, 0x06",
        concat!(at!("0"), "{rax_lo}, {rax_hi}"),
        concat!(at!("1"), "{rdx_lo}, {rdx_hi}"),
        concat!(at!("2"), "{rcx_lo}, {rcx_hi}"),
        concat!(at!("3"), "{rbx_lo}, {rbx_hi}"),
        concat!(at!("4"), "{rsi_lo}, {rsi_hi}"),
        concat!(at!("5"), "{rdi_lo}, {rdi_hi}"),
        concat!(at!("6"), "{rbp_lo}, {rbp_hi}"),
        concat!(at!("8"), "{r8_lo}, {r8_hi}"),
        concat!(at!("9"), "{r9_lo}, {r9_hi}"),
        concat!(at!("10"), "{r10_lo}, {r10_hi}"),
        concat!(at!("11"), "{r11_lo}, {r11_hi}"),
        concat!(at!("12"), "{r12_lo}, {r12_hi}"),
        concat!(at!("13"), "{r13_lo}, {r13_hi}"),
        concat!(at!("14"), "{r14_lo}, {r14_hi}"),
        concat!(at!("15"), "{r15_lo}, {r15_hi}"),
        concat!(at!("16"), "{rip_lo}, {rip_hi}"),
        "mov rsi, rdi",
        "mov rdi, rsp",
        "mov ecx, {words}",
        "rep movsq",
        // The fault may have come with any floating-point mode: panic code runs in Rust's.
        "push {mxcsr}",
        "ldmxcsr [rsp]",
        "mov word ptr [rsp], {fcw}",
        "fninit",
        "fldcw [rsp]",
        "add rsp, 8",
        "mov rdi, rsp",
        "sti",
        "call {arrive}",
        "ud2",
        ".cfi_endproc",
        words = const size_of::<Block>() / 8,
        mxcsr = const 0x1f80,
        fcw = const 0x37f,
        arrive = sym arrive,
        rax_lo = const lo(offset_of!(TrapFrame, rax)), rax_hi = const hi(offset_of!(TrapFrame, rax)),
        rbx_lo = const lo(offset_of!(TrapFrame, rbx)), rbx_hi = const hi(offset_of!(TrapFrame, rbx)),
        rcx_lo = const lo(offset_of!(TrapFrame, rcx)), rcx_hi = const hi(offset_of!(TrapFrame, rcx)),
        rdx_lo = const lo(offset_of!(TrapFrame, rdx)), rdx_hi = const hi(offset_of!(TrapFrame, rdx)),
        rsi_lo = const lo(offset_of!(TrapFrame, rsi)), rsi_hi = const hi(offset_of!(TrapFrame, rsi)),
        rdi_lo = const lo(offset_of!(TrapFrame, rdi)), rdi_hi = const hi(offset_of!(TrapFrame, rdi)),
        rbp_lo = const lo(offset_of!(TrapFrame, rbp)), rbp_hi = const hi(offset_of!(TrapFrame, rbp)),
        rsp_lo = const lo(offset_of!(TrapFrame, rsp)), rsp_hi = const hi(offset_of!(TrapFrame, rsp)),
        r8_lo = const lo(offset_of!(TrapFrame, r8)), r8_hi = const hi(offset_of!(TrapFrame, r8)),
        r9_lo = const lo(offset_of!(TrapFrame, r9)), r9_hi = const hi(offset_of!(TrapFrame, r9)),
        r10_lo = const lo(offset_of!(TrapFrame, r10)), r10_hi = const hi(offset_of!(TrapFrame, r10)),
        r11_lo = const lo(offset_of!(TrapFrame, r11)), r11_hi = const hi(offset_of!(TrapFrame, r11)),
        r12_lo = const lo(offset_of!(TrapFrame, r12)), r12_hi = const hi(offset_of!(TrapFrame, r12)),
        r13_lo = const lo(offset_of!(TrapFrame, r13)), r13_hi = const hi(offset_of!(TrapFrame, r13)),
        r14_lo = const lo(offset_of!(TrapFrame, r14)), r14_hi = const hi(offset_of!(TrapFrame, r14)),
        r15_lo = const lo(offset_of!(TrapFrame, r15)), r15_hi = const hi(offset_of!(TrapFrame, r15)),
        rip_lo = const lo(offset_of!(TrapFrame, rip)), rip_hi = const hi(offset_of!(TrapFrame, rip)),
    )
}

const _: () = assert!(size_of::<Block>().is_multiple_of(8) && offset_of!(Block, frame) == 0);

/// The first Rust code after a fault, on the goroutine's stack with interrupts on. The unwinder goes through
/// `block` by way of the trampoline's unwind entry, so edits here move where the unwinding starts.
unsafe extern "C-unwind" fn arrive(block: &mut Block) -> ! {
    let f = &mut block.frame;
    if !backtrace::is_text(f.rip as usize) {
        leave_wild_jump(f);
    }
    let p = Panic::new(block.kind, Message::Kind, None);
    throw(Unwound::Panic(with_backtrace(
        p,
        trampoline as *const () as usize,
    )))
}

/// Panics with `kind` from ordinary code: for what should have been a fault, and is noticed only now.
#[cold]
pub fn raise(kind: Kind) -> ! {
    let p = Panic::new(kind, Message::Kind, None);
    throw(Unwound::Panic(with_backtrace(p, raise as *const () as usize)))
}

/// Undoes the call that jumped to nowhere: the exact address becomes one inside the call instruction.
fn leave_wild_jump(f: &mut TrapFrame) {
    if !seam::stack().contains(&(f.rsp as usize)) {
        return;
    }
    // SAFETY: the top of the interrupted stack, in bounds and (checked by `inject`) aligned.
    let ret = unsafe { *(f.rsp as *const u64) };
    if backtrace::is_text(ret as usize - 1) {
        f.rip = ret - 1;
        f.rsp += 8;
    }
}

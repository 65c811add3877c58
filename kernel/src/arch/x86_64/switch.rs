//! The context switch, and the first steps of a new goroutine.
//!
//! `switch` leaves one stack and continues another: it pushes what the C ABI says a callee keeps (rbx, rbp,
//! r12–r15, MXCSR, the x87 control word), stores the stack pointer, loads the other one, pops, returns. It
//! is always taken with preempt count 1 and interrupts off on both sides, and always between a goroutine
//! and its core's g0: what has to happen once the goroutine is off its stack (queue it, release a lock) is
//! run by g0, which comes next on that core.
//!
//! A goroutine that was preempted asynchronously has no such frame but a [`SaveBlock`]; `resume_saved`
//! leaves g0 the same way and continues it by `iretq`, every register as it was.
//!
//! Frame on a switched-out stack, from the saved stack pointer up: MXCSR+FCW, r15, r14, r13, r12, rbx,
//! rbp, return address. Backtraces rely on it ([`SwitchFrame`]).

use core::{
    arch::naked_asm,
    mem::{offset_of, size_of},
};

use super::{
    percpu::{Core, NO_RESCHED},
    trap::{SaveBlock, TrapFrame},
};

/// What `switch` leaves at the saved stack pointer.
#[repr(C)]
pub struct SwitchFrame {
    /// MXCSR in the low half, x87 control word in the next 16 bits.
    pub fp_control: u64,
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub rbx: u64,
    pub rbp: u64,
    pub rip: u64,
}

/// MXCSR 0x1f80 (all exceptions masked, round to nearest), FCW 0x37f: what the ABI promises at entry.
pub const FP_DEFAULT: u64 = 0x037f_0000_1f80;

/// Leaves the running stack, storing its pointer to `*save`, and continues the one saved at `load`.
///
/// # Safety
/// 1. `load` was stored by `switch` (or built as a [`SwitchFrame`]) and not continued since.
/// 2. Preempt count is 1 and interrupts are off.
#[unsafe(naked)]
pub unsafe extern "C-unwind" fn switch(save: *mut usize, load: usize) {
    naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "sub rsp, 8",
        "stmxcsr [rsp]",
        "fnstcw [rsp + 4]",
        "mov [rdi], rsp",
        "mov rsp, rsi",
        "jmp {tail}",
        tail = sym switch_tail,
    )
}

/// The second half of `switch`: the stack pointer is at a [`SwitchFrame`]; continue it. Also where the
/// interrupt return of an asynchronous preemption lands, on g0.
///
/// # Safety
/// 1. The stack pointer is at a [`SwitchFrame`] of this core; preempt count 1, interrupts off.
#[unsafe(naked)]
pub unsafe extern "C-unwind" fn switch_tail() {
    naked_asm!(
        "ldmxcsr [rsp]",
        "fldcw [rsp + 4]",
        "add rsp, 8",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
    )
}

/// Leaves g0, storing its stack pointer to `*save`, and continues the goroutine saved in `block`: the
/// block becomes this core's spare, the preempt count 0, interrupts on.
///
/// # Safety
/// 1. `block` holds a goroutine's state that is not running anywhere, and is not the core's spare.
/// 2. Preempt count is 1 and interrupts are off; the core's spare block, if any, is kept elsewhere.
#[unsafe(naked)]
pub unsafe extern "C" fn resume_saved(save: *mut usize, block: *mut SaveBlock) {
    naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "sub rsp, 8",
        "stmxcsr [rsp]",
        "fnstcw [rsp + 4]",
        "mov [rdi], rsp",
        "fxrstor64 [rsi + {fx}]",
        "lea rsp, [rsi + {frame}]",
        "and dword ptr gs:[{preempt}], {zero}",
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
        fx = const offset_of!(SaveBlock, fx),
        frame = const offset_of!(SaveBlock, frame),
        preempt = const offset_of!(Core, preempt),
        zero = const NO_RESCHED,
    )
}

const _: () = assert!(size_of::<TrapFrame>() == 22 * 8);

/// First instructions of a goroutine: g0 switches here with `entry` in rbx and its argument in r12. Lowers
/// the count to 0 (a preemption wanted of an inherited slice stays wanted), turns interrupts on, calls. The return address is 0, which
/// ends every backtrace.
#[unsafe(naked)]
unsafe extern "C-unwind" fn trampoline() {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_undefined rip",
        "cld",
        "xor ebp, ebp",
        "mov rdi, r12",
        "and dword ptr gs:[{preempt}], {zero}",
        "sti",
        "call rbx",
        "ud2",
        ".cfi_endproc",
        preempt = const offset_of!(Core, preempt),
        zero = const NO_RESCHED,
    )
}

/// Builds the frame with which `switch` starts `entry(arg)` on the stack that ends at `top` (16-aligned);
/// returns the stack pointer to load.
///
/// # Safety
/// 1. The bytes below `top` belong to a stack that nobody runs on.
pub unsafe fn prepare(top: usize, entry: extern "C-unwind" fn(*mut ()), arg: *mut ()) -> usize {
    // After `switch_tail` returns into the trampoline rsp = sp + 64 must be 16-aligned, so that its call
    // leaves the callee with the alignment the ABI promises.
    let sp = top - 16 - size_of::<SwitchFrame>();
    let f = sp as *mut SwitchFrame;
    // SAFETY: 1. the stack is ours; `sp` is aligned for u64.
    unsafe {
        f.write(SwitchFrame {
            fp_control: FP_DEFAULT,
            r15: 0,
            r14: 0,
            r13: 0,
            r12: arg as u64,
            rbx: entry as usize as u64,
            rbp: 0,
            rip: trampoline as *const () as u64,
        })
    };
    sp
}

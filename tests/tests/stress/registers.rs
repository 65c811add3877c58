//! Preemption is invisible: every register survives it, bit for bit, across cores.
//!
//! [`hold`] fills all registers from a table, the flags (also the direction flag), MXCSR and the x87 control word,
//! then spins in instructions that change none of them, then stores what it finds. Slices are as short as they can
//! be, so nearly every round is interrupted.

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::{
    arch::naked_asm,
    mem::offset_of,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use burrow::{arch, debug, runtime, spawn, time::Instant};
use burrow_tests::{Rng, storm};

/// rax, rbx, rcx (the loop counter), rdx, rsi, rdi, rbp, r8 … r15.
const GPRS: usize = 15;
const RCX: usize = 2;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C, align(16))]
struct Registers {
    xmm: [u128; 16],
    gpr: [u64; GPRS],
    flags: u64,
    mxcsr: u32,
    fcw: u16,
}

#[repr(C, align(16))]
struct Table {
    put: Registers,
    got: Registers,
}

/// Loads `t.put`, spins `t.put.gpr[RCX]` times, stores to `t.got`.
///
/// # Safety
/// 1. `t` is a valid table; 2. its flags keep IF set and touch only status, direction and ID flags; 3. its MXCSR and
///    FCW mask all exceptions.
#[unsafe(naked)]
unsafe extern "C" fn hold(t: *mut Table) {
    naked_asm!(
        "push rbp", "push rbx", "push r12", "push r13", "push r14", "push r15",
        "sub rsp, 24",
        "stmxcsr [rsp]",
        "fnstcw [rsp + 4]",
        "mov [rsp + 8], rdi",
        // In.
        "ldmxcsr [rdi + {mxcsr}]",
        "fldcw [rdi + {fcw}]",
        "movaps xmm0, [rdi + {xmm} + 0x00]", "movaps xmm1, [rdi + {xmm} + 0x10]",
        "movaps xmm2, [rdi + {xmm} + 0x20]", "movaps xmm3, [rdi + {xmm} + 0x30]",
        "movaps xmm4, [rdi + {xmm} + 0x40]", "movaps xmm5, [rdi + {xmm} + 0x50]",
        "movaps xmm6, [rdi + {xmm} + 0x60]", "movaps xmm7, [rdi + {xmm} + 0x70]",
        "movaps xmm8, [rdi + {xmm} + 0x80]", "movaps xmm9, [rdi + {xmm} + 0x90]",
        "movaps xmm10, [rdi + {xmm} + 0xa0]", "movaps xmm11, [rdi + {xmm} + 0xb0]",
        "movaps xmm12, [rdi + {xmm} + 0xc0]", "movaps xmm13, [rdi + {xmm} + 0xd0]",
        "movaps xmm14, [rdi + {xmm} + 0xe0]", "movaps xmm15, [rdi + {xmm} + 0xf0]",
        "push qword ptr [rdi + {flags}]",
        "popfq",
        "mov rax, [rdi + {gpr}]", "mov rbx, [rdi + {gpr} + 8]", "mov rcx, [rdi + {gpr} + 16]",
        "mov rdx, [rdi + {gpr} + 24]", "mov rsi, [rdi + {gpr} + 32]", "mov rbp, [rdi + {gpr} + 48]",
        "mov r8, [rdi + {gpr} + 56]", "mov r9, [rdi + {gpr} + 64]", "mov r10, [rdi + {gpr} + 72]",
        "mov r11, [rdi + {gpr} + 80]", "mov r12, [rdi + {gpr} + 88]", "mov r13, [rdi + {gpr} + 96]",
        "mov r14, [rdi + {gpr} + 104]", "mov r15, [rdi + {gpr} + 112]", "mov rdi, [rdi + {gpr} + 40]",
        // No flag changes in here.
        "2:",
        "bswap r10", "xchg rax, r15", "xchg rax, r15", "bswap r10", "movaps xmm7, xmm7",
        "lea rcx, [rcx - 1]",
        "jrcxz 3f",
        "jmp 2b",
        // Out.
        "3:",
        "mov rcx, [rsp + 8]",
        "mov [rcx + {got} + {gpr}], rax", "mov [rcx + {got} + {gpr} + 8], rbx",
        "mov [rcx + {got} + {gpr} + 24], rdx", "mov [rcx + {got} + {gpr} + 32], rsi",
        "mov [rcx + {got} + {gpr} + 40], rdi", "mov [rcx + {got} + {gpr} + 48], rbp",
        "mov [rcx + {got} + {gpr} + 56], r8", "mov [rcx + {got} + {gpr} + 64], r9",
        "mov [rcx + {got} + {gpr} + 72], r10", "mov [rcx + {got} + {gpr} + 80], r11",
        "mov [rcx + {got} + {gpr} + 88], r12", "mov [rcx + {got} + {gpr} + 96], r13",
        "mov [rcx + {got} + {gpr} + 104], r14", "mov [rcx + {got} + {gpr} + 112], r15",
        "pushfq",
        "pop qword ptr [rcx + {got} + {flags}]",
        "cld",
        "movaps [rcx + {got} + {xmm} + 0x00], xmm0", "movaps [rcx + {got} + {xmm} + 0x10], xmm1",
        "movaps [rcx + {got} + {xmm} + 0x20], xmm2", "movaps [rcx + {got} + {xmm} + 0x30], xmm3",
        "movaps [rcx + {got} + {xmm} + 0x40], xmm4", "movaps [rcx + {got} + {xmm} + 0x50], xmm5",
        "movaps [rcx + {got} + {xmm} + 0x60], xmm6", "movaps [rcx + {got} + {xmm} + 0x70], xmm7",
        "movaps [rcx + {got} + {xmm} + 0x80], xmm8", "movaps [rcx + {got} + {xmm} + 0x90], xmm9",
        "movaps [rcx + {got} + {xmm} + 0xa0], xmm10", "movaps [rcx + {got} + {xmm} + 0xb0], xmm11",
        "movaps [rcx + {got} + {xmm} + 0xc0], xmm12", "movaps [rcx + {got} + {xmm} + 0xd0], xmm13",
        "movaps [rcx + {got} + {xmm} + 0xe0], xmm14", "movaps [rcx + {got} + {xmm} + 0xf0], xmm15",
        "stmxcsr [rcx + {got} + {mxcsr}]",
        "fnstcw [rcx + {got} + {fcw}]",
        "ldmxcsr [rsp]",
        "fldcw [rsp + 4]",
        "add rsp, 24",
        "pop r15", "pop r14", "pop r13", "pop r12", "pop rbx", "pop rbp",
        "ret",
        xmm = const offset_of!(Registers, xmm),
        gpr = const offset_of!(Registers, gpr),
        flags = const offset_of!(Registers, flags),
        mxcsr = const offset_of!(Registers, mxcsr),
        fcw = const offset_of!(Registers, fcw),
        got = const offset_of!(Table, got),
    )
}

/// CF, PF, AF, ZF, SF, DF, OF, ID.
const FLAGS: u64 = 1 | 1 << 2 | 1 << 4 | 1 << 6 | 1 << 7 | 1 << 10 | 1 << 11 | 1 << 21;
/// IF and the bit that is always set.
const FLAGS_ON: u64 = 1 << 9 | 1 << 1;

fn fill(put: &mut Registers, rng: &mut Rng) {
    for value in &mut put.gpr {
        *value = rng.next_u64();
    }
    put.gpr[RCX] = 500 + rng.below(4000);
    for value in &mut put.xmm {
        *value = u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64());
    }
    put.flags = rng.next_u64() & FLAGS | FLAGS_ON;
    // Rounding mode, flush-to-zero and sticky flags vary; every exception stays masked.
    put.mxcsr = (rng.next_u64() as u32 & 0xe03f) | 0x1f80;
    put.fcw = (rng.next_u64() as u16 & 0x0c00) | 0x037f;
}

#[burrow::test(timeout = 120)]
fn all_registers_survive_ten_thousand_preemptions() {
    const WANTED: u64 = 10_000;
    let slice = debug::set_slice_ns(20_000);
    let before = runtime::sched_stats().preemptions;
    let at_least = Instant::now() + storm(Duration::from_millis(500));
    let (stop, moves) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let handles: Vec<_> = (0..runtime::num_cpu() as u64 * 2 + 1)
        .map(|id| {
            let (stop, moves) = (stop.clone(), moves.clone());
            spawn(move || {
                let zero = Registers {
                    xmm: [0; 16],
                    gpr: [0; GPRS],
                    flags: 0,
                    mxcsr: 0,
                    fcw: 0,
                };
                let mut table = Box::new(Table { put: zero, got: zero });
                let (mut rng, mut rounds) = (Rng::new(id), 0_u64);
                while stop.load(Ordering::Relaxed) == 0 {
                    fill(&mut table.put, &mut rng);
                    let from = arch::core_index();
                    // SAFETY: 1. a table of our own; 2. 3. `fill` sees to it.
                    unsafe { hold(&raw mut *table) };
                    if arch::core_index() != from {
                        moves.fetch_add(1, Ordering::Relaxed);
                    }
                    table.got.gpr[RCX] = table.put.gpr[RCX];
                    assert!(
                        table.put == table.got,
                        "put {:#x?}\ngot {:#x?}",
                        table.put,
                        table.got
                    );
                    rounds += 1;
                }
                rounds
            })
        })
        .collect();
    let seen = loop {
        burrow::time::sleep(Duration::from_millis(20));
        let seen = runtime::sched_stats().preemptions - before;
        let failed = handles.iter().any(|h| h.is_finished());
        let moved = runtime::gomaxprocs(0) == 1 || moves.load(Ordering::Relaxed) > 0;
        if failed || (seen >= WANTED && moved && Instant::now() >= at_least) {
            break seen;
        }
    };
    stop.store(1, Ordering::Relaxed);
    let rounds: u64 = handles
        .into_iter()
        .map(|h| h.join().unwrap_or_else(|p| panic!("{p}")))
        .sum();
    debug::set_slice_ns(slice);
    let moves = moves.load(Ordering::Relaxed);
    burrow::println!("{rounds} rounds, {seen} preemptions, {moves} rounds ended on another core");
    assert!(seen >= WANTED);
}

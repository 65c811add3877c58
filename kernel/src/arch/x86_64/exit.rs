//! Ending the run: a line for people and tools, then QEMU's debug-exit port.
//!
//! `BURROW-EXIT n` on the serial line carries the code; the port's value says which kind of end it was (QEMU
//! exits with `value << 1 | 1`, and 0 never means success). Who boots us checks that both agree.

use core::arch::asm;

use super::{percpu, port::outl, serial};

/// Prints `BURROW-EXIT code`, then stops the machine: QEMU exits 33 for 0, 37 otherwise.
///
/// ```
/// if burrow::runtime::num_cpu() == 0 {
///     burrow::arch::exit(2); // drops nothing, waits for nobody
/// }
/// ```
pub fn exit(code: i32) -> ! {
    exit_with(code, if code == 0 { 0x10 } else { 0x12 })
}

/// As [`exit`], for a test run: QEMU exits 33 for 0, 35 otherwise.
pub fn exit_tests(code: i32) -> ! {
    exit_with(code, if code == 0 { 0x10 } else { 0x11 })
}

fn exit_with(code: i32, value: u32) -> ! {
    crate::println!("BURROW-EXIT {code}");
    serial::drain();
    // SAFETY: 1. the debug-exit device ends the run; without one the port is unused.
    unsafe { outl(0xf4, value) };
    halt_for_ever()
}

/// Stops this core for good.
pub fn halt_for_ever() -> ! {
    percpu::irq_off();
    loop {
        // SAFETY: halting with interrupts off stops the core; that is the purpose.
        unsafe { asm!("hlt", options(nomem, nostack)) };
    }
}

//! What the panic room needs from the rooms below, in one place.

use core::ops::Range;

use super::PanicState;

/// Until there are goroutines: the boot core's.
static BOOT: PanicState = PanicState::new();

/// The running goroutine's panic state.
pub(super) fn state() -> &'static PanicState {
    &BOOT
}

/// The running goroutine's id, 0 on g0.
pub(super) fn goid() -> u64 {
    1
}

/// On g0, in an interrupt, or with preemption off: nothing may unwind there.
pub(super) fn in_runtime() -> bool {
    false
}

/// The running goroutine's stack.
pub(super) fn stack() -> Range<usize> {
    0..usize::MAX & !7
}

/// A stack overflow of the running goroutine was caught, its frames are gone: the reserve can close.
pub(super) fn overflow_over() {}

/// Where the running goroutine was started: an address in its creator, and the creator's id.
pub(super) fn created_by() -> Option<(usize, u64)> {
    None
}

/// This core's index, to tell a nested report from one on another core.
pub(super) fn core_index() -> usize {
    0
}

/// Stops all other cores for good.
pub(super) fn stop_others() {}

/// Prints every goroutine but the running one.
pub(super) fn dump_others(_out: &mut dyn core::fmt::Write) {}

/// Ends the program.
pub(super) fn exit(code: i32) -> ! {
    use core::fmt::Write;
    let _ = writeln!(super::out::Out, "BURROW-EXIT {code}"); // nothing to do about a deaf port
    // SAFETY: the debug-exit device.
    unsafe { core::arch::asm!("out dx, eax", in("dx") 0xf4u16, in("eax") 0x12u32) };
    loop {
        core::hint::spin_loop();
    }
}

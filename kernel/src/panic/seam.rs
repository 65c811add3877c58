//! What the panic room needs from the rooms below, in one place.

use core::{fmt::Write, ops::Range, panic::Location};

use super::PanicState;
use crate::{arch, sched};

/// Before there are goroutines: the boot core's.
static BOOT: PanicState = PanicState::new();

/// The running goroutine's panic state.
pub(super) fn state() -> &'static PanicState {
    match sched::try_current() {
        // SAFETY: only the goroutine itself uses its state, and G structs live for ever.
        Some(g) => unsafe { &*g.panic.get().cast_const() },
        None => &BOOT,
    }
}

/// The running goroutine's id, 0 on g0.
pub(super) fn goid() -> u64 {
    sched::try_current().map_or(0, |g| g.id())
}

/// On g0, in an interrupt, or with preemption off: nothing may unwind there.
pub(super) fn in_runtime() -> bool {
    arch::in_runtime_context()
}

/// The running goroutine's stack.
pub(super) fn stack() -> Range<usize> {
    match sched::try_current() {
        Some(g) => g.stack.get().floor()..g.stack.get().top(),
        None => 0..usize::MAX & !7,
    }
}

/// Where the running goroutine was started, and its creator's id.
pub(super) fn created_by() -> Option<(&'static Location<'static>, u64)> {
    let g = sched::try_current()?;
    Some((g.created_at.get()?, g.parent_id.get()))
}

/// This core's index, to tell a nested report from one on another core.
pub(super) fn core_index() -> usize {
    arch::core_index()
}

/// Stops all other cores for good.
pub(super) fn stop_others() {
    if !arch::x86_64::trap::freeze_others() {
        loop {
            core::hint::spin_loop(); // another core reports: it will stop this one
        }
    }
}

/// Prints every goroutine but the running one.
pub(super) fn dump_others(mut out: &mut dyn Write) {
    // Nothing to do about a deaf port.
    let _ = sched::dump::write_all(&mut out, sched::try_current());
    let _ = sched::events::write_tail(&mut out, 16);
}

/// Ends the program.
pub(super) fn exit(code: i32) -> ! {
    arch::x86_64::exit(code)
}

/// Does the running goroutine panic because its stack could not grow?
pub(super) fn starved() -> bool {
    sched::grow::panicking()
}

/// A panic was caught: if it was a stack overflow's, the reserve is closed again, unless the catcher itself
/// still stands on or near it. If memory was short, and no other panic is on its way, the stack's unused pages go back.
pub(super) fn caught() {
    if !super::catch::panicking() {
        sched::grow::caught();
    }
    if let Some(g) = sched::try_current()
        && g.overflow.get()
    {
        let here = 0u8;
        let s = g.stack.get();
        if core::ptr::addr_of!(here) as usize > s.bottom() + 8 * 1024 {
            g.overflow.set(false);
            crate::mem::shrink::unmap(s.floor(), s.bottom());
        }
    }
}

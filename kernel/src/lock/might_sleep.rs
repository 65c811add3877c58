//! `might_sleep`: parking where nothing may park is found at once, not on the day when it really has to wait.
//!
//! A goroutine that parks while its core must not switch (preemption off, a spin lock held, interrupts off) would take
//! the core's state along; on g0 or in an interrupt handler there is no goroutine to park at all. Most calls do
//! not wait: the channel has a value, the mutex is free. So every operation that *may* park asks here first, even if
//! it is not going to. Debug builds end the program with the place of the call and what stands against it; release builds
//! have nothing of it, not even the place as an argument: callers say
//! `#[cfg_attr(debug_assertions, track_caller)]`.
//!
//! `try_…` operations, `close`, `unlock`, `notify_…` never park and do not ask.
#![forbid(unsafe_code)]

/// Says that the caller may park. Debug builds panic if it must not, which is fatal here.
///
/// # Panics
/// In debug builds: on g0, in an interrupt handler, with preemption or interrupts off.
///
/// ```
/// /// Waits for the device.
/// #[cfg_attr(debug_assertions, track_caller)]
/// fn answer(device: &burrow::Receiver<u8>) -> Option<u8> {
///     burrow::lock::might_sleep();
///     device.try_recv().ok().or_else(|| device.recv())
/// }
/// let device = burrow::chan(1);
/// device.send(7);
/// assert_eq!(answer(&device.receiver()), Some(7));
/// ```
#[inline(always)]
#[cfg_attr(debug_assertions, track_caller)]
pub fn might_sleep() {
    #[cfg(all(debug_assertions, target_os = "none"))]
    if crate::arch::in_runtime_context() {
        check::fail();
    }
}

#[cfg(all(debug_assertions, target_os = "none"))]
mod check {
    use crate::{
        arch::{self, x86_64::percpu},
        lock::rank,
    };

    #[cold]
    #[track_caller]
    pub(super) fn fail() -> ! {
        let count = arch::preempt_count();
        let core = percpu::this();
        if core.in_irq.get() != 0 {
            panic!("might sleep in an interrupt handler");
        }
        if core.g.get().is_null() {
            panic!("might sleep on g0, where no goroutine runs");
        }
        if count == 0 {
            panic!("might sleep with interrupts off");
        }
        let held = rank::check::held();
        if held.is_empty() {
            panic!("might sleep with preemption off (count {count})");
        }
        panic!("might sleep while holding {held:x?} (preempt count {count})");
    }
}

//! Guards for "stay on this core" and "no interrupts here", as values that cannot leave their thread.

use core::marker::PhantomData;

use crate::arch;

/// Keeps the running goroutine on its core while it lives. Nests. Dropping the last one yields if a
/// preemption was asked for meanwhile.
#[must_use = "preemption is off only while the guard lives"]
pub struct PreemptGuard(PhantomData<*mut ()>);

impl PreemptGuard {
    /// Turns preemption off.
    #[inline(always)]
    pub fn new() -> Self {
        arch::preempt_disable();
        Self(PhantomData)
    }
}

impl Default for PreemptGuard {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for PreemptGuard {
    #[inline(always)]
    fn drop(&mut self) {
        arch::preempt_enable();
    }
}

/// Keeps interrupts (and so preemption) off while it lives. On drop the interrupt flag is restored
/// *before* the count is lowered, so that a pending preemption is taken with interrupts on.
#[must_use = "interrupts are off only while the guard lives"]
pub struct IrqGuard {
    was_on: bool,
    _here: PhantomData<*mut ()>,
}

impl IrqGuard {
    /// Turns interrupts off.
    #[inline(always)]
    pub fn new() -> Self {
        arch::preempt_disable();
        Self {
            was_on: arch::irq_save(),
            _here: PhantomData,
        }
    }
}

impl Default for IrqGuard {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for IrqGuard {
    #[inline(always)]
    fn drop(&mut self) {
        arch::irq_restore(self.was_on);
        arch::preempt_enable();
    }
}

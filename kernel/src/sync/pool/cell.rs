//! A cell whose accesses a model can watch: loom's, or its interface over core's.
#![forbid(unsafe_code)]

#[cfg(loom)]
pub(super) use loom::cell::UnsafeCell;

/// loom's interface over core's cell.
#[cfg(not(loom))]
pub(super) struct UnsafeCell<T>(core::cell::UnsafeCell<T>);

#[cfg(not(loom))]
impl<T> UnsafeCell<T> {
    pub(super) const fn new(value: T) -> Self {
        Self(core::cell::UnsafeCell::new(value))
    }
    #[inline(always)]
    pub(super) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        f(self.0.get())
    }
}

//! A number that loom watches: who looks at it or changes it must come after its last change, in an order that the code
//! under test has made, or the model fails.

use loom::cell::UnsafeCell;

pub(in crate::sync) struct Watched(UnsafeCell<u32>);

// SAFETY: loom checks the accesses to the cell.
unsafe impl Sync for Watched {}
// SAFETY: as above.
unsafe impl Send for Watched {}

impl Watched {
    pub(in crate::sync) fn new(n: u32) -> Self {
        Watched(UnsafeCell::new(n))
    }

    pub(in crate::sync) fn add(&self, n: u32) {
        // SAFETY: loom checks that nobody else is at it.
        self.0.with_mut(|p| unsafe { *p += n });
    }

    pub(in crate::sync) fn get(&self) -> u32 {
        // SAFETY: loom checks that nobody changes it meanwhile.
        self.0.with(|p| unsafe { *p })
    }
}

//! Memory: physical frames, the bootstrap heap, stacks.
//!
//! [`map`] holds the boot memory map, [`bitmap`] the free frames, [`frames`] hands them out (and has the
//! lock-free paths for page faults), [`heap`] is the global allocator.

#[cfg(any(target_os = "none", test))]
pub mod bitmap;
#[cfg(target_os = "none")]
pub mod frames;
#[cfg(target_os = "none")]
pub mod heap;
#[cfg(any(target_os = "none", test))]
pub mod map;
#[cfg(target_os = "none")]
pub mod stack;

use alloc::{alloc::alloc, boxed::Box};
use core::alloc::Layout;

/// Boxes `v`, or gives it back when there is no memory.
pub(crate) fn try_box<T>(v: T) -> Result<Box<T>, T> {
    let layout = Layout::new::<T>();
    if layout.size() == 0 {
        return Ok(Box::new(v));
    }
    // SAFETY: the layout's size is not 0.
    let p = unsafe { alloc(layout) }.cast::<T>();
    if p.is_null() {
        return Err(v);
    }
    // SAFETY: fresh memory of T's layout.
    unsafe { p.write(v) };
    // SAFETY: allocated by the global allocator with T's layout, and initialised.
    Ok(unsafe { Box::from_raw(p) })
}

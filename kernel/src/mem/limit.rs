//! How much memory may be used: `memlimit=BYTES`, and the reserve that is kept to report that there is none.
//!
//! `memlimit` caps the frames in use by everything together. It is soft, in the way of Go's `GOMEMLIMIT`: what the kernel
//! must have to go on (a running goroutine's stack growth, page tables, frames already promised) passes; the heap and new
//! goroutines are refused at the limit. With no limit set, the same two are refused when only the reserve is left, so that a
//! goroutine that ran out can still unwind, print, and free.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicUsize, Ordering};

use super::frames;

/// Frames that neither the heap nor a new goroutine may take (but never more than an eighth of all).
const RESERVE: usize = 64;
/// The same for each core: its cache for page faults can be filled once more.
const RESERVE_PER_CORE: usize = 32;

/// In frames.
static LIMIT: AtomicUsize = AtomicUsize::new(usize::MAX);

/// Sets the limit (bytes; `None`: no limit) and returns what it was. Takes effect on the next request.
///
/// Memory that is in use already stays. Go's counterpart is `debug.SetMemoryLimit`.
///
/// ```
/// let old = burrow::runtime::set_memory_limit(Some(64 << 20));
/// burrow::runtime::set_memory_limit(old);
/// ```
pub fn set_memory_limit(bytes: Option<usize>) -> Option<usize> {
    let frames = bytes.map_or(usize::MAX, |b| b / 4096);
    let old = LIMIT.swap(frames, Ordering::Relaxed);
    (old != usize::MAX).then(|| old * 4096)
}

/// The limit in bytes, if one is set.
///
/// ```
/// let old = burrow::runtime::set_memory_limit(Some(64 << 20));
/// assert_eq!(burrow::runtime::memory_limit(), Some(64 << 20));
/// burrow::runtime::set_memory_limit(old);
/// ```
pub fn memory_limit() -> Option<usize> {
    let l = LIMIT.load(Ordering::Relaxed);
    (l != usize::MAX).then(|| l * 4096)
}

/// Frames that must stay free when the heap or a new goroutine takes some: the reserve, or what the limit leaves unused.
pub(crate) fn floor() -> usize {
    let total = frames::total_count();
    reserve(total).max(total.saturating_sub(LIMIT.load(Ordering::Relaxed)))
}

fn reserve(total: usize) -> usize {
    (RESERVE + RESERVE_PER_CORE * crate::arch::core_count()).min(total / 8)
}

/// Is the reserve being used up? Only growing stacks do that.
pub(crate) fn is_low() -> bool {
    frames::free_count() < reserve(frames::total_count())
}

/// The most frames that the heap could ever have.
pub(crate) fn most() -> usize {
    frames::total_count() - floor()
}

/// May the heap, or a new goroutine, take `frames` more? A forecast; who takes them passes [`floor`] along, and is
/// refused what is below.
pub(crate) fn allows(frames: usize) -> bool {
    frames.saturating_add(floor()) <= frames::free_count()
}

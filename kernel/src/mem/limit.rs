//! How much memory may be used: `memlimit=BYTES`, and the reserve that is kept to report that there is none.
//!
//! `memlimit` caps the frames in use by everything together. It is soft, in the way of Go's `GOMEMLIMIT`: what the kernel
//! must have to go on (a running goroutine's stack growth, page tables, frames already promised) passes; the heap and new
//! goroutines are refused at the limit. With no limit set, the same two are refused when only the reserve is left, so that a
//! goroutine that ran out can still unwind, print, and free.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicUsize, Ordering};

use super::frames;

/// Frames that neither the heap nor a new goroutine may take.
const RESERVE: usize = 64;
/// The same for each core: its cache for page faults can be filled once more.
const RESERVE_PER_CORE: usize = 32;

/// In frames.
static LIMIT: AtomicUsize = AtomicUsize::new(usize::MAX);

/// Sets the limit (bytes; `None`: no limit) and returns what it was. Takes effect on the next request.
///
/// Memory that is in use already stays. Go's counterpart is `debug.SetMemoryLimit`.
///
/// ```ignore (needs the metal target)
/// let old = burrow::runtime::set_memory_limit(Some(64 << 20));
/// burrow::runtime::set_memory_limit(old);
/// ```
pub fn set_memory_limit(bytes: Option<usize>) -> Option<usize> {
    let frames = bytes.map_or(usize::MAX, |b| b / 4096);
    let old = LIMIT.swap(frames, Ordering::Relaxed);
    (old != usize::MAX).then(|| old * 4096)
}

/// The limit in bytes, if one is set.
pub fn memory_limit() -> Option<usize> {
    let l = LIMIT.load(Ordering::Relaxed);
    (l != usize::MAX).then(|| l * 4096)
}

/// May the heap, or a new goroutine, take `frames` more?
pub(crate) fn allows(frames: usize) -> bool {
    let free = frames::free_count();
    let reserve = RESERVE + RESERVE_PER_CORE * crate::arch::core_count();
    let used = frames::total_count().saturating_sub(free);
    frames.saturating_add(reserve) <= free && used.saturating_add(frames) <= LIMIT.load(Ordering::Relaxed)
}

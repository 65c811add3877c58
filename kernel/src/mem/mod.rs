//! Memory: physical frames, the heap, goroutine stacks.
//!
//! ```text
//!   Box, Vec, …                                             goroutine stacks (stack.rs)
//!      │ Layout → size class (classes.rs)                        │ a page a fault
//!   global.rs ── mcache.rs    a P's own spans, no lock           │
//!      │            │ one span at a time                         │
//!      │         mcentral.rs  spans that are nobody's, per class │
//!      │            │                                            │
//!      └──────── mheap.rs     spans of pages (pages.rs: which are free)
//!                   │ backing.rs: 4 KiB frames behind pages      │
//!                frames.rs    physical memory ───────────────────┘
//! ```
//! `span.rs` is what a span is and how an address finds it, `owner.rs` the protocol by which spans change hands and remote frees
//! come home. `scavenge.rs` gives frames back, `reclaim.rs` does so when an allocation is about to fail, `limit.rs` says how
//! much may be taken, `room.rs` how much of it by strangers. Stacks above the default size are `stack_big.rs`'s, and
//! `shrink.rs` takes back the pages that stacks do not use. `stats.rs`, `profile.rs` and `memdebug.rs` watch.
//! `docs/memory.md` tells it as a story.

#[cfg(any(target_os = "none", test))]
pub mod bitmap;
#[cfg(any(target_os = "none", test))]
pub mod classes;
#[cfg(target_os = "none")]
pub mod frames;
#[cfg(target_os = "none")]
pub(crate) mod hoard;
#[cfg(target_os = "none")]
pub mod limit;
#[cfg(any(target_os = "none", test))]
pub mod map;
#[cfg(any(target_os = "none", test))]
pub(crate) mod owner;
#[cfg(any(target_os = "none", test))]
pub mod pages;
#[cfg(target_os = "none")]
pub(crate) mod shrink;
#[cfg(target_os = "none")]
pub mod stack;
#[cfg(target_os = "none")]
pub(crate) mod stack_big;

#[cfg(target_os = "none")]
pub(crate) mod backing;
#[cfg(all(test, not(loom), not(target_os = "none")))]
#[path = "backing_host.rs"]
pub(crate) mod backing;

/// The parts that need a whole heap: on the metal, and under test on the host.
macro_rules! heap {
    ($($(#[$m:meta])* $v:vis mod $name:ident;)*) => {
        $(#[cfg(any(target_os = "none", all(test, not(loom))))] $(#[$m])* $v mod $name;)*
    };
}
#[cfg(any(target_os = "none", not(loom)))]
pub(crate) mod room;

heap! {
    pub mod global;
    pub(crate) mod mcache;
    pub(crate) mod mcentral;
    pub(crate) mod memdebug;
    pub(crate) mod mheap;
    pub mod profile;
    pub(crate) mod reclaim;
    pub(crate) mod scavenge;
    pub(crate) mod span;
    pub mod stats;
}
#[cfg(all(test, not(loom), not(target_os = "none")))]
mod heap_tests;
#[cfg(target_os = "none")]
mod start;

use alloc::{alloc::alloc, boxed::Box};
use core::alloc::Layout;

#[cfg(target_os = "none")]
pub use start::{check_heap, free_os_memory, init, read_mem_stats};
#[cfg(target_os = "none")]
pub(crate) use start::{flush_p, on_clear_p, on_set_p};

/// Touches the stack as deep as the page heap may go: what happens to who has no stack left happens now, and not while pages
/// are on their way from one owner to another.
#[inline(never)]
pub(crate) fn need_stack() {
    let mut deep = [core::mem::MaybeUninit::<u8>::uninit(); 8 * 1024];
    core::hint::black_box(&mut deep);
}

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

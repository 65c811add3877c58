//! The global allocator: Rust's `alloc` on spans.
//!
//! Small layouts (`classes::class_of` knows them) go to the P's cache, the rest take whole pages. Freeing looks only at the
//! address: the span says what it is. So a layout is needed to allocate, and never to free (with `memdebug=1` it is checked).
//!
//! `realloc` stays in place when the object or the pages are big enough and not much too big, and when free pages follow a
//! large block; a shrink never fails. `alloc_zeroed` clears only what may be dirty.
//!
//! Failure is null, with every guard released (DECISIONS 12). Before it gives up, a caller that may block for a moment (a
//! goroutine, preemption on) runs [`reclaim`](super::reclaim) once and tries again.

use core::{
    alloc::{GlobalAlloc, Layout},
    ptr,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use super::{
    classes::{MAX_SMALL, PAGE, TABLE, class_of},
    mcache, memdebug, mheap, profile, reclaim,
    span::{self, LARGE, Span},
};
use crate::lock::PreemptGuard;

/// Large allocations so far: count and bytes, and the same for frees.
pub(crate) static LARGE_COUNT: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];

/// The allocator behind `alloc::*`.
pub struct KernelHeap;

#[cfg(target_os = "none")]
#[global_allocator]
static GLOBAL: KernelHeap = KernelHeap;

// SAFETY: objects are handed out once (`owner.rs`), of the right size and alignment; errors are null.
unsafe impl GlobalAlloc for KernelHeap {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(class) = class_of(layout.size(), layout.align()) else {
            return large(layout).0;
        };
        let here = PreemptGuard::new();
        let mc = mcache::this();
        // SAFETY: 1. preemption is off.
        let o = unsafe { mcache::pop(mc, class, layout.size()) };
        // SAFETY: 1. as above.
        if o.is_null() || unsafe { mcache::sample_due(mc) } {
            drop(here);
            return small_slow(o, class, layout).0;
        }
        o
    }

    #[inline]
    unsafe fn dealloc(&self, o: *mut u8, layout: Layout) {
        let _here = PreemptGuard::new();
        // SAFETY: a live allocation of ours, by the caller's contract.
        let s = unsafe { span::of(o) };
        // SAFETY: 1. preemption is off. 2. by the caller's contract.
        if !unsafe { mcache::push(mcache::this(), s, o) } {
            free_slow(s, o, layout);
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let (o, zero) = match class_of(layout.size(), layout.align()) {
            // Below this, clearing is cheaper than knowing.
            // SAFETY: the layout is the caller's.
            Some(_) if layout.size() <= 512 => (unsafe { self.alloc(layout) }, false),
            Some(class) => small_slow(ptr::null_mut(), class, layout),
            None => large(layout),
        };
        if !o.is_null() && !zero {
            // SAFETY: fresh memory of that size.
            unsafe { o.write_bytes(0, layout.size()) };
        }
        o
    }

    unsafe fn realloc(&self, o: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller guarantees that `new_size` with this alignment is a layout.
        let new = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        if memdebug::is_on() {
            // SAFETY: the caller's contract.
            return unsafe { self.move_to(o, layout, new) };
        }
        // SAFETY: a live allocation of ours.
        let s = unsafe { &*span::of(o) };
        if resize_in_place(s, new_size) {
            return o;
        }
        // SAFETY: the caller's contract.
        let to = unsafe { self.move_to(o, layout, new) };
        if to.is_null() && new_size <= layout.size() {
            return o; // too big, but it serves
        }
        to
    }
}

impl KernelHeap {
    /// Allocates `new`, copies, frees; null, with `o` untouched, without memory.
    ///
    /// # Safety
    /// 1. `o` is live, of `layout`.
    unsafe fn move_to(&self, o: *mut u8, layout: Layout, new: Layout) -> *mut u8 {
        // SAFETY: `new` is a layout of non-zero size.
        let to = unsafe { self.alloc(new) };
        if !to.is_null() {
            // SAFETY: two live blocks, at least that long.
            unsafe { ptr::copy_nonoverlapping(o, to, layout.size().min(new.size())) };
            // SAFETY: 1.
            unsafe { self.dealloc(o, layout) };
        }
        to
    }
}

/// Does `new` bytes fit where the block is? Adjusts large spans.
fn resize_in_place(s: &'static Span, new: usize) -> bool {
    if s.is_small() {
        let size = s.info().size as usize;
        // A block less than half used moves to a smaller class.
        return new <= size && new > size / 2;
    }
    if new <= MAX_SMALL {
        return false;
    }
    let pages = new.div_ceil(PAGE);
    let old = s.size.load(Relaxed);
    if pages != s.pages() && !mheap::resize_large(s, pages) {
        return false;
    }
    s.size.store(new, Relaxed);
    if new > old {
        LARGE_COUNT[1].fetch_add((new - old) as u64, Relaxed);
    } else {
        LARGE_COUNT[3].fetch_add((old - new) as u64, Relaxed);
    }
    true
}

/// The cache missed, or a sample is due for `o` which it gave. Also tells whether the object is known to be zero.
#[cold]
#[inline(never)]
fn small_slow(o: *mut u8, class: usize, layout: Layout) -> (*mut u8, bool) {
    if memdebug::is_on() {
        return (memdebug::alloc(layout), false);
    }
    let mut got = (!o.is_null()).then_some((o, false));
    for again in [true, false] {
        if got.is_some() {
            break;
        }
        {
            let _here = PreemptGuard::new();
            got = mcache::with(|mc| mc.alloc_slow(class, layout.size()));
        }
        if got.is_none() && !(again && reclaim::run()) {
            return (ptr::null_mut(), false);
        }
    }
    let Some((o, zero)) = got else { return (ptr::null_mut(), false) };
    let due = {
        let _here = PreemptGuard::new();
        mcache::with(|mc| profile::take_turn(&mut mc.until_sample))
    };
    if due {
        profile::sample(o, TABLE[class].size as usize);
    }
    (o, zero)
}

/// Whole pages.
#[cold]
#[inline(never)]
pub(crate) fn large(layout: Layout) -> (*mut u8, bool) {
    if memdebug::is_on() {
        return (memdebug::alloc(layout), false);
    }
    whole_pages(layout)
}

/// [`large`] without a look at `memdebug`.
pub(crate) fn whole_pages(layout: Layout) -> (*mut u8, bool) {
    let (size, pages) = (layout.size(), layout.size().div_ceil(PAGE));
    let align = layout.align().div_ceil(PAGE);
    let mut s = mheap::alloc_large(pages, align);
    if s.is_none() && reclaim::run() {
        s = mheap::alloc_large(pages, align);
    }
    let Some(s) = s else { return (ptr::null_mut(), false) };
    s.size.store(size, Relaxed);
    LARGE_COUNT[0].fetch_add(1, Relaxed);
    LARGE_COUNT[1].fetch_add(size as u64, Relaxed);
    let o = ptr::with_exposed_provenance_mut(s.base());
    if profile::large_due(size) {
        profile::sample(o, size);
    }
    (o, s.needs_zero.load(Relaxed) == 0)
}

#[cold]
#[inline(never)]
fn free_slow(s: *const Span, o: *mut u8, layout: Layout) {
    if memdebug::is_on() && memdebug::free(o, layout) {
        return;
    }
    // SAFETY: records live for ever; null only if the address was never ours.
    let Some(s) = (unsafe { s.as_ref() }) else {
        memdebug::bad_free(o, layout, "no allocation is there");
    };
    give_back(s, o, layout);
}

/// Frees a block of a known span. Preemption is off.
pub(crate) fn give_back(s: &'static Span, o: *mut u8, layout: Layout) {
    if s.owner.is_sampled() {
        profile::on_free(s, o);
    }
    match s.class() {
        LARGE if s.base() == o.addr() => {
            LARGE_COUNT[2].fetch_add(1, Relaxed);
            LARGE_COUNT[3].fetch_add(s.size.load(Relaxed) as u64, Relaxed);
            mheap::free(s);
        }
        _ if s.is_small() => mcache::with(|mc| mc.free_slow(s, o)),
        _ => memdebug::bad_free(o, layout, "no live allocation starts there"),
    }
}

//! The global allocator: Rust's `alloc` on spans.
//!
//! Small layouts (`classes::class_of` knows them) go to the P's cache, the rest take whole pages. Freeing looks only at the
//! address: the span says what it is. So a layout is needed to allocate, and never to free (with `memdebug=1` it is checked).
//!
//! `realloc` stays in place when the object or the pages are big enough and not much too big, and when free pages follow a
//! large block; a shrink never fails. `alloc_zeroed` clears only what may be dirty.
//!
//! Failure is null, with every guard released (DECISIONS 12). Before it gives up, a caller that may block for a moment (a
//! goroutine, preemption on) runs `reclaim` once and tries again.

use core::{
    alloc::{GlobalAlloc, Layout},
    ptr,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use super::{
    classes::{MAX_SMALL, PAGE, TABLE, by_size, class_of},
    mcache::{self, Push},
    memdebug, mheap, profile, reclaim,
    span::{self, LARGE, Span},
};
use crate::{arch, lock::PreemptGuard};

/// Large allocations so far: count and bytes, and the same for frees.
pub(crate) static LARGE_COUNT: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];

/// The allocator behind `alloc::*`.
pub struct KernelHeap;

#[cfg(target_os = "none")]
#[global_allocator]
static GLOBAL: KernelHeap = KernelHeap;

// SAFETY: objects are handed out once (`owner.rs`), of the right size and alignment; errors are null.
unsafe impl GlobalAlloc for KernelHeap {
    // Both fast paths are straight lines: everything else is a tail call. `tests/golden` holds their listing.
    #[inline(always)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.align() > 8 || layout.size() > MAX_SMALL {
            return unusual(layout);
        }
        let class = by_size(layout.size());
        arch::preempt_disable();
        // SAFETY: 1. preemption is off.
        let (o, due) = unsafe { mcache::pop(mcache::this(), class, layout.size()) };
        if due {
            return miss(o, class, layout);
        }
        if arch::preempt_lower() {
            return yield_with(o);
        }
        o
    }

    #[inline(always)]
    unsafe fn dealloc(&self, o: *mut u8, layout: Layout) {
        arch::preempt_disable();
        // SAFETY: a live allocation of ours, by the caller's contract.
        let s = unsafe { span::of(o) };
        // SAFETY: 1. preemption is off. 2. by the caller's contract.
        match unsafe { mcache::push(mcache::this(), s, o) } {
            Push::Done => {
                if arch::preempt_lower() {
                    arch::preempt_wanted();
                }
            }
            Push::Last => last(s),
            Push::NotOurs => free_slow(s, o, layout),
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let (o, zero) = if layout.size() <= 512 {
            // Clearing is cheaper than knowing.
            // SAFETY: the layout is the caller's.
            (unsafe { self.alloc(layout) }, false)
        } else {
            match class_of(layout.size(), layout.align()) {
                Some(class) => small_slow(ptr::null_mut(), class, layout),
                None => large(layout),
            }
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
        let s = unsafe { span::of(o) };
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
    super::need_stack();
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

/// A layout that is big, or aligned to more than a word.
#[cold]
#[inline(never)]
fn unusual(layout: Layout) -> *mut u8 {
    let Some(class) = class_of(layout.size(), layout.align()) else {
        return large(layout).0;
    };
    arch::preempt_disable();
    // SAFETY: 1. preemption is off.
    let (o, due) = unsafe { mcache::pop(mcache::this(), class, layout.size()) };
    if due {
        return miss(o, class, layout);
    }
    arch::preempt_enable();
    o
}

/// Somebody wants the core: now is a good moment.
#[cold]
#[inline(never)]
fn yield_with(o: *mut u8) -> *mut u8 {
    arch::preempt_wanted();
    o
}

/// The fast path had no object, or one for which a sample is due. Preemption is off, and on again afterwards.
#[cold]
#[inline(never)]
fn miss(mut o: *mut u8, class: usize, layout: Layout) -> *mut u8 {
    if o.is_null() && mcache::this() != mcache::none() {
        // SAFETY: this core's own cache, preemption is off.
        let mc = unsafe { &mut *mcache::this() };
        if let Some((got, _)) = mc.alloc_slow(class, layout.size()) {
            if mc.until_sample >= 0 {
                arch::preempt_enable();
                return got;
            }
            o = got;
        }
    }
    arch::preempt_enable();
    small_slow(o, class, layout).0
}

/// The last object in use of a span of ours was freed. Lowers the preempt count.
#[cold]
#[inline(never)]
fn last(s: &'static Span) {
    // SAFETY: this core's own cache, which owns the span, and preemption is off.
    unsafe { &mut *mcache::this() }.retire(s);
    arch::preempt_enable();
}

/// The cache missed, or a sample is due for `o` which it gave. Also tells whether the object is known to be zero.
#[cold]
#[inline(never)]
fn small_slow(o: *mut u8, class: usize, layout: Layout) -> (*mut u8, bool) {
    if memdebug::is_on() {
        return (memdebug::alloc(layout), false);
    }
    let mut got = None;
    for again in [true, false] {
        let here = PreemptGuard::new();
        got = mcache::with(|mc| {
            let got = if o.is_null() { mc.alloc_slow(class, layout.size())? } else { (o, false) };
            Some((got, profile::take_turn(&mut mc.until_sample)))
        });
        drop(here);
        if got.is_some() || !(again && reclaim::run()) {
            break;
        }
    }
    let Some((got, due)) = got else { return (ptr::null_mut(), false) };
    if due {
        profile::sample(got.0, TABLE[class].size as usize);
    }
    got
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
    super::need_stack();
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

/// A free that is not the fast path's. Lowers the preempt count.
#[cold]
#[inline(never)]
fn free_slow(s: &'static Span, o: *mut u8, layout: Layout) {
    if memdebug::is_on() {
        memdebug::free(o, layout);
    } else if s.is_small() && !s.owner.is_sampled() {
        mcache::with(|mc| mc.free_slow(s, o));
    } else {
        give_back(s, o, layout);
    }
    arch::preempt_enable();
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

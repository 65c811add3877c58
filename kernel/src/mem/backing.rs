//! Frames behind heap pages: mapping and unmapping in the heap's region of address space.
//!
//! The heap is contiguous in virtual memory only. So a 256 MiB allocation needs no contiguous physical memory, and a single
//! 8 KiB page can go back to the frame allocator. All pages are 4 KiB in the page tables: the collector will want their
//! dirty bits one by one. Refused: the heap in the direct map (no page tables of its own, but one stray frame in the
//! middle splits it for ever).
//!
//! Zeroing policy: a frame is zeroed when it gets behind a heap page, not when it leaves. So pages that were never used since
//! are known to be zero, nothing of the last owner shows, and `alloc_zeroed` on fresh memory costs nothing more.
//!
//! Mapping needs no TLB flush (absent to present); unmapping does, one for a batch.

use core::sync::atomic::Ordering;

use super::{
    classes::{PAGE, PAGE_SHIFT},
    frames, limit,
};
use crate::arch::{
    phys_to_virt,
    x86_64::{
        paging::{self, ACCESSED, ADDR, DIRTY, HEAP_REGION, NO_EXECUTE, PRESENT, SPAN_MAP_REGION, WRITABLE},
        tlb,
    },
};

const FRAME: usize = 4096;
const PER_PAGE: usize = PAGE / FRAME;

/// First address of the heap.
#[inline(always)]
pub(crate) const fn heap_base() -> usize {
    HEAP_REGION as usize
}
/// Where the map from heap pages to spans says what an address belongs to: `SPAN_MAP_REGION + (addr − HEAP_REGION) / 8 KiB
/// · 8`, which is this by the choice of the regions.
#[inline(always)]
pub(crate) const fn slot(addr: usize) -> usize {
    (addr as isize >> PAGE_SHIFT << 3) as usize
}
const _: () = assert!(slot(HEAP_REGION as usize) == SPAN_MAP_REGION as usize);

/// Memory for tables that are never given back, contiguous in the direct map, or `None`.
pub(crate) fn permanent(bytes: usize) -> Option<*mut u8> {
    frames::alloc_contig(bytes.div_ceil(FRAME)).map(|f| f.as_ptr())
}

/// Maps zeroed frames at `from..from + len`, page by page; what is mapped there already stays. Returns up to where that went:
/// less than `len` if frames ran out. What is mapped is never unmapped here: a core may have its translation in the TLB, even
/// if nobody touched the page, and a flush is not possible everywhere this is called.
fn map(from: usize, len: usize, floor: usize) -> usize {
    if paging::ensure_leaf_tables(from..from + len).is_err() {
        return 0;
    }
    let mut batch = [0u64; 64];
    let (mut got, mut next) = (0, 0);
    for at in (from..from + len).step_by(FRAME) {
        // SAFETY: the leaf table exists since `ensure_leaf_tables`; the page is the caller's.
        let pte = unsafe { &*paging::leaf_pte(at) };
        if pte.load(Ordering::Relaxed) & PRESENT != 0 {
            continue;
        }
        if next == got {
            let want = ((from + len - at) / FRAME).min(batch.len());
            (got, next) = (frames::alloc_many(&mut batch[..want], floor), 0);
            if got == 0 {
                return at - from;
            }
        }
        let phys = batch[next];
        next += 1;
        // SAFETY: the frame is ours and the direct map shows it.
        unsafe { phys_to_virt(phys).write_bytes(0, FRAME) };
        pte.store(
            phys | PRESENT | WRITABLE | ACCESSED | DIRTY | NO_EXECUTE,
            Ordering::Release,
        );
    }
    frames::free_many(&batch[next..got]);
    len
}

/// Could `pages` heap pages have frames, now or with everything else given back?
pub(crate) fn possible(pages: usize) -> bool {
    pages <= limit::most() / PER_PAGE
}

/// May `pages` heap pages get frames now?
pub(crate) fn allowed(pages: usize) -> bool {
    limit::allows(pages * PER_PAGE)
}

/// Puts zeroed frames behind `pages` heap pages from `page` on, which the caller owns and which have none. Returns how many
/// pages, from the first on, have frames now: fewer if memory is short.
pub(crate) fn back(page: usize, pages: usize) -> usize {
    map(heap_base() + page * PAGE, pages * PAGE, limit::floor()) / PAGE
}

/// Puts frames behind the map's part for `pages` heap pages (whole arenas). Without memory what there is stays, for the next
/// attempt.
pub(crate) fn back_map(page: usize, pages: usize) -> bool {
    const SLOT: usize = size_of::<usize>();
    let len = pages * SLOT;
    limit::allows(len / FRAME) && map(slot(heap_base() + page * PAGE), len, limit::floor()) == len
}

/// Takes the frames away from runs of heap pages that the caller owns, with one TLB shootdown. A goroutine's work: interrupts
/// on, no lock held. At most 64 pages a run, 4 runs.
pub(crate) fn unback(runs: &[(usize, usize)]) {
    let mut frames_out: heapless::Vec<u64, 512> = heapless::Vec::new();
    for &(page, n) in runs {
        let from = heap_base() + page * PAGE;
        for at in (from..from + n * PAGE).step_by(FRAME) {
            // SAFETY: the page was backed, so its leaf table exists; the caller owns it.
            let old = unsafe { &*paging::leaf_pte(at) }.swap(0, Ordering::AcqRel);
            if old & PRESENT != 0 {
                let _ = frames_out.push(old & ADDR); // 4 runs of 64 pages fit
            }
        }
    }
    tlb::shootdown_all();
    frames::free_many(&frames_out);
}

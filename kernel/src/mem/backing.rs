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

fn map(from: usize, len: usize) -> bool {
    if paging::ensure_leaf_tables(from..from + len).is_err() {
        return false;
    }
    let mut batch = [0u64; 64];
    let mut at = from;
    while at < from + len {
        let want = ((from + len - at) / FRAME).min(batch.len());
        let got = frames::alloc_many(&mut batch[..want]);
        for &phys in &batch[..got] {
            // SAFETY: the frame is ours and the direct map shows it.
            unsafe { phys_to_virt(phys).write_bytes(0, FRAME) };
            // SAFETY: the leaf table exists since `ensure_leaf_tables`; the page is the caller's.
            let pte = unsafe { &*paging::leaf_pte(at) };
            pte.store(
                phys | PRESENT | WRITABLE | ACCESSED | DIRTY | NO_EXECUTE,
                Ordering::Release,
            );
            at += FRAME;
        }
        if got < want {
            unmap(from, at - from);
            return false;
        }
    }
    true
}

/// Unmaps what has just been mapped and not been used: no core can have cached it.
fn unmap(from: usize, len: usize) {
    for at in (from..from + len).step_by(FRAME) {
        // SAFETY: mapped above.
        let old = unsafe { &*paging::leaf_pte(at) }.swap(0, Ordering::AcqRel);
        frames::free_many(&[old & ADDR]);
    }
}

/// Puts zeroed frames behind `pages` heap pages from `page` on, which the caller owns and which have none. All or nothing;
/// false if memory is short.
pub(crate) fn back(page: usize, pages: usize) -> bool {
    limit::allows(pages * PER_PAGE) && map(heap_base() + page * PAGE, pages * PAGE)
}

/// Puts frames behind the map's part for `pages` heap pages (a whole arena).
pub(crate) fn back_map(page: usize, pages: usize) -> bool {
    const SLOT: usize = size_of::<usize>();
    map(slot(heap_base() + page * PAGE), pages * SLOT)
}

/// Takes the frames away from runs of heap pages that the caller owns, with one TLB shootdown. A goroutine's work: interrupts
/// on, no lock held. At most 64 pages a run, 8 runs.
pub(crate) fn unback(runs: &[(usize, usize)]) {
    let mut frames_out: heapless::Vec<u64, 1024> = heapless::Vec::new();
    for &(page, n) in runs {
        let from = heap_base() + page * PAGE;
        for at in (from..from + n * PAGE).step_by(FRAME) {
            // SAFETY: the page was backed, so its leaf table exists; the caller owns it.
            let old = unsafe { &*paging::leaf_pte(at) }.swap(0, Ordering::AcqRel);
            if old & PRESENT != 0 {
                let _ = frames_out.push(old & ADDR); // 8 runs of 64 pages fit
            }
        }
    }
    tlb::shootdown_all();
    frames::free_many(&frames_out);
}

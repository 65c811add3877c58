//! The host's stand-in for frames and page tables: one big block, and a count that can be made to run out.

use std::{
    alloc::{Layout, alloc},
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::classes::PAGE;

/// Heap pages that exist.
pub(crate) const PAGES: usize = if cfg!(miri) { 2 * 8192 } else { 16 * 8192 };
/// Backed pages there may be.
pub(crate) static LIMIT: AtomicUsize = AtomicUsize::new(usize::MAX);
/// Backed pages there are.
pub(crate) static BACKED: AtomicUsize = AtomicUsize::new(0);

fn block(cell: &OnceLock<usize>, bytes: usize) -> usize {
    *cell.get_or_init(|| {
        let layout = Layout::from_size_align(bytes, 64 << 20).expect("a valid layout");
        // SAFETY: not of size 0.
        let p = unsafe { alloc(layout) };
        assert!(!p.is_null(), "no memory for the test heap");
        p.expose_provenance()
    })
}

pub(crate) fn heap_base() -> usize {
    static AT: OnceLock<usize> = OnceLock::new();
    block(&AT, PAGES * PAGE)
}

pub(crate) fn slot(addr: usize) -> usize {
    static AT: OnceLock<usize> = OnceLock::new();
    let map = block(&AT, PAGES * size_of::<usize>());
    map + (addr - heap_base()) / PAGE * size_of::<usize>()
}

pub(crate) fn permanent(bytes: usize) -> Option<*mut u8> {
    let layout = Layout::from_size_align(bytes, 4096).ok()?;
    // SAFETY: not of size 0.
    let p = unsafe { alloc(layout) };
    p.expose_provenance();
    (!p.is_null()).then_some(p)
}

pub(crate) fn possible(pages: usize) -> bool {
    pages <= PAGES
}

pub(crate) fn allowed(pages: usize) -> bool {
    BACKED.load(Ordering::Relaxed) + pages <= LIMIT.load(Ordering::Relaxed)
}

pub(crate) fn back(page: usize, pages: usize) -> usize {
    let before = BACKED.fetch_add(pages, Ordering::Relaxed);
    let got = LIMIT.load(Ordering::Relaxed).saturating_sub(before).min(pages);
    BACKED.fetch_sub(pages - got, Ordering::Relaxed);
    let p: *mut u8 = std::ptr::with_exposed_provenance_mut(heap_base() + page * PAGE);
    // SAFETY: the pages are the caller's part of the block.
    unsafe { p.write_bytes(0, got * PAGE) };
    got
}

pub(crate) fn back_map(page: usize, pages: usize) -> bool {
    let p: *mut usize = std::ptr::with_exposed_provenance_mut(slot(heap_base() + page * PAGE));
    // SAFETY: the arena's part of the block.
    unsafe { p.write_bytes(0, pages) };
    true
}

pub(crate) fn unback(runs: &[(usize, usize)]) {
    for &(page, n) in runs {
        let p: *mut u8 = std::ptr::with_exposed_provenance_mut(heap_base() + page * PAGE);
        // SAFETY: the pages are the caller's part of the block. Whoever reads them sees that they are gone.
        unsafe { p.write_bytes(0xee, n * PAGE) };
        BACKED.fetch_sub(n, Ordering::Relaxed);
    }
}

//! The scavenger: free heap pages give their frames back.
//!
//! A free page keeps its frame, so that reuse is cheap. Pages that stayed free for a whole period are *old*; the background
//! scavenger, a goroutine of the runtime, releases up to half of the idle ones each period, old ones only. `free_os_memory` releases everything at once.
//!
//! One step: under the page heap's lock take a few runs of idle pages out of the bitmap, as an allocation would; then, without
//! the lock, unmap them, one TLB shootdown, free the frames; then put the pages back, marked released. In between they
//! are merely not available.
//!
//! When the background part runs is told in `sched::scavenger`.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::{backing, mheap, pages::PageAlloc};

/// Runs per shootdown, pages per run: what `backing::unback` takes.
const RUNS: usize = 4;
const RUN_PAGES: usize = 64;

/// Releases up to `most` idle pages; with `old` only those that were idle at the end of the last aging. Returns how many.
/// A goroutine's work: no lock held, interrupts on.
pub(crate) fn pass(most: usize, old: bool) -> usize {
    super::need_stack();
    let mut done = 0;
    let mut from = 0;
    while done < most {
        let mut runs = [(0, 0); RUNS];
        let mut n = 0;
        {
            let mut h = mheap::lock();
            let end = mheap::grown_pages();
            while n < RUNS && done < most {
                let Some((page, len)) = h.pages.take_backed(from, end, RUN_PAGES.min(most - done), old) else {
                    break;
                };
                runs[n] = (page, len);
                mheap::TRANSIT.fetch_add(len, Relaxed);
                n += 1;
                done += len;
                from = page + len;
            }
        }
        if n == 0 {
            break;
        }
        backing::unback(&runs[..n]);
        let mut h = mheap::lock();
        for &(page, len) in &runs[..n] {
            h.pages.set_released(page, len, true);
            h.pages.release(page, len);
            mheap::TRANSIT.fetch_sub(len, Relaxed);
        }
        idle_is(&h.pages);
    }
    done
}

/// Idle pages with frames, as of the last time some were freed or released. A hint: pages taken since still count.
static IDLE: AtomicUsize = AtomicUsize::new(0);
/// This many idle pages (1 MiB) are left alone.
const LEFT_ALONE: usize = 128;

/// Updates the hint; by the holder of the page heap's lock.
pub(super) fn idle_is(pages: &PageAlloc) {
    let (free, released) = pages.free_count();
    IDLE.store(free - released, Relaxed);
}

/// Is there something for the background scavenger to do?
#[cfg(target_os = "none")]
pub(crate) fn wanted() -> bool {
    IDLE.load(Relaxed) > LEFT_ALONE
}

/// One round of the background scavenger: half of what is idle, if it is old.
#[cfg(target_os = "none")]
pub(crate) fn round() {
    pass((IDLE.load(Relaxed) / 2).max(LEFT_ALONE), true);
    let mut h = mheap::lock();
    h.pages.age(mheap::grown_pages());
    idle_is(&h.pages);
}

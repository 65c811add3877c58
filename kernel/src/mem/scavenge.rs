//! The scavenger: free heap pages give their frames back.
//!
//! A free page keeps its frame, so that reuse is cheap. Pages that stayed free for a whole period are *old*; the background
//! scavenger, a goroutine of the runtime, releases up to half of the idle ones each period, old ones only. `free_os_memory` releases everything at once.
//!
//! One step: under the page heap's lock take a few runs of idle pages out of the bitmap, as an allocation would; then, without
//! the lock, unmap them, one TLB shootdown, free the frames; then put the pages back, marked released. In between they
//! are merely not available.
//!
//! `scavenge=off` on the command line turns the background part off; `scavenge=MS` sets its period (default 1000). With
//! nothing to do the period doubles up to eight seconds, so an idle machine sleeps well.
#![forbid(unsafe_code)]

use core::sync::atomic::Ordering::Relaxed;

use super::{backing, mheap};

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
    }
    done
}

/// The background scavenger's loop.
#[cfg(target_os = "none")]
pub(crate) fn start() {
    use core::time::Duration;

    const SHARE: usize = 2;
    const LONGEST_MS: u64 = 8_000;
    const AT_LEAST: usize = 128;
    let first = match crate::opts::get("scavenge") {
        Some("off" | "0") => return,
        _ => crate::opts::get_u64("scavenge").unwrap_or(1000),
    };
    crate::sched::go_system("scavenger", move || {
        let mut ms = first;
        loop {
            crate::time::sleep_as(Duration::from_millis(ms), true);
            let idle = {
                let h = mheap::lock();
                let (free, released) = h.pages.free_count();
                free - released
            };
            let done = pass((idle / SHARE).max(AT_LEAST), true);
            mheap::lock().pages.age(mheap::grown_pages());
            ms = if done > 0 { first } else { (ms * 2).min(LONGEST_MS.max(first)) };
        }
    });
}

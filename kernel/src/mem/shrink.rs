//! Stack pages that nobody needs go back to the frame allocator.
//!
//! Three kinds, each with somebody who may take them:
//!
//! | pages | taken by | why nobody misses them |
//! | --- | --- | --- |
//! | of dead stacks | [`dead`]; with no frame left g0, as a goroutine ends | the Gs are off the free list, free big slots off theirs |
//! | below the running goroutine's stack pointer | itself, far below ([`unmap`]), or g0 ([`on_g0`]) | it is not there |
//! | below a parked goroutine's stack pointer | [`parked`] | see below |
//!
//! Each takes entries out of the page table, up to 512 at a time, has every core forget them (one shootdown for all),
//! and only then frees the frames. No lock is held and the world does not stop: with a million goroutines this
//! is long, but others run all the while.
//!
//! **Parked goroutines.** What lies below a stack pointer that `switch` saved is nobody's: there is no red zone (the
//! target has none), handlers have stacks of their own, wakers write only into live frames, above it. The page the
//! stack pointer is on stays, so that going on takes no fault. The danger is that the goroutine is woken meanwhile:
//! a core that still has a translation would write to a frame that is about to be freed. Stopping the world, or
//! a claim that makes the waker wait, would keep it from running; instead it may run, and we find out:
//!
//! 1. Note how often it has run (`runs`), see that it is Waiting, then *mark* its unused pages: PRESENT goes, the
//!    frame's number stays. Whoever faults on a marked page just sets PRESENT again and has lost nothing.
//! 2. Shoot down. From here on no core has a translation of a page that is still marked.
//! 3. If it is still Waiting and has not run since 1, its marked pages hold nothing: exchange mark for 0, free the
//!    frame. Else put PRESENT back.
//!
//! *Why a run is not missed.* Say it ran on core C between 1 and 3. If it did so before C answered the shootdown, `runs`
//! went up on C before the answer, and we read it after the answer (Release, Acquire). If later, C had no translation
//! left: a touch of a marked page faults, and either the fault's exchange comes first, then ours fails and the page
//! stays; or ours does, then it gets a zeroed page where there was nothing. *Why marking is harmless* even
//! if what we read in 1 was stale, and the page by now belongs to a goroutine that lives: it is only marked, and in 3 the
//! count has changed. *Why exchanging a mark for 0 frees a frame once:* who takes pages for other reasons (the table
//! above) takes marked ones, too, and then our exchange fails. `runs` has 32 bits: it would have to wrap within a batch.

use core::sync::atomic::{AtomicU64, Ordering};

use super::{
    frames,
    stack::{self, PAGE, PAGES},
    stack_big,
};
use crate::{
    arch::{
        self,
        x86_64::{
            paging::{self, ADDR, PRESENT},
            tlb,
        },
    },
    sched::{
        dead::Batch,
        parked::{Parked, for_each_parked},
    },
};

/// Most pages for one shootdown.
const BATCH: usize = 512;

/// Frames out of the page tables, which other cores may still know.
struct Taken<const N: usize>(heapless::Vec<u64, N>);

impl<const N: usize> Taken<N> {
    fn new() -> Self {
        Taken(heapless::Vec::new())
    }

    /// Takes every page from `low` to `high`, freeing as room runs out; returns how many it freed.
    fn take(&mut self, low: usize, high: usize) -> usize {
        let mut freed = 0;
        for pte in entries(low, high) {
            if pte.load(Ordering::Relaxed) == 0 {
                continue;
            }
            // Marked ones, too: whoever marked it finds out.
            let old = pte.swap(0, Ordering::AcqRel);
            if old != 0 {
                let _ = self.0.push(old & ADDR); // there is room: see below
            }
            if self.0.is_full() {
                freed += self.free();
            }
        }
        freed
    }

    /// Has every core forget them and frees them; returns how many.
    #[inline(never)]
    fn free(&mut self) -> usize {
        let n = self.0.len();
        if n > 0 {
            tlb::shootdown_all();
            PAGES.fetch_sub(n as u64, Ordering::Relaxed);
            frames::free_many(&self.0);
            self.0.clear();
        }
        n
    }
}

/// The page-table entries of a part of a slot; where there is no table there are no pages.
fn entries(low: usize, high: usize) -> impl Iterator<Item = &'static AtomicU64> {
    const TABLE: usize = 512 * PAGE;
    let mut at = low;
    let mut pte: *const AtomicU64 = core::ptr::null();
    core::iter::from_fn(move || {
        while at < high {
            if pte.is_null() || at.is_multiple_of(TABLE) {
                pte = paging::leaf_pte(at);
            }
            if pte.is_null() {
                at = (at + 1).next_multiple_of(TABLE);
                continue;
            }
            // SAFETY: an entry of a leaf table; tables are never freed.
            let entry = unsafe { &*pte };
            at += PAGE;
            // The last step may leave the table; then the pointer is looked up again before it is used.
            pte = pte.wrapping_add(1);
            return Some(entry);
        }
        None
    })
}

/// Unmaps and frees what is mapped from `low` to `high`: a part of a stack that nobody uses, or at least 16 KiB below
/// the running goroutine's own stack pointer. Small frames, because it may run low on the stack. No lock held,
/// interrupts on.
pub(crate) fn unmap(low: usize, high: usize) -> usize {
    let mut taken = Taken::<64>::new();
    taken.take(low, high) + taken.free()
}

/// [`unmap`] for g0, about the stack of a goroutine that has just left it. Interrupts are off there, and a shootdown needs
/// them on: handlers that find g0 only leave notes for it, as in its halt.
pub(crate) fn on_g0(low: usize, high: usize) {
    arch::irq_on();
    unmap(low, high);
    arch::irq_off();
}

/// Gives back the pages of dead stacks; returns how many. From a goroutine, no lock held.
pub(crate) fn dead() -> usize {
    let mut taken = Taken::<BATCH>::new();
    let mut freed = 0;
    let mut done = Batch::default();
    loop {
        let mut batch = Batch::take(64);
        if batch.is_empty() {
            break;
        }
        for s in batch.stacks() {
            freed += taken.take(s.floor(), s.top());
        }
        freed += taken.free();
        done.append(&mut batch);
    }
    done.put_back();
    stack_big::for_each_free(|low, high| freed += taken.take(low, high) + taken.free());
    freed
}

/// A marked page.
struct Marked {
    pte: &'static AtomicU64,
    /// The entry as marked.
    entry: u64,
    of: Parked,
}

/// Gives back the unused pages of parked goroutines' stacks; returns how many. From a goroutine, no lock held.
pub(crate) fn parked() -> usize {
    let mut batch: heapless::Vec<Marked, BATCH> = heapless::Vec::new();
    let mut freed = 0;
    for_each_parked(|of| {
        let Some(s) = stack::find(of.sp()) else { return };
        for pte in entries(s.floor(), of.sp() & !(PAGE - 1)) {
            if pte.load(Ordering::Relaxed) & PRESENT == 0 {
                continue;
            }
            let old = pte.fetch_and(!PRESENT, Ordering::AcqRel);
            if old & PRESENT == 0 {
                continue; // somebody was faster
            }
            let entry = old & !PRESENT;
            let _ = batch.push(Marked { pte, entry, of }); // there is room: see below
            if batch.is_full() {
                freed += finish(&mut batch);
            }
        }
    });
    freed + finish(&mut batch)
}

/// Steps 2 and 3 for all that was marked.
#[inline(never)]
fn finish(batch: &mut heapless::Vec<Marked, BATCH>) -> usize {
    if batch.is_empty() {
        return 0;
    }
    tlb::shootdown_all();
    let mut frames = heapless::Vec::<u64, BATCH>::new();
    for m in batch.iter() {
        let to = if m.of.still() { 0 } else { m.entry | PRESENT };
        let done = m
            .pte
            .compare_exchange(m.entry, to, Ordering::AcqRel, Ordering::Relaxed);
        if to == 0 && done.is_ok() {
            let _ = frames.push(m.entry & ADDR); // as long as the batch
        }
    }
    batch.clear();
    PAGES.fetch_sub(frames.len() as u64, Ordering::Relaxed);
    frames::free_many(&frames);
    frames.len()
}

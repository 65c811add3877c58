//! The page heap: spans out of free pages, under one lock, with a small stock of pages at each P.
//!
//! ```text
//!  HEAP_REGION  ┌── arena 0 ──┬── arena 1 ──┬ …          64 MiB each, of address space
//!               │ span│span│ free    │ span │
//!  SPAN_MAP     │ → s │ → s│ null    │ → s  │            a pointer per 8 KiB page
//! ```
//! The heap grows by whole arenas, which costs their part of the map (64 KiB) and nothing else: an arena's pages start
//! *released*, with no frame behind them, and get frames when a span is made of them ([`backing`]).
//!
//! A span of up to 16 pages comes out of the P's [`Stock`] without the lock: 64 neighbouring pages at most, taken at once from
//! the lowest place that has any. Bigger ones, and everything that is given back, take the lock.
//!
//! Frames are found and zeroed outside the lock. While that goes on the pages are nobody's in the bitmap and not yet in the
//! map, so no one else can come across them.
//!
//! **Accounting identity**, whenever the world stands: `pages grown = pages in spans + pages in stocks + pages free in the
//! bitmap + pages in transit`; all but the first are *idle*, and a part of them is released. `stats.rs` gathers both sides.

use core::{
    ptr,
    sync::atomic::{
        AtomicUsize,
        Ordering::{self, Relaxed},
    },
};

use super::{
    backing,
    classes::{PAGE, TABLE},
    owner::NOT_SMALL,
    pages::{self, CHUNK, Chunk, PageAlloc, Summary, Word},
    span::{self, DEAD, LARGE, List, NOBODY, Span},
};
use crate::lock::{PreemptGuard, Rank, SpinGuard, SpinLock};

/// Heap pages of an arena.
pub(crate) const ARENA: usize = (64 << 20) / PAGE;
/// Spans up to this many pages come from a stock.
const FROM_STOCK: usize = 16;
/// Span records fetched at once.
const RECORDS: usize = 8;

/// What the lock guards.
pub(crate) struct Inner {
    pub(crate) pages: PageAlloc,
    /// Records out of use.
    records: List,
    /// Records made.
    pub(crate) made: usize,
}

static HEAP: SpinLock<Inner> = SpinLock::new(
    Rank::Heap,
    Inner {
        pages: PageAlloc::empty(),
        records: List::new(),
        made: 0,
    },
);
/// Pages of all arenas. Written under the lock.
static GROWN: AtomicUsize = AtomicUsize::new(0);
/// Pages taken out of the bitmap that are not a span yet, or not free again: their frames are being found or given back.
/// Changed under the lock, or with preemption off together with what makes them a span; so a stopped world sees them
/// in exactly one place.
pub(crate) static TRANSIT: AtomicUsize = AtomicUsize::new(0);
/// Pages in small spans, in large spans.
pub(crate) static IN_USE: [AtomicUsize; 2] = [AtomicUsize::new(0), AtomicUsize::new(0)];

/// Pages of the arenas there are.
pub(crate) fn grown_pages() -> usize {
    GROWN.load(Relaxed)
}

/// The page heap's lock.
pub(crate) fn lock() -> SpinGuard<'static, Inner> {
    HEAP.lock()
}

/// Prepares a heap of at most `capacity` pages. Once.
///
/// # Panics
/// Without memory for the bitmap (about 200 bytes per 4 MiB).
pub(crate) fn init(capacity: usize) {
    let chunks = capacity.next_multiple_of(ARENA) / CHUNK;
    let summaries = pages::summaries_for(chunks);
    let bytes = chunks * size_of::<Chunk>() + summaries * size_of::<Summary>();
    let Some(at) = backing::permanent(bytes) else {
        panic!("no memory for the heap's page bitmap: {} KiB", bytes / 1024);
    };
    let at: *mut Chunk = at.cast();
    // SAFETY: fresh memory, ours for ever, large enough for both; zero is a valid value of either.
    unsafe { ptr::write_bytes(at.cast::<u8>(), 0, bytes) };
    // SAFETY: as above.
    let c = unsafe { core::slice::from_raw_parts_mut(at, chunks) };
    // SAFETY: behind the chunks; a Chunk's alignment is more than a Summary's.
    let s = unsafe { core::slice::from_raw_parts_mut(at.wrapping_add(chunks).cast::<Summary>(), summaries) };
    HEAP.lock().pages = PageAlloc::new(c, s);
}

impl Inner {
    /// Adds arenas for `n` more pages.
    fn grow(&mut self, n: usize) -> bool {
        let (from, n) = (grown_pages(), n.next_multiple_of(ARENA));
        if from + n > self.pages.capacity() || !backing::back_map(from, n) {
            return false;
        }
        // SAFETY: the new arenas' part of the map exists, and nobody has pages there.
        unsafe { span::set_map(backing::heap_base() + from * PAGE, n, &NOBODY) };
        GROWN.store(from + n, Ordering::Release);
        self.pages.release(from, n);
        true
    }

    /// Takes `n` pages for which there are frames.
    fn take(&mut self, n: usize, align: usize) -> Option<usize> {
        if !backing::possible(n) || align > self.pages.capacity() {
            return None;
        }
        let page = self.place(n, align)?;
        if backing::allowed(self.pages.released_in(page, n)) {
            return Some(page);
        }
        self.pages.release(page, n);
        self.pages.take_run_backed(n, align, grown_pages())
    }

    fn place(&mut self, n: usize, align: usize) -> Option<usize> {
        self.pages.take(n, align).or_else(|| {
            // An arena begins at a multiple of its size, bigger alignments need room to move.
            let more = if align > ARENA { n + align } else { n + align - 1 };
            if self.grow(more) { self.pages.take(n, align) } else { None }
        })
    }

    /// A record out of use; makes a slab of them if there is none.
    fn record(&mut self) -> Option<&'static Span> {
        if self.records.len() == 0 {
            const SLAB: usize = 32;
            let slab: *mut Span = backing::permanent(SLAB * size_of::<Span>())?.cast();
            for i in 0..SLAB {
                // SAFETY: the i-th record of fresh memory that stays for ever.
                unsafe { slab.wrapping_add(i).write(Span::dead()) };
                // SAFETY: initialised above.
                self.records.push(unsafe { &*slab.wrapping_add(i) });
            }
            self.made += SLAB;
        }
        self.records.pop()
    }
}

/// A P's pages and records: what [`alloc_small`] works on without the lock.
pub(crate) struct Stock {
    pub(crate) word: Word,
    records: List,
}

impl Stock {
    pub(crate) const fn new() -> Stock {
        Stock {
            word: Word {
                base: 0,
                free: 0,
                released: 0,
            },
            records: List::new(),
        }
    }

    /// Takes the lowest run of `n` pages; also tells which of them (bit 0 the first) have no frame.
    fn take(&mut self, n: usize) -> Option<(usize, u64)> {
        // Bit i survives if bits i.. i + n are all set.
        let mut runs = self.word.free;
        for k in 1..n {
            runs &= self.word.free >> k;
        }
        if runs == 0 {
            return None;
        }
        let at = runs.trailing_zeros();
        let m = (u64::MAX >> (64 - n)) << at;
        self.word.free &= !m;
        let released = (self.word.released & m) >> at;
        self.word.released &= !m;
        Some((self.word.base + at as usize, released))
    }

    fn put(&mut self, page: usize, n: usize, released: u64) {
        let at = page - self.word.base;
        self.word.free |= (u64::MAX >> (64 - n)) << at;
        self.word.released |= released << at;
    }

    /// Gives everything back.
    pub(crate) fn flush(&mut self) {
        let mut h = HEAP.lock();
        if self.word.free != 0 {
            h.pages.put_word(self.word);
        }
        self.word = Word::default();
        while let Some(r) = self.records.pop() {
            h.records.push(r);
        }
    }
}

/// Runs of ones in `bits`: position and length.
fn runs(mut bits: u64) -> impl Iterator<Item = (usize, usize)> {
    core::iter::from_fn(move || {
        if bits == 0 {
            return None;
        }
        let at = bits.trailing_zeros();
        let n = (bits >> at).trailing_ones();
        bits &= !((u64::MAX >> (64 - n)) << at);
        Some((at as usize, n as usize))
    })
}

/// A span for objects of `class`, owned by `tag`. Preemption is off; `stock` is the caller's.
pub(crate) fn alloc_small(stock: &mut Stock, class: usize, tag: u16) -> Option<&'static Span> {
    let n = TABLE[class].pages as usize;
    if n <= FROM_STOCK && stock.word.free == 0 {
        let mut h = HEAP.lock();
        let word = match h.pages.take_word() {
            Some(w) => Some(w),
            None if h.grow(1) => h.pages.take_word(),
            None => None,
        };
        stock.word = word?;
    }
    if stock.records.len() == 0 {
        let mut h = HEAP.lock();
        for _ in 0..RECORDS {
            let Some(r) = h.record() else { break };
            stock.records.push(r);
        }
    }
    let record = stock.records.pop()?;
    let from_stock = if n <= FROM_STOCK { stock.take(n) } else { None };
    let mut transit = 0;
    let got = if let Some((page, mut released)) = from_stock {
        let fresh = released.count_ones() as usize == n;
        let all = runs(released).all(|(at, len)| {
            let got = backing::back(page + at, len);
            if got > 0 {
                released &= !((u64::MAX >> (64 - got)) << at);
            }
            got == len
        });
        if !all {
            stock.put(page, n, released);
        }
        all.then_some((page, fresh))
    } else {
        transit = n;
        take_backed(n, 1)
    };
    let Some((page, fresh)) = got else {
        stock.records.push(record);
        return None;
    };
    publish(record, page, n, class as u8, fresh);
    record.owner.reset(tag);
    IN_USE[0].fetch_add(n, Relaxed);
    TRANSIT.fetch_sub(transit, Relaxed);
    Some(record)
}

/// `n` pages with frames behind them, and whether all of those are fresh. They are in [`TRANSIT`].
fn take_backed(n: usize, align: usize) -> Option<(usize, bool)> {
    let mut h = HEAP.lock();
    let page = h.take(n, align)?;
    TRANSIT.fetch_add(n, Relaxed);
    drop(h);
    Some((page, back_all(page, n)? == n))
}

/// Finds frames for those of `n` pages in transit that have none; how many that were. Without memory all of them are free
/// again.
fn back_all(page: usize, n: usize) -> Option<usize> {
    let mut fresh = 0;
    let mut at = page;
    loop {
        let mut h = HEAP.lock();
        let Some((from, len)) = h.pages.next_released(at, page + n) else {
            return Some(fresh);
        };
        h.pages.set_released(from, len, false);
        drop(h);
        let got = backing::back(from, len);
        if got < len {
            let mut h = HEAP.lock();
            h.pages.set_released(from + got, len - got, true);
            h.pages.release(page, n);
            TRANSIT.fetch_sub(n, Relaxed);
            return None;
        }
        fresh += len;
        at = from + len;
    }
}

/// Fills in a record and the map. The pages and the record are the caller's.
fn publish(s: &'static Span, page: usize, n: usize, class: u8, fresh: bool) {
    let base = backing::heap_base() + page * PAGE;
    s.base.store(base, Relaxed);
    s.pages.store(n as u32, Relaxed);
    s.class.store(class, Relaxed);
    s.needs_zero.store(u8::from(!fresh), Relaxed);
    s.free.store(ptr::null_mut(), Relaxed);
    s.used.store(0, Relaxed);
    s.fresh.store(0, Relaxed);
    // SAFETY: the pages are ours, and come from arenas that exist.
    unsafe { span::set_map(base, n, s) };
}

/// A span of `n` pages for one allocation, its first page a multiple of `align`.
pub(crate) fn alloc_large(n: usize, align: usize) -> Option<&'static Span> {
    let record = HEAP.lock().record()?;
    let Some((page, fresh)) = take_backed(n, align) else {
        HEAP.lock().records.push(record);
        return None;
    };
    let _here = PreemptGuard::new();
    publish(record, page, n, LARGE, fresh);
    record.owner.reset(NOT_SMALL);
    IN_USE[1].fetch_add(n, Relaxed);
    TRANSIT.fetch_sub(n, Relaxed);
    Some(record)
}

/// Gives back a span that nobody uses: its pages coalesce with free neighbours.
pub(crate) fn free(s: &'static Span) {
    let _here = PreemptGuard::new();
    let (page, n) = ((s.base() - backing::heap_base()) / PAGE, s.pages());
    IN_USE[usize::from(s.class() == LARGE)].fetch_sub(n, Relaxed);
    s.owner.reset(NOT_SMALL);
    s.class.store(DEAD, Relaxed);
    // SAFETY: the pages are ours until `release` below.
    unsafe { span::set_map(s.base(), n, &NOBODY) };
    let mut h = HEAP.lock();
    h.pages.release(page, n);
    super::scavenge::idle_is(&h.pages);
    h.records.push(s);
}

/// Changes the size of a large span in place; false if there is no room behind it, or no memory.
pub(crate) fn resize_large(s: &'static Span, n: usize) -> bool {
    let (page, old) = ((s.base() - backing::heap_base()) / PAGE, s.pages());
    if n > old {
        let (from, more) = (page + old, n - old);
        {
            let mut h = HEAP.lock();
            if page + n > grown_pages() || !h.pages.take_at(from, more) {
                return false;
            }
            TRANSIT.fetch_add(more, Relaxed);
        }
        if back_all(from, more).is_none() {
            return false;
        }
    }
    let _here = PreemptGuard::new();
    if n > old {
        // SAFETY: the pages are ours since `take_at`.
        unsafe { span::set_map(s.base() + old * PAGE, n - old, s) };
        IN_USE[1].fetch_add(n - old, Relaxed);
        TRANSIT.fetch_sub(n - old, Relaxed);
    } else if n < old {
        // SAFETY: the tail is ours until it is released.
        unsafe { span::set_map(s.base() + n * PAGE, old - n, &NOBODY) };
        s.pages.store(n as u32, Relaxed); // before others may have the tail
        IN_USE[1].fetch_sub(old - n, Relaxed);
        HEAP.lock().pages.release(page + n, old - n);
    }
    s.pages.store(n as u32, Relaxed);
    true
}

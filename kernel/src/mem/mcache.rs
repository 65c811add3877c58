//! mcache: what a P allocates from without asking anyone.
//!
//! For each size class a P has one *current* span, whose local free list serves allocations, and a short *partial* list of
//! spans it owns because it freed objects in them. The core that holds the P reaches the cache through one per-core pointer,
//! with preemption off: no lock, no atomic read-modify-write on either fast path.
//!
//! ```text
//!  allocate:  current span's list ── empty ─► carve fresh objects ─► take the remote list ─► give the span up as FULL
//!                                                 └► next: own partial list ─► mcentral ─► mheap
//!  free:      span is mine? push ── used = 0 ─► back to mheap (unless the list is very short)
//!             else remote: owner.rs; adopted spans enter the partial list, a list too long gives its oldest to mcentral
//! ```
//! The release rule: a partial list holds at most [`KEEP`] bytes of spans, but two spans at least; a P that is switched off (or a
//! caller of `free_os_memory`) flushes everything ([`MCache::flush`]).
//!
//! **Without a P.** During boot, inside `blocking`, and with `memdebug`, a core's pointer shows [`NO_CACHE`], a cache that is
//! always empty and owns nothing. So both fast paths miss and the slow path, which looks closer, works on [`SHARED_CACHE`]
//! under its lock. No null test is needed on the fast path.
//!
//! Counters: `mallocs` is counted per class here; frees follow from it, `frees = mallocs − objects live in spans`.

use core::{
    cell::UnsafeCell,
    ptr,
    sync::atomic::Ordering::Relaxed,
};

use super::{
    classes::{CLASSES, PAGE, TABLE},
    mcentral,
    mheap::{self, Stock},
    owner::{Freed, SHARED},
    profile,
    span::{List, NOBODY, PIN, Span},
};
use crate::{
    arch::MAX_CORES,
    lock::{Rank, SpinLock},
};

/// Bytes of partial spans a cache keeps per class.
const KEEP: usize = 64 * 1024;
/// And never fewer than this many: one that is being emptied, and an empty one to allocate from meanwhile.
const LEAST: usize = 2;
/// Bytes carved off a fresh span at a time, at least one object.
const CARVE: usize = 2048;


/// One P's cache.
#[repr(C, align(128))]
pub(crate) struct MCache {
    current: [&'static Span; CLASSES],
    /// Objects handed out so far.
    pub(crate) mallocs: [u64; CLASSES],
    /// Bytes until the next allocation is sampled.
    pub(crate) until_sample: i64,
    tag: u16,
    partial: [List; CLASSES],
    pub(crate) stock: Stock,
}
// SAFETY: the pointers are to records that live for ever; a cache has one user at a time (below).
unsafe impl Send for MCache {}

impl MCache {
    const fn new(tag: u16) -> MCache {
        MCache {
            current: [&NOBODY; CLASSES],
            mallocs: [0; CLASSES],
            until_sample: profile::RATE,
            tag,
            partial: [const { List::new() }; CLASSES],
            stock: Stock::new(),
        }
    }
}

#[repr(transparent)]
pub(crate) struct Slot(UnsafeCell<MCache>);
// SAFETY: cache i is used by the core that holds P i, with preemption off, or by whoever stopped the world; `NO_CACHE` is
// only read.
unsafe impl Sync for Slot {}

/// A P's cache has tag `index + 1`.
static CACHES: [Slot; MAX_CORES] = {
    let mut all = [const { Slot(UnsafeCell::new(MCache::new(0))) }; MAX_CORES];
    let mut i = 0;
    while i < MAX_CORES {
        all[i] = Slot(UnsafeCell::new(MCache::new(i as u16 + 1)));
        i += 1;
    }
    all
};
/// Owns nothing and never will: no span has its tag.
static NO_CACHE: Slot = Slot(UnsafeCell::new(MCache::new(0x3fff)));
pub(crate) static SHARED_CACHE: SpinLock<MCache> = SpinLock::new(Rank::Cache, MCache::new(SHARED));

/// What a core that holds P `id` should have as its pointer.
pub(crate) fn for_p(id: usize) -> *mut MCache {
    CACHES[id].0.get()
}

/// What a core without a P should have.
pub(crate) fn none() -> *mut MCache {
    NO_CACHE.0.get()
}

/// Pops an object of `class` (null if it takes more than that); also says whether the caller has to look closer: there is no
/// object, or a sample is due.
///
/// # Safety
/// 1. `mc` is this core's pointer, and preemption is off.
#[inline(always)]
pub(crate) unsafe fn pop(mc: *mut MCache, class: usize, size: usize) -> (*mut u8, bool) {
    // SAFETY: 1.: nobody else uses the cache now.
    let mc = unsafe { &mut *mc };
    // SAFETY: `class` is below CLASSES: it comes from the class table.
    let span = unsafe { *mc.current.get_unchecked(class) };
    // SAFETY: a current span is ours; of `NOBODY`, which is nobody's, nothing can be popped.
    let o = unsafe { span.pop() };
    if o.is_null() {
        return (o, true);
    }
    // SAFETY: as above.
    unsafe { *mc.mallocs.get_unchecked_mut(class) += 1 };
    mc.until_sample -= size as i64;
    (o, mc.until_sample < 0)
}

/// What became of [`push`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "only `Done` is the end of it"]
pub(crate) enum Push {
    /// The object is on its span's list.
    Done,
    /// That, and the span is empty: [`MCache::retire`] it.
    Last,
    /// Nothing happened: the cache does not own the span, or there is a sampled object in it.
    NotOurs,
}

/// Pushes `o` onto its span's list if this cache owns the span.
///
/// # Safety
/// 1. As for [`pop`]. 2. `o` is a live object of `s`, given up by its user.
#[inline(always)]
pub(crate) unsafe fn push(mc: *mut MCache, s: &Span, o: *mut u8) -> Push {
    // SAFETY: 1.
    let tag = unsafe { (*mc).tag };
    if !s.owner.is_plainly(tag) {
        return Push::NotOurs;
    }
    // SAFETY: 2., and the span is ours.
    if unsafe { s.push(o) } { Push::Last } else { Push::Done }
}

/// Runs `f` on this core's cache, or on the shared one if the core has none. Preemption is off.
pub(crate) fn with<R>(f: impl FnOnce(&mut MCache) -> R) -> R {
    let mc = this();
    if mc == none() {
        return f(&mut SHARED_CACHE.lock());
    }
    // SAFETY: this core's own, preemption off.
    f(unsafe { &mut *mc })
}

/// This core's pointer. Preemption is off for as long as the result is used.
#[inline(always)]
pub(crate) fn this() -> *mut MCache {
    crate::arch::mcache().cast()
}

impl MCache {
    /// An object of `class`, and whether it is known to be zero. `None`: out of memory.
    #[cold]
    pub(crate) fn alloc_slow(&mut self, class: usize, size: usize) -> Option<(*mut u8, bool)> {
        loop {
            let s = self.current[class];
            // SAFETY: a current span is ours, and of `NOBODY` nothing can be popped.
            let mut o = unsafe { s.pop() };
            let mut zero = false;
            if o.is_null() && !ptr::eq(s, &NOBODY) {
                o = carve(s, class);
                zero = !o.is_null() && s.needs_zero.load(Relaxed) == 0;
            }
            if !o.is_null() {
                self.mallocs[class] += 1;
                self.until_sample -= size as i64;
                return Some((o, zero));
            }
            self.next_span(class)?;
        }
    }

    /// Makes sure that the current span has an object, if there is memory.
    fn next_span(&mut self, class: usize) -> Option<()> {
        let s = self.current[class];
        if !ptr::eq(s, &NOBODY) {
            loop {
                // SAFETY: the current span is ours.
                if unsafe { s.collect() } {
                    return Some(());
                }
                s.used.store(s.used(), Relaxed); // it is not current any more: nobody else looks at it yet
                if s.owner.give_up_full(self.tag) {
                    break;
                }
                s.used.store(s.used() | PIN, Relaxed);
            }
            self.current[class] = &NOBODY;
        }
        let s = self
            .worthy(class)
            .or_else(|| mcentral::take(class, self.tag))
            .or_else(|| mheap::alloc_small(&mut self.stock, class, self.tag))
            .or_else(|| self.partial[class].pop())?;
        // SAFETY: ours, from wherever it came.
        unsafe { s.collect() };
        s.used.store(s.used() | PIN, Relaxed);
        self.current[class] = s;
        Some(())
    }

    /// Takes a partial span that is worth the trip: a quarter of it is free, three quarters if it has few objects. A program
    /// that frees in the order it allocates would else be given, again and again, the span it is just emptying, one object at
    /// a time. The price is bounded: what is passed over is in use by a quarter at least, and the list is short.
    fn worthy(&mut self, class: usize) -> Option<&'static Span> {
        let n = TABLE[class].objects;
        let least = if n <= 16 { n * 3 / 4 } else { n / 4 };
        let s = self.partial[class].iter().find(|s| n - s.used() >= least)?;
        self.partial[class].remove(s);
        Some(s)
    }

    /// Frees `o`, an object of `s`, which is a small span.
    #[cold]
    pub(crate) fn free_slow(&mut self, s: &'static Span, o: *mut u8) {
        let class = usize::from(s.class());
        if s.owner.get().owner != self.tag {
            let index = s.index_of(o.addr()) as u16;
            let link = |head: u16| {
                let next = match head {
                    0 => ptr::null_mut(),
                    h => s.object(usize::from(h) - 1),
                };
                // SAFETY: the object is free and ours until the push succeeds.
                unsafe { o.cast::<*mut u8>().write(next) };
            };
            match s.owner.free(self.tag, index, link) {
                Freed::Pushed => return,
                Freed::Emptied => return mcentral::reap(s, class),
                Freed::Adopted => self.partial[class].push(s),
            }
        }
        // SAFETY: ours, now or before.
        if unsafe { s.push(o) } {
            self.retire(s);
        }
        self.trim(class);
    }

    /// A partial span of ours has become empty: keep it if there is at most one other, else give it back.
    #[cold]
    pub(crate) fn retire(&mut self, s: &'static Span) {
        let list = &mut self.partial[usize::from(s.class())];
        if list.len() > LEAST {
            list.remove(s);
            mheap::free(s);
        }
    }

    /// Gives the oldest partial span to mcentral while there are too many.
    fn trim(&mut self, class: usize) {
        let most = (KEEP / (TABLE[class].pages as usize * PAGE)).max(LEAST);
        while self.partial[class].len() > most {
            let Some(oldest) = self.partial[class].iter().last() else { return };
            self.partial[class].remove(oldest);
            give_away(oldest, class, self.tag);
        }
    }

    /// Gives back everything: spans to mcentral or mheap, pages to mheap. By its user, or with the world stopped.
    pub(crate) fn flush(&mut self) {
        for class in 0..CLASSES {
            let s = self.current[class];
            if !ptr::eq(s, &NOBODY) {
                s.used.store(s.used(), Relaxed);
                self.current[class] = &NOBODY;
                give_away(s, class, self.tag);
            }
            while let Some(s) = self.partial[class].pop() {
                give_away(s, class, self.tag);
            }
        }
        self.stock.flush();
    }

    /// Spans it owns in `class`, current and partial, for statistics.
    pub(crate) fn spans(&self, class: usize) -> usize {
        usize::from(!ptr::eq(self.current[class], &NOBODY)) + self.partial[class].len()
    }
}

/// A span that is on none of its owner's lists leaves it: to mheap if empty, to nobody if full, else to mcentral.
fn give_away(s: &'static Span, class: usize, tag: u16) {
    loop {
        // SAFETY: the caller owns it.
        unsafe { s.collect() };
        let has_free = !s.free.load(Relaxed).is_null() || s.fresh.load(Relaxed) < s.info().objects;
        if s.used() == 0 {
            return mheap::free(s);
        }
        let left = if has_free {
            mcentral::put(s, class, s.used())
        } else {
            s.owner.give_up_full(tag)
        };
        if left {
            return;
        }
        core::hint::spin_loop(); // others have freed objects meanwhile: look again
    }
}

/// Hands out the next never-used object of `s`, and lists the ones after it.
fn carve(s: &Span, class: usize) -> *mut u8 {
    let c = &TABLE[class];
    let first = s.fresh.load(Relaxed);
    let n = (CARVE as u32 / c.size).max(1).min(c.objects - first);
    if n == 0 {
        return ptr::null_mut();
    }
    let mut next = ptr::null_mut();
    for i in (first + 1..first + n).rev() {
        let o = s.object(i as usize);
        // SAFETY: nobody has this object; it is at least 8 bytes, aligned to 8.
        unsafe { o.cast::<*mut u8>().write(next) };
        next = o;
    }
    s.free.store(next, Relaxed);
    s.fresh.store(first + n, Relaxed);
    s.used.store(s.used.load(Relaxed) + 1, Relaxed);
    s.object(first as usize)
}

/// Every P's cache and the shared one.
///
/// # Safety
/// 1. The world is stopped: no core allocates.
pub(crate) unsafe fn for_each(f: impl FnMut(&mut MCache)) {
    // SAFETY: 1.
    unsafe { for_each_with(&mut SHARED_CACHE.lock(), f) };
}

/// [`for_each`] by who holds the shared one's lock.
///
/// # Safety
/// 1. As for [`for_each`].
pub(crate) unsafe fn for_each_with(shared: &mut MCache, mut f: impl FnMut(&mut MCache)) {
    for slot in &CACHES {
        // SAFETY: 1.
        f(unsafe { &mut *slot.0.get() });
    }
    f(shared);
}

/// Flushes the cache of P `id`.
///
/// # Safety
/// 1. No core holds the P, or the world is stopped.
pub(crate) unsafe fn flush(id: usize) {
    // SAFETY: 1.
    unsafe { &mut *CACHES[id].0.get() }.flush();
}


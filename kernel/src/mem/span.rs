//! Spans: runs of heap pages with one use, and the map from an address to its span.
//!
//! | kind | its pages hold | who frees |
//! | --- | --- | --- |
//! | `Small(class)` | objects of one size class | whoever frees the last object of it |
//! | `Large` | one allocation | its owner |
//! | `Dead` | nothing: the struct waits for its next use | – |
//!
//! A [`Span`] is a plain record in memory that is never given back, so a stale pointer to one may always be *read*; its
//! [`Owner`] word says whether what it says is meant. Objects not yet handed out since the span was made lie above `fresh`
//! and are not on any list: making a span touches none of its pages, and what lies above `fresh` is still zero if the
//! frames came fresh (`needs_zero` says no).
//!
//! **The map.** Heap pages lie in one region of address space, so the span of an address is one load:
//! `MAP[(address − BASE) / 8 KiB]`. The map is itself a region, mapped arena by arena (64 MiB of heap, 64 KiB of map).
//!
//! **For the collector** (its own issue): a span of a collected kind has allocation bits and mark bits, a pointer to each
//! is in the record; a class of collected spans comes with and without pointers (*noscan*). Rust's objects, all there is today,
//! are *manual*: their pages are roots as a whole, found through the map; page-table dirty bits of the region (4 KiB
//! pages throughout) tell which were written since they were scanned.

use core::{
    ptr,
    sync::atomic::{AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed},
};

use super::{
    backing::{self, heap_base},
    classes::{Class, PAGE, TABLE},
    owner::{NOT_SMALL, Owner},
};

/// `Span::class` of a span that is not cut into objects.
pub(crate) const LARGE: u8 = 0xfe;
/// `Span::class` of a record out of use.
pub(crate) const DEAD: u8 = 0xff;
/// Added to `used` while the span is somebody's current one, so that it does not count as empty.
pub(crate) const PIN: u32 = 1 << 31;

/// Stands in where there is no span: what the map says of free pages, and a cache of a class it has nothing of. There is
/// nothing on its lists and nobody owns it, so the fast paths need no test for null.
pub(crate) static NOBODY: Span = Span::dead();

/// A free object: the next one.
pub(crate) type Link = *mut u8;

/// One span. Fields below the line are its owner's (see `owner.rs`), atomics only so that statistics may look at them; all
/// accesses are relaxed and compile to plain moves.
#[repr(C, align(128))]
pub(crate) struct Span {
    pub(crate) owner: Owner,
    /// First byte.
    pub(crate) base: AtomicUsize,
    pub(crate) pages: AtomicU32,
    /// Size class, [`LARGE`] or [`DEAD`].
    pub(crate) class: AtomicU8,
    /// May memory above `fresh` (of a large span: anywhere) hold something else than zeroes?
    pub(crate) needs_zero: AtomicU8,
    /// Live objects of it that the heap profile knows. Changed under the profile's lock.
    pub(crate) samples: AtomicU32,
    /// The address of the only one of them; 0 if there are more, or have been.
    pub(crate) sampled: AtomicUsize,
    /// Bytes asked for, of a large span.
    pub(crate) size: AtomicUsize,
    /// Neighbours in a list: the owner's partial list, mcentral's, or the free records.
    pub(crate) next: AtomicPtr<Span>,
    pub(crate) prev: AtomicPtr<Span>,
    /// For the collector: which objects are allocated, which are marked. Null in manual spans.
    pub(crate) alloc_bits: AtomicPtr<AtomicU64>,
    pub(crate) mark_bits: AtomicPtr<AtomicU64>,
    // ---- the owner's
    /// Local free list.
    pub(crate) free: AtomicPtr<u8>,
    /// Objects handed out, those on the remote list included; [`PIN`] on top.
    pub(crate) used: AtomicU32,
    /// Objects below this index have been handed out, or listed, once.
    pub(crate) fresh: AtomicU32,
}

impl Span {
    pub(crate) const fn dead() -> Span {
        Span {
            owner: Owner::new(NOT_SMALL),
            base: AtomicUsize::new(0),
            pages: AtomicU32::new(0),
            class: AtomicU8::new(DEAD),
            needs_zero: AtomicU8::new(1),
            samples: AtomicU32::new(0),
            sampled: AtomicUsize::new(0),
            size: AtomicUsize::new(0),
            next: AtomicPtr::new(ptr::null_mut()),
            prev: AtomicPtr::new(ptr::null_mut()),
            alloc_bits: AtomicPtr::new(ptr::null_mut()),
            mark_bits: AtomicPtr::new(ptr::null_mut()),
            free: AtomicPtr::new(ptr::null_mut()),
            used: AtomicU32::new(0),
            fresh: AtomicU32::new(0),
        }
    }

    pub(crate) fn base(&self) -> usize {
        self.base.load(Relaxed)
    }
    pub(crate) fn pages(&self) -> usize {
        self.pages.load(Relaxed) as usize
    }
    pub(crate) fn bytes(&self) -> usize {
        self.pages() * PAGE
    }
    pub(crate) fn class(&self) -> u8 {
        self.class.load(Relaxed)
    }
    /// The class's figures; of a small span only.
    pub(crate) fn info(&self) -> &'static Class {
        &TABLE[usize::from(self.class())]
    }
    pub(crate) fn is_small(&self) -> bool {
        usize::from(self.class()) < TABLE.len()
    }
    /// Objects handed out.
    pub(crate) fn used(&self) -> u32 {
        self.used.load(Relaxed) & !PIN
    }

    /// The object with this index.
    pub(crate) fn object(&self, index: usize) -> *mut u8 {
        ptr::with_exposed_provenance_mut(self.base() + index * self.info().size as usize)
    }
    /// The index of the object at `addr`.
    pub(crate) fn index_of(&self, addr: usize) -> usize {
        (addr - self.base()) / self.info().size as usize
    }

    /// Pops the local free list.
    ///
    /// # Safety
    /// 1. The caller owns the span.
    #[inline(always)]
    pub(crate) unsafe fn pop(&self) -> *mut u8 {
        let o = self.free.load(Relaxed);
        if o.is_null() {
            return o;
        }
        // SAFETY: 1.: an object on the local list is free and starts with its link.
        self.free.store(unsafe { o.cast::<Link>().read() }, Relaxed);
        self.used.store(self.used.load(Relaxed) + 1, Relaxed);
        o
    }

    /// Pushes onto the local free list; true if that was the last object in use.
    ///
    /// # Safety
    /// 1. The caller owns the span, and `o` is an object of it that nobody uses.
    #[inline(always)]
    pub(crate) unsafe fn push(&self, o: *mut u8) -> bool {
        // SAFETY: 1.: the object is ours, at least 8 bytes and aligned to 8.
        unsafe { o.cast::<Link>().write(self.free.load(Relaxed)) };
        self.free.store(o, Relaxed);
        let used = self.used.load(Relaxed) - 1;
        self.used.store(used, Relaxed);
        used == 0
    }

    /// Moves the remote list to the local one, if there is any; true if so.
    ///
    /// # Safety
    /// 1. The caller owns the span.
    pub(crate) unsafe fn collect(&self) -> bool {
        let (head, n) = self.owner.take_remote();
        if n == 0 {
            return false;
        }
        let first = self.object(usize::from(head) - 1);
        let local = self.free.load(Relaxed);
        if !local.is_null() {
            let mut last = first;
            for _ in 1..n {
                // SAFETY: the list has n objects, all free and ours since `take_remote`.
                last = unsafe { last.cast::<Link>().read() };
            }
            // SAFETY: as above.
            unsafe { last.cast::<Link>().write(local) };
        }
        self.free.store(first, Relaxed);
        self.used.store(self.used.load(Relaxed) - u32::from(n), Relaxed);
        true
    }
}

/// The slot of the map for a heap address.
///
/// # Safety
/// 1. The address lies in an arena that exists.
#[inline(always)]
unsafe fn slot(addr: usize) -> &'static AtomicPtr<Span> {
    let slot: *const AtomicPtr<Span> = ptr::with_exposed_provenance(backing::slot(addr));
    // SAFETY: 1.: then its part of the map exists, too.
    unsafe { &*slot }
}

/// The span of a heap address; [`NOBODY`] if the page is free.
///
/// # Safety
/// 1. `addr` lies in an arena that exists: it is, or was, an allocation's.
#[inline(always)]
pub(crate) unsafe fn of(addr: *const u8) -> &'static Span {
    // SAFETY: 1. Relaxed: whoever got the address got it from its allocator, who wrote the slot before.
    let s = unsafe { slot(addr.addr()) }.load(Relaxed);
    // SAFETY: slots of existing arenas point to records, which live for ever.
    unsafe { &*s }
}

/// The span of any page of an arena that exists, `None` if the page is not in use.
pub(crate) fn at_page(page: usize) -> Option<&'static Span> {
    assert!(page < super::mheap::grown_pages(), "beyond the last arena");
    // SAFETY: 1. the arena exists.
    let s = unsafe { of(ptr::with_exposed_provenance(heap_base() + page * PAGE)) };
    (s.class() != DEAD).then_some(s)
}

/// Points the map's slots of `pages` pages from `base` at `span`.
///
/// # Safety
/// 1. The caller owns these pages, and their arena exists.
pub(crate) unsafe fn set_map(base: usize, pages: usize, span: &'static Span) {
    let span = ptr::from_ref(span).cast_mut();
    for i in 0..pages {
        // SAFETY: 1.
        unsafe { slot(base + i * PAGE) }.store(span, Relaxed);
    }
}

/// A doubly linked list of spans. Its owner (a cache, or a lock's holder) also owns the links of the spans on it.
pub(crate) struct List {
    head: *mut Span,
    len: usize,
}
// SAFETY: it only holds pointers to records that live for ever; the owner's rules are above.
unsafe impl Send for List {}

impl List {
    pub(crate) const fn new() -> List {
        List {
            head: ptr::null_mut(),
            len: 0,
        }
    }
    pub(crate) fn len(&self) -> usize {
        self.len
    }
    pub(crate) fn first(&self) -> Option<&'static Span> {
        // SAFETY: records live for ever.
        unsafe { self.head.as_ref() }
    }
    pub(crate) fn iter(&self) -> impl Iterator<Item = &'static Span> {
        // SAFETY: records live for ever, and the list does not change under its owner.
        core::iter::successors(self.first(), |s| unsafe { s.next.load(Relaxed).as_ref() })
    }
    pub(crate) fn push(&mut self, s: &'static Span) {
        s.prev.store(ptr::null_mut(), Relaxed);
        s.next.store(self.head, Relaxed);
        let raw = ptr::from_ref(s).cast_mut();
        if let Some(h) = self.first() {
            h.prev.store(raw, Relaxed);
        }
        self.head = raw;
        self.len += 1;
    }
    /// Removes a span that is on this list.
    pub(crate) fn remove(&mut self, s: &'static Span) {
        let (prev, next) = (s.prev.load(Relaxed), s.next.load(Relaxed));
        // SAFETY: neighbours on our list, or null.
        match unsafe { prev.as_ref() } {
            Some(p) => p.next.store(next, Relaxed),
            None => self.head = next,
        }
        // SAFETY: as above.
        if let Some(n) = unsafe { next.as_ref() } {
            n.prev.store(prev, Relaxed);
        }
        self.len -= 1;
    }
    pub(crate) fn pop(&mut self) -> Option<&'static Span> {
        let s = self.first()?;
        self.remove(s);
        Some(s)
    }
}

//! The frame allocator: 4 KiB frames of physical memory.
//!
//! Three levels, for two kinds of caller.
//!
//! 1. A [`Bitmap`] behind a spin lock: [`alloc`](fn@alloc), [`alloc_contig`], [`free`]. For everyone who may take a lock.
//! 2. A cache of 32 *zeroed* frames per core, which only its core touches, with interrupts off.
//! 3. A global lock-free list of zeroed frames (Treiber's stack), the reserve behind the caches.
//!
//! A page fault may hit code that holds any lock of the runtime below the heap, so the fault path uses 2
//! and 3 only ([`fault_pop`]); `schedule` tops them up ([`refill`]) with level 1's lock, on g0.
//!
//! **Why the fault path is lock-free.** Level 2 is an array and a length that belong to one core: the fault
//! handler runs there with interrupts off, `refill` runs on the same core's g0 with interrupts off and does
//! not touch lazily mapped memory, so neither sees the other half done. Level 3's head packs a frame number with a
//! 32-bit tag that every successful exchange raises: a pop that read `next` of a frame which was meanwhile
//! taken, used and put back finds another tag and tries again. Reading `next` of a frame that is already in use
//! by its new owner is harmless: frames are never unmapped from the direct map, and the value is thrown away
//! with the failed exchange. An exchange only fails because another core's succeeded.
//!
//! **Zeroing.** Frames are zeroed when they enter level 2 or 3 (the list's link is cleared again on the way
//! out), so a fault costs no 4 KiB write. [`alloc`](fn@alloc) returns them as they come; [`alloc_zeroed`] zeroes.
//!
//! **What is handed out.** All RAM of the boot map but: the kernel image and the symbols file (in use), page 0 (a
//! frame number 0 means "none"), firmware's tables (ACPI; a driver may want one later), the bitmap itself. What
//! only the boot needs comes later, by [`add`]: the first page tables and whatever else the loader made for
//! itself, once [`paging`](crate::arch::x86_64::paging) has left its tables; the trampoline page of the other
//! cores and its tables, if all of them came up (one that is late may still run through it).
//!
//! Refused: zeroing in the fault (doubles its cost with interrupts off), and one list for everything (no
//! contiguous runs, and a hot cache line).

use core::{
    cell::UnsafeCell,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};

use super::{
    bitmap::Bitmap,
    map::{PAGE, RangeSet},
};
use crate::{
    arch::{MAX_CORES, phys_to_virt},
    lock::{Rank, SpinLock},
};

/// One 4 KiB frame of physical memory, owned. Dropping it leaks; give it to [`free`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a dropped frame is lost"]
#[repr(transparent)]
pub struct Frame(u32);

impl Frame {
    /// Physical address of its first byte.
    #[inline(always)]
    pub fn phys(&self) -> u64 {
        u64::from(self.0) * PAGE
    }

    /// Where the direct map shows it.
    #[inline(always)]
    pub fn as_ptr(&self) -> *mut u8 {
        phys_to_virt(self.phys())
    }

    /// Takes back ownership of the frame at `phys`.
    ///
    /// # Safety
    /// 1. `phys` came from [`Frame::phys`] of a frame that was forgotten, not freed; nobody else revives it.
    #[inline(always)]
    pub unsafe fn from_phys(phys: u64) -> Self {
        Frame((phys / PAGE) as u32)
    }

    /// Fills it with zeroes.
    pub fn zero(&mut self) {
        // SAFETY: the frame is ours and the direct map covers it.
        unsafe { self.as_ptr().write_bytes(0, PAGE as usize) };
    }
}

static BITMAP: SpinLock<Bitmap> = SpinLock::new(Rank::Frames, Bitmap::empty());
/// Frames in level 1, as a hint for those who only want a number.
static FREE: AtomicUsize = AtomicUsize::new(0);
static TOTAL: AtomicUsize = AtomicUsize::new(0);

/// Frame numbers have 32 bits; memory above is left alone.
const MAX_PHYS: u64 = PAGE << 32;
/// Frames a core keeps zeroed.
const CACHE: usize = 32;
/// Below this many `refill` acts.
const LOW: usize = 16;
/// Frames the reserve list aims at, per core.
const RESERVE_PER_CORE: usize = 64;

#[repr(align(64))]
struct Cache {
    frames: [u32; CACHE],
    len: usize,
}

struct Caches([UnsafeCell<Cache>; MAX_CORES]);
// SAFETY: slot i is touched by core i alone with interrupts off (see the module comment).
unsafe impl Sync for Caches {}
static CACHES: Caches = Caches(
    [const {
        UnsafeCell::new(Cache {
            frames: [0; CACHE],
            len: 0,
        })
    }; MAX_CORES],
);

/// Head of the reserve list: frame number (0 = empty; frame 0 is never handed out) | tag << 32.
static RESERVE: AtomicU64 = AtomicU64::new(0);
static RESERVE_LEN: AtomicUsize = AtomicUsize::new(0);

/// Gives the allocator the free ranges of the boot map. `end`: memory that comes later ([`add`]) ends below.
/// `limit`: storage must lie below (what the first page tables map). Once, on the boot core, before anything
/// allocates.
pub fn init(free: &mut RangeSet, end: u64, limit: u64) {
    free.remove(0, PAGE); // frame 0 is never handed out: it stands for "none"
    free.remove(MAX_PHYS, u64::MAX);
    let frames = (free.end().max(end.min(MAX_PHYS)) / PAGE) as usize;
    let words = Bitmap::storage_words(frames);
    let bytes = (words * 8) as u64;
    let Some(at) = free.find(bytes.next_multiple_of(PAGE), PAGE, 0x10_0000, limit) else {
        panic!("no room for the frame bitmap of {frames} frames");
    };
    free.remove(at, at + bytes);
    // SAFETY: the range was free, is mapped, and has just been taken out of the map.
    let storage = unsafe { core::slice::from_raw_parts_mut(phys_to_virt(at).cast::<u64>(), words) };
    let bitmap = Bitmap::new(storage, frames);
    *BITMAP.lock() = bitmap;
    add(free);
}

/// Gives the allocator more memory: what the boot needed and nobody uses any more. Must lie below `end` of [`init`].
pub fn add(ranges: &RangeSet) {
    for range in ranges.iter() {
        let mut b = BITMAP.lock();
        let fresh = b.release_range((range.start / PAGE) as usize..(range.end / PAGE) as usize);
        FREE.store(b.free_count(), Ordering::Relaxed);
        drop(b);
        assert!(
            fresh,
            "memory at {range:x?} was free already, or is beyond the map"
        );
        TOTAL.fetch_add(((range.end - range.start) / PAGE) as usize, Ordering::Relaxed);
    }
}

/// A frame with whatever it held last, or `None`.
pub fn alloc() -> Option<Frame> {
    let mut b = BITMAP.lock();
    let pfn = b.take()?;
    FREE.store(b.free_count(), Ordering::Relaxed);
    Some(Frame(pfn as u32))
}

/// A frame full of zeroes.
pub fn alloc_zeroed() -> Option<Frame> {
    let mut f = alloc()?;
    f.zero();
    Some(f)
}

/// `n` neighbouring frames, contents undefined; returns the first (the others follow it).
pub fn alloc_contig(n: usize) -> Option<Frame> {
    alloc_contig_aligned(n, 1)
}

/// [`alloc_contig`] with the first frame's number a multiple of `align`.
pub fn alloc_contig_aligned(n: usize, align: usize) -> Option<Frame> {
    let mut b = BITMAP.lock();
    let pfn = b.take_run(n, align)?;
    FREE.store(b.free_count(), Ordering::Relaxed);
    Some(Frame(pfn as u32))
}

/// Gives a frame back.
pub fn free(frame: Frame) {
    let mut b = BITMAP.lock();
    let fresh = b.release(frame.0 as usize);
    FREE.store(b.free_count(), Ordering::Relaxed);
    drop(b);
    assert!(fresh, "frame {:#x} freed twice", frame.phys());
}

/// Gives back the `n` frames of one [`alloc_contig`].
pub fn free_contig(first: Frame, n: usize) {
    let pfn = first.0 as usize;
    let mut b = BITMAP.lock();
    let fresh = b.release_range(pfn..pfn + n);
    FREE.store(b.free_count(), Ordering::Relaxed);
    drop(b);
    assert!(fresh, "{n} frames from {:#x} freed twice", first.phys());
}

/// Takes up to `out.len()` frames in one critical section, contents undefined; fills in their physical addresses
/// and returns how many there were. `floor` frames stay free.
pub fn alloc_many(out: &mut [u64], floor: usize) -> usize {
    let mut b = BITMAP.lock();
    let mut n = 0;
    while n < out.len() && b.free_count() > floor {
        let Some(pfn) = b.take() else { break };
        out[n] = pfn as u64 * PAGE;
        n += 1;
    }
    FREE.store(b.free_count(), Ordering::Relaxed);
    n
}

/// Gives back frames by their physical addresses, which the caller owns (from [`alloc_many`], or of forgotten
/// [`Frame`]s), in one critical section.
pub fn free_many(phys: &[u64]) {
    let mut b = BITMAP.lock();
    let twice = phys.iter().find(|at| !b.release((**at / PAGE) as usize)).copied();
    FREE.store(b.free_count(), Ordering::Relaxed);
    drop(b);
    if let Some(at) = twice {
        panic!("frame {at:#x} freed twice");
    }
}

/// Frames in the bitmap; those in caches and in the reserve (at most 96 a core) come on top.
pub fn free_count() -> usize {
    FREE.load(Ordering::Relaxed)
}

/// Frames that the allocator had at boot.
pub fn total_count() -> usize {
    TOTAL.load(Ordering::Relaxed)
}

/// A zeroed frame for a page fault: this core's cache, then the reserve. Takes no lock.
///
/// `core` is the running core and interrupts are off.
#[inline]
pub fn fault_pop(core: usize) -> Option<Frame> {
    // SAFETY: our own slot, interrupts off: `refill` is not under way on this core (module comment).
    let cache = unsafe { &mut *CACHES.0[core].get() };
    if cache.len > 0 {
        cache.len -= 1;
        return Some(Frame(cache.frames[cache.len]));
    }
    reserve_pop()
}

/// Frames in this core's cache. `core` is the running core and interrupts are off.
#[inline]
pub fn cached(core: usize) -> usize {
    // SAFETY: our own slot, interrupts off.
    unsafe { (*CACHES.0[core].get()).len }
}

/// Frames in the reserve.
pub fn reserve() -> usize {
    RESERVE_LEN.load(Ordering::Relaxed)
}

/// Gives a zeroed frame back to the fault path (it lost the race for a page-table entry). No lock.
///
/// `core` is the running core and interrupts are off.
pub fn fault_push(core: usize, frame: Frame) {
    // SAFETY: as in `fault_pop`.
    let cache = unsafe { &mut *CACHES.0[core].get() };
    if cache.len < CACHE {
        cache.frames[cache.len] = frame.0;
        cache.len += 1;
    } else {
        reserve_push(frame);
    }
}

/// Tops up this core's cache, and the reserve. Called from `schedule`: on g0, interrupts off. One compare
/// when there is enough. `true`: it was topped up, and this is a good moment to look how much is left.
#[inline(always)]
pub fn refill(core: usize) -> bool {
    // SAFETY: our own slot, interrupts off.
    let len = unsafe { (*CACHES.0[core].get()).len };
    if len < LOW {
        refill_slow(core);
        return true;
    }
    false
}

#[cold]
fn refill_slow(core: usize) {
    let mut batch = [0; CACHE];
    // SAFETY: our own slot, interrupts off; a fault cannot intervene, the code below touches mapped memory.
    let cache = unsafe { &mut *CACHES.0[core].get() };
    // The reserve first: when frames are short it is what panics unwind on.
    let goal = RESERVE_PER_CORE * crate::arch::core_count();
    for _ in 0..RESERVE_PER_CORE / CACHE {
        if RESERVE_LEN.load(Ordering::Relaxed) < goal {
            zeroed_batch(&mut batch).for_each(reserve_push);
        }
    }
    let want = CACHE - cache.len;
    for f in zeroed_batch(&mut batch[..want]) {
        cache.frames[cache.len] = f.0;
        cache.len += 1;
    }
}

/// As many frames as `room` has places, or as there are; zeroed one by one, after the lock.
fn zeroed_batch(room: &mut [u64]) -> impl Iterator<Item = Frame> {
    let n = alloc_many(room, 0);
    room[..n].iter().map(|phys| {
        let mut f = Frame((phys / PAGE) as u32);
        f.zero();
        f
    })
}

/// The link of a frame on the reserve list: its first word.
fn link(pfn: u32) -> &'static AtomicU64 {
    // SAFETY: the direct map covers every frame for ever; racing readers use what they read only if the
    // head's tag says that the frame was still on the list (module comment).
    unsafe { &*phys_to_virt(u64::from(pfn) * PAGE).cast::<AtomicU64>() }
}

fn reserve_push(frame: Frame) {
    let mut head = RESERVE.load(Ordering::Relaxed);
    loop {
        link(frame.0).store(head & 0xffff_ffff, Ordering::Relaxed);
        let new = u64::from(frame.0) | ((head >> 32).wrapping_add(1) << 32);
        // Release: pairs with the Acquire in `reserve_pop`, which then sees the link and the zeroes.
        match RESERVE.compare_exchange_weak(head, new, Ordering::Release, Ordering::Relaxed) {
            Ok(_) => break,
            Err(h) => head = h,
        }
        core::hint::spin_loop();
    }
    RESERVE_LEN.fetch_add(1, Ordering::Relaxed);
}

fn reserve_pop() -> Option<Frame> {
    let mut head = RESERVE.load(Ordering::Acquire);
    loop {
        let pfn = head as u32;
        if pfn == 0 {
            return None;
        }
        let next = link(pfn).load(Ordering::Relaxed) & 0xffff_ffff;
        let new = next | ((head >> 32).wrapping_add(1) << 32);
        // Acquire: pairs with the Release in `reserve_push`, on success and for the next round's link.
        match RESERVE.compare_exchange_weak(head, new, Ordering::Acquire, Ordering::Acquire) {
            Ok(_) => {
                RESERVE_LEN.fetch_sub(1, Ordering::Relaxed);
                link(pfn).store(0, Ordering::Relaxed);
                return Some(Frame(pfn));
            }
            Err(h) => head = h,
        }
        core::hint::spin_loop();
    }
}

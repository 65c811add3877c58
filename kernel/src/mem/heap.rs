//! The global allocator of the bootstrap: a linked-list heap behind per-core magazines.
//!
//! Sizes 16 … 2048 round up to a power of two and come from the core's *magazine* of that class: a list
//! threaded through the free blocks, popped and pushed with preemption off and no lock. A magazine that runs
//! empty or full trades 32 blocks at a time with the class's *depot* under the heap lock (Bonwick's scheme: each
//! core has a loaded and a spare magazine, so that a program at the edge does not trade on every call).
//! Bigger requests, and the slabs that blocks are cut from, come from `linked_list_allocator`.
//!
//! Blocks never go back from a class to the list: its `deallocate` walks all holes in address order, and
//! the span heap replaces all this anyway. Refused for the same reason: a magazine per size instead of per power of
//! two (internal waste is at most one half, and nobody keeps this allocator).
//!
//! Failure: null, with the lock released and the preempt count restored (DECISIONS 12). Nothing here panics.
//!
//! Invariant: a block of class c is `16 << c` bytes, aligned to that, and in exactly one place: a user's
//! hands, one magazine, or one depot batch.

use core::{
    alloc::{GlobalAlloc, Layout},
    cell::UnsafeCell,
    ptr::{self, NonNull},
    sync::atomic::{AtomicUsize, Ordering},
};

use linked_list_allocator::Heap;

use super::{frames, map::PAGE};
use crate::{
    arch::{MAX_CORES, core_index, phys_to_virt},
    lock::{PreemptGuard, Rank, SpinLock},
};

/// Classes 16, 32, … 2048.
const CLASSES: usize = 8;
const MIN_SHIFT: u32 = 4;
/// Blocks in a full magazine.
const BATCH: usize = 32;
/// The most the heap takes.
const MAX_BYTES: u64 = 1 << 30;
const MIN_BYTES: u64 = 8 << 20;

/// A free block: `next` in its list; in the first block of a depot batch also the next batch.
#[repr(C)]
struct Block {
    next: *mut Block,
    next_batch: *mut Block,
}

#[derive(Clone, Copy)]
struct Magazine {
    head: *mut Block,
    len: usize,
}

impl Magazine {
    const EMPTY: Magazine = Magazine {
        head: ptr::null_mut(),
        len: 0,
    };

    #[inline(always)]
    fn pop(&mut self) -> *mut Block {
        let b = self.head;
        // SAFETY: callers checked `len > 0`: the head is a free block of ours.
        self.head = unsafe { (*b).next };
        self.len -= 1;
        b
    }

    #[inline(always)]
    fn push(&mut self, b: *mut Block) {
        // SAFETY: the block is free and ours; it is at least 16 bytes and aligned to 16.
        unsafe { (*b).next = self.head };
        self.head = b;
        self.len += 1;
    }
}

#[repr(align(128))]
struct PerCore([Pair; CLASSES]);

#[derive(Clone, Copy)]
struct Pair {
    loaded: Magazine,
    /// Empty or full.
    spare: Magazine,
}

struct Caches([UnsafeCell<PerCore>; MAX_CORES]);
// SAFETY: slot i is touched by core i alone, with preemption off, never from an interrupt.
unsafe impl Sync for Caches {}
static CACHES: Caches = Caches(
    [const {
        UnsafeCell::new(PerCore(
            [Pair {
                loaded: Magazine::EMPTY,
                spare: Magazine::EMPTY,
            }; CLASSES],
        ))
    }; MAX_CORES],
);

struct Central {
    heap: Heap,
    depot: [*mut Block; CLASSES],
}
// SAFETY: the pointers are to free blocks that the depot owns.
unsafe impl Send for Central {}

static CENTRAL: SpinLock<Central> = SpinLock::new(
    Rank::Heap,
    Central {
        heap: Heap::empty(),
        depot: [ptr::null_mut(); CLASSES],
    },
);
static SIZE: AtomicUsize = AtomicUsize::new(0);

/// Takes a quarter of the free memory, at least 8 MiB and at most 1 GiB, in one piece. Once, at boot.
pub fn init() {
    let free = frames::free_count() as u64 * PAGE;
    let mut bytes = (free / 4).clamp(MIN_BYTES, MAX_BYTES) & !(PAGE - 1);
    let first = loop {
        match frames::alloc_contig((bytes / PAGE) as usize) {
            Some(f) => break f,
            None if bytes > PAGE * 64 => bytes = (bytes / 2) & !(PAGE - 1),
            None => panic!("no memory for the heap: {} KiB free", free / 1024),
        }
    };
    let start = phys_to_virt(first.phys());
    // SAFETY: the frames are ours, contiguous in the direct map, for ever.
    unsafe { CENTRAL.lock().heap.init(start, bytes as usize) };
    SIZE.store(bytes as usize, Ordering::Relaxed);
}

/// Bytes the heap manages, and bytes of them taken from the list (magazines count as taken).
pub fn stats() -> (usize, usize) {
    (SIZE.load(Ordering::Relaxed), CENTRAL.lock().heap.used())
}

/// The class that serves `layout`, if any.
#[inline(always)]
fn class_of(layout: &Layout) -> Option<usize> {
    let need = layout.size().max(layout.align()).max(1 << MIN_SHIFT);
    let class = (usize::BITS - (need - 1).leading_zeros() - MIN_SHIFT) as usize;
    (class < CLASSES).then_some(class)
}

/// The allocator behind `alloc::*`.
pub struct KernelHeap;

#[global_allocator]
static GLOBAL: KernelHeap = KernelHeap;

/// This core's magazines of a class.
///
/// # Safety
/// 1. Preemption is off for as long as the result is used, and no other such reference is alive.
#[inline(always)]
unsafe fn pair(class: usize) -> &'static mut Pair {
    // SAFETY: 1.: the slot is this core's.
    let core = unsafe { &mut *CACHES.0[core_index()].get() };
    &mut core.0[class]
}

// SAFETY: blocks are handed out once (the invariant), of the right size and alignment; errors are null.
unsafe impl GlobalAlloc for KernelHeap {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(class) = class_of(&layout) else {
            return big_alloc(layout);
        };
        let _here = PreemptGuard::new();
        // SAFETY: 1. the guard lives longer; the only reference.
        let p = unsafe { pair(class) };
        if p.loaded.len == 0 && !reload(p, class) {
            return ptr::null_mut();
        }
        p.loaded.pop().cast()
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some(class) = class_of(&layout) else {
            return big_free(block, layout);
        };
        let _here = PreemptGuard::new();
        // SAFETY: 1. the guard lives longer; the only reference.
        let p = unsafe { pair(class) };
        if p.loaded.len == BATCH {
            unload(p, class);
        }
        p.loaded.push(block.cast());
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller guarantees that `new_size` with this alignment is a layout.
        let new = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        if let (Some(a), Some(b)) = (class_of(&layout), class_of(&new))
            && a == b
        {
            return block;
        }
        // SAFETY: a valid layout; sizes are not 0 by the caller's contract.
        let to = unsafe { self.alloc(new) };
        if !to.is_null() {
            // SAFETY: two live blocks, at least that long.
            unsafe { ptr::copy_nonoverlapping(block, to, layout.size().min(new_size)) };
            // SAFETY: the caller's block and its layout.
            unsafe { self.dealloc(block, layout) };
        }
        to
    }
}

/// Makes `loaded` non-empty: the spare, a depot batch, or a fresh slab. Preemption is off.
#[cold]
fn reload(p: &mut Pair, class: usize) -> bool {
    if p.spare.len > 0 {
        core::mem::swap(&mut p.loaded, &mut p.spare);
        return true;
    }
    let mut central = CENTRAL.lock();
    let batch = central.depot[class];
    if !batch.is_null() {
        // SAFETY: the first block of a depot batch, which the lock makes ours.
        central.depot[class] = unsafe { (*batch).next_batch };
        p.loaded = Magazine {
            head: batch,
            len: BATCH,
        };
        return true;
    }
    let size = 1usize << (class as u32 + MIN_SHIFT);
    // With memory short a single block still will do.
    for n in [BATCH, 1] {
        let Ok(layout) = Layout::from_size_align(size * n, size) else {
            continue;
        };
        let Ok(slab) = central.heap.allocate_first_fit(layout) else {
            continue;
        };
        drop(central);
        for i in (0..n).rev() {
            // SAFETY: within the slab of n blocks.
            let b = unsafe { slab.as_ptr().add(i * size) };
            p.loaded.push(b.cast());
        }
        return true;
    }
    false
}

/// Makes room in `loaded`, which is full. Preemption is off.
#[cold]
fn unload(p: &mut Pair, class: usize) {
    if p.spare.len > 0 {
        let batch = p.spare.head;
        let mut central = CENTRAL.lock();
        // SAFETY: a free block of ours; the spare is full, so it is a whole batch.
        unsafe { (*batch).next_batch = central.depot[class] };
        central.depot[class] = batch;
    }
    p.spare = p.loaded;
    p.loaded = Magazine::EMPTY;
}

#[cold]
fn big_alloc(layout: Layout) -> *mut u8 {
    CENTRAL
        .lock()
        .heap
        .allocate_first_fit(layout)
        .map_or(ptr::null_mut(), |p| p.as_ptr())
}

#[cold]
fn big_free(block: *mut u8, layout: Layout) {
    if let Some(block) = NonNull::new(block) {
        // SAFETY: came from `big_alloc` with this layout (the class is a function of the layout).
        unsafe { CENTRAL.lock().heap.deallocate(block, layout) };
    }
}

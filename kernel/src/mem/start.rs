//! Starting the heap, and the operations on all of memory at once.

use super::{
    classes::PAGE,
    frames, limit, mcache, memdebug, mheap, scavenge, stack,
    stats::{self, MemStats},
};
use crate::{
    arch::{MAX_CORES, x86_64::percpu},
    opts,
    sched::{self, world},
};

/// Sets the heap up: from here on `alloc` works. Once, on the boot core, after the frames and the page tables.
///
/// Options: `memdebug=1`, `memlimit=BYTES`.
pub fn init() {
    // Address space is not memory: twice what there is, so that holes between big blocks do no harm.
    let ram = frames::total_count() * 4096;
    mheap::init((2 * ram / PAGE).clamp(8 * mheap::ARENA, (1 << 40) / PAGE) + 4 * mheap::ARENA);
    for i in 0..MAX_CORES {
        percpu::core(i).mcache.set(mcache::none().cast());
    }
    if opts::flag("memdebug") {
        memdebug::turn_on();
    }
    if let Some(text) = opts::get("memlimit") {
        match opts::bytes(text) {
            Some(n) => _ = limit::set_memory_limit(Some(n as usize)),
            None => crate::println!(
                "memlimit={text}: not a number of bytes (K, M and G are understood); no limit"
            ),
        }
    }
}

/// The running core takes P `id`: its cache comes with it. Preemption is off.
#[inline(always)]
pub(crate) fn on_set_p(core: &percpu::Core, id: usize) {
    if !memdebug::is_on() {
        core.mcache.set(mcache::for_p(id).cast());
    }
}

/// The running core gives its P up. Preemption is off.
#[inline(always)]
pub(crate) fn on_clear_p(core: &percpu::Core) {
    core.mcache.set(mcache::none().cast());
}

/// P `id` goes out of use: its cache flows back to mcentral and mheap.
///
/// # Panics
/// If the world is not stopped.
pub(crate) fn flush_p(id: usize) {
    assert!(world::is_stopped(), "flush of a cache that may be in use");
    // SAFETY: 1. the world is stopped.
    unsafe { mcache::flush(id) };
}

/// Reads the memory figures; stops the world for that (about 10 µs per thousand spans).
///
/// Go's counterpart is `runtime.ReadMemStats`.
///
/// ```
/// let m = burrow::runtime::read_mem_stats();
/// assert_eq!(m.heap_sys, m.heap_inuse + m.heap_idle);
/// assert_eq!(m.heap_objects, m.mallocs - m.frees);
/// ```
pub fn read_mem_stats() -> MemStats {
    let mut m = MemStats::new();
    world::stopped(|| {
        let counts = (frames::total_count(), frames::free_count());
        // SAFETY: 1. the world is stopped.
        unsafe { stats::read(&mut m, counts, stack::pages_mapped()) };
    });
    m
}

/// Checks the heap's books, object by object, with the world stopped; says what is wrong. For tests and tools.
pub fn check_heap() -> Result<(), &'static str> {
    // SAFETY: 1. the world is stopped.
    world::stopped(|| unsafe { stats::check() })
}

/// Gives back as much memory as possible: the Ps' caches to the heap, free heap pages, dead stacks and unused stack pages to
/// the frame allocator. Returns the bytes that became free frames. Stops the world for a moment; takes a TLB shootdown per
/// 512 pages or so.
///
/// Go's counterpart is `debug.FreeOSMemory`.
///
/// ```
/// let bytes = burrow::runtime::free_os_memory();
/// burrow::println!("{bytes} bytes are free again");
/// ```
pub fn free_os_memory() -> usize {
    world::stopped(|| {
        // SAFETY: 1. the world is stopped.
        unsafe { mcache::for_each(mcache::MCache::flush) };
    });
    let stacks = sched::scavenge_stacks();
    stacks * 4096 + scavenge::pass(usize::MAX, false) * PAGE
}

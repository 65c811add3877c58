//! `MemStats`: where the memory is, in figures that add up.
//!
//! ```text
//!  sys       = heap_sys + stack_inuse + other_sys + free (frames)          all frames the kernel was given
//!  heap_sys  = heap_inuse + heap_idle                                      address space of the heap's arenas
//!  heap_idle = free pages (in the bitmap, the Ps' stocks, in transit);     heap_released of them have no frame
//!  heap_alloc = Σ live objects;   mallocs − frees = heap_objects;   total_alloc − freed bytes = heap_alloc
//! ```
//! (`heap_sys − heap_released` is what counts as memory in the first line.) Counters live where they cost nothing: `mallocs` in
//! the caches, live objects in the spans, so a reading stops the world and walks the map of spans. Frees follow. The figures are
//! exact if nobody is inside `blocking`; what runs there goes on allocating.

use core::{fmt, sync::atomic::Ordering::Relaxed};

use super::{
    classes::{CLASSES, PAGE, TABLE},
    global::LARGE_COUNT,
    mcache, mcentral, mheap,
    span::{self, Span},
};

/// Figures of one size class.
///
/// ```
/// for class in burrow::runtime::read_mem_stats().by_size.iter().filter(|class| class.spans > 0) {
///     assert!(class.live() <= class.capacity as u64);
///     burrow::println!("{} of {} objects of {} bytes", class.live(), class.capacity, class.size);
/// }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BySize {
    /// Bytes of an object.
    pub size: u32,
    /// Objects allocated since boot.
    pub mallocs: u64,
    /// Objects freed since boot.
    pub frees: u64,
    /// Spans of the class.
    pub spans: usize,
    /// Objects they have room for.
    pub capacity: usize,
    /// Spans in the Ps' caches.
    pub cached: usize,
    /// Spans in mcentral.
    pub central: usize,
}

impl BySize {
    /// Objects live.
    pub fn live(&self) -> u64 {
        self.mallocs.saturating_sub(self.frees)
    }
}

/// A reading of the memory figures, all of one moment. Bytes, unless said otherwise; names as in Go's
/// `runtime.MemStats`. Small objects count with their class's size, large ones with what was asked for.
///
/// ```
/// let m = burrow::runtime::read_mem_stats();
/// assert_eq!(m.heap_objects, m.mallocs - m.frees);
/// burrow::println!("{} of {} bytes in spans are in no object", m.fragmentation(), m.heap_inuse);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemStats {
    /// Live objects; the same as `heap_alloc`.
    pub alloc: u64,
    /// Allocated since boot.
    pub total_alloc: u64,
    /// All memory the kernel was given.
    pub sys: u64,
    /// Objects allocated since boot.
    pub mallocs: u64,
    /// Objects freed since boot.
    pub frees: u64,
    /// Live objects.
    pub heap_alloc: u64,
    /// Address space of the heap's arenas.
    pub heap_sys: u64,
    /// Of it in free pages.
    pub heap_idle: u64,
    /// Of it in spans.
    pub heap_inuse: u64,
    /// Of `heap_idle` without memory behind it.
    pub heap_released: u64,
    /// Live objects, their number.
    pub heap_objects: u64,
    /// Pages mapped in goroutine stacks.
    pub stack_inuse: u64,
    /// Everything else that was taken: page tables, goroutine records, the heap's own tables, the frame caches.
    pub other_sys: u64,
    /// Memory nobody has.
    pub free: u64,
    /// Large objects live: their number and bytes.
    pub large_objects: u64,
    /// See `large_objects`.
    pub large_bytes: u64,
    /// The longest run of free pages in the arenas.
    pub longest_free_run: u64,
    /// Collections so far (there is no collector yet).
    pub num_gc: u32,
    /// Nanoseconds the world stood for collections.
    pub pause_total_ns: u64,
    /// By size class.
    pub by_size: [BySize; CLASSES],
}

impl MemStats {
    /// All zero.
    pub(crate) const fn new() -> MemStats {
        MemStats {
            alloc: 0,
            total_alloc: 0,
            sys: 0,
            mallocs: 0,
            frees: 0,
            heap_alloc: 0,
            heap_sys: 0,
            heap_idle: 0,
            heap_inuse: 0,
            heap_released: 0,
            heap_objects: 0,
            stack_inuse: 0,
            other_sys: 0,
            free: 0,
            large_objects: 0,
            large_bytes: 0,
            longest_free_run: 0,
            num_gc: 0,
            pause_total_ns: 0,
            by_size: [BySize {
                size: 0,
                mallocs: 0,
                frees: 0,
                spans: 0,
                capacity: 0,
                cached: 0,
                central: 0,
            }; CLASSES],
        }
    }

    /// Bytes in spans that are not in live objects: free objects, tails, the unused end of large blocks.
    pub fn fragmentation(&self) -> u64 {
        self.heap_inuse.saturating_sub(self.heap_alloc)
    }
}

/// All spans in use.
///
/// # Safety
/// 1. The world is stopped.
pub(crate) unsafe fn spans() -> impl Iterator<Item = &'static Span> {
    let end = mheap::grown_pages();
    let mut page = 0;
    core::iter::from_fn(move || {
        while page < end {
            match span::at_page(page) {
                Some(s) => {
                    page += s.pages();
                    return Some(s);
                }
                None => page += 1,
            }
        }
        None
    })
}

/// Objects of a small span that are live: handed out and not on the remote list.
fn live(s: &Span) -> u64 {
    u64::from(s.used()).saturating_sub(u64::from(s.owner.get().count))
}

/// Takes a reading. `frames`: total and free, `stack_pages`.
///
/// # Safety
/// 1. The world is stopped.
pub(crate) unsafe fn read(out: &mut MemStats, frames: (usize, usize), stack_pages: u64) {
    *out = MemStats::new();
    let (mut free, mut released) = (mheap::TRANSIT.load(Relaxed), 0);
    // Held to the end: goroutines inside `blocking` cannot change small spans meanwhile.
    let mut shared = mcache::SHARED_CACHE.lock();
    // SAFETY: 1.
    unsafe {
        mcache::for_each_with(&mut shared, |mc| {
            free += mc.stock.word.free.count_ones() as usize;
            released += mc.stock.word.released.count_ones() as usize;
            for (class, b) in out.by_size.iter_mut().enumerate() {
                b.mallocs += mc.mallocs[class];
                b.cached += mc.spans(class);
            }
        })
    };
    {
        let h = mheap::lock();
        let (f, r) = h.pages.free_count();
        free += f;
        released += r;
        out.longest_free_run = (h.pages.longest_run() * PAGE) as u64;
    }
    let mut inuse = 0;
    // SAFETY: 1.
    for s in unsafe { spans() } {
        inuse += s.pages();
        if let Some(b) = out.by_size.get_mut(usize::from(s.class())) {
            b.spans += 1;
            b.capacity += s.info().objects as usize;
            b.frees += live(s); // turned round below
        }
    }
    for (class, b) in out.by_size.iter_mut().enumerate() {
        let (size, live) = (u64::from(TABLE[class].size), b.frees);
        b.size = TABLE[class].size;
        b.frees = b.mallocs.saturating_sub(live);
        b.central = mcentral::len(class);
        out.mallocs += b.mallocs;
        out.frees += b.frees;
        out.total_alloc += b.mallocs * size;
        out.heap_alloc += live * size;
    }
    // Frees first: what is freed later was allocated before.
    let [frees, freed, mallocs, bytes] = [2, 3, 0, 1].map(|i| LARGE_COUNT[i].load(Relaxed));
    out.mallocs += mallocs;
    out.frees += frees;
    out.total_alloc += bytes;
    out.large_objects = mallocs.saturating_sub(frees);
    out.large_bytes = bytes.saturating_sub(freed);
    out.heap_alloc += out.large_bytes;
    out.alloc = out.heap_alloc;
    out.heap_objects = out.mallocs.saturating_sub(out.frees);
    let bytes = |pages: usize| (pages * PAGE) as u64;
    out.heap_sys = bytes(mheap::grown_pages());
    out.heap_inuse = bytes(inuse);
    out.heap_idle = bytes(free);
    out.heap_released = bytes(released);
    out.stack_inuse = stack_pages * 4096;
    out.sys = frames.0 as u64 * 4096;
    out.free = frames.1 as u64 * 4096;
    let backed = out.heap_sys.saturating_sub(out.heap_released);
    out.other_sys = out.sys.saturating_sub(out.free + backed + out.stack_inuse);
}

/// Checks every small span: its lists hold what its counters say, objects lie where they should. Returns what is wrong.
///
/// # Safety
/// 1. The world is stopped.
pub(crate) unsafe fn check() -> Result<(), &'static str> {
    let mut inuse = 0;
    // Held to the end, as in `read`.
    let mut shared = mcache::SHARED_CACHE.lock();
    // SAFETY: 1.
    for s in unsafe { spans() } {
        inuse += s.pages();
        if !s.is_small() {
            continue;
        }
        let c = s.info();
        let mut listed = 0;
        let mut o = s.free.load(Relaxed);
        while !o.is_null() {
            let at = o.addr().wrapping_sub(s.base());
            if at >= s.bytes() || at % c.size as usize != 0 || at / c.size as usize >= s.fresh.load(Relaxed) as usize {
                return Err("a free list leaves its span");
            }
            listed += 1;
            if listed > c.objects {
                return Err("a free list is a circle");
            }
            // SAFETY: 1. and a free object of the span, as just checked.
            o = unsafe { o.cast::<*mut u8>().read() };
        }
        if listed + s.used() + (c.objects - s.fresh.load(Relaxed)) != c.objects {
            return Err("a span's objects do not add up");
        }
        if u32::from(s.owner.get().count) > s.used() {
            return Err("more objects were freed remotely than were handed out");
        }
    }
    let counted: usize = mheap::IN_USE.iter().map(|n| n.load(Relaxed)).sum();
    if inuse != counted {
        return Err("spans and their counter differ");
    }
    let mut idle = mheap::lock().pages.free_count().0 + mheap::TRANSIT.load(Relaxed);
    // SAFETY: 1.
    unsafe { mcache::for_each_with(&mut shared, |mc| idle += mc.stock.word.free.count_ones() as usize) };
    if inuse + idle != mheap::grown_pages() {
        return Err("pages grown are not pages in spans plus idle pages");
    }
    Ok(())
}

/// `12.3M`-style bytes.
pub(crate) struct Bytes(pub(crate) u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut whole, mut tenth, mut unit) = (self.0, 0, 0);
        while whole >= 10_000 && unit < 4 {
            tenth = whole % 1024 * 10 / 1024;
            whole /= 1024;
            unit += 1;
        }
        let text = if unit == 0 {
            alloc::format!("{whole}B")
        } else {
            alloc::format!("{whole}.{tenth}{}", ["", "K", "M", "G", "T"][unit])
        };
        f.pad(&text)
    }
}

impl fmt::Display for MemStats {
    /// The table of the console's `mem`: sums, then a line per class in use.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let b = Bytes;
        writeln!(
            f,
            "memory {}: heap {} + stacks {} + other {} + free {}",
            b(self.sys),
            b(self.heap_sys - self.heap_released),
            b(self.stack_inuse),
            b(self.other_sys),
            b(self.free)
        )?;
        writeln!(
            f,
            "heap   {} live in {} objects; spans {}, of which {} not in objects; idle {}, of which {} without frames; longest free run {}",
            b(self.heap_alloc),
            self.heap_objects,
            b(self.heap_inuse),
            b(self.fragmentation()),
            b(self.heap_idle),
            b(self.heap_released),
            b(self.longest_free_run)
        )?;
        writeln!(
            f,
            "total  {} in {} allocations, {} frees; large: {} in {} objects",
            b(self.total_alloc),
            self.mallocs,
            self.frees,
            b(self.large_bytes),
            self.large_objects
        )?;
        writeln!(
            f,
            "{:>6} {:>9} {:>6} {:>6} {:>7} {:>7} {:>11} {:>11}",
            "size", "live", "spans", "used%", "cached", "central", "mallocs", "frees"
        )?;
        for c in self.by_size.iter().filter(|c| c.mallocs > 0) {
            writeln!(
                f,
                "{:>6} {:>9} {:>6} {:>6} {:>7} {:>7} {:>11} {:>11}",
                c.size,
                c.live(),
                c.spans,
                c.live() * 100 / (c.capacity as u64).max(1),
                c.cached,
                c.central,
                c.mallocs,
                c.frees
            )?;
        }
        Ok(())
    }
}

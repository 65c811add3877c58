//! `memdebug=1`: every block between red zones, poisoned when freed, and kept back for a while.
//!
//! ```text
//!   ┌────────────────────────┬──────────┬───────────────────┬──────────┐
//!   │ header: layout, state, │ red zone │ the user's bytes  │ red zone │
//!   │ who allocated, freed   │ 16 B     │                   │ 16 B     │
//!   └────────────────────────┴──────────┴───────────────────┴──────────┘
//!                              ed ed …    cd… when new, df… when freed   ed ed …
//! ```
//! Checked when a block is freed: that it is one (double free, a pointer into the middle), its layout, both red zones. Checked
//! when it leaves the quarantine, 256 frees later: that nobody wrote to it since. Any fault is fatal, with the call stacks of
//! the allocation, of the first free, and of now.
//!
//! It is switched on at boot, before the first allocation, by not giving any core its P's cache: so every call takes the
//! slow path, which comes here. Costs about 200 bytes a block, and a factor of ten in time.

use core::{
    alloc::Layout,
    ptr,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use super::{classes::class_of, global, mcache, span};
use crate::lock::{PreemptGuard, Rank, SpinLock};

const RED: usize = 16;
const RED_BYTE: u8 = 0xed;
const NEW_BYTE: u8 = 0xcd;
const FREED_BYTE: u8 = 0xdf;
const LIVE: u64 = 0x6c69_7665_6c69_7665;
const FREED: u64 = 0x6672_6565_6672_6565;
const FRAMES: usize = 10;
/// Blocks kept back.
const QUARANTINE: usize = 256;
/// Bigger blocks are not kept back.
const KEEP_BELOW: usize = 64 * 1024;

static ON: AtomicBool = AtomicBool::new(false);

/// Is it on?
#[inline(always)]
pub(crate) fn is_on() -> bool {
    ON.load(Relaxed)
}

/// Turns it on; before the first allocation, for ever.
pub(crate) fn turn_on() {
    ON.store(true, Relaxed);
}

#[repr(C, align(16))]
struct Header {
    state: u64,
    size: usize,
    align: usize,
    /// So that the red zone ends where the user's bytes begin.
    unused: usize,
    allocated: [usize; FRAMES],
    freed: [usize; FRAMES],
    red: [u8; RED],
}

/// Bytes in front of the user's.
fn front(align: usize) -> usize {
    size_of::<Header>().next_multiple_of(align.max(16))
}

fn whole(layout: Layout) -> Option<Layout> {
    let size = layout.size().checked_add(front(layout.align()) + RED)?;
    Layout::from_size_align(size, layout.align().max(16)).ok()
}

const _: () = assert!(core::mem::offset_of!(Header, red) + RED == size_of::<Header>());

fn header(o: *mut u8) -> *mut Header {
    o.wrapping_sub(size_of::<Header>()).cast()
}

/// A block of `layout`, or null.
pub(crate) fn alloc(layout: Layout) -> *mut u8 {
    let Some(whole) = whole(layout) else { return ptr::null_mut() };
    let base = raw_alloc(whole);
    if base.is_null() {
        return base;
    }
    let o = base.wrapping_add(front(layout.align()));
    let mut h = Header {
        state: LIVE,
        size: layout.size(),
        align: layout.align(),
        unused: 0,
        allocated: [0; FRAMES],
        freed: [0; FRAMES],
        red: [RED_BYTE; RED],
    };
    trace(&mut h.allocated);
    // SAFETY: the block is ours and has room for the header, the user's bytes and the red zone.
    unsafe { header(o).write(h) };
    // SAFETY: as above.
    unsafe { o.write_bytes(NEW_BYTE, layout.size()) };
    // SAFETY: as above.
    unsafe { o.wrapping_add(layout.size()).write_bytes(RED_BYTE, RED) };
    o
}

/// Checks and frees a block.
pub(crate) fn free(o: *mut u8, layout: Layout) {
    // SAFETY: 1. by the caller's contract; if that is broken, the page fault will tell.
    if unsafe { span::of(o) }.class() == span::DEAD {
        bad_free(o, layout, "no allocation is there");
    }
    // SAFETY: heap memory; what it says is checked.
    let h = unsafe { &mut *header(o) };
    match h.state {
        LIVE => {}
        FREED => bad(o, layout, "double free", Some(h)),
        _ => bad(o, layout, "not the start of a block, or its header was overwritten", None),
    }
    if (h.size, h.align) != (layout.size(), layout.align()) {
        bad(o, layout, "freed with another layout than it was allocated with", Some(h));
    }
    if h.red != [RED_BYTE; RED] {
        bad(o, layout, "the red zone before the block was overwritten", Some(h));
    }
    // SAFETY: behind the user's bytes comes the red zone.
    let red = unsafe { core::slice::from_raw_parts(o.wrapping_add(h.size), RED) };
    if red != [RED_BYTE; RED] {
        bad(o, layout, "the red zone behind the block was overwritten", Some(h));
    }
    h.state = FREED;
    trace(&mut h.freed);
    // SAFETY: the user gave its bytes up.
    unsafe { o.write_bytes(FREED_BYTE, layout.size()) };
    if layout.size() >= KEEP_BELOW {
        release(o);
    } else if let Some(old) = KEPT.lock().swap(o) {
        release(old);
    }
}

/// The quarantine: a ring.
struct Ring {
    blocks: [*mut u8; QUARANTINE],
    at: usize,
}
// SAFETY: freed blocks, which belong to the ring.
unsafe impl Send for Ring {}
static KEPT: SpinLock<Ring> = SpinLock::new(
    Rank::MemDebug,
    Ring {
        blocks: [ptr::null_mut(); QUARANTINE],
        at: 0,
    },
);

impl Ring {
    fn swap(&mut self, o: *mut u8) -> Option<*mut u8> {
        let i = self.at % QUARANTINE;
        self.at = self.at.wrapping_add(1);
        let old = core::mem::replace(&mut self.blocks[i], o);
        (!old.is_null()).then_some(old)
    }
}

/// A block leaves for good.
fn release(o: *mut u8) {
    // SAFETY: a freed block that is ours.
    let h = unsafe { &mut *header(o) };
    let Ok(layout) = Layout::from_size_align(h.size, h.align) else {
        bad_free(o, Layout::new::<u8>(), "the header of a freed block was overwritten");
    };
    // SAFETY: the user's bytes of that block.
    let bytes = unsafe { core::slice::from_raw_parts(o, h.size) };
    if h.state != FREED || bytes.iter().any(|b| *b != FREED_BYTE) {
        bad(o, layout, "written to after it was freed", Some(h));
    }
    h.state = 0;
    let base = o.wrapping_sub(front(layout.align()));
    if let Some(whole) = whole(layout) {
        let _here = PreemptGuard::new();
        // SAFETY: 1. a live allocation of the heap.
        global::give_back(unsafe { span::of(base) }, base, whole);
    }
}

fn raw_alloc(whole: Layout) -> *mut u8 {
    match class_of(whole.size(), whole.align()) {
        Some(class) => {
            let _here = PreemptGuard::new();
            mcache::with(|mc| mc.alloc_slow(class, whole.size())).map_or(ptr::null_mut(), |o| o.0)
        }
        None => global::whole_pages(whole).0,
    }
}

#[cfg(target_os = "none")]
fn trace(out: &mut [usize; FRAMES]) {
    for (slot, pc) in out.iter_mut().zip(crate::panic::backtrace::callers().skip(1)) {
        *slot = pc.addr;
    }
}
#[cfg(not(target_os = "none"))]
fn trace(_: &mut [usize; FRAMES]) {}

/// Ends the program: `o` is nothing that could be freed.
#[cold]
pub(crate) fn bad_free(o: *mut u8, layout: Layout, why: &str) -> ! {
    bad(o, layout, why, None)
}

#[cold]
#[cfg(target_os = "none")]
fn bad(o: *mut u8, layout: Layout, why: &str, h: Option<&Header>) -> ! {
    use crate::panic::{
        backtrace::{Pc, write_frames},
        fatal,
    };
    struct Stacks<'a>(Option<&'a Header>);
    impl core::fmt::Display for Stacks<'_> {
        fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
            let Some(h) = self.0 else { return Ok(()) };
            for (what, pcs) in [("allocated", &h.allocated), ("freed", &h.freed)] {
                if pcs[0] != 0 {
                    writeln!(f, "\n{what} ({} bytes) by:", h.size)?;
                    let pcs = pcs.iter().take_while(|pc| **pc != 0);
                    write_frames(f, pcs.map(|&addr| Pc { addr, exact: false }))?;
                }
            }
            Ok(())
        }
    }
    fatal::fatal_fmt(format_args!(
        "heap: {why}: {o:p}, freed as {} bytes aligned to {}{}",
        layout.size(),
        layout.align(),
        Stacks(h)
    ))
}

#[cold]
#[cfg(not(target_os = "none"))]
fn bad(o: *mut u8, layout: Layout, why: &str, _: Option<&Header>) -> ! {
    panic!("heap: {why}: {o:p}, freed as {layout:?}")
}

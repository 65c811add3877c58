//! Goroutine stacks: reserved address ranges whose pages appear as they are touched.
//!
//! ```text
//!  low                                                             high
//!  ┌───────┬──────────────────┬──────────────────────────────────────┐
//!  │ guard │ overflow reserve │ stack, grows down                    │  one slot
//!  │ 4 KiB │ 32 KiB           │ 256 KiB (or as asked for)            │
//!  └───────┴──────────────────┴──────────────────────────────────────┘
//! ```
//! Default slots lie side by side in one region; bigger ones are `stack_big`'s. A slot comes with
//! its leaf page tables, so growing is one compare-and-swap on a page-table entry and needs no lock: the
//! page-fault handler takes a zeroed frame from its core's cache, installs it, and the loser of a race gives
//! its frame back. Any core may fault on any live stack: a channel hands values into parked stacks.
//!
//! A cache that runs low keeps its last frames for code that cannot wait. A goroutine that could be preempted
//! where it faults is taken off its core the same way instead (state Growing); g0 refills the cache with the
//! frame allocator's lock and continues it, and it faults again. Only if there is no frame then, it panics.
//!
//! A touch of the overflow reserve by a goroutine that may panic is its stack overflow: the reserve opens
//! so that the panic can unwind on it. Touched by code that may not panic (a lock is held, interrupts are
//! off) the page is just mapped: that code is short. As soon as it has let go of its lock, g0 takes the page back, so the
//! goroutine's next own page faults as above.
//!
//! **Out of frames.** `sched::grow` decides who waits, who panics, and who may draw on the last frames. The panic unwinds on
//! stack pages, too: it may draw. When it is caught, its goroutine gives back all pages below.
//!
//! Entries go from absent to present without a TLB flush. How pages are taken back is `shrink`'s story. One
//! thing of it concerns the fault path: an entry that is not PRESENT but not 0 either is a page on its way out; who
//! touches it still needs it, and makes it present again.

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::{frames, limit, stack_big};
use crate::{
    arch::{
        self,
        x86_64::{
            paging::{self, ACCESSED, DIRTY, NO_EXECUTE, PRESENT, WRITABLE},
            trap::{StackFault, TrapFrame},
        },
    },
    sched::{self, grow::Grow},
};

/// Size of a page.
pub const PAGE: usize = 4096;
/// Usable bytes of a default stack.
pub const DEFAULT_SIZE: usize = 256 * 1024;
/// The largest stack a goroutine may ask for.
pub const MAX_SIZE: usize = 1 << 30;
/// Opened when the stack overflows, for unwinding.
pub const RESERVE: usize = 32 * 1024;

/// Cached frames that are for code which cannot wait, and for panics.
pub(crate) const KEEP: usize = 8;

/// From one default slot to the next.
const STRIDE: usize = DEFAULT_SIZE + RESERVE + PAGE;
const BASE: usize = 0xffff_c000_0000_0000;
/// 16 Mi default slots.
pub(super) const DEFAULT_END: usize = BASE + (16 << 20) * STRIDE;
static NEXT_DEFAULT: AtomicUsize = AtomicUsize::new(0);
/// Pages mapped in stacks, for statistics.
pub(super) static PAGES: AtomicU64 = AtomicU64::new(0);

/// A stack slot: where it ends and how much of it may be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stack {
    top: usize,
    size: usize,
}

impl Stack {
    pub(super) fn new(top: usize, size: usize) -> Stack {
        Stack { top, size }
    }
    /// One past the highest byte.
    pub fn top(self) -> usize {
        self.top
    }
    /// Usable bytes.
    pub fn size(self) -> usize {
        self.size
    }
    /// Lowest usable address (below it comes the reserve).
    pub fn bottom(self) -> usize {
        self.top - self.size
    }
    /// Lowest address with the reserve.
    pub fn floor(self) -> usize {
        self.bottom() - RESERVE
    }
}

/// Reserves `n` default slots side by side with their page tables; returns the first index. One caller at a
/// time. Without memory for all tables it reserves nothing; those it made wait for the next attempt.
pub fn reserve_default(n: usize) -> Option<usize> {
    let first = NEXT_DEFAULT.load(Ordering::Relaxed);
    let (start, end) = (BASE + first * STRIDE, BASE + (first + n) * STRIDE);
    if end > DEFAULT_END {
        return None;
    }
    paging::ensure_leaf_tables(start..end).ok()?;
    NEXT_DEFAULT.store(first + n, Ordering::Relaxed);
    Some(first)
}

/// The `i`-th default slot.
pub fn default_slot(i: usize) -> Stack {
    Stack::new(BASE + (i + 1) * STRIDE, DEFAULT_SIZE)
}

/// Pages mapped in stacks now.
pub fn pages_mapped() -> u64 {
    PAGES.load(Ordering::Relaxed)
}

/// Maps the top page of a stack, so that a new goroutine's first frame can be written without a fault.
/// Preemption must be off.
#[inline]
pub fn ensure_top(s: Stack) -> bool {
    let at = s.top - PAGE;
    // SAFETY: the slot's leaf tables exist.
    let pte = unsafe { &*paging::leaf_pte(at) };
    pte.load(Ordering::Relaxed) & PRESENT != 0 || map(pte)
}

#[cold]
fn map(pte: &AtomicU64) -> bool {
    if !limit::allows(1) {
        return false; // a new goroutine is refused before those that run feel it
    }
    let was = arch::irq_save();
    // The last cached frames and the reserve are for faults; a spawn may take the allocator's lock.
    let core = arch::core_index();
    frames::refill(core);
    let frame = if frames::cached(core) > KEEP {
        frames::fault_pop(core)
    } else {
        frames::alloc_zeroed()
    };
    let r = match frame {
        Some(f) => {
            install(pte, f);
            true
        }
        None => false,
    };
    arch::irq_restore(was);
    r
}

/// One CAS installs the frame; who loses gives it back and finds the page mapped.
fn install(pte: &AtomicU64, f: frames::Frame) {
    let new = f.phys() | PRESENT | WRITABLE | ACCESSED | DIRTY | NO_EXECUTE;
    if pte
        .compare_exchange(0, new, Ordering::AcqRel, Ordering::Relaxed)
        .is_ok()
    {
        PAGES.fetch_add(1, Ordering::Relaxed);
    } else {
        frames::fault_push(arch::core_index(), f);
    }
}

/// Is the page mapped, or was it on its way out and is mapped again?
fn keep(pte: &AtomicU64) -> bool {
    let mut old = pte.load(Ordering::Acquire);
    while old != 0 && old & PRESENT == 0 {
        match pte.compare_exchange_weak(old, old | PRESENT, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return true,
            Err(now) => old = now,
        }
        core::hint::spin_loop();
    }
    old != 0
}

/// Which slot an address belongs to: its stack. Of a big slot all that it could hold.
pub(super) fn find(addr: usize) -> Option<Stack> {
    if (BASE..DEFAULT_END).contains(&addr) {
        return Some(default_slot((addr - BASE) / STRIDE));
    }
    stack_big::find(addr)
}

/// The top of the stack that an address lies in, if it lies in one.
pub fn top_of(addr: usize) -> Option<usize> {
    find(addr).map(Stack::top)
}

/// The page-fault hook. On the fault's own IST stack, interrupts off; takes no lock.
pub fn on_fault(addr: usize, f: &TrapFrame) -> StackFault {
    let Some(slot) = find(addr) else {
        return StackFault::NotStack;
    };
    // Who runs there knows how much it asked for; a waker's touch is inside anyway.
    let s = sched::grow::stack_at(slot.top()).unwrap_or(slot);
    if addr < s.floor() {
        return StackFault::Guard;
    }
    let pte = paging::leaf_pte(addr & !(PAGE - 1));
    if pte.is_null() {
        return StackFault::NotStack;
    }
    if addr < s.bottom() && sched::grow::overflows(s, f) {
        return StackFault::Overflow;
    }
    // SAFETY: a leaf entry found by `leaf_pte`; tables of stacks are never freed.
    let pte = unsafe { &*pte };
    if keep(pte) {
        sched::grow::served();
        return StackFault::Mapped; // another core was first, or it was on its way out
    }
    let core = arch::core_index();
    if frames::cached(core) <= KEEP {
        match sched::grow::when_low(f) {
            Grow::OnG0 => return StackFault::Refill,
            Grow::Panic => return StackFault::NoMemory,
            Grow::Draw => {}
        }
    }
    match frames::fault_pop(core) {
        Some(frame) => {
            install(pte, frame);
            sched::grow::served();
            StackFault::Mapped
        }
        None => StackFault::NoMemory,
    }
}

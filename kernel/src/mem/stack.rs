//! Goroutine stacks: reserved address ranges whose pages appear as they are touched.
//!
//! ```text
//!  low                                                             high
//!  ┌───────┬──────────────────┬──────────────────────────────────────┐
//!  │ guard │ overflow reserve │ stack, grows down                    │  one slot
//!  │ 4 KiB │ 32 KiB           │ 256 KiB (or as asked for)            │
//!  └───────┴──────────────────┴──────────────────────────────────────┘
//! ```
//! Default slots lie side by side in one region; bigger ones in a region per power of two. A slot comes with
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
//! off) the page is just mapped: that code is short, and the goroutine's next own page faults as above.
//!
//! Entries go from absent to present without a TLB flush. Pages are taken back only from dead stacks, in
//! batches with one shootdown ([`scavenge`]).

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::frames;
use crate::{
    arch::{
        self,
        x86_64::{
            paging::{self, ACCESSED, ADDR, DIRTY, NO_EXECUTE, PRESENT, STACK_REGION_END, WRITABLE},
            percpu, tlb,
            trap::{StackFault, TrapFrame},
        },
    },
    lock::{Rank, SpinLock},
};

/// Size of a page.
pub const PAGE: usize = 4096;
/// Usable bytes of a default stack.
pub const DEFAULT_SIZE: usize = 256 * 1024;
/// The largest stack a goroutine may ask for.
pub const MAX_SIZE: usize = 1 << 30;
/// Opened when the stack overflows, for unwinding.
pub const RESERVE: usize = 32 * 1024;

/// Cached frames that only code which cannot wait may take.
const KEEP: usize = 8;

const STRIDE: usize = DEFAULT_SIZE + RESERVE + PAGE;
const BASE: usize = 0xffff_c000_0000_0000;
/// 16 Mi default slots.
const DEFAULT_END: usize = BASE + (16 << 20) * STRIDE;
const BIG_BASE: usize = 0xffff_c800_0000_0000;
/// Address space of each class of big stacks: 512 GiB.
const BIG_SPAN: usize = 1 << 39;
/// Classes: slots of 512 KiB to 2 GiB (1 GiB, its reserve and guard need the last).
const BIG_MIN_LOG: usize = 19;
const BIG_CLASSES: usize = 13;
const _: () =
    assert!(DEFAULT_END <= BIG_BASE && BIG_BASE + BIG_CLASSES * BIG_SPAN <= STACK_REGION_END as usize);

static NEXT_DEFAULT: AtomicUsize = AtomicUsize::new(0);
/// Pages mapped in stacks, for statistics.
static PAGES: AtomicU64 = AtomicU64::new(0);

/// Slots of big stacks. Free ones are linked through the last words of their top pages, which stay mapped.
struct Big {
    next: [usize; BIG_CLASSES],
    /// Top of the first free slot, 0 if none.
    free: [usize; BIG_CLASSES],
}
static BIG: SpinLock<Big> = SpinLock::new(
    Rank::Stacks,
    Big {
        next: [0; BIG_CLASSES],
        free: [0; BIG_CLASSES],
    },
);

/// What the top of a free big slot holds.
#[repr(C)]
struct FreeSlot {
    /// Top of the next one, 0 if none.
    next: usize,
    /// No page below this is mapped.
    low: usize,
}

fn free_slot(top: usize) -> *mut FreeSlot {
    (top - size_of::<FreeSlot>()) as *mut FreeSlot
}

/// A stack slot: where it ends and how much of it may be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stack {
    top: usize,
    size: usize,
}

impl Stack {
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
    Stack {
        top: BASE + (i + 1) * STRIDE,
        size: DEFAULT_SIZE,
    }
}

fn class_of(size: usize) -> usize {
    (size + RESERVE + PAGE).next_power_of_two().ilog2() as usize - BIG_MIN_LOG
}

/// Reserves a stack of more than the default size. No lock held, interrupts on.
pub fn reserve_custom(size: usize) -> Option<Stack> {
    let size = size.next_multiple_of(PAGE);
    let class = class_of(size);
    let mut big = BIG.lock();
    let slot = 1usize << (class + BIG_MIN_LOG);
    let top = big.free[class];
    if top != 0 {
        // SAFETY: a free slot's top page is mapped and belongs to the lock's holder.
        let FreeSlot { next, low } = unsafe { free_slot(top).read() };
        big.free[class] = next;
        drop(big);
        let s = Stack { top, size };
        // Pages that a bigger stack left below this one's end would hide its overflow.
        unmap(low, s.bottom());
        return Some(s);
    }
    let i = big.next[class];
    if (i + 1) * slot > BIG_SPAN {
        return None;
    }
    let start = BIG_BASE + class * BIG_SPAN + i * slot;
    paging::ensure_leaf_tables(start..start + slot).ok()?;
    big.next[class] = i + 1;
    Some(Stack {
        top: start + slot,
        size,
    })
}

/// Gives back a stack from [`reserve_custom`]; its pages stay mapped for the next one.
pub fn release_custom(s: Stack) {
    let class = class_of(s.size);
    let mut big = BIG.lock();
    // SAFETY: somebody ran there, so the top page is mapped; now it is nobody's.
    unsafe {
        free_slot(s.top).write(FreeSlot {
            next: big.free[class],
            low: s.floor(),
        })
    };
    big.free[class] = s.top;
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
    let old = pte.load(Ordering::Relaxed);
    let new = f.phys() | PRESENT | WRITABLE | ACCESSED | DIRTY | NO_EXECUTE;
    if old & PRESENT == 0
        && pte
            .compare_exchange(old, new, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    {
        PAGES.fetch_add(1, Ordering::Relaxed);
    } else {
        frames::fault_push(arch::core_index(), f);
    }
}

/// The top of the stack that an address lies in, if it lies in one.
pub fn top_of(addr: usize) -> Option<usize> {
    find(addr).map(Stack::top)
}

/// Which slot an address belongs to: its stack.
fn find(addr: usize) -> Option<Stack> {
    if (BASE..DEFAULT_END).contains(&addr) {
        return Some(default_slot((addr - BASE) / STRIDE));
    }
    let off = addr
        .checked_sub(BIG_BASE)
        .filter(|o| *o < BIG_CLASSES * BIG_SPAN)?;
    let class = off / BIG_SPAN;
    let slot = 1usize << (class + BIG_MIN_LOG);
    let top = BIG_BASE + class * BIG_SPAN + (off % BIG_SPAN / slot + 1) * slot;
    // Who runs there knows how much it asked for; a waker's touch is inside anyway.
    let size = crate::sched::stack_size_at(top).unwrap_or(slot - RESERVE - PAGE);
    Some(Stack { top, size })
}

/// The page-fault hook. On the fault's own IST stack, interrupts off; takes no lock.
pub fn on_fault(addr: usize, f: &TrapFrame) -> StackFault {
    let Some(s) = find(addr) else {
        return StackFault::NotStack;
    };
    let pte = paging::leaf_pte(addr & !(PAGE - 1));
    if pte.is_null() {
        return StackFault::NotStack;
    }
    if addr < s.floor() {
        return StackFault::Guard;
    }
    if addr < s.bottom() {
        let core = percpu::this();
        let quiet = core.preempt.get() & !percpu::NO_RESCHED == 1 && f.rflags & 0x200 != 0;
        // The goroutine itself, where it may panic, and not already unwinding an overflow.
        if quiet && !core.g.get().is_null() && !crate::sched::overflow_open(s) {
            return StackFault::Overflow;
        }
    }
    // SAFETY: a leaf entry found by `leaf_pte`; tables of stacks are never freed.
    let pte = unsafe { &*pte };
    if pte.load(Ordering::Acquire) & PRESENT != 0 {
        return StackFault::Mapped; // another core was first
    }
    let core = arch::core_index();
    if frames::cached(core) <= KEEP {
        if crate::sched::may_grow_slowly(f) {
            return StackFault::Refill;
        }
        // Code that cannot wait draws on the last frames: have its goroutine pass by g0 as soon as it can.
        let this = percpu::this();
        this.preempt.set(this.preempt.get() & !percpu::NO_RESCHED);
    }
    match frames::fault_pop(core) {
        Some(frame) => {
            install(pte, frame);
            crate::sched::grown();
            StackFault::Mapped
        }
        None => StackFault::NoMemory,
    }
}

/// Unmaps the overflow reserve again once the panic has been caught, so that the next overflow is caught,
/// too. Called by the goroutine itself, high above the reserve, with interrupts on and no lock held.
pub fn close_reserve(s: Stack) {
    unmap(s.floor(), s.bottom());
}

/// Unmaps what is mapped from `low` to `high`, parts of stacks that nobody uses, and frees it. No lock held,
/// interrupts on.
fn unmap(low: usize, high: usize) {
    let mut got: heapless::Vec<u64, 64> = heapless::Vec::new();
    for at in (low..high).step_by(PAGE) {
        // SAFETY: a leaf entry of a slot.
        let pte = unsafe { &*paging::leaf_pte(at) };
        if pte.load(Ordering::Relaxed) & PRESENT == 0 {
            continue;
        }
        let _ = got.push(pte.swap(0, Ordering::AcqRel) & ADDR); // not full: see below
        if got.is_full() {
            free_unmapped(&mut got);
        }
    }
    free_unmapped(&mut got);
}

#[inline(never)]
fn free_unmapped(pages: &mut heapless::Vec<u64, 64>) {
    if pages.is_empty() {
        return;
    }
    tlb::shootdown_all();
    for a in pages.iter() {
        PAGES.fetch_sub(1, Ordering::Relaxed);
        // SAFETY: unmapped everywhere, nobody else holds it.
        frames::free(unsafe { frames::Frame::from_phys(*a) });
    }
    pages.clear();
}

/// Takes all pages of a dead stack (its top page, too) into `out`; the caller flushes before it frees them.
fn strip(s: Stack, out: &mut heapless::Vec<u64, 512>) -> bool {
    for at in (s.floor()..s.top()).step_by(PAGE).rev() {
        if out.is_full() {
            return false;
        }
        // SAFETY: a leaf entry of a dead slot that the caller owns.
        let pte = unsafe { &*paging::leaf_pte(at) };
        let old = pte.swap(0, Ordering::AcqRel);
        if old & PRESENT != 0 {
            let _ = out.push(old & ADDR); // room was checked
        }
    }
    true
}

/// Gives the pages of dead stacks back to the frame allocator; returns how many. Blocks for a TLB shootdown
/// per 512 pages. From a goroutine, no lock held.
pub fn scavenge() -> usize {
    use crate::sched::dead;
    let mut freed = 0;
    let mut done = dead::Batch::default();
    loop {
        let mut batch = dead::Batch::take(64);
        if batch.is_empty() {
            break;
        }
        let mut pages: heapless::Vec<u64, 512> = heapless::Vec::new();
        for s in batch.stacks() {
            while !strip(s, &mut pages) {
                freed += give_back(&mut pages);
            }
        }
        freed += give_back(&mut pages);
        done.append(&mut batch);
    }
    done.put_back();
    freed
}

fn give_back(pages: &mut heapless::Vec<u64, 512>) -> usize {
    if pages.is_empty() {
        return 0;
    }
    tlb::shootdown_all();
    let n = pages.len();
    PAGES.fetch_sub(n as u64, Ordering::Relaxed);
    for a in pages.iter() {
        // SAFETY: unmapped everywhere, nobody else holds it.
        frames::free(unsafe { frames::Frame::from_phys(*a) });
    }
    pages.clear();
    n
}

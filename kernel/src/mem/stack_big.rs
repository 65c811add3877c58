//! Slots of stacks above the default size.
//!
//! A region per power of two from 512 KiB to 2 GiB, slots side by side in it, a list of free slots each. A slot is handed
//! out with its top page mapped and with leaf tables for as much of it as was asked for (2 MiB of tables for a 1 GiB
//! stack). A free one keeps its pages for the next user, until pages are reclaimed; its top page, which it always
//! keeps, holds its link in the list.
//!
//! Out of memory: tables that were made stay and serve the next attempt; a slot is counted as made only once its top page
//! is there, so none is lost.

use super::{
    shrink,
    stack::{self, MAX_SIZE, PAGE, RESERVE, Stack},
};
use crate::{
    arch::x86_64::paging::{self, STACK_REGION_END},
    lock::{Rank, SpinLock},
};

/// Where the regions start.
const BASE: usize = 0xffff_c800_0000_0000;
/// Address space of each class: 512 GiB.
const SPAN: usize = 1 << 39;
/// Classes: slots of 512 KiB to 2 GiB (1 GiB, its reserve and guard need the last).
const MIN_LOG: usize = 19;
const CLASSES: usize = 13;
const _: () = assert!(
    stack::DEFAULT_END <= BASE
        && BASE + CLASSES * SPAN <= STACK_REGION_END as usize
        && class_of(MAX_SIZE) == CLASSES - 1
);

struct Big {
    /// Slots made in each class.
    made: [usize; CLASSES],
    /// Top of the first free slot, 0 if none.
    free: [usize; CLASSES],
}
static BIG: SpinLock<Big> = SpinLock::new(
    Rank::Stacks,
    Big {
        made: [0; CLASSES],
        free: [0; CLASSES],
    },
);

/// What the top of a free slot holds.
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

impl Big {
    fn pop(&mut self, class: usize) -> Option<(usize, usize)> {
        let top = self.free[class];
        if top == 0 {
            return None;
        }
        // SAFETY: a free slot's top page is mapped and belongs to the lock's holder.
        let FreeSlot { next, low } = unsafe { free_slot(top).read() };
        self.free[class] = next;
        Some((top, low))
    }

    fn push(&mut self, class: usize, top: usize, low: usize) {
        let next = self.free[class];
        // SAFETY: the slot's top page is mapped, and nobody's.
        unsafe { free_slot(top).write(FreeSlot { next, low }) };
        self.free[class] = top;
    }
}

const fn class_of(size: usize) -> usize {
    (size + RESERVE + PAGE).next_power_of_two().ilog2() as usize - MIN_LOG
}

/// Reserves a stack of more than the default size, its top page mapped. No lock held, interrupts on.
pub(crate) fn reserve(size: usize) -> Option<Stack> {
    let size = size.next_multiple_of(PAGE);
    let class = class_of(size);
    let slot = 1usize << (class + MIN_LOG);
    let mut big = BIG.lock();
    if let Some((top, low)) = big.pop(class) {
        let s = Stack::new(top, size);
        if paging::ensure_leaf_tables(s.floor()..top).is_err() {
            big.push(class, top, low);
            return None;
        }
        drop(big);
        // Pages that a bigger stack left below this one's end would hide its overflow.
        shrink::unmap(low, s.bottom());
        return Some(s);
    }
    let i = big.made[class];
    if (i + 1) * slot > SPAN {
        return None;
    }
    let s = Stack::new(BASE + class * SPAN + (i + 1) * slot, size);
    paging::ensure_leaf_tables(s.floor()..s.top()).ok()?;
    if !stack::ensure_top(s) {
        return None;
    }
    big.made[class] = i + 1;
    Some(s)
}

/// Gives back a stack from [`reserve`]; its pages stay mapped for the next one.
pub(crate) fn release(s: Stack) {
    BIG.lock().push(class_of(s.size()), s.top(), s.floor());
}

/// Which slot an address belongs to: all that can be used of it.
pub(super) fn find(addr: usize) -> Option<Stack> {
    let off = addr.checked_sub(BASE).filter(|o| *o < CLASSES * SPAN)?;
    let class = off / SPAN;
    let slot = 1usize << (class + MIN_LOG);
    let top = BASE + class * SPAN + (off % SPAN / slot + 1) * slot;
    Some(Stack::new(top, slot - RESERVE - PAGE))
}

/// Has `f` take the pages of every free slot (from, to), but for their top pages. No lock held, interrupts on.
pub(super) fn for_each_free(mut f: impl FnMut(usize, usize)) {
    for class in 0..CLASSES {
        let mut done = 0;
        // One at a time, so that a spawn meanwhile finds the others.
        loop {
            let Some((top, low)) = BIG.lock().pop(class) else {
                break;
            };
            f(low, top - PAGE);
            // SAFETY: its top page is mapped, and the slot ours.
            unsafe {
                free_slot(top).write(FreeSlot {
                    next: done,
                    low: top - PAGE,
                })
            };
            done = top;
        }
        let mut big = BIG.lock();
        while done != 0 {
            // SAFETY: written above; nobody else has seen it.
            let FreeSlot { next, low } = unsafe { free_slot(done).read() };
            big.push(class, done, low);
            done = next;
        }
    }
}

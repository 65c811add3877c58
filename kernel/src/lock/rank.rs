//! Lock ranks: the one order in which locks may be taken, as data that runs.
//!
//! A core that holds a lock may only take locks of a higher rank, never a second one of the same (select takes
//! its channels one at a time). The check keeps a small stack of ranks per core; release builds carry none of it.

/// The place of a lock in the order; a lower one is taken first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Rank {
    /// Test and tool locks that hold nothing else.
    Outer,
    /// One bucket of the semaphore table (`sync::sema`).
    Sema,
    /// A channel, one at a time.
    Chan,
    /// State of a join packet, wait group or other small waiter list.
    Waiters,
    /// The network stack.
    Net,
    /// The timer heap of one P.
    Timers,
    /// The scheduler: global queue, idle lists, stop-the-world.
    Sched,
    /// Dead goroutines and the stacks that go with them.
    DeadGs,
    /// Free slots of big stacks.
    Stacks,
    /// Blocks that `memdebug` keeps back.
    MemDebug,
    /// The heap profile.
    Profile,
    /// The cache of the heap for cores without a P.
    Cache,
    /// One class of mcentral.
    Central,
    /// The page heap.
    Heap,
    /// Page-table growth.
    PageTables,
    /// The frame allocator.
    Frames,
    /// The serial console: last, so that anything may print.
    Console,
}

#[cfg(all(debug_assertions, target_os = "none"))]
pub(super) mod check {
    use core::cell::UnsafeCell;

    use super::Rank;
    use crate::arch::{self, MAX_CORES};

    const DEPTH: usize = 48;

    struct Held {
        len: usize,
        ranks: [(Rank, usize); DEPTH],
    }

    struct PerCore([UnsafeCell<Held>; MAX_CORES]);
    // SAFETY: slot i is touched by core i alone, with preemption off, never from an interrupt.
    unsafe impl Sync for PerCore {}

    static HELD: PerCore = PerCore(
        [const {
            UnsafeCell::new(Held {
                len: 0,
                ranks: [(Rank::Outer, 0); DEPTH],
            })
        }; MAX_CORES],
    );

    fn mine() -> *mut Held {
        HELD.0[arch::core_index()].get()
    }

    /// Called with preemption off, before the lock is taken.
    pub(in crate::lock) fn acquire(rank: Rank, addr: usize, blocking: bool) {
        // SAFETY: preemption is off and interrupt handlers take no ranked lock: the slot is ours.
        let held = unsafe { &mut *mine() };
        if let Some(&(top, _)) = held.ranks[..held.len].iter().max_by_key(|h| h.0) {
            let ok = top < rank;
            if !ok && blocking {
                fail(rank, held);
            }
        }
        if held.len < DEPTH {
            held.ranks[held.len] = (rank, addr);
        }
        held.len += 1;
    }

    pub(in crate::lock) fn release(addr: usize) {
        // SAFETY: as in `acquire`.
        let held = unsafe { &mut *mine() };
        if held.len > DEPTH {
            held.len -= 1;
            return;
        }
        if let Some(i) = held.ranks[..held.len].iter().rposition(|h| h.1 == addr) {
            held.ranks.copy_within(i + 1..held.len, i);
            held.len -= 1;
        }
    }

    #[cold]
    fn fail(rank: Rank, held: &Held) -> ! {
        let held = &held.ranks[..held.len.min(DEPTH)];
        panic!("lock rank: taking {rank:?} while holding {held:x?}");
    }

    /// The ranks this core holds, and the addresses of their locks: for a last message. Preemption is off.
    pub(in crate::lock) fn held() -> heapless::Vec<(Rank, usize), DEPTH> {
        // SAFETY: as in `acquire`.
        let held = unsafe { &*mine() };
        held.ranks[..held.len.min(DEPTH)].iter().copied().collect()
    }
}

#[cfg(not(all(debug_assertions, target_os = "none")))]
pub(super) mod check {
    use super::Rank;

    #[inline(always)]
    pub(in crate::lock) fn acquire(_: Rank, _: usize, _: bool) {}
    #[inline(always)]
    pub(in crate::lock) fn release(_: usize) {}
}

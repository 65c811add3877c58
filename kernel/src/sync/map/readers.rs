//! Who reads a map now: what a writer must know before it frees what it has unlinked.
//!
//! Readers take no lock. They count themselves in on the way in and out on the way out, in one of several counters: by core,
//! so that they do not fight for one cache line, and by *parity*, so that counters come to rest although new readers
//! keep coming. They may be preempted, may park (in the user's closure) and may panic meanwhile, which is why this is not the
//! cheaper scheme that keeps preemption off.
//!
//! What was unlinked before a counter was seen at 0 cannot be known to a reader of that counter. So a writer seals a bag
//! of garbage, and from then on ticks off each counter that it sees at 0, once is enough; when all are ticked
//! off, the bag is free. Sealing turns the parity over: the counters of the old one only fall from now on (but for
//! readers who had read the parity and not yet counted themselves: few, and harmless, for all counters are waited for).
//!
//! The parity is turned over only to counters that are all at rest, or it would bring readers to those that are waited for.
//! Sixteen parts share it, so one may find that another has turned it to just the counters it waits for: whoever waits
//! turns it, too, as soon as that is possible.
//!
//! Memory ordering: reader: count, fence, read pointers. Writer: unlink, fence, read counts. Both fences are SeqCst,
//! so either the writer sees the count or the reader does not see the pointer. Counting out is Release and pairs with the
//! writer's Acquire load: all the reader did is over.
#![forbid(unsafe_code)]

use crate::{
    arch,
    shim::{AtomicU32, Ordering, fence},
};

const STRIPES: usize = 8;

#[repr(align(64))]
struct Counter(AtomicU32);

pub(super) struct Readers {
    parity: AtomicU32,
    counters: [[Counter; STRIPES]; 2],
}

/// Counted in, until dropped.
#[must_use]
pub(super) struct Reading<'a>(&'a AtomicU32);

impl Drop for Reading<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Release); // pairs with the load in `tick_off`
    }
}

/// The counters not seen at 0 yet: a bit each.
#[derive(Clone, Copy)]
pub(super) struct Unseen(u32);

impl Unseen {
    pub(super) const NONE: Unseen = Unseen(0);

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// How many counters of a parity are in use.
#[inline(always)]
fn stripes() -> usize {
    if cfg!(target_os = "none") {
        arch::core_count().min(STRIPES)
    } else {
        1
    }
}

impl Readers {
    shim_const_fn! {
        pub(super) fn new() -> Self {
            #[cfg(not(loom))]
            let counters = [const { [const { Counter(AtomicU32::new(0)) }; STRIPES] }; 2];
            #[cfg(loom)]
            let counters = core::array::from_fn(|_| core::array::from_fn(|_| Counter(AtomicU32::new(0))));
            Self { parity: AtomicU32::new(0), counters }
        }
    }

    #[inline(always)]
    pub(super) fn enter(&self) -> Reading<'_> {
        let parity = self.parity.load(Ordering::Relaxed) as usize % 2; // either will do
        let counter = &self.counters[parity][arch::core_index() % STRIPES].0;
        counter.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst); // see the file head
        Reading(counter)
    }

    /// Is no reader in who may know what the caller has unlinked until now? Then sealing is not worth while.
    #[inline]
    pub(super) fn nobody(&self) -> bool {
        fence(Ordering::SeqCst); // see the file head
        let [even, odd] = &self.counters;
        // Acquire: pairs with the subtraction of the last reader.
        let at_rest = |c: &Counter| c.0.load(Ordering::Acquire) == 0;
        (0..stripes()).all(|i| at_rest(&even[i]) && at_rest(&odd[i]))
    }

    /// If one of the counters to wait for is in use: sends who comes from now on to the others, if those are at rest.
    fn turn_over(&self, left: Unseen) {
        let parity = self.parity.load(Ordering::Relaxed) % 2;
        let in_use = left.0 >> (parity as usize * STRIPES) & ((1 << STRIPES) - 1);
        let others = &self.counters[parity as usize ^ 1];
        if in_use != 0 && (0..stripes()).all(|i| others[i].0.load(Ordering::Relaxed) == 0) {
            self.parity.store(parity ^ 1, Ordering::Relaxed); // two who do so at once do it once
        }
    }

    /// What the caller has unlinked until now is in a bag; these are the counters to wait for.
    pub(super) fn seal(&self) -> Unseen {
        fence(Ordering::SeqCst); // see the file head
        let one = (1 << stripes()) - 1;
        Unseen(one | one << STRIPES)
    }

    /// Ticks off the counters that are at 0 now, and sees to it that the others get there.
    pub(super) fn tick_off(&self, mut left: Unseen) -> Unseen {
        let mut bits = left.0;
        while bits != 0 {
            let i = bits.trailing_zeros() as usize;
            bits &= bits - 1;
            // Acquire: pairs with the subtraction of the last reader.
            if self.counters[i / STRIPES][i % STRIPES].0.load(Ordering::Acquire) == 0 {
                left.0 &= !(1 << i);
            }
        }
        self.turn_over(left);
        left
    }
}

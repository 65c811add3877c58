//! A P's run queue: 256 slots and `runnext`, one producer, many consumers, no lock.
//!
//! A ring indexed by two free-running 32-bit counters. The owner alone writes `tail` and the slots; anyone
//! may advance `head` by compare-and-swap and thereby own what lay between the old value and the new.
//!
//! Why it is right:
//! 1. *A slot is read before it is claimed.* A consumer loads `head` = h, reads slots h.., then CASes head
//!    from h. If the CAS succeeds, head was h all along (counters do not come back: 2³² operations during
//!    one claim would be needed), so the owner, who writes slot t only while t − head < 256, did not touch
//!    the slots read.
//! 2. *Claimed Gs are seen whole.* The owner publishes a slot by the Release store to `tail`; a consumer
//!    reads it after an Acquire load of `tail`. The owner reuses a slot only after an Acquire load of
//!    `head` that sees the claim's Release CAS, so its overwrite cannot be seen by the claim's reads.
//! 3. `runnext` is one pointer moved by atomic exchange: who swaps it out owns it. The owner's replacing
//!    store is a swap, too, so that a G a thief took is never also "displaced".
//!
//! Counters wrap; all comparisons are by wrapping difference. `tests` start them near the limit.
//!
//! After the idea of Go's per-P queues (Vyukov, "Scalable Go Scheduler Design Doc", 2012); the ring is the
//! bounded single-producer variant of Chase and Lev's deque without the owner's pop at the bottom.
#![forbid(unsafe_code)]

use core::ptr;

use crate::shim::{AtomicPtr, AtomicU32, Ordering};

/// Slots of a queue. A power of two.
pub const CAP: usize = if cfg!(loom) { 4 } else { 256 };
const MASK: u32 = CAP as u32 - 1;

/// What did not fit: the first half of the queue and the new element, oldest first.
pub struct Overflow<T> {
    /// The elements, `CAP / 2 + 1` of them.
    pub batch: [*mut T; CAP / 2 + 1],
}

/// The queue. `T` is the G; only pointers to it are moved.
pub struct RunQueue<T> {
    head: AtomicU32,
    tail: AtomicU32,
    runnext: AtomicPtr<T>,
    slots: [AtomicPtr<T>; CAP],
}

impl<T> RunQueue<T> {
    shim_const_fn! {
        /// An empty queue whose counters start at 0.
        pub fn new() -> Self {
            Self {
                head: AtomicU32::new(0),
                tail: AtomicU32::new(0),
                runnext: AtomicPtr::new(ptr::null_mut()),
                #[cfg(not(loom))]
                slots: [const { AtomicPtr::new(ptr::null_mut()) }; CAP],
                #[cfg(loom)]
                slots: core::array::from_fn(|_| AtomicPtr::new(ptr::null_mut())),
            }
        }
    }

    /// Appends `g`. When full, takes out the first half and returns it with `g` for the global queue.
    /// Owner only.
    #[inline]
    #[must_use = "an overflow holds runnable goroutines that are on no queue"]
    pub fn push(&self, g: *mut T) -> Option<Overflow<T>> {
        loop {
            let h = self.head.load(Ordering::Acquire); // pairs with the Release CAS of consumers (2.)
            let t = self.tail.load(Ordering::Relaxed); // we are its only writer
            if t.wrapping_sub(h) < CAP as u32 {
                self.slots[(t & MASK) as usize].store(g, Ordering::Relaxed);
                self.tail.store(t.wrapping_add(1), Ordering::Release); // pairs with Acquire in `len`, `steal_into`
                return None;
            }
            if let Some(o) = self.spill(h, g) {
                return Some(o);
            }
        }
    }

    #[cold]
    fn spill(&self, h: u32, g: *mut T) -> Option<Overflow<T>> {
        let n = CAP as u32 / 2;
        let mut batch = [ptr::null_mut(); CAP / 2 + 1];
        for i in 0..n {
            batch[i as usize] = self.slots[(h.wrapping_add(i) & MASK) as usize].load(Ordering::Relaxed);
        }
        // Release: pairs with the Acquire load in `push`. A failure means thieves made room.
        self.head
            .compare_exchange(h, h.wrapping_add(n), Ordering::Release, Ordering::Relaxed)
            .ok()?;
        batch[n as usize] = g;
        Some(Overflow { batch })
    }

    /// Makes `g` the next to run and returns the one it displaces, which the owner then pushes.
    /// Owner only.
    #[inline]
    pub fn swap_next(&self, g: *mut T) -> *mut T {
        // AcqRel: publishes g to a thief's Acquire; sees what we displace.
        self.runnext.swap(g, Ordering::AcqRel)
    }

    /// Takes `runnext`. Owner only (thieves come through `steal_into`).
    #[inline]
    pub fn take_next(&self) -> *mut T {
        if self.runnext.load(Ordering::Relaxed).is_null() {
            return ptr::null_mut();
        }
        self.runnext.swap(ptr::null_mut(), Ordering::AcqRel) // pairs with `swap_next`
    }

    /// Takes the oldest element. Owner only, but contends with thieves.
    #[inline]
    pub fn pop(&self) -> *mut T {
        loop {
            let h = self.head.load(Ordering::Acquire);
            let t = self.tail.load(Ordering::Relaxed);
            if t == h {
                return ptr::null_mut();
            }
            let g = self.slots[(h & MASK) as usize].load(Ordering::Relaxed);
            // Release: pairs with the Acquire load of head in `push`.
            if self
                .head
                .compare_exchange_weak(h, h.wrapping_add(1), Ordering::Release, Ordering::Relaxed)
                .is_ok()
            {
                return g;
            }
            crate::shim::spin_loop();
        }
    }

    /// Moves half of this queue (rounded up) to `thief`'s, whose owner calls, and returns one of them to
    /// run now. `thief` must be empty. With `also_next`, an otherwise empty queue gives its `runnext`.
    pub fn steal_into(&self, thief: &RunQueue<T>, also_next: bool) -> *mut T {
        let t2 = thief.tail.load(Ordering::Relaxed); // our own tail
        loop {
            let h = self.head.load(Ordering::Acquire); // pairs with other consumers' Release CAS
            let t = self.tail.load(Ordering::Acquire); // pairs with the owner's Release store in `push`
            let len = t.wrapping_sub(h);
            let n = len - len / 2;
            if n == 0 {
                if also_next && !self.runnext.load(Ordering::Relaxed).is_null() {
                    return self.runnext.swap(ptr::null_mut(), Ordering::AcqRel);
                }
                return ptr::null_mut();
            }
            if len > CAP as u32 {
                crate::shim::spin_loop();
                continue; // h and t were not of one moment
            }
            for i in 0..n {
                let g = self.slots[(h.wrapping_add(i) & MASK) as usize].load(Ordering::Relaxed);
                thief.slots[(t2.wrapping_add(i) & MASK) as usize].store(g, Ordering::Relaxed);
            }
            // Release: pairs with the Acquire load of head in the owner's `push` (2.).
            if self
                .head
                .compare_exchange(h, h.wrapping_add(n), Ordering::Release, Ordering::Relaxed)
                .is_ok()
            {
                let last = n - 1;
                let g = thief.slots[(t2.wrapping_add(last) & MASK) as usize].load(Ordering::Relaxed);
                if last > 0 {
                    thief.tail.store(t2.wrapping_add(last), Ordering::Release); // publishes to other thieves
                }
                return g;
            }
            crate::shim::spin_loop();
        }
    }

    /// Elements in the ring, without `runnext`. A snapshot.
    pub fn len(&self) -> usize {
        let h = self.head.load(Ordering::Acquire);
        let t = self.tail.load(Ordering::Acquire);
        (t.wrapping_sub(h) as usize).min(CAP)
    }

    /// Nothing here to run? Sees both ring and `runnext`; exact only under the idle protocol's fence.
    pub fn is_empty(&self) -> bool {
        loop {
            let h = self.head.load(Ordering::Acquire);
            let t = self.tail.load(Ordering::Acquire);
            let next = self.runnext.load(Ordering::Acquire);
            // A G displaced from runnext is pushed after the swap: tail must not have moved in between.
            if t == self.tail.load(Ordering::Acquire) {
                return h == t && next.is_null();
            }
            crate::shim::spin_loop();
        }
    }

    /// Is there a `runnext`?
    pub fn has_next(&self) -> bool {
        !self.runnext.load(Ordering::Relaxed).is_null()
    }
}

impl<T> Default for RunQueue<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn p(n: usize) -> *mut u8 {
        ptr::without_provenance_mut(n)
    }

    fn starting_at(n: u32) -> RunQueue<u8> {
        let q = RunQueue::new();
        q.head.store(n, Ordering::Relaxed);
        q.tail.store(n, Ordering::Relaxed);
        q
    }

    #[test]
    fn fifo_across_the_wrap() {
        let q = starting_at(u32::MAX - 100);
        for i in 1..=CAP {
            assert!(q.push(p(i)).is_none());
        }
        assert_eq!(q.len(), CAP);
        for i in 1..=CAP {
            assert_eq!(q.pop(), p(i));
        }
        assert!(q.pop().is_null() && q.is_empty());
    }

    #[test]
    fn overflow_gives_the_older_half_and_the_new_one() {
        let q = starting_at(u32::MAX - 3);
        for i in 1..=CAP {
            assert!(q.push(p(i)).is_none());
        }
        let o = q.push(p(999)).expect("full");
        assert_eq!(o.batch[0], p(1));
        assert_eq!(o.batch[CAP / 2], p(999));
        assert_eq!(q.len(), CAP / 2);
        assert_eq!(q.pop(), p(CAP / 2 + 1));
    }

    #[test]
    fn steal_takes_half_rounded_up() {
        let (a, b) = (starting_at(u32::MAX - 2), starting_at(7));
        for i in 1..=5 {
            assert!(a.push(p(i)).is_none());
        }
        assert_eq!(a.steal_into(&b, false), p(3));
        assert_eq!((b.pop(), b.pop(), b.pop()), (p(1), p(2), ptr::null_mut()));
        assert_eq!(a.len(), 2);
    }

    #[test]
    fn runnext_is_stolen_only_when_asked() {
        let (a, b) = (RunQueue::new(), RunQueue::new());
        assert!(a.swap_next(p(1)).is_null());
        assert_eq!(a.swap_next(p(2)), p(1));
        assert!(a.steal_into(&b, false).is_null());
        assert_eq!(a.steal_into(&b, true), p(2));
        assert!(a.is_empty());
    }

    #[test]
    fn every_element_comes_out_once_under_thieves() {
        use std::{
            collections::HashSet,
            sync::{Arc, Mutex},
        };
        let q = Arc::new(starting_at(u32::MAX - 1000));
        let seen = Arc::new(Mutex::new(HashSet::new()));
        let done = Arc::new(core::sync::atomic::AtomicBool::new(false));
        let thieves: Vec<_> = (0..3)
            .map(|_| {
                let (q, seen, done) = (q.clone(), seen.clone(), done.clone());
                std::thread::spawn(move || {
                    let mine = RunQueue::new();
                    while !done.load(Ordering::Acquire) || !q.is_empty() {
                        let mut g = q.steal_into(&mine, true);
                        while !g.is_null() {
                            assert!(seen.lock().unwrap().insert(g as usize));
                            g = mine.pop();
                        }
                        std::thread::yield_now();
                    }
                })
            })
            .collect();
        const N: usize = 50_000;
        let mut spilled = Vec::new();
        for i in 1..=N {
            if i % 7 == 0 {
                let old = q.swap_next(p(i));
                if !old.is_null() {
                    spilled.extend(q.push(old).iter().flat_map(|o| o.batch));
                }
            } else {
                spilled.extend(q.push(p(i)).iter().flat_map(|o| o.batch));
            }
            if i % 3 == 0 {
                let g = q.pop();
                if !g.is_null() {
                    assert!(seen.lock().unwrap().insert(g as usize));
                }
            }
        }
        done.store(true, Ordering::Release);
        for t in thieves {
            t.join().unwrap();
        }
        let mut seen = seen.lock().unwrap();
        for g in spilled {
            assert!(seen.insert(g as usize));
        }
        assert_eq!(seen.len(), N);
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use loom::sync::Arc;

    use super::*;

    fn p(n: usize) -> *mut u8 {
        ptr::without_provenance_mut(n)
    }

    /// Owner pushes and pops over a full ring while a thief steals: each element exactly once.
    #[test]
    fn loom_runq_owner_and_thief() {
        loom::model(|| {
            let q = Arc::new(RunQueue::<u8>::new());
            let q2 = q.clone();
            let thief = loom::thread::spawn(move || {
                let mine = RunQueue::new();
                let mut got = Vec::new();
                let mut g = q2.steal_into(&mine, true);
                while !g.is_null() {
                    got.push(g as usize);
                    g = mine.pop();
                }
                got
            });
            let mut got = Vec::new();
            for i in 1..=3 {
                if let Some(o) = q.push(p(i)) {
                    got.extend(o.batch.iter().map(|g| *g as usize));
                }
            }
            let g = q.pop();
            if !g.is_null() {
                got.push(g as usize);
            }
            let old = q.swap_next(p(4));
            assert!(old.is_null());
            got.extend(thief.join().unwrap());
            for g in [q.take_next(), q.pop(), q.pop(), q.pop()] {
                if !g.is_null() {
                    got.push(g as usize);
                }
            }
            got.sort_unstable();
            assert_eq!(got, [1, 2, 3, 4]);
        });
    }

    /// Overflow against a thief: the spilled half and the stolen half never share an element.
    #[test]
    fn loom_runq_overflow_and_thief() {
        loom::model(|| {
            let q = Arc::new(RunQueue::<u8>::new());
            for i in 1..=CAP {
                assert!(q.push(p(i)).is_none());
            }
            let q2 = q.clone();
            let thief = loom::thread::spawn(move || {
                let mine = RunQueue::new();
                let mut got = Vec::new();
                let mut g = q2.steal_into(&mine, false);
                while !g.is_null() {
                    got.push(g as usize);
                    g = mine.pop();
                }
                got
            });
            let mut got: Vec<usize> = Vec::new();
            if let Some(o) = q.push(p(9)) {
                got.extend(o.batch.iter().map(|g| *g as usize));
            }
            got.extend(thief.join().unwrap());
            loop {
                let g = q.pop();
                if g.is_null() {
                    break;
                }
                got.push(g as usize);
            }
            got.sort_unstable();
            assert_eq!(got, [1, 2, 3, 4, 9]);
        });
    }
}

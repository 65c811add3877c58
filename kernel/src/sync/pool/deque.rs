//! The deque of a pool: one producer at the head, anybody at the tail. Lock-free.
//!
//! A *ring* is an array of slots and one word with both indices, so that "is there one, and is it mine" is one
//! exchange. Each slot has a flag, because taking it and emptying it are two steps:
//!
//! | | index word | slot's flag | value |
//! | --- | --- | --- | --- |
//! | push (producer) | not full | clear: its last taker is through | written; flag set; head+1 |
//! | pop (producer) | head-1 by exchange | – | read; flag cleared |
//! | steal (anybody) | tail+1 by exchange | – | read; flag cleared |
//!
//! Producer and thief meet at the last element only, and there the exchange of the one word decides. A slot whose thief is
//! slow makes the ring look full a little early: harmless.
//!
//! A deque is a row of rings, each twice as long as the one before, made when that is full. Rings stay until the deque
//! goes: nobody has to know whether a thief still looks at one. The producer works on the topmost it has filled;
//! thieves begin at the lowest.
//!
//! Memory ordering: a push publishes the value by the Release addition to the index word, which the taker's Acquire
//! exchange reads; the taker's Release on the flag hands the slot back to the Acquire of the next push there. A ring is
//! published by a Release store of its pointer.

use alloc::{boxed::Box, vec::Vec};
use core::mem::MaybeUninit;

use super::cell::UnsafeCell;
use crate::{
    mem::try_box,
    shim::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering},
};

/// Length of the first ring.
#[cfg(not(loom))]
const FIRST: usize = 8;
#[cfg(loom)]
const FIRST: usize = 2;
/// Rings: together room for 32,760 values.
#[cfg(not(loom))]
const RINGS: usize = 12;
#[cfg(loom)]
const RINGS: usize = 2;

struct Slot<T> {
    full: AtomicBool,
    value: UnsafeCell<MaybeUninit<T>>,
}

struct Ring<T> {
    /// Head in the high half (next to write), tail in the low half (next to steal). They wrap.
    ends: AtomicU64,
    slots: Box<[Slot<T>]>,
}

const HEAD: u64 = 1 << 32;

impl<T> Ring<T> {
    /// `None` without memory.
    fn try_new(len: usize) -> Option<Self> {
        let mut slots = Vec::new();
        slots.try_reserve_exact(len).ok()?;
        slots.extend((0..len).map(|_| Slot {
            full: AtomicBool::new(false),
            value: UnsafeCell::new(MaybeUninit::uninit()),
        }));
        Some(Ring {
            ends: AtomicU64::new(0),
            slots: slots.into_boxed_slice(),
        })
    }

    fn slot(&self, index: u32) -> &Slot<T> {
        &self.slots[index as usize & (self.slots.len() - 1)]
    }

    /// Producer only.
    fn push(&self, value: T) -> Result<(), T> {
        let ends = self.ends.load(Ordering::Relaxed);
        let (head, tail) = ((ends >> 32) as u32, ends as u32);
        let slot = self.slot(head);
        // Acquire: pairs with the Release in `take`.
        if head.wrapping_sub(tail) as usize >= self.slots.len() || slot.full.load(Ordering::Acquire) {
            return Err(value);
        }
        // SAFETY: not full and its flag is clear: nobody else touches the slot until the head has passed it.
        slot.value.with_mut(|p| unsafe { p.cast::<T>().write(value) });
        slot.full.store(true, Ordering::Relaxed); // ordered by the addition
        // Release: pairs with the Acquire exchanges in `pop` and `steal`.
        self.ends.fetch_add(HEAD, Ordering::Release);
        Ok(())
    }

    /// # Safety
    /// 1. The caller has moved the head or the tail over this slot by an Acquire exchange.
    unsafe fn take(&self, index: u32) -> T {
        let slot = self.slot(index);
        // SAFETY: 1. it is the caller's alone until the flag is clear; a push wrote it.
        let value = slot.value.with_mut(|p| unsafe { p.cast::<T>().read() });
        slot.full.store(false, Ordering::Release); // pairs with the Acquire in `push`
        value
    }

    /// Producer only: the newest.
    fn pop(&self) -> Option<T> {
        let mut ends = self.ends.load(Ordering::Relaxed);
        loop {
            let (head, tail) = ((ends >> 32) as u32, ends as u32);
            if head == tail {
                return None;
            }
            match self.ends.compare_exchange_weak(
                ends,
                ends.wrapping_sub(HEAD),
                Ordering::Acquire, // pairs with the addition in `push`
                Ordering::Relaxed,
            ) {
                // SAFETY: 1. the head has moved over it.
                Ok(_) => return Some(unsafe { self.take(head.wrapping_sub(1)) }),
                Err(now) => ends = now,
            }
        }
    }

    /// Anybody: the oldest.
    fn steal(&self) -> Option<T> {
        let mut ends = self.ends.load(Ordering::Relaxed);
        loop {
            let (head, tail) = ((ends >> 32) as u32, ends as u32);
            if head == tail {
                return None;
            }
            let new = ends & !(HEAD - 1) | u64::from(tail.wrapping_add(1));
            // Acquire: pairs with the addition in `push`.
            match self
                .ends
                .compare_exchange_weak(ends, new, Ordering::Acquire, Ordering::Relaxed)
            {
                // SAFETY: 1. the tail has moved over it.
                Ok(_) => return Some(unsafe { self.take(tail) }),
                Err(now) => ends = now,
            }
        }
    }
}

/// See the file head.
pub(super) struct Deque<T> {
    rings: [AtomicPtr<Ring<T>>; RINGS],
    /// The ring the producer works on. Producer only.
    top: AtomicU32,
    _owns: core::marker::PhantomData<T>,
}

// SAFETY: values go from goroutine to goroutine, each to one.
unsafe impl<T: Send> Sync for Deque<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Deque<T> {}

impl<T> Deque<T> {
    pub(super) fn new() -> Self {
        Deque {
            rings: core::array::from_fn(|_| AtomicPtr::new(core::ptr::null_mut())),
            top: AtomicU32::new(0),
            _owns: core::marker::PhantomData,
        }
    }

    fn ring(&self, i: usize) -> Option<&Ring<T>> {
        // Acquire: pairs with the Release in `make`.
        let p = self.rings.get(i)?.load(Ordering::Acquire);
        // SAFETY: rings stay until the deque is dropped.
        unsafe { p.as_ref() }
    }

    fn make(&self, i: usize) -> Option<&Ring<T>> {
        let at = self.rings.get(i)?;
        // Never the infallible way: the producer is pinned, and must not panic.
        let ring = Box::into_raw(try_box(Ring::try_new(FIRST << i)?).ok()?);
        at.store(ring, Ordering::Release); // pairs with the Acquire in `ring`; only the producer makes rings
        // SAFETY: just made.
        unsafe { ring.as_ref() }
    }

    /// Adds a value; drops it out again if there is no room. Producer only.
    #[inline]
    pub(super) fn push(&self, mut value: T) -> Result<(), T> {
        let mut i = self.top.load(Ordering::Relaxed) as usize;
        loop {
            let Some(ring) = self.ring(i).or_else(|| self.make(i)) else {
                return Err(value);
            };
            match ring.push(value) {
                Ok(()) => break self.top.store(i as u32, Ordering::Relaxed),
                Err(v) => value = v,
            }
            i += 1;
        }
        Ok(())
    }

    /// Takes a value near the newest. Producer only.
    #[inline]
    pub(super) fn pop(&self) -> Option<T> {
        let mut i = self.top.load(Ordering::Relaxed) as usize;
        loop {
            if let Some(v) = self.ring(i)?.pop() {
                return Some(v);
            }
            if i == 0 {
                return None;
            }
            i -= 1;
            self.top.store(i as u32, Ordering::Relaxed);
        }
    }

    /// Takes a value near the oldest.
    pub(super) fn steal(&self) -> Option<T> {
        let mut i = 0;
        while let Some(ring) = self.ring(i) {
            if let Some(v) = ring.steal() {
                return Some(v);
            }
            i += 1;
        }
        None
    }
}

impl<T> Drop for Deque<T> {
    fn drop(&mut self) {
        while let Some(v) = self.steal() {
            drop(v);
        }
        for r in &self.rings {
            let p = r.load(Ordering::Relaxed); // nobody else has it any more
            if !p.is_null() {
                // SAFETY: made by `make` from a box.
                drop(unsafe { Box::from_raw(p) });
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn last_in_first_out_for_the_producer_first_in_first_out_for_thieves() {
        let d = Deque::new();
        (0..1000).for_each(|i| d.push(i).unwrap());
        assert_eq!(d.steal(), Some(0));
        assert_eq!(d.pop(), Some(999));
        let mut left: Vec<_> = core::iter::from_fn(|| d.pop()).collect();
        left.sort();
        assert_eq!(left, (1..999).collect::<Vec<_>>());
        assert!(d.steal().is_none());
    }

    #[test]
    fn it_has_an_end() {
        let d = Deque::new();
        let n = (0..40_000).take_while(|i| d.push(*i).is_ok()).count();
        assert_eq!(n, FIRST * ((1 << RINGS) - 1));
        drop(d);
    }

    #[test]
    fn nothing_is_lost_or_doubled() {
        const N: usize = 50_000;
        let d = std::sync::Arc::new(Deque::new());
        let done = std::sync::Arc::new(core::sync::atomic::AtomicBool::new(false));
        let thieves: Vec<_> = (0..3)
            .map(|_| {
                let (d, done) = (d.clone(), done.clone());
                std::thread::spawn(move || {
                    let mut got: Vec<usize> = Vec::new();
                    while !done.load(Ordering::Acquire) {
                        got.extend(d.steal());
                        std::hint::spin_loop();
                    }
                    got
                })
            })
            .collect();
        let mut all = Vec::new();
        for i in 0..N {
            if let Err(v) = d.push(i) {
                all.push(v);
            }
            if i % 3 == 0 {
                all.extend(d.pop());
            }
        }
        done.store(true, Ordering::Release);
        for t in thieves {
            all.extend(t.join().unwrap());
        }
        all.extend(core::iter::from_fn(|| d.steal()));
        all.sort();
        assert_eq!(all, (0..N).collect::<Vec<_>>());
    }
}

#[cfg(all(test, loom))]
mod loom_models {
    use loom::{sync::Arc, thread};

    use super::*;

    fn model(f: impl Fn() + Sync + Send + 'static) {
        let mut b = loom::model::Builder::new();
        b.preemption_bound = b.preemption_bound.or(Some(3));
        b.check(f);
    }

    /// The producer pushes and pops while others steal: every value comes out once. Rings have 2 and 4 places here, so
    /// slots are used again and a second ring is made.
    #[test]
    fn loom_pool_deque_producer_and_thief() {
        model(|| {
            let d = Arc::new(Deque::new());
            let e = d.clone();
            let h = thread::spawn(move || [e.steal(), e.steal()]);
            let mut got = Vec::new();
            for i in 1..=3 {
                d.push(i).unwrap();
            }
            got.extend(d.pop());
            d.push(4).unwrap();
            got.extend(h.join().unwrap().into_iter().flatten());
            got.extend(core::iter::from_fn(|| d.pop()));
            got.sort();
            assert_eq!(got, [1, 2, 3, 4]);
        });
    }

    #[test]
    fn loom_pool_deque_two_thieves_one_value() {
        model(|| {
            let d = Arc::new(Deque::new());
            let hs = [d.clone(), d.clone()].map(|d| thread::spawn(move || d.steal()));
            d.push(7).unwrap();
            let mine = d.pop();
            let mut got: Vec<_> = hs.into_iter().filter_map(|h| h.join().unwrap()).collect();
            got.extend(mine);
            assert_eq!(got, [7]);
        });
    }
}

//! The timer heap: a 4-ary min-heap of deadlines, by position.
//!
//! One per P. It holds no lock and runs nothing; `time::timer` does. An element is a deadline and a pointer
//! to its [`TimerNode`], which lives with whoever waits (a sleeper's stack) and knows its own position, so
//! that a timer is cancelled in O(log n) without a search. Four children per element: half the levels of a
//! binary heap, and the children of one element share a cache line. Ties fire in order of insertion.
//!
//! A pairing heap threaded through the nodes would never allocate, but chases a pointer per step; the array
//! grows *outside* the lock (`time::timer::insert`), so no allocation happens under it either.
//!
//! Deadlines are compared by wrapping difference, so the clock may wrap: all deadlines in one heap must lie
//! within 2^63 ns (292 years) of each other.
//!
//! Invariant: `node.pos == i` ⇔ `items[i].node == node`; `pos == NOWHERE` when it is in no heap.

use alloc::vec::Vec;
use core::{cell::Cell, ptr::NonNull};

use crate::shim::{AtomicU64, Ordering};

/// Position of a node that is in no heap.
pub(crate) const NOWHERE: usize = usize::MAX;

/// What the heap stores of a timer: enough to order it and to find its owner.
#[derive(Clone, Copy)]
struct Item {
    when: u64,
    seq: u64,
    pos: NonNull<Cell<usize>>,
}

/// Where a timer is in its heap; the first field of a timer's node.
#[repr(transparent)]
#[derive(Debug)]
pub(crate) struct Pos(Cell<usize>);

impl Pos {
    pub(crate) const fn new() -> Self {
        Self(Cell::new(NOWHERE))
    }
    #[cfg(test)]
    fn is_queued(&self) -> bool {
        self.0.get() != NOWHERE
    }
}

/// A 4-ary min-heap of timers. See the file head.
pub struct TimerHeap {
    items: Vec<Item>,
    next_seq: u64,
    user: usize,
    mirror: Option<&'static AtomicU64>,
}

// SAFETY: the pointers are to nodes whose owners share them only under the lock around this heap.
unsafe impl Send for TimerHeap {}

/// Is `a` before `b`, on a clock that wraps?
#[inline(always)]
pub(crate) fn before(a: u64, b: u64) -> bool {
    (a.wrapping_sub(b) as i64) < 0
}

impl Item {
    #[inline(always)]
    fn precedes(&self, o: &Item) -> bool {
        before(self.when, o.when) || (self.when == o.when && before(self.seq, o.seq))
    }
}

impl Default for TimerHeap {
    fn default() -> Self {
        Self::new()
    }
}

impl TimerHeap {
    /// An empty heap; allocates nothing.
    pub const fn new() -> Self {
        Self {
            items: Vec::new(),
            next_seq: 0,
            user: 0,
            mirror: None,
        }
    }

    /// Keeps `word` equal to the first deadline (`u64::MAX`: none), for readers without the lock.
    pub fn mirror_to(&mut self, word: &'static AtomicU64) {
        self.mirror = Some(word);
        self.publish();
    }

    /// Number of timers.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// No timers?
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The earliest deadline.
    pub fn first(&self) -> Option<u64> {
        self.items.first().map(|i| i.when)
    }

    /// Timers that are not the runtime's own (deadlock detection).
    pub fn user_timers(&self) -> usize {
        self.user
    }

    /// Does `insert` find room?
    pub(crate) fn has_room(&self) -> bool {
        self.items.len() < self.items.capacity()
    }

    /// The capacity to allocate, outside the lock, for [`TimerHeap::adopt`].
    pub(crate) fn wanted(&self) -> usize {
        (self.items.capacity() * 2).max(16)
    }

    /// Moves into `room` if that is bigger; returns the storage to free once the lock is released.
    #[must_use = "free it outside the lock"]
    pub(crate) fn adopt(&mut self, mut room: Room) -> Room {
        if room.0.capacity() > self.items.capacity() {
            room.0.extend_from_slice(&self.items);
            core::mem::swap(&mut room.0, &mut self.items);
        }
        room
    }

    /// Adds a timer. `true`: it is the earliest now.
    ///
    /// # Safety
    /// 1. `pos` stays where it is until it is removed or popped, and is touched only under the heap's lock.
    pub(crate) unsafe fn insert(&mut self, when: u64, system: bool, pos: NonNull<Pos>) -> bool {
        debug_assert!(self.has_room(), "timer heap grows under its lock");
        let seq = self.next_seq << 1 | u64::from(system);
        self.next_seq = self.next_seq.wrapping_add(1);
        self.user += usize::from(!system);
        let i = self.items.len();
        self.items.push(Item {
            when,
            seq,
            pos: pos.cast(),
        });
        self.up(i);
        let first = self.items[0].pos == pos.cast();
        if first {
            self.publish();
        }
        first
    }

    /// Takes out the timer with this position. `false`: it was in no heap (it fired).
    pub(crate) fn remove(&mut self, pos: &Pos) -> bool {
        let i = pos.0.replace(NOWHERE);
        if i == NOWHERE {
            return false;
        }
        debug_assert!(core::ptr::eq(
            self.items[i].pos.as_ptr().cast_const(),
            &raw const pos.0
        ));
        self.take(i);
        true
    }

    /// Takes out the earliest timer if it is due.
    pub(crate) fn pop_due(&mut self, now: u64) -> Option<NonNull<Pos>> {
        let first = self.items.first()?;
        if before(now, first.when) {
            return None;
        }
        let p = first.pos;
        // SAFETY: a node in the heap is alive (1. of `insert`).
        unsafe { p.as_ref() }.set(NOWHERE);
        self.take(0);
        Some(p.cast())
    }

    /// Takes out any timer (to move it), with its deadline and whether it is the runtime's own.
    pub(crate) fn pop_any(&mut self) -> Option<(u64, bool, NonNull<Pos>)> {
        let last = *self.items.last()?;
        // SAFETY: a node in the heap is alive (1. of `insert`).
        unsafe { last.pos.as_ref() }.set(NOWHERE);
        self.take(self.items.len() - 1);
        Some((last.when, last.seq & 1 != 0, last.pos.cast()))
    }

    fn take(&mut self, i: usize) {
        let gone = self.items.swap_remove(i);
        self.user -= usize::from(gone.seq & 1 == 0);
        if i < self.items.len() {
            let i = self.up(i);
            self.down(i);
        }
        if i == 0 {
            self.publish();
        }
    }

    fn publish(&self) {
        if let Some(m) = self.mirror {
            // Release: pairs with the Acquire loads of cores that look for due timers.
            m.store(self.first().unwrap_or(u64::MAX), Ordering::Release);
        }
    }

    #[inline]
    fn put(&mut self, i: usize, item: Item) {
        // SAFETY: a node in the heap is alive (1. of `insert`).
        unsafe { item.pos.as_ref() }.set(i);
        self.items[i] = item;
    }

    fn up(&mut self, mut i: usize) -> usize {
        let item = self.items[i];
        while i > 0 {
            let parent = (i - 1) / 4;
            if !item.precedes(&self.items[parent]) {
                break;
            }
            self.put(i, self.items[parent]);
            i = parent;
        }
        self.put(i, item);
        i
    }

    fn down(&mut self, mut i: usize) {
        let item = self.items[i];
        loop {
            let kids = 4 * i + 1..(4 * i + 5).min(self.items.len());
            let Some(least) = kids.reduce(|a, b| {
                if self.items[b].precedes(&self.items[a]) {
                    b
                } else {
                    a
                }
            }) else {
                break;
            };
            if !self.items[least].precedes(&item) {
                break;
            }
            self.put(i, self.items[least]);
            i = least;
        }
        self.put(i, item);
    }
}

/// Storage for a heap, allocated and freed outside its lock.
pub(crate) struct Room(Vec<Item>);

impl Room {
    /// Room for `n` timers; `None` when memory is out.
    pub(crate) fn try_new(n: usize) -> Option<Room> {
        let mut v = Vec::new();
        v.try_reserve_exact(n).ok()?;
        Some(Room(v))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use alloc::{boxed::Box, collections::BTreeMap};

    use super::*;

    fn add(h: &mut TimerHeap, when: u64, p: &Pos) -> bool {
        if !h.has_room() {
            let old = h.adopt(Room::try_new(h.wanted()).expect("memory"));
            drop(old);
        }
        // SAFETY: 1. the tests keep nodes boxed until they are out.
        unsafe { h.insert(when, false, NonNull::from(p)) }
    }

    #[test]
    fn agrees_with_a_sorted_map() {
        let mut h = TimerHeap::new();
        let mut model: BTreeMap<(u64, u64), Box<Pos>> = BTreeMap::new();
        let (mut rng, mut n, mut now) = (0x1234_5678_9abc_def1_u64, 0u64, 0u64);
        for _ in 0..20_000 {
            rng ^= rng << 13;
            rng ^= rng >> 7;
            rng ^= rng << 17;
            match rng % 8 {
                0..=3 => {
                    let p = Box::new(Pos::new());
                    let when = now + (rng >> 32) % 1000;
                    let first = model.keys().next().is_none_or(|k| when < k.0);
                    assert_eq!(add(&mut h, when, &p), first);
                    model.insert((when, n), p);
                    n += 1;
                }
                4 | 5 if !model.is_empty() => {
                    let k = *model
                        .keys()
                        .nth((rng >> 40) as usize % model.len())
                        .expect("in range");
                    let p = model.remove(&k).expect("there");
                    assert!(p.is_queued() && h.remove(&p) && !h.remove(&p));
                }
                _ => {
                    now += (rng >> 32) % 200;
                    while let Some(p) = h.pop_due(now) {
                        let (k, b) = model.pop_first().expect("model has it");
                        assert!(k.0 <= now && core::ptr::eq(p.as_ptr(), &*b));
                        assert!(!b.is_queued());
                    }
                    assert!(model.keys().next().is_none_or(|k| k.0 > now));
                }
            }
            assert_eq!(h.len(), model.len());
            assert_eq!(h.user_timers(), model.len());
            assert_eq!(h.first(), model.keys().next().map(|k| k.0));
        }
        while h.pop_any().is_some() {}
        assert!(model.values().all(|p| !p.is_queued()));
    }

    #[test]
    fn order_survives_the_wrap_of_the_clock() {
        let mut h = TimerHeap::new();
        let ps: Vec<Box<Pos>> = (0..4).map(|_| Box::new(Pos::new())).collect();
        for (p, when) in ps.iter().zip([5, u64::MAX - 5, u64::MAX, 0]) {
            add(&mut h, when, p);
        }
        let at = |h: &mut TimerHeap, now| {
            h.pop_due(now)
                .map(|p| ps.iter().position(|q| core::ptr::eq(&**q, p.as_ptr())))
        };
        assert_eq!(at(&mut h, u64::MAX - 6), None);
        assert_eq!(at(&mut h, u64::MAX - 5), Some(Some(1)));
        assert_eq!(at(&mut h, 1), Some(Some(2)));
        assert_eq!(at(&mut h, 1), Some(Some(3)));
        assert_eq!(at(&mut h, 1), None);
        assert_eq!(at(&mut h, 5), Some(Some(0)));
    }

    #[test]
    fn mirror_follows_the_first_deadline() {
        static WORD: AtomicU64 = AtomicU64::new(0);
        let mut h = TimerHeap::new();
        h.mirror_to(&WORD);
        assert_eq!(WORD.load(Ordering::Relaxed), u64::MAX);
        let (a, b) = (Box::new(Pos::new()), Box::new(Pos::new()));
        add(&mut h, 20, &a);
        add(&mut h, 10, &b);
        assert_eq!(WORD.load(Ordering::Relaxed), 10);
        h.remove(&b);
        assert_eq!(WORD.load(Ordering::Relaxed), 20);
        h.remove(&a);
        assert_eq!(WORD.load(Ordering::Relaxed), u64::MAX);
    }
}

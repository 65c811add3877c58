//! The timer heap: a leftist tree of deadlines, threaded through the timers themselves.
//!
//! One per P. It holds no lock and runs nothing; `time::timer` does. An element is the [`Links`] at the head of a
//! timer, which lives with whoever waits (a sleeper's stack, a channel, a context). The heap owns no memory, so
//! adding a timer *cannot fail*, and neither can moving all timers of a P that goes away: decision 18 compares it
//! with the 4-ary array it replaced.
//!
//! A leftist tree is a binary tree in heap order. A node's *rank* is the number of nodes on its right spine, and a
//! left child ranks no lower than its right sibling. A rank of r needs 2^r − 1 nodes below, so a right spine has at
//! most log2(n + 1) nodes, and everything is one operation on right spines, [`merge`]:
//!
//! - insert = merge with a tree of one; pop = merge of the root's children; both O(log n), in the worst case too.
//! - remove = put the merge of its children in its place, then repair ranks upwards until one stays as it was. Each
//!   repaired rank is one higher than the one below, so the walk ends after log2(n + 1) steps.
//! - two heaps become one by a merge.
//!
//! Worst cases matter here: the heap's lock stops a core. (A pairing heap, amortized, would do a million steps under
//! the lock for the first pop after a million insertions.) Left spines may be long; nothing walks them but `for_each`.
//!
//! Ties fire in order of insertion. Deadlines are compared by wrapping difference, so the clock may wrap: all
//! deadlines in one heap must lie within 2^63 ns (292 years) of each other.
//!
//! Invariants: `rank == 0` ⇔ in no heap; else `rank == 1 + rank(right)` and `rank(left) >= rank(right)`; no child
//! precedes its parent; a child's `parent` is its parent, the root has none.

use core::{cell::Cell, ptr::NonNull};

use crate::shim::{AtomicU64, Ordering};

/// A node, or none.
type Link = Option<NonNull<Links>>;

/// A timer's place in its heap; the first field of a timer's node. Guarded by the heap's lock.
#[derive(Debug)]
pub(crate) struct Links {
    parent: Cell<Link>,
    left: Cell<Link>,
    right: Cell<Link>,
    when: Cell<u64>,
    /// Number of insertion, shifted; the lowest bit says that the timer is the runtime's own.
    seq: Cell<u64>,
    /// 0: in no heap.
    rank: Cell<u32>,
}

impl Links {
    pub(crate) const fn new() -> Self {
        Self {
            parent: Cell::new(None),
            left: Cell::new(None),
            right: Cell::new(None),
            when: Cell::new(0),
            seq: Cell::new(0),
            rank: Cell::new(0),
        }
    }

    #[inline(always)]
    pub(crate) fn is_queued(&self) -> bool {
        self.rank.get() != 0
    }

    /// The deadline it has, or had last.
    #[inline(always)]
    pub(crate) fn when(&self) -> u64 {
        self.when.get()
    }

    #[inline(always)]
    fn precedes(&self, o: &Links) -> bool {
        before(self.when.get(), o.when.get())
            || (self.when.get() == o.when.get() && before(self.seq.get(), o.seq.get()))
    }

    /// Restores the order of the children and the rank.
    #[inline]
    fn settle(&self) {
        let (l, r) = (rank(self.left.get()), rank(self.right.get()));
        if l < r {
            self.left.swap(&self.right);
        }
        self.rank.set(l.min(r) + 1);
    }
}

/// Is `a` before `b`, on a clock that wraps?
#[inline(always)]
pub(crate) fn before(a: u64, b: u64) -> bool {
    (a.wrapping_sub(b) as i64) < 0
}

/// The node behind a link.
#[inline(always)]
fn at<'a>(p: NonNull<Links>) -> &'a Links {
    // SAFETY: links lead only to nodes in a heap, which stay where they are while they are in it (1. of `insert`),
    // and are followed only under the heap's lock. No caller keeps the reference longer than that.
    unsafe { p.as_ref() }
}

#[inline(always)]
fn rank(p: Link) -> u32 {
    p.map_or(0, |p| at(p).rank.get())
}

/// Makes one tree of two and returns its root, which has no parent. No recursion: down both right spines, always
/// on with the earlier node, then up again to restore ranks.
fn merge(a: Link, b: Link) -> Link {
    let (mut a, mut b) = (a, b);
    let (mut root, mut last): (Link, Link) = (None, None);
    let rest = loop {
        let (Some(x), Some(y)) = (a, b) else { break a.or(b) };
        let (x, y) = if at(y).precedes(at(x)) { (y, x) } else { (x, y) };
        at(x).parent.set(last);
        match last {
            None => root = Some(x),
            Some(l) => at(l).right.set(Some(x)),
        }
        last = Some(x);
        (a, b) = (at(x).right.get(), Some(y));
    };
    if let Some(r) = rest {
        at(r).parent.set(last);
    }
    let Some(l) = last else { return rest };
    at(l).right.set(rest);
    let mut up = last;
    while let Some(n) = up {
        at(n).settle();
        up = at(n).parent.get();
    }
    root
}

/// A min-heap of timers. See the file head.
pub struct TimerHeap {
    root: Link,
    next_seq: u64,
    len: usize,
    user: usize,
    mirror: Option<&'static AtomicU64>,
}

// SAFETY: the links are to nodes whose owners share them only under the lock around this heap.
unsafe impl Send for TimerHeap {}

impl Default for TimerHeap {
    fn default() -> Self {
        Self::new()
    }
}

impl TimerHeap {
    /// An empty heap.
    ///
    /// ```
    /// assert!(burrow::time::TimerHeap::new().is_empty());
    /// ```
    pub const fn new() -> Self {
        Self {
            root: None,
            next_seq: 0,
            len: 0,
            user: 0,
            mirror: None,
        }
    }

    /// Keeps `word` equal to the first deadline (`u64::MAX`: none), for readers without the lock.
    ///
    /// ```
    /// use core::sync::atomic::{AtomicU64, Ordering};
    /// static FIRST: AtomicU64 = AtomicU64::new(0);
    /// burrow::time::TimerHeap::new().mirror_to(&FIRST);
    /// assert_eq!(FIRST.load(Ordering::Relaxed), u64::MAX);
    /// ```
    pub fn mirror_to(&mut self, word: &'static AtomicU64) {
        self.mirror = Some(word);
        self.publish();
    }

    /// Number of timers.
    ///
    /// ```
    /// assert_eq!(burrow::time::TimerHeap::new().len(), 0);
    /// ```
    pub fn len(&self) -> usize {
        self.len
    }

    /// No timers?
    ///
    /// ```
    /// assert!(burrow::time::TimerHeap::new().is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// The earliest deadline.
    ///
    /// ```
    /// assert_eq!(burrow::time::TimerHeap::new().first(), None);
    /// ```
    pub fn first(&self) -> Option<u64> {
        self.root.map(|r| at(r).when())
    }

    /// Timers that are not the runtime's own (deadlock detection).
    ///
    /// ```
    /// assert_eq!(burrow::time::TimerHeap::new().user_timers(), 0);
    /// ```
    pub fn user_timers(&self) -> usize {
        self.user
    }

    /// Adds a timer. `true`: it is the earliest now.
    ///
    /// # Safety
    /// 1. The node is in no heap, stays where it is until it is removed or popped, and its links are touched only
    ///    under this heap's lock meanwhile.
    pub(crate) unsafe fn insert(&mut self, when: u64, system: bool, node: NonNull<Links>) -> bool {
        let n = at(node);
        debug_assert!(!n.is_queued(), "a timer in two heaps");
        n.when.set(when);
        n.seq.set(self.next_seq << 1 | u64::from(system));
        n.left.set(None);
        n.right.set(None);
        n.rank.set(1);
        self.next_seq = self.next_seq.wrapping_add(1);
        self.len += 1;
        self.user += usize::from(!system);
        self.root = merge(self.root, Some(node));
        let first = self.root == Some(node);
        if first {
            self.publish();
        }
        first
    }

    /// Takes out this timer. `false`: it is in no heap (it fired). It must not be in another one.
    pub(crate) fn remove(&mut self, n: &Links) -> bool {
        if !n.is_queued() {
            return false;
        }
        let hole = merge(n.left.get(), n.right.get());
        let parent = n.parent.get();
        if let Some(h) = hole {
            at(h).parent.set(parent);
        }
        let Some(p) = parent else {
            self.root = hole;
            self.forget(n);
            self.publish();
            return true;
        };
        let p = at(p);
        let side = if p.left.get() == Some(NonNull::from(n)) {
            &p.left
        } else {
            &p.right
        };
        side.set(hole);
        self.forget(n);
        let mut up = parent;
        while let Some(a) = up {
            let was = at(a).rank.get();
            at(a).settle();
            if at(a).rank.get() == was {
                break;
            }
            up = at(a).parent.get();
        }
        true
    }

    /// Takes out the earliest timer if it is due.
    pub(crate) fn pop_due(&mut self, now: u64) -> Link {
        let r = self.root?;
        if before(now, at(r).when()) {
            return None;
        }
        self.remove(at(r));
        Some(r)
    }

    /// Is this timer, which is in the heap, the runtime's own?
    pub(crate) fn is_system(n: &Links) -> bool {
        n.seq.get() & 1 != 0
    }

    /// Moves every timer of `from` here.
    pub(crate) fn absorb(&mut self, from: &mut TimerHeap) {
        self.root = merge(self.root, from.root.take());
        self.len += core::mem::take(&mut from.len);
        self.user += core::mem::take(&mut from.user);
        // Later insertions here come after the moved ones.
        self.next_seq = self.next_seq.max(from.next_seq);
        self.publish();
        from.publish();
    }

    /// Calls `f` for every timer, parents first.
    pub(crate) fn for_each(&self, mut f: impl FnMut(NonNull<Links>)) {
        let mut next = self.root;
        while let Some(n) = next {
            f(n);
            next = at(n).left.get().or(at(n).right.get()).or_else(|| {
                // Nothing below: up to the first ancestor whose right side has not been seen.
                let mut n = n;
                loop {
                    let p = at(n).parent.get()?;
                    let right = at(p).right.get();
                    if right.is_some() && right != Some(n) {
                        return right;
                    }
                    n = p;
                }
            });
        }
    }

    fn forget(&mut self, n: &Links) {
        n.rank.set(0);
        self.len -= 1;
        self.user -= usize::from(!Self::is_system(n));
    }

    fn publish(&self) {
        if let Some(m) = self.mirror {
            // Release: pairs with the Acquire loads of cores that look for due timers.
            m.store(self.first().unwrap_or(u64::MAX), Ordering::Release);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use alloc::{boxed::Box, collections::BTreeMap};

    use super::*;

    fn add(h: &mut TimerHeap, when: u64, p: &Links) -> bool {
        // SAFETY: 1. the tests keep nodes boxed until they are out.
        unsafe { h.insert(when, false, NonNull::from(p)) }
    }

    /// The invariants of the file head; returns the number of nodes.
    fn check(h: &TimerHeap) -> usize {
        let mut n = 0;
        h.for_each(|x| {
            n += 1;
            let x = at(x);
            let (l, r) = (x.left.get(), x.right.get());
            assert!(rank(l) >= rank(r) && x.rank.get() == rank(r) + 1);
            for child in [l, r].into_iter().flatten() {
                assert_eq!(at(child).parent.get(), Some(NonNull::from(x)));
                assert!(x.precedes(at(child)));
            }
        });
        assert!(h.root.is_none_or(|r| at(r).parent.get().is_none()));
        n
    }

    #[test]
    fn agrees_with_a_sorted_map() {
        let mut h = TimerHeap::new();
        let mut model: BTreeMap<(u64, u64), Box<Links>> = BTreeMap::new();
        let (mut rng, mut n, mut now) = (0x1234_5678_9abc_def1_u64, 0u64, 0u64);
        for _ in 0..20_000 {
            rng ^= rng << 13;
            rng ^= rng >> 7;
            rng ^= rng << 17;
            match rng % 8 {
                0..=3 => {
                    let p = Box::new(Links::new());
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
            if rng.is_multiple_of(64) {
                assert_eq!(check(&h), model.len());
            }
        }
    }

    /// Deadlines that rise, fall, or are all the same: spines stay short, and ties keep their order.
    #[test]
    fn right_spines_stay_logarithmic() {
        for f in [|i: u64| i, |i: u64| 100_000 - i, |_| 7] {
            let mut h = TimerHeap::new();
            let nodes: Vec<Box<Links>> = (0..10_000).map(|_| Box::new(Links::new())).collect();
            for (i, n) in nodes.iter().enumerate() {
                add(&mut h, f(i as u64), n);
            }
            assert_eq!(check(&h), 10_000);
            assert!(rank(h.root) <= 14);
            let mut last = None::<(u64, u64)>;
            while let Some(p) = h.pop_due(u64::MAX >> 1) {
                let key = (at(p).when.get(), at(p).seq.get());
                assert!(last.is_none_or(|l| l < key));
                last = Some(key);
            }
            assert!(h.is_empty() && h.len() == 0);
        }
    }

    #[test]
    fn a_heap_absorbs_another() {
        let (mut a, mut b) = (TimerHeap::new(), TimerHeap::new());
        let nodes: Vec<Box<Links>> = (0..1000).map(|_| Box::new(Links::new())).collect();
        for (i, n) in nodes.iter().enumerate() {
            add(
                if i % 3 == 0 { &mut a } else { &mut b },
                i as u64 * 7919 % 1000,
                n,
            );
        }
        b.absorb(&mut a);
        assert!(a.is_empty() && a.user_timers() == 0 && b.user_timers() == 1000);
        assert_eq!(check(&b), 1000);
        assert!(nodes.iter().all(|n| b.remove(n)));
        assert!(b.is_empty());
    }

    #[test]
    fn order_survives_the_wrap_of_the_clock() {
        let mut h = TimerHeap::new();
        let ps: Vec<Box<Links>> = (0..4).map(|_| Box::new(Links::new())).collect();
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
        let (a, b) = (Box::new(Links::new()), Box::new(Links::new()));
        add(&mut h, 20, &a);
        add(&mut h, 10, &b);
        assert_eq!(WORD.load(Ordering::Relaxed), 10);
        h.remove(&b);
        assert_eq!(WORD.load(Ordering::Relaxed), 20);
        h.remove(&a);
        assert_eq!(WORD.load(Ordering::Relaxed), u64::MAX);
    }
}

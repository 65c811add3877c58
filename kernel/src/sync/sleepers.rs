//! The sleepers of one bucket of the semaphore table: a treap of addresses, a queue at each.
//!
//! A [`Waiter`] is in its sleeper's frame. The first one of each address is also the treap's node for it; keys and
//! priorities are both mixed from the address, so the treap has expected logarithmic depth without a random
//! number (an adversary who picks addresses gains nothing but slow code of his own). A list instead of the
//! treap would make a million goroutines on a million words quadratic.
//!
//! ```text
//!   root ─▶ first at A ─next─▶ … ─▶ last at A        first: `last`, `left`, `right` count
//!            /    \                                   all: `next`, `prev`, `place`
//!   first at B    first at C
//! ```
//! A queue has links both ways, so that a waiter whose patience ends leaves it in O(1), or O(log n) if it was the first or
//! the last of its address.
//!
//! Everything here is guarded by the bucket's lock; `sema` and `limit` hold it.

use core::{cell::Cell, ptr};

use crate::{
    sched::{GPtr, WaitReason},
    shim::AtomicU32,
};

/// Where a waiter is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// Not queued yet.
    New,
    Queued,
    /// A waker took it off: it has its permit.
    Served,
    /// Its patience ended first: it has none.
    Expired,
}

/// One sleeper. Guarded by its bucket's lock until it is dequeued.
pub(super) struct Waiter {
    pub(super) key: u64,
    /// The address of the word.
    pub(super) addr: usize,
    pub(super) g: GPtr,
    pub(super) reason: WaitReason,
    /// The word that holds the number of the goroutine which has what this one wants, or null.
    pub(super) owner: *const AtomicU32,
    /// When the wait for a lock began, if the mutex profile is on; else 0.
    since: u64,
    pub(super) place: Cell<Place>,
    /// The neighbours at the same address.
    next: Cell<*const Waiter>,
    prev: Cell<*const Waiter>,
    /// Of the first one at its address: the last one, and the subtrees.
    last: Cell<*const Waiter>,
    left: Cell<*const Waiter>,
    right: Cell<*const Waiter>,
}

impl Waiter {
    /// A sleeper for `word`, not queued yet.
    #[inline(always)]
    pub(super) fn new(
        word: &AtomicU32,
        g: GPtr,
        reason: WaitReason,
        owner: Option<&AtomicU32>,
        since: u64,
    ) -> Self {
        Self {
            key: key_of(word),
            addr: ptr::from_ref(word).addr(),
            g,
            reason,
            owner: owner.map_or(ptr::null(), ptr::from_ref),
            since,
            place: Cell::new(Place::New),
            next: Cell::new(ptr::null()),
            prev: Cell::new(ptr::null()),
            last: Cell::new(ptr::null()),
            left: Cell::new(ptr::null()),
            right: Cell::new(ptr::null()),
        }
    }
}

/// A link of the treap.
pub(super) type Link = Cell<*const Waiter>;

/// An invertible mix: different addresses have different keys.
pub(super) fn key_of(word: &AtomicU32) -> u64 {
    (ptr::from_ref(word).addr() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn priority(key: u64) -> u64 {
    (key ^ key >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

/// A node of a locked bucket.
///
/// # Safety
/// 1. The bucket's lock is held: sleepers stay while they are queued.
unsafe fn node<'a>(p: *const Waiter) -> Option<&'a Waiter> {
    // SAFETY: 1. is passed on.
    unsafe { p.as_ref() }
}

/// The link at which `key` hangs, or would.
///
/// # Safety
/// 1. As for `node`.
unsafe fn find<'a>(root: &'a Link, key: u64, above: u64) -> &'a Link {
    let mut link = root;
    // SAFETY: 1. is passed on.
    while let Some(n) = unsafe { node::<'a>(link.get()) } {
        if n.key == key || priority(n.key) < above {
            break;
        }
        link = if key < n.key { &n.left } else { &n.right };
    }
    link
}

/// Adds `w` at its address: last, or first.
///
/// # Safety
/// 1. As for `node`; 2. `w` stays until it is dequeued.
pub(super) unsafe fn enqueue(root: &Link, w: &Waiter, lifo: bool) {
    w.place.set(Place::Queued);
    // SAFETY: 1. is passed on.
    let link = unsafe { find(root, w.key, 0) };
    // SAFETY: 1. is passed on.
    if let Some(first) = unsafe { node(link.get()) } {
        if lifo {
            w.next.set(first);
            first.prev.set(w);
            w.last.set(first.last.get());
            w.left.set(first.left.get());
            w.right.set(first.right.get());
            link.set(w);
        } else {
            // SAFETY: 1. is passed on; the last one is a queued one.
            if let Some(last) = unsafe { node(first.last.get()) } {
                last.next.set(w);
                w.prev.set(last);
            }
            first.last.set(w);
        }
        return;
    }
    w.last.set(w);
    // A new address: above everything of lower priority, which is split in two below it.
    // SAFETY: 1. is passed on.
    let link = unsafe { find(root, w.key, priority(w.key)) };
    let (mut low, mut high) = (&w.left, &w.right);
    let mut rest = link.replace(w);
    // SAFETY: 1. is passed on.
    while let Some(n) = unsafe { node(rest) } {
        if n.key < w.key {
            low.set(n);
            low = &n.right;
            rest = low.get();
        } else {
            high.set(n);
            high = &n.left;
            rest = high.get();
        }
    }
    low.set(ptr::null());
    high.set(ptr::null());
}

/// Takes the first waiter with `key`.
///
/// # Safety
/// 1. As for `node`.
pub(super) unsafe fn dequeue(root: &Link, key: u64) -> Option<(GPtr, u64)> {
    // SAFETY: 1. is passed on.
    let link = unsafe { find(root, key, 0) };
    // SAFETY: 1. is passed on.
    let first = unsafe { node(link.get()) }?;
    first.place.set(Place::Served);
    // SAFETY: 1. is passed on; it is first at `link`.
    unsafe { take_first(link, first) };
    Some((first.g, first.since))
}

/// Takes a queued waiter off, wherever it stands: its patience ended.
///
/// # Safety
/// 1. As for `node`; 2. `w` is queued under `root`.
pub(super) unsafe fn remove(root: &Link, w: &Waiter) {
    w.place.set(Place::Expired);
    let next = w.next.get();
    // SAFETY: 1. is passed on.
    let Some(prev) = (unsafe { node(w.prev.get()) }) else {
        // SAFETY: 1. is passed on.
        let link = unsafe { find(root, w.key, 0) };
        // SAFETY: 1. is passed on; nobody is before it, so it is the first of its address.
        return unsafe { take_first(link, w) };
    };
    prev.next.set(next);
    // SAFETY: 1. is passed on.
    if let Some(next) = unsafe { node(next) } {
        next.prev.set(prev);
        return;
    }
    // SAFETY: 1. is passed on.
    let link = unsafe { find(root, w.key, 0) };
    // SAFETY: 1. is passed on.
    if let Some(first) = unsafe { node(link.get()) } {
        first.last.set(prev);
    }
}

/// Takes `first`, which hangs at `link`: the next at its address takes its place, or the treap closes.
///
/// # Safety
/// 1. As for `node`; 2. `link` leads to `first`.
#[inline(always)]
unsafe fn take_first(link: &Link, first: &Waiter) {
    // SAFETY: 1. is passed on.
    if let Some(next) = unsafe { node(first.next.get()) } {
        next.prev.set(ptr::null());
        next.last.set(first.last.get());
        next.left.set(first.left.get());
        next.right.set(first.right.get());
        return link.set(next);
    }
    // The last one of its address: merge its subtrees, higher priority on top.
    let (mut left, mut right, mut link) = (first.left.get(), first.right.get(), link);
    loop {
        // SAFETY: 1. is passed on.
        let l = unsafe { node(left) };
        // SAFETY: as above.
        let r = unsafe { node(right) };
        match (l, r) {
            (None, _) => break link.set(right),
            (_, None) => break link.set(left),
            (Some(l), Some(r)) if priority(l.key) > priority(r.key) => {
                link.set(l);
                link = &l.right;
                left = link.get();
            }
            (Some(_), Some(r)) => {
                link.set(r);
                link = &r.left;
                right = link.get();
            }
        }
    }
}

/// Calls `f` with every sleeper below `p`. Takes no lock and allocates nothing, as long as `f` does.
///
/// # Safety
/// 1. As for `node`.
#[cfg(any(target_os = "none", all(test, not(loom))))]
pub(super) unsafe fn walk(p: *const Waiter, f: &mut dyn FnMut(&Waiter)) {
    // SAFETY: 1. is passed on.
    let Some(top) = (unsafe { node(p) }) else { return };
    let mut at = p;
    // SAFETY: 1. is passed on.
    while let Some(w) = unsafe { node(at) } {
        f(w);
        at = w.next.get();
    }
    // SAFETY: 1. is passed on.
    unsafe { walk(top.left.get(), f) };
    // SAFETY: 1. is passed on.
    unsafe { walk(top.right.get(), f) };
}

#[cfg(all(test, not(loom)))]
mod tests {
    use alloc::{
        boxed::Box,
        collections::{BTreeMap, VecDeque},
        vec::Vec,
    };

    use super::*;
    use crate::sched;

    fn depth(p: *const Waiter) -> usize {
        // SAFETY: 1. the test owns all nodes.
        unsafe { node(p) }.map_or(0, |n| 1 + depth(n.left.get()).max(depth(n.right.get())))
    }

    #[test]
    fn treap_agrees_with_a_map_of_queues() {
        let words: Vec<AtomicU32> = (0..300).map(|_| AtomicU32::new(0)).collect();
        let root: Link = Cell::new(ptr::null());
        let mut model: BTreeMap<usize, VecDeque<Box<Waiter>>> = BTreeMap::new();
        let mut rng = 88_172_645_463_325_252_u64;
        let mut deepest = 0;
        for step in 0..40_000 {
            rng ^= rng << 13;
            rng ^= rng >> 7;
            rng ^= rng << 17;
            let (i, add) = (
                (rng >> 20) as usize % words.len(),
                rng % 5 < if step < 30_000 { 3 } else { 1 },
            );
            let key = key_of(&words[i]);
            if add {
                let w = Box::new(Waiter::new(
                    &words[i],
                    sched::current(),
                    WaitReason::SemaAcquire,
                    None,
                    0,
                ));
                let lifo = rng & 64 == 0;
                // SAFETY: 1. one thread; 2. boxed in the model.
                unsafe { enqueue(&root, &w, lifo) };
                let q = model.entry(i).or_default();
                if lifo { q.push_front(w) } else { q.push_back(w) }
            } else if rng & 128 == 0 {
                // Somebody's patience ends: the first's, the last's, or one's between.
                let Some(q) = model.get_mut(&i) else { continue };
                if let Some(w) = q.remove((rng >> 40) as usize % q.len().max(1)) {
                    // SAFETY: 1. one thread; 2. the model says so.
                    unsafe { remove(&root, &w) };
                    assert_eq!(w.place.get(), Place::Expired);
                }
            } else {
                // The node itself must be the model's: compare before it is taken.
                // SAFETY: 1. one thread.
                let first = unsafe { find(&root, key, 0) }.get();
                // SAFETY: 1. one thread.
                let got = unsafe { dequeue(&root, key) };
                let want = model.get_mut(&i).and_then(VecDeque::pop_front);
                assert_eq!(got.is_some(), want.is_some());
                if let Some(w) = want {
                    assert!(ptr::eq(first, &*w) && w.place.get() == Place::Served);
                }
            }
            if step % 1000 == 0 {
                deepest = deepest.max(depth(root.get()));
            }
        }
        assert!(deepest <= 40, "treap of 300 addresses is {deepest} deep");
    }
}

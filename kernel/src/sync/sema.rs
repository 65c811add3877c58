//! The semaphore table: where every goroutine sleeps that waits for a word.
//!
//! A semaphore is any `AtomicU32`, its value the number of permits. [`acquire`] takes one or sleeps,
//! [`release`] hands one to the first sleeper or adds it. The word knows nothing of its sleepers; they are
//! found by its address: hash → bucket → treap of addresses → queue of waiters. So a mutex is 8 bytes however
//! many wait for it.
//!
//! A waiter is in its sleeper's frame. The first one of each address is also the treap's node for it; keys and
//! priorities are both mixed from the address, so the treap has expected logarithmic depth without a random
//! number (an adversary who picks addresses gains nothing but slow code of his own). A list instead of the
//! treap would make a million goroutines on a million words quadratic.
//!
//! Permits are added only under the bucket's lock and only when nobody waits; `acquire` looks once more under
//! the same lock before it enqueues. Hence nobody sleeps beside a free permit.

use core::{cell::Cell, ptr};

use crate::{
    lock::{Rank, RawSpinLock},
    sched::{self, GPtr, WaitReason},
    shim::{AtomicU32, Ordering},
};

/// One sleeper. Guarded by its bucket's lock until it is dequeued.
struct Waiter {
    key: u64,
    g: GPtr,
    /// The next one at the same address.
    next: Cell<*const Waiter>,
    /// Of the first one at its address: the last one, and the subtrees.
    last: Cell<*const Waiter>,
    left: Cell<*const Waiter>,
    right: Cell<*const Waiter>,
}

/// A link of the treap.
type Link = Cell<*const Waiter>;

#[repr(align(64))]
struct Bucket {
    lock: RawSpinLock,
    root: Link,
}

// SAFETY: `root` and all it leads to is guarded by `lock`.
unsafe impl Sync for Bucket {}

impl Bucket {
    shim_const_fn! {
        fn new() -> Self {
            Self { lock: RawSpinLock::new(Rank::Sema), root: Cell::new(ptr::null()) }
        }
    }
}

#[cfg(not(loom))]
const BUCKETS: usize = 256;
#[cfg(loom)]
const BUCKETS: usize = 1;

#[cfg(not(loom))]
static TABLE: [Bucket; BUCKETS] = [const { Bucket::new() }; BUCKETS];
#[cfg(loom)]
loom::lazy_static! {
    static ref TABLE: [Bucket; BUCKETS] = [Bucket::new()];
}

/// An invertible mix: different addresses have different keys.
fn key_of(word: &AtomicU32) -> u64 {
    (ptr::from_ref(word).addr() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn priority(key: u64) -> u64 {
    (key ^ key >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

fn bucket(key: u64) -> &'static Bucket {
    &TABLE[(key >> 56) as usize % BUCKETS]
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
unsafe fn enqueue(root: &Link, w: &Waiter, lifo: bool) {
    // SAFETY: 1. is passed on.
    let link = unsafe { find(root, w.key, 0) };
    // SAFETY: 1. is passed on.
    if let Some(first) = unsafe { node(link.get()) } {
        if lifo {
            w.next.set(first);
            w.last.set(first.last.get());
            w.left.set(first.left.get());
            w.right.set(first.right.get());
            link.set(w);
        } else {
            // SAFETY: 1. is passed on; the last one is a queued one.
            if let Some(last) = unsafe { node(first.last.get()) } {
                last.next.set(w);
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
unsafe fn dequeue(root: &Link, key: u64) -> Option<GPtr> {
    // SAFETY: 1. is passed on.
    let link = unsafe { find(root, key, 0) };
    // SAFETY: 1. is passed on.
    let first = unsafe { node(link.get()) }?;
    // SAFETY: 1. is passed on.
    if let Some(next) = unsafe { node(first.next.get()) } {
        next.last.set(first.last.get());
        next.left.set(first.left.get());
        next.right.set(first.right.get());
        link.set(next);
        return Some(first.g);
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
    Some(first.g)
}

fn try_take(sema: &AtomicU32) -> bool {
    let mut n = sema.load(Ordering::Relaxed);
    while n > 0 {
        // Acquire: pairs with the Release addition in `release`.
        match sema.compare_exchange_weak(n, n - 1, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => return true,
            Err(now) => n = now,
        }
    }
    false
}

/// Takes a permit, or sleeps until one is handed over; with `lifo` before all who wait already.
pub(crate) fn acquire(sema: &AtomicU32, lifo: bool, reason: WaitReason) {
    if try_take(sema) {
        return;
    }
    let key = key_of(sema);
    let w = Waiter {
        key,
        g: sched::current(),
        next: Cell::new(ptr::null()),
        last: Cell::new(ptr::null()),
        left: Cell::new(ptr::null()),
        right: Cell::new(ptr::null()),
    };
    let b = bucket(key);
    b.lock.lock();
    if try_take(sema) {
        // SAFETY: 1. just taken.
        unsafe { b.lock.unlock() };
        return;
    }
    // SAFETY: 1. the lock is held; 2. this frame stays until the goroutine is readied, which dequeues it.
    unsafe { enqueue(&b.root, &w, lifo) };
    sched::park_unlock(reason, &b.lock);
}

/// Hands a permit to the first sleeper, or adds one. With `handoff` the sleeper also runs at once here.
pub(crate) fn release(sema: &AtomicU32, handoff: bool) {
    let key = key_of(sema);
    let b = bucket(key);
    b.lock.lock();
    // SAFETY: 1. the lock is held.
    let g = unsafe { dequeue(&b.root, key) };
    if g.is_none() {
        sema.fetch_add(1, Ordering::Release); // pairs with the Acquire in `try_take`
    }
    // SAFETY: 1. taken above.
    unsafe { b.lock.unlock() };
    if let Some(g) = g {
        sched::ready(g);
        if handoff {
            sched::yield_now();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use alloc::{
        boxed::Box,
        collections::{BTreeMap, VecDeque},
        vec::Vec,
    };

    use super::*;

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
                let w = Box::new(Waiter {
                    key,
                    g: sched::current(),
                    next: Cell::new(ptr::null()),
                    last: Cell::new(ptr::null()),
                    left: Cell::new(ptr::null()),
                    right: Cell::new(ptr::null()),
                });
                let lifo = rng & 64 == 0;
                // SAFETY: 1. one thread; 2. boxed in the model.
                unsafe { enqueue(&root, &w, lifo) };
                let q = model.entry(i).or_default();
                if lifo { q.push_front(w) } else { q.push_back(w) }
            } else {
                // The node itself must be the model's: compare before it is taken.
                // SAFETY: 1. one thread.
                let first = unsafe { find(&root, key, 0) }.get();
                // SAFETY: 1. one thread.
                let got = unsafe { dequeue(&root, key) };
                let want = model.get_mut(&i).and_then(VecDeque::pop_front);
                assert_eq!(got.is_some(), want.is_some());
                if let Some(w) = want {
                    assert!(ptr::eq(first, &*w));
                }
            }
            if step % 1000 == 0 {
                deepest = deepest.max(depth(root.get()));
            }
        }
        assert!(deepest <= 40, "treap of 300 addresses is {deepest} deep");
    }
}

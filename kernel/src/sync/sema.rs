//! The semaphore table: where every goroutine sleeps that waits for a word.
//!
//! A semaphore is any `AtomicU32`, its value the number of permits. [`acquire`] takes one or sleeps,
//! [`release`] hands one to the first sleeper or adds it. Where one permit is all there can be, it may also be a
//! single bit of a word that has other business ([`acquire_bit`], [`release_bit`]: the mutex). The word knows
//! nothing of its sleepers; they are found by its address: hash → bucket → treap of addresses → queue of waiters.
//! So a mutex is 8 bytes however many wait for it.
//!
//! | who | does | under the bucket's lock |
//! | --- | --- | --- |
//! | sleeper | takes a permit if there is one | once more, before it enqueues |
//! | sleeper | enqueues itself, parks | yes; g0 releases the lock once its context is saved |
//! | waker | dequeues the first sleeper, who has its permit by that | yes; readies it after unlocking |
//! | waker | adds a permit, if nobody sleeps | yes |
//!
//! A waiter is in its sleeper's frame. The first one of each address is also the treap's node for it; keys and
//! priorities are both mixed from the address, so the treap has expected logarithmic depth without a random
//! number (an adversary who picks addresses gains nothing but slow code of his own). A list instead of the
//! treap would make a million goroutines on a million words quadratic.
//!
//! Permits are added only under the bucket's lock and only when nobody waits; `acquire` looks once more under
//! the same lock before it enqueues. Hence nobody sleeps beside a free permit.
//!
//! Memory ordering: what the waker did is visible to whom it wakes. A permit taken from the word: its addition
//! is Release, taking it Acquire. A permit handed over: the sleeper is readied after the waker unlocked the bucket,
//! and the scheduler orders `ready` before the run.
//!
//! Each waiter also says whom it waits for, if somebody is known (`owner`): `cycle` reads that when the program is
//! stuck.

use core::{cell::Cell, ptr};

use crate::{
    lock::{Rank, RawSpinLock},
    sched::{self, GPtr, WaitReason, profile},
    shim::{AtomicU32, Ordering},
};

/// One sleeper. Guarded by its bucket's lock until it is dequeued.
pub(super) struct Waiter {
    key: u64,
    /// The address of the word.
    pub(super) addr: usize,
    pub(super) g: GPtr,
    pub(super) reason: WaitReason,
    /// The word that holds the number of the goroutine which has what this one wants, or null.
    pub(super) owner: *const AtomicU32,
    /// When the wait for a lock began, if the mutex profile is on; else 0.
    since: u64,
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
unsafe fn dequeue(root: &Link, key: u64) -> Option<(GPtr, u64)> {
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
        return Some((first.g, first.since));
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
    Some((first.g, first.since))
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
    acquire_of(sema, lifo, reason, None);
}

/// As [`acquire`], and says which word names the goroutine that is waited for.
pub(super) fn acquire_of(sema: &AtomicU32, lifo: bool, reason: WaitReason, owner: Option<&AtomicU32>) {
    wait(sema, lifo, reason, owner, || try_take(sema));
}

/// As [`acquire`] for a semaphore that is one bit of `word`.
pub(super) fn acquire_bit(
    word: &AtomicU32,
    bit: u32,
    lifo: bool,
    reason: WaitReason,
    owner: Option<&AtomicU32>,
) {
    // Acquire: pairs with the Release in `release_bit`.
    let take =
        || word.load(Ordering::Relaxed) & bit != 0 && word.fetch_and(!bit, Ordering::Acquire) & bit != 0;
    wait(word, lifo, reason, owner, take);
}

#[inline(always)]
fn wait(
    word: &AtomicU32,
    lifo: bool,
    reason: WaitReason,
    owner: Option<&AtomicU32>,
    try_take: impl Fn() -> bool,
) {
    if try_take() {
        return;
    }
    let key = key_of(word);
    let w = Waiter {
        key,
        addr: ptr::from_ref(word).addr(),
        g: sched::current(),
        reason,
        owner: owner.map_or(ptr::null(), ptr::from_ref),
        since: match reason {
            WaitReason::MutexLock | WaitReason::RwLockRead | WaitReason::RwLockWrite => {
                profile::contention_begins()
            }
            _ => 0,
        },
        next: Cell::new(ptr::null()),
        last: Cell::new(ptr::null()),
        left: Cell::new(ptr::null()),
        right: Cell::new(ptr::null()),
    };
    let b = bucket(key);
    b.lock.lock();
    if try_take() {
        // SAFETY: 1. just taken.
        unsafe { b.lock.unlock() };
        return;
    }
    // SAFETY: 1. the lock is held; 2. this frame stays until the goroutine is readied, which dequeues it.
    unsafe { enqueue(&b.root, &w, lifo) };
    sched::park_unlock_for(reason, &b.lock, ptr::from_ref(&w).cast());
}

/// Hands a permit to the first sleeper, or adds one. With `handoff` the sleeper also runs at once here.
pub(crate) fn release(sema: &AtomicU32, handoff: bool) {
    wake(sema, handoff, || {
        sema.fetch_add(1, Ordering::Release); // pairs with the Acquire in `try_take`
    });
}

/// As [`release`] for a semaphore that is one bit of `word`.
pub(super) fn release_bit(word: &AtomicU32, bit: u32, handoff: bool) {
    wake(word, handoff, || {
        word.fetch_or(bit, Ordering::Release); // pairs with the Acquire in `acquire_bit`
    });
}

#[inline(always)]
fn wake(word: &AtomicU32, handoff: bool, add: impl Fn()) {
    let key = key_of(word);
    let b = bucket(key);
    b.lock.lock();
    // SAFETY: 1. the lock is held.
    let woken = unsafe { dequeue(&b.root, key) };
    if woken.is_none() {
        add();
    }
    // SAFETY: 1. taken above.
    unsafe { b.lock.unlock() };
    if let Some((g, since)) = woken {
        sched::ready(g);
        if since != 0 {
            profile::contention_ends(since);
        }
        if handoff {
            sched::yield_now();
        }
    }
}

/// What the goroutine sleeps on that left `what` (`sched::park_unlock_for`): the address of the word, and what is in the
/// word that names the goroutine it waits for, if there is one.
///
/// # Safety
/// 1. The goroutine sleeps in here, and cannot run on meanwhile.
#[cfg(target_os = "none")]
pub(crate) unsafe fn sleeps_on(what: *const ()) -> (usize, Option<u32>) {
    // SAFETY: 1. its frame stays.
    let w = unsafe { &*what.cast::<Waiter>() };
    // SAFETY: the sleeper borrows the lock that the word is part of.
    let owner = unsafe { w.owner.as_ref() };
    (w.addr, owner.map(|o| o.load(Ordering::Relaxed)))
}

/// Calls `f` with every sleeper, bucket by bucket, as far as nobody holds the bucket. For reports on a program that is
/// stuck: `f` takes no lock and allocates nothing.
#[cfg(target_os = "none")]
pub(super) fn for_each(mut f: impl FnMut(&Waiter)) {
    /// # Safety
    /// 1. As for `node`.
    unsafe fn walk(p: *const Waiter, f: &mut dyn FnMut(&Waiter)) {
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
    for b in &TABLE {
        if b.lock.try_lock() {
            // SAFETY: 1. the lock is held.
            unsafe { walk(b.root.get(), &mut f) };
            // SAFETY: 1. just taken.
            unsafe { b.lock.unlock() };
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
                    addr: ptr::from_ref(&words[i]).addr(),
                    g: sched::current(),
                    reason: WaitReason::SemaAcquire,
                    owner: ptr::null(),
                    since: 0,
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

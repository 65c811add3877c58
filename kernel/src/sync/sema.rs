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
//! | timer, context | takes a sleeper off whose wait is limited | yes; see `limit` |
//!
//! A waiter is in its sleeper's frame; `sleepers` has the treap. *Who takes it off, under the lock, owns its wake-up*, and
//! says how it ended: nobody else looks at it again, so a permit is handed to somebody who will return with it.
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

use super::sleepers::{self, Link, Waiter, key_of};
use crate::{
    arch,
    lock::{PreemptGuard, Rank, RawSpinLock},
    sched::{self, GPtr, WaitReason, profile},
    shim::{AtomicU32, Ordering},
};

#[repr(align(64))]
pub(super) struct Bucket {
    pub(super) lock: RawSpinLock,
    pub(super) root: Link,
}

// SAFETY: `root` and all it leads to is guarded by `lock`.
unsafe impl Sync for Bucket {}

impl Bucket {
    shim_const_fn! {
        fn new() -> Self {
            Self { lock: RawSpinLock::new(Rank::Sema), root: Cell::new(ptr::null()) }
        }
    }

    #[inline(always)]
    pub(super) fn unlock(&self) {
        // SAFETY: 1. `sema` and `limit` pair it with `lock` on every path.
        unsafe { self.lock.unlock() };
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

pub(super) fn bucket(key: u64) -> &'static Bucket {
    &TABLE[(key >> 56) as usize % BUCKETS]
}

pub(super) fn try_take(sema: &AtomicU32) -> bool {
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
    wait(word, lifo, reason, owner, || try_take_bit(word, bit));
}

#[inline(always)]
pub(super) fn try_take_bit(word: &AtomicU32, bit: u32) -> bool {
    // Acquire: pairs with the Release in `release_bit`.
    word.load(Ordering::Relaxed) & bit != 0 && word.fetch_and(!bit, Ordering::Acquire) & bit != 0
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
    let w = Waiter::new(word, sched::current(), reason, owner, profiled(reason));
    let b = bucket(w.key);
    b.lock.lock();
    if try_take() {
        b.unlock();
        return;
    }
    // SAFETY: 1. the lock is held; 2. this frame stays until the goroutine is readied, which dequeues it.
    unsafe { sleepers::enqueue(&b.root, &w, lifo) };
    sched::park_unlock_for(reason, &b.lock, ptr::from_ref(&w).cast());
}

/// When a wait begins, if the mutex profile counts such.
#[inline(always)]
pub(super) fn profiled(reason: WaitReason) -> u64 {
    match reason {
        WaitReason::MutexLock | WaitReason::RwLockRead | WaitReason::RwLockWrite => {
            profile::contention_begins()
        }
        _ => 0,
    }
}

/// Hands a permit to the first sleeper, or adds one. With `handoff` the sleeper also runs at once here, unless the caller
/// must not leave its core: to release is allowed anywhere.
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

/// Releases the lock under which `g` was taken off a queue, and readies him. Not preempted in between: should the caller's
/// stack end here, he panics once the sleeper is awake.
#[inline(always)]
pub(super) fn unlock_ready(g: Option<GPtr>, unlock: impl FnOnce()) {
    let _here = g.map(|_| PreemptGuard::new());
    unlock();
    if let Some(g) = g {
        sched::ready(g);
    }
}

#[inline(always)]
fn wake(word: &AtomicU32, handoff: bool, add: impl Fn()) {
    let key = key_of(word);
    let b = bucket(key);
    b.lock.lock();
    // SAFETY: 1. the lock is held.
    let woken = unsafe { sleepers::dequeue(&b.root, key) };
    if woken.is_none() {
        add();
    }
    unlock_ready(woken.map(|(g, _)| g), || b.unlock());
    if let Some((_, since)) = woken {
        if since != 0 {
            profile::contention_ends(since);
        }
        if handoff && !arch::in_runtime_context() {
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
#[cfg(any(target_os = "none", all(test, not(loom))))]
pub(super) fn for_each(mut f: impl FnMut(&Waiter)) {
    for b in &TABLE {
        if b.lock.try_lock() {
            // SAFETY: 1. the lock is held.
            unsafe { sleepers::walk(b.root.get(), &mut f) };
            b.unlock();
        }
    }
}

//! The scheduler's seam as an ordinary program: a thread for each goroutine.
//!
//! The same names as on metal (`current`, `park`, `park_unlock`, `ready`, `timer_heap`, …) over a mutex and a
//! condition variable per goroutine. Channels, `select!`, `sync` and `time` run unchanged on it: for unit
//! tests, documentation examples and, with loom's threads and locks instead of std's, for models. A thread that
//! was not started here (a test's main thread) becomes a goroutine when it first asks who it is.
//!
//! What it keeps of the metal: a goroutine is `Waiting` before its commit step runs, `ready` finds it waiting,
//! and it goes on only after `ready`. What it does not: Ps, stealing, preemption, deadlock detection.
//!
//! Under loom a G lives in the model's execution and is leaked with it.

mod api;
#[cfg(all(test, loom))]
mod host_loom;
mod host_timer;
#[cfg(test)]
mod idle;
mod join;
#[cfg(test)]
mod keeper;
mod reason;
pub mod runq;
mod scope;
#[path = "host_spawn.rs"]
mod spawn;
mod state;

#[cfg(not(loom))]
use std::{
    sync::{Condvar, Mutex},
    thread,
};

pub(crate) use api::go_raw;
pub use api::{Builder, go, spawn};
#[cfg(all(test, not(loom)))]
pub(crate) use host_timer::COUNTING;
pub(crate) use host_timer::{live_timers, now_ns, timer_armed, timer_heap};
pub use join::JoinHandle;
#[cfg(loom)]
use loom::{
    sync::{Condvar, Mutex},
    thread,
};
pub use reason::WaitReason;
pub use scope::{Scope, ScopedJoinHandle, scope};
#[cfg(all(test, loom))]
pub(crate) use spawn::NO_MEMORY;
pub use spawn::SpawnError;
pub use state::GState;

use crate::lock::RawSpinLock;

/// No profiles here.
pub(crate) mod profile {
    #[inline(always)]
    pub(crate) fn contention_begins() -> u64 {
        0
    }
    pub(crate) fn contention_ends(_: u64) {}
}

/// Commit step of a park: `false` cancels it.
pub type CommitFn = unsafe fn(GPtr, *mut ()) -> bool;

/// One goroutine.
#[derive(Debug)]
pub struct G {
    id: u64,
    state: Mutex<GState>,
    changed: Condvar,
}

/// A goroutine, as the runtime passes it around. Valid for ever (Gs are leaked here).
#[derive(Clone, Copy, Debug)]
pub struct GPtr(&'static G);

impl PartialEq for GPtr {
    fn eq(&self, o: &Self) -> bool {
        std::ptr::eq(self.0, o.0)
    }
}
impl Eq for GPtr {}

impl GPtr {
    /// The goroutine id.
    pub fn id(self) -> u64 {
        self.0.id
    }

    /// As a number above 2, for words that hold a goroutine or a small state.
    pub(crate) fn word(self) -> usize {
        std::ptr::from_ref(self.0).expose_provenance()
    }

    /// The goroutine behind what `word` returned.
    pub(crate) fn from_word(w: usize) -> Option<GPtr> {
        // SAFETY: 0, or made by `word` from a G, which lives for ever.
        unsafe { std::ptr::with_exposed_provenance::<G>(w).as_ref() }.map(GPtr)
    }

    /// Only `leak` asks, and only on metal.
    pub(crate) fn lends(self, _: bool) {}

    fn new() -> GPtr {
        // Ids are std's business even under loom: they order nothing.
        static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
        let id = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        GPtr(Box::leak(Box::new(G {
            id,
            state: Mutex::new(GState::Running),
            changed: Condvar::new(),
        })))
    }

    /// Moves between two states that the table allows.
    fn step(self, from: GState, to: GState) {
        let mut s = self.0.state.lock().expect("never poisoned");
        assert_eq!(*s, from, "goroutine {} going {to}", self.0.id);
        assert!(from.may_become(to));
        *s = to;
        drop(s);
        self.0.changed.notify_one();
    }

    fn wait_until_ready(self) {
        let mut s = self.0.state.lock().expect("never poisoned");
        while *s != GState::Runnable {
            s = self.0.changed.wait(s).expect("never poisoned");
        }
        *s = GState::Running;
    }
}

#[cfg(not(loom))]
thread_local! {
    static CURRENT: GPtr = GPtr::new();
}
#[cfg(loom)]
loom::thread_local! {
    static CURRENT: GPtr = GPtr::new();
}

/// The running goroutine.
pub fn current() -> GPtr {
    CURRENT.with(|g| *g)
}

/// Parks the running goroutine: once it counts as waiting, `commit(g, arg)` makes it findable for its waker,
/// or returns `false` to go on at once.
#[expect(
    clippy::not_unsafe_ptr_arg_deref,
    reason = "the argument goes to `commit`, whose contract it is"
)]
pub fn park(_: WaitReason, commit: CommitFn, arg: *mut ()) {
    let g = current();
    g.step(GState::Running, GState::Waiting);
    // SAFETY: the commit step and its argument come as a pair from the caller.
    if !unsafe { commit(g, arg) } {
        g.step(GState::Waiting, GState::Running);
        return;
    }
    g.wait_until_ready();
}

/// Parks the running goroutine and releases `lock`, which it holds.
pub fn park_unlock(_: WaitReason, lock: &RawSpinLock) {
    let g = current();
    g.step(GState::Running, GState::Waiting);
    // SAFETY: 1. the caller holds it.
    unsafe { lock.unlock() };
    g.wait_until_ready();
}

/// As [`park`]; what it waits for is the metal's business.
pub(crate) fn park_for(reason: WaitReason, commit: CommitFn, arg: *mut (), _: *const ()) {
    park(reason, commit, arg);
}

/// As [`park_unlock`]; what it waits for is the metal's business.
pub(crate) fn park_unlock_for(reason: WaitReason, lock: &RawSpinLock, _: *const ()) {
    park_unlock(reason, lock);
}

/// Makes a waiting goroutine runnable.
pub fn ready(g: GPtr) {
    g.step(GState::Waiting, GState::Runnable);
}

/// The host has no netpoller: who has work goes on until it is done.
pub(crate) fn poll_network_soon() -> bool {
    false
}

/// Nor a reclaimer.
pub(crate) fn ask_for_memory() {}

/// Nor has it devices.
pub(crate) fn net_interrupts() -> (u64, u64) {
    (0, 0)
}

/// Makes waiting goroutines runnable.
pub(crate) fn ready_all(list: &[GPtr]) {
    list.iter().for_each(|&g| ready(g));
}

/// Deadlock detection is the metal's.
pub(crate) fn io_wait_begin() {}

/// See [`io_wait_begin`].
pub(crate) fn io_wait_end() {}

/// As on metal, as far as this host knows.
pub(crate) fn sync_point() {}

/// As [`sync_point`].
pub(crate) fn gap() {}

pub(crate) fn worth_spinning() -> bool {
    crate::arch::core_count() > 1
}

/// Lets others run.
///
/// ```
/// let flag = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
/// let theirs = flag.clone();
/// burrow::go(move || theirs.store(true, std::sync::atomic::Ordering::Release));
/// while !flag.load(std::sync::atomic::Ordering::Acquire) {
///     burrow::yield_now();
/// }
/// ```
pub fn yield_now() {
    thread::yield_now();
}

/// Runs `f`; a thread may block here.
///
/// ```
/// let n = burrow::blocking(|| (1..=1000_u64).sum::<u64>()); // may take long
/// assert!(n > 0);
/// ```
pub fn blocking<T>(f: impl FnOnce() -> T) -> T {
    f()
}

/// Next pseudo-random number of this thread.
#[cfg(not(loom))]
pub fn rand32() -> u32 {
    use std::cell::Cell;
    thread_local! {
        static STATE: Cell<u64> = Cell::new(current().id().wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    }
    STATE.with(|s| {
        let mut x = s.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        s.set(x);
        (x.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32
    })
}

/// A model explores interleavings, not numbers.
#[cfg(loom)]
pub fn rand32() -> u32 {
    0x9000_0001
}

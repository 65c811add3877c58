//! pollDesc: where a goroutine waits for a socket, and the three who may end that wait.
//!
//! Each direction of a socket has one word:
//!
//! | word | meaning | who may be parked | set by |
//! | --- | --- | --- | --- |
//! | `NIL` | nobody waits, nothing is known | – | `block` when it leaves, `unblock(evict)` |
//! | `READY` | the socket was ready since the last wait; one wait is let through | – | `unblock(ready)` |
//! | `WAIT` | somebody is about to park | not yet | `block` |
//! | a G | that goroutine is parked (or its commit step is done) | it | commit step |
//!
//! ```text
//!             1 block            2 commit step
//!      NIL ───────────▶ WAIT ───────────────▶ G
//!     ▲ │ ▲               │ │                │ │
//!     │ │ └─ 4 evict ─────┴─┼────────────────┘ │      1, 5: the waiter's CAS     3: `unblock(ready)`: the stack
//!     │ └─ 3 ready ──▶ READY ◀── 3 ready ──────┘      2: CAS on g0               4: `unblock(evict)`: deadline, close
//!     └──── 5 block ─────┘
//! ```
//! Edges 3 and 4 out of a G hand that G to the caller, who readies it: exactly one of ready, deadline and close gets
//! it, because each takes it with a compare-exchange on the one word. Edge 2 fails if 3 or 4 came first, and the
//! goroutine goes on without having slept.
//!
//! **No lost readiness.** The stack calls 3 after it changed the socket. The waiter looked at the socket, found nothing
//! and then calls `block`; a change in between left `READY`, which lets it through to look again. So readiness is a
//! hint that may be stale, never one that is missing. What is looked at must be changed, and looked at, under a lock
//! (the stack's): 3 does not write to a word that is `READY` already, so it alone publishes nothing.
//!
//! **No lost deadline or close.** Edge 4 leaves no mark on a word that is `NIL`, so the mark is in `info`. Evicter: (E1)
//! set the bit in `info`, (E2) `fence(SeqCst)`, (E3) look at the word. Waiter: (W1) `NIL → WAIT`, (W2) `fence(SeqCst)`,
//! (W3) look at `info`. If E3 still sees `NIL`, then E2 is before W2 and W3 sees the bit; else E3 finds `WAIT` or the G
//! and takes it. A mark alone does not say that the waiter slept: `wait` looks at `info` again whenever it was evicted,
//! and starts over if a deadline was moved meanwhile.
//!
//! **Deadlines** are timers of the runtime's heaps, two per descriptor. Setting one happens under `lock` and begins a
//! new sequence number; a timer that fired for an older one does nothing. `busy` counts firings on their way, so that
//! the descriptor is not freed under them (the scheme of `time::channel`).
//!
//! **No lost G.** Who took a G out of a word is the only one who knows it. He is not preempted until he has readied it: a
//! goroutine that stands at the end of its stack panics where it is preempted, and with it what it holds would be gone.
//!
//! | field | read | written |
//! | --- | --- | --- |
//! | `rg`, `wg` | anyone | CAS, see the edges |
//! | `info` | anyone | under `lock` |
//! | `Deadline::seq` | `begin` under the heap's lock, `run` under `lock` | under `lock`, while the timer is in no heap |
//!
//! One goroutine per direction: the sockets' read and write locks see to it. Lock order: `lock` before the heap's.
//! The states are those of Go's `netpoll.go`.

use alloc::{alloc::AllocError, sync::Arc};
use core::{
    cell::Cell,
    ptr::{self, NonNull},
};

use crate::{
    lock::{PreemptGuard, Rank, RawSpinLock},
    sched::{self, GPtr, WaitReason},
    shim::{AtomicU32, AtomicUsize, Ordering, fence, spin_loop},
    time::timer::{Fire, TimerNode},
};

const NIL: usize = 0;
const READY: usize = 1;
const WAIT: usize = 2;

const CLOSING: u32 = 1;

/// Which way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    /// `read`, `accept`, `recv_from`.
    Read = 0,
    /// `write`, `connect`, `send_to`.
    Write = 1,
}

impl Mode {
    fn expired(self) -> u32 {
        2 << self as u32
    }
}

/// Why a wait is over without the socket being ready.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Evicted {
    /// The socket was closed.
    Closed,
    /// The deadline passed.
    Timeout,
}

/// See the file head.
pub(crate) struct PollDesc {
    rg: AtomicUsize,
    wg: AtomicUsize,
    info: AtomicU32,
    /// Around setting deadlines.
    lock: RawSpinLock,
    deadlines: [Deadline; 2],
}

/// The timer of one direction. The node first: the heap knows it by that.
#[repr(C)]
struct Deadline {
    node: TimerNode,
    owner: Cell<*const PollDesc>,
    mode: Mode,
    seq: Cell<u64>,
    /// `run`s on their way.
    busy: AtomicU32,
}

// SAFETY: the words are atomics; the cells are guarded as the table in the file head says.
unsafe impl Sync for PollDesc {}
// SAFETY: as above; nothing in it belongs to a core or goroutine.
unsafe impl Send for PollDesc {}

impl Deadline {
    fn new(mode: Mode) -> Self {
        Self {
            node: TimerNode::new(Fire::Call {
                begin,
                run,
                awaited: None,
            }),
            owner: Cell::new(ptr::null()),
            mode,
            seq: Cell::new(0),
            busy: AtomicU32::new(0),
        }
    }
}

impl PollDesc {
    /// A descriptor nobody waits on; shared, because its timers point at it.
    ///
    /// # Errors
    /// No memory.
    pub(crate) fn try_new() -> Result<Arc<Self>, AllocError> {
        Arc::try_new(Self {
            rg: AtomicUsize::new(NIL),
            wg: AtomicUsize::new(NIL),
            info: AtomicU32::new(0),
            lock: RawSpinLock::new(Rank::Waiters),
            deadlines: [Deadline::new(Mode::Read), Deadline::new(Mode::Write)],
        })
    }

    fn word(&self, mode: Mode) -> &AtomicUsize {
        match mode {
            Mode::Read => &self.rg,
            Mode::Write => &self.wg,
        }
    }

    /// May one still wait here?
    #[inline]
    pub(crate) fn check(&self, mode: Mode) -> Result<(), Evicted> {
        let info = self.info.load(Ordering::Acquire); // pairs with the AcqRel changes below
        if info & CLOSING != 0 {
            return Err(Evicted::Closed);
        }
        if info & mode.expired() != 0 {
            return Err(Evicted::Timeout);
        }
        Ok(())
    }

    /// Waits until the socket may be ready. The caller found that it is not, and looks again afterwards. One goroutine
    /// per direction.
    pub(crate) fn wait(&self, mode: Mode) -> Result<(), Evicted> {
        loop {
            self.check(mode)?;
            if self.block(mode) {
                return Ok(());
            }
        }
    }

    /// One wait; `true` if the socket became ready, `false` if something else ended it.
    #[cfg_attr(debug_assertions, track_caller)]
    fn block(&self, mode: Mode) -> bool {
        crate::lock::might_sleep();
        let word = self.word(mode);
        loop {
            // Acquire: pairs with the Release half of `unblock`.
            match word.compare_exchange(NIL, WAIT, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => break, // W1
                Err(READY) => {
                    if word
                        .compare_exchange(READY, NIL, Ordering::AcqRel, Ordering::Acquire)
                        .is_ok()
                    {
                        return true;
                    }
                }
                Err(_) => unreachable!("two goroutines wait for one direction of a socket"),
            }
        }
        fence(Ordering::SeqCst); // W2, partner: E2 in `evict`
        if self.check(mode).is_ok() {
            sched::io_wait_begin();
            sched::park(WaitReason::IoWait, commit, ptr::from_ref(word).cast_mut().cast());
            sched::io_wait_end();
        }
        let old = word.swap(NIL, Ordering::AcqRel);
        debug_assert!(old <= WAIT, "woken, and still in its word");
        old == READY
    }

    /// The socket may be ready. Returns the goroutine to ready, if one waits. Under any lock.
    #[must_use = "the goroutine sleeps until it is readied"]
    #[inline]
    pub(crate) fn ready(&self, mode: Mode) -> Option<GPtr> {
        self.unblock(mode, READY)
    }

    /// The socket may be ready, or not what it was: who waits goes on, and looks.
    pub(crate) fn wake(&self, mode: Mode) {
        let _here = PreemptGuard::new(); // no lost G
        if let Some(g) = self.ready(mode) {
            sched::ready(g);
        }
    }

    fn unblock(&self, mode: Mode, new: usize) -> Option<GPtr> {
        let word = self.word(mode);
        let mut old = word.load(Ordering::Acquire);
        loop {
            if old == READY || old == NIL && new == NIL {
                return None;
            }
            // Release: what became ready is visible to who is let through; Acquire: pairs with the commit step.
            match word.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire) {
                Ok(WAIT | NIL) => return None,
                Ok(g) => return GPtr::from_word(g),
                Err(now) => old = now,
            }
        }
    }

    /// E1 to E3: no wait of these bits' direction goes on or begins.
    #[must_use = "the goroutine sleeps until it is readied"]
    fn evict(&self, mode: Mode, bit: u32) -> Option<GPtr> {
        self.info.fetch_or(bit, Ordering::AcqRel); // E1
        fence(Ordering::SeqCst); // E2, partner: W2 in `block`
        self.unblock(mode, NIL)
    }

    /// Ends all waits, now and in future, and the deadlines. `false`: it was closed already. Readies goroutines.
    pub(crate) fn close(&self) -> bool {
        let _here = PreemptGuard::new(); // no lost G
        let (before, woken) = self.locked(|| {
            for d in &self.deadlines {
                d.node.cancel();
                d.seq.set(d.seq.get().wrapping_add(1));
            }
            // Under the lock, or `set_deadline` might start a timer after this that nobody calls off.
            let before = self.info.load(Ordering::Acquire);
            (before, [Mode::Read, Mode::Write].map(|m| self.evict(m, CLOSING)))
        });
        for g in woken.into_iter().flatten() {
            sched::ready(g);
        }
        before & CLOSING == 0
    }

    /// Waits of this direction end at `when` (nanoseconds since boot); `None`: never. In the past: at once.
    pub(crate) fn set_deadline(&self, mode: Mode, when: Option<u64>) {
        let _here = PreemptGuard::new(); // no lost G
        let d = &self.deadlines[mode as usize];
        let passed = when.is_some_and(|at| at <= sched::now_ns());
        let woken = self.locked(|| {
            d.node.cancel();
            d.seq.set(d.seq.get().wrapping_add(1));
            if self.info.load(Ordering::Acquire) & CLOSING != 0 {
                return None;
            }
            if passed {
                return self.evict(mode, mode.expired());
            }
            self.info.fetch_and(!mode.expired(), Ordering::AcqRel);
            if let Some(at) = when {
                d.owner.set(self);
                // SAFETY: 1. just taken out; `drop` cancels it before the memory goes.
                unsafe { d.node.start(at, false) };
            }
            None
        });
        if let Some(g) = woken {
            sched::ready(g);
        }
    }

    fn locked<R>(&self, f: impl FnOnce() -> R) -> R {
        self.lock.lock();
        let r = f();
        // SAFETY: 1. taken above.
        unsafe { self.lock.unlock() };
        r
    }
}

impl Drop for PollDesc {
    fn drop(&mut self) {
        for d in &self.deadlines {
            d.node.cancel();
            // A `run` is on g0 of another core, which nothing preempts. Acquire: pairs with its last step.
            while d.busy.load(Ordering::Acquire) != 0 {
                spin_loop();
            }
        }
    }
}

/// Commit step of `block`: edge 2.
///
/// # Safety
/// 1. `word` is a descriptor's word that the parking goroutine keeps alive.
unsafe fn commit(g: GPtr, word: *mut ()) -> bool {
    // SAFETY: 1.; it does not leave before somebody took it out of the word.
    let word = unsafe { &*word.cast_const().cast::<AtomicUsize>() };
    // Release: publishes that the context is saved to who takes the G out.
    word.compare_exchange(WAIT, g.word(), Ordering::AcqRel, Ordering::Acquire)
        .is_ok()
}

/// # Safety
/// 1. `node` is the first field of a live `Deadline`; its heap's lock is held.
unsafe fn begin(node: NonNull<TimerNode>) -> Option<u64> {
    // SAFETY: 1.
    let d = unsafe { node.cast::<Deadline>().as_ref() };
    d.busy.fetch_add(1, Ordering::Relaxed); // ordered by the heap's lock, which `drop` takes to cancel
    Some(d.seq.get())
}

/// # Safety
/// 1. `begin` was called for it: `busy` keeps the descriptor until the decrement.
unsafe fn run(node: NonNull<TimerNode>, seq: u64) {
    // SAFETY: 1.
    let d = unsafe { node.cast::<Deadline>().as_ref() };
    // SAFETY: 1.; set before the timer was started.
    let pd = unsafe { &*d.owner.get() };
    let woken = pd.locked(|| {
        if d.seq.get() != seq {
            return None;
        }
        pd.evict(d.mode, d.mode.expired())
    });
    d.busy.fetch_sub(1, Ordering::Release); // last access; pairs with the Acquire in `drop`
    if let Some(g) = woken {
        sched::ready(g);
    }
}

#[cfg(all(test, not(loom)))]
#[path = "poll_tests.rs"]
mod tests;

#[cfg(all(test, loom))]
#[path = "poll_loom.rs"]
mod models;

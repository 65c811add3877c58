//! P: the right to run goroutines, with everything a core wants at hand for that.
//!
//! There are `gomaxprocs` Ps; a core must hold one to run Go code. A P's fields are its holder's alone,
//! except the lock-free run queue, the timer heap (locked) and the counters (atomics with one writer).
//!
//! | status | run queue | holder |
//! | --- | --- | --- |
//! | Idle | empty | none: on the idle list (timers may be pending) |
//! | Running | any | a core |
//! | Syscall | any | a core inside `blocking`, loosely: anyone may CAS it away |
//! | GcStop | any | the goroutine that stopped the world |
//! | Dead | empty | none: beyond gomaxprocs |

use core::{
    cell::Cell,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

use super::{
    g::{G, GPtr},
    runq::RunQueue,
};
use crate::{
    arch::MAX_CORES,
    lock::{Rank, SpinLock},
    time::{TimerHeap, Timers},
};

/// A P's status.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(crate) enum PStatus {
    /// On the idle list.
    Idle = 0,
    /// Held by a core.
    Running = 1,
    /// Its core is inside `blocking`.
    Syscall = 2,
    /// Stopped with the world.
    GcStop = 3,
    /// Beyond gomaxprocs.
    Dead = 4,
}

impl PStatus {
    /// The status of a stored word.
    pub(crate) fn from_word(w: u32) -> PStatus {
        use PStatus::*;
        [Idle, Running, Syscall, GcStop, Dead][(w as usize).min(4)]
    }
}

/// Counters of one P; written by its holder only.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) created: AtomicU64,
    pub(crate) exited: AtomicU64,
    pub(crate) switches: AtomicU64,
    pub(crate) steals: AtomicU64,
    pub(crate) preempts: AtomicU64,
}

/// Adds 1 to a counter that only the caller writes: no locked instruction.
#[inline(always)]
pub(crate) fn bump(c: &AtomicU64) {
    c.store(c.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

/// One processor. See the file head.
#[repr(C, align(128))]
pub(crate) struct P {
    pub(crate) runq: RunQueue<G>,
    pub(crate) id: Cell<u32>,
    pub(crate) status: AtomicU32,
    pub(crate) schedtick: AtomicU32,
    pub(crate) syscalltick: AtomicU32,
    /// When the running time slice began (ns).
    pub(crate) slice_start: AtomicU64,
    /// Core that holds it, + 1.
    pub(crate) core: AtomicU32,
    pub(crate) gfree: Cell<*mut G>,
    pub(crate) gfree_len: Cell<u32>,
    pub(crate) rng: Cell<u64>,
    pub(crate) goid_next: Cell<u64>,
    pub(crate) goid_end: Cell<u64>,
    /// Earliest deadline in `timers`, `u64::MAX` if none; written under its lock.
    pub(crate) timer0: AtomicU64,
    pub(crate) timers: Timers,
    pub(crate) count: Counters,
    // What sysmon saw last; sysmon only.
    pub(crate) seen_schedtick: Cell<u32>,
    pub(crate) seen_schedwhen: Cell<u64>,
    pub(crate) seen_syscalltick: Cell<u32>,
}

// SAFETY: cells belong to the holder of the P (status Running) or to sysmon's single driver, as told above.
unsafe impl Sync for P {}

static PS: [P; MAX_CORES] = [const { P::new() }; MAX_CORES];

/// The P with this id.
#[inline(always)]
pub(crate) fn get(id: usize) -> &'static P {
    &PS[id]
}

/// The first `n` Ps.
pub(crate) fn first(n: usize) -> &'static [P] {
    &PS[..n]
}

impl P {
    const fn new() -> P {
        P {
            runq: RunQueue::new(),
            id: Cell::new(0),
            status: AtomicU32::new(PStatus::Dead as u32),
            schedtick: AtomicU32::new(0),
            syscalltick: AtomicU32::new(0),
            slice_start: AtomicU64::new(0),
            core: AtomicU32::new(0),
            gfree: Cell::new(core::ptr::null_mut()),
            gfree_len: Cell::new(0),
            rng: Cell::new(0),
            goid_next: Cell::new(0),
            goid_end: Cell::new(0),
            timer0: AtomicU64::new(u64::MAX),
            timers: SpinLock::new(Rank::Timers, TimerHeap::new()),
            count: Counters {
                created: AtomicU64::new(0),
                exited: AtomicU64::new(0),
                switches: AtomicU64::new(0),
                steals: AtomicU64::new(0),
                preempts: AtomicU64::new(0),
            },
            seen_schedtick: Cell::new(0),
            seen_schedwhen: Cell::new(0),
            seen_syscalltick: Cell::new(0),
        }
    }

    /// First use of this P.
    pub(crate) fn init(&'static self, id: usize, seed: u64) {
        self.timers.lock().mirror_to(&self.timer0);
        self.id.set(id as u32);
        // An odd multiplier spreads neighbouring ids; xorshift must not start at 0.
        self.rng
            .set((seed ^ (id as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)) | 1);
    }

    /// Index of the P.
    #[inline(always)]
    pub(crate) fn id(&self) -> usize {
        self.id.get() as usize
    }

    /// The status now.
    pub(crate) fn status(&self) -> PStatus {
        PStatus::from_word(self.status.load(Ordering::Acquire))
    }

    pub(crate) fn set_status(&self, s: PStatus) {
        self.status.store(s as u32, Ordering::Release); // pairs with the Acquire in `status`
    }

    pub(crate) fn cas_status(&self, from: PStatus, to: PStatus) -> bool {
        self.status
            .compare_exchange(from as u32, to as u32, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Next pseudo-random number: xorshift64*, seeded from the boot seed. Holder only.
    #[inline(always)]
    pub(crate) fn rand(&self) -> u32 {
        let mut x = self.rng.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.rng.set(x);
        (x.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32
    }

    /// Queues `g`: at the front (`runnext`) or at the tail; what does not fit goes to the global queue.
    /// Holder only.
    #[inline]
    pub(crate) fn put(&self, g: GPtr, next: bool) {
        let mut g = g.raw();
        if next {
            g = self.runq.swap_next(g);
            if g.is_null() {
                return;
            }
        }
        if let Some(o) = self.runq.push(g) {
            super::global::push_batch(&o.batch);
        }
    }
}

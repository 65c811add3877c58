//! The scheduler's shared state under its one lock: the global queue, idle Ps, idle Ms.
//!
//! A singly linked FIFO through `G::link`; `LEN` mirrors its length so that pickers look without the lock.
//! Idle Ps and idle Ms are bit masks; `IDLE_PS` mirrors the count of the former for the submitter's check
//! (see `idle`). The lock is the last of the scheduler's (`Rank::Sched`): nothing is taken under it.

use core::{
    ptr,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
};

use super::{
    g::{G, GPtr},
    idle::Spinners,
    p::{self, P, PStatus},
};
use crate::lock::{Rank, SpinLock};

/// What the lock guards.
pub(crate) struct Sched {
    head: *mut G,
    tail: *mut G,
    len: u32,
    /// Ps on the idle list.
    pub(crate) idle_ps: u64,
    /// Cores parked without a P, free to take one.
    pub(crate) idle_ms: u64,
    /// Cores asleep until their locked goroutine is sent home.
    pub(crate) locked_ms: u64,
    /// Ps still to stop before the world stands.
    pub(crate) stop_wait: u32,
    /// How often a P left the idle list: the same twice, with all of them on it, and nothing ran in between.
    pub(crate) taken: u64,
}

// SAFETY: the raw pointers are Gs on the queue, which the lock's holder owns.
unsafe impl Send for Sched {}

pub(crate) static SCHED: SpinLock<Sched> = SpinLock::new(
    Rank::Sched,
    Sched {
        head: ptr::null_mut(),
        tail: ptr::null_mut(),
        len: 0,
        idle_ps: 0,
        idle_ms: 0,
        locked_ms: 0,
        stop_wait: 0,
        taken: 0,
    },
);

/// Mirror of the global queue's length.
pub(crate) static LEN: AtomicU32 = AtomicU32::new(0);
/// Mirror of the number of idle Ps.
pub(crate) static IDLE_PS: AtomicU32 = AtomicU32::new(0);
/// Ps in use.
pub(crate) static GOMAXPROCS: AtomicU32 = AtomicU32::new(0);
/// Searching Ms.
pub(crate) static SPINNERS: Spinners = Spinners::new();
/// The world is being stopped, or stands.
pub(crate) static STW: AtomicBool = AtomicBool::new(false);

/// The value of GOMAXPROCS.
#[inline(always)]
pub(crate) fn procs() -> usize {
    GOMAXPROCS.load(Ordering::Relaxed) as usize
}

impl Sched {
    /// Appends one G.
    pub(crate) fn push(&mut self, g: *mut G) {
        // SAFETY: `g` is owned by the caller and becomes the queue's.
        unsafe { (*g).link.set(ptr::null_mut()) };
        if self.tail.is_null() {
            self.head = g;
        } else {
            // SAFETY: the tail is on our queue.
            unsafe { (*self.tail).link.set(g) };
        }
        self.tail = g;
        self.len += 1;
        LEN.store(self.len, Ordering::Relaxed);
    }

    /// Takes the oldest G.
    pub(crate) fn pop(&mut self) -> *mut G {
        let g = self.head;
        if !g.is_null() {
            // SAFETY: the head is on our queue.
            self.head = unsafe { (*g).link.get() };
            if self.head.is_null() {
                self.tail = ptr::null_mut();
            }
            self.len -= 1;
            LEN.store(self.len, Ordering::Relaxed);
        }
        g
    }

    /// Takes a fair share for `p`: one to run now, up to `max` in all, the rest on `p`'s queue.
    pub(crate) fn grab(&mut self, p: &P, max: u32) -> *mut G {
        let share = (self.len / procs() as u32 + 1).min(self.len).min(max).min(128);
        let first = self.pop();
        for _ in 1..share {
            let g = self.pop();
            if p.runq.push(g).is_some() {
                unreachable!("a fair share overflowed an empty run queue");
            }
        }
        first
    }

    /// Puts a P without work on the idle list.
    pub(crate) fn put_idle_p(&mut self, p: &P) {
        debug_assert!(p.runq.is_empty(), "idling a P with work");
        p.set_status(PStatus::Idle);
        p.core.store(0, Ordering::Relaxed);
        self.idle_ps |= 1 << p.id();
        IDLE_PS.store(self.idle_ps.count_ones(), Ordering::Relaxed);
    }

    /// Takes an idle P, `hint` if it is one.
    pub(crate) fn take_idle_p(&mut self, hint: Option<usize>) -> Option<&'static P> {
        let id = match hint {
            Some(h) if self.idle_ps & 1 << h != 0 => h,
            _ if self.idle_ps != 0 => self.idle_ps.trailing_zeros() as usize,
            _ => return None,
        };
        self.idle_ps &= !(1 << id);
        self.taken += 1;
        IDLE_PS.store(self.idle_ps.count_ones(), Ordering::Relaxed);
        Some(p::get(id))
    }

    /// Takes an idle core.
    pub(crate) fn take_idle_m(&mut self) -> Option<usize> {
        if self.idle_ms == 0 {
            return None;
        }
        let i = self.idle_ms.trailing_zeros() as usize;
        self.idle_ms &= !(1 << i);
        Some(i)
    }
}

/// Appends a batch to the global queue.
#[cold]
pub(crate) fn push_batch(batch: &[*mut G]) {
    let mut s = SCHED.lock();
    for &g in batch {
        s.push(g);
    }
}

/// Appends one G to the global queue and wakes a core for it if one sleeps.
pub(crate) fn push_one(g: GPtr) {
    SCHED.lock().push(g.raw());
    super::find::wake_for_work();
}

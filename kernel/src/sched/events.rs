//! The black box: the last scheduler events of every core, and a hash over all of them.
//!
//! A ring per core, written by that core alone with preemption off, no lock, no allocation. Off by default
//! (`events=1` or deterministic mode turns it on): then an event is a load and a branch. The hash lets two
//! deterministic runs be compared without keeping the trace; a fatal error prints the rings' tails.

use core::{
    cell::UnsafeCell,
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};

use crate::arch::{self, MAX_CORES, x86_64::clock};

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// A goroutine was made.
    Create,
    /// A core continues a goroutine; the argument is its P.
    Start,
    /// It parked; the argument is the wait reason.
    Block,
    /// It was made runnable.
    Unblock,
    /// It was taken off its core.
    Preempt,
    /// It was stolen from the P in the argument.
    Steal,
    /// It entered `blocking`.
    SyscallEnter,
    /// It left `blocking`.
    SyscallExit,
    /// It ended.
    End,
    /// The core in the argument went idle.
    Idle,
}

/// One event.
#[derive(Clone, Copy)]
pub struct Event {
    /// Nanoseconds since boot.
    pub at: u64,
    /// The goroutine, 0 if none.
    pub g: u64,
    /// See [`Kind`].
    pub arg: u64,
    /// What happened.
    pub kind: Kind,
}

const RING: usize = 256;

struct Rings([UnsafeCell<[Event; RING]>; MAX_CORES]);
// SAFETY: ring i is written by core i with preemption off; others read it only when the machine stands.
unsafe impl Sync for Rings {}
static RINGS: Rings = Rings(
    [const {
        UnsafeCell::new(
            [Event {
                at: 0,
                g: 0,
                arg: 0,
                kind: Kind::Idle,
            }; RING],
        )
    }; MAX_CORES],
);
static LEN: [AtomicUsize; MAX_CORES] = [const { AtomicUsize::new(0) }; MAX_CORES];
static HASH: [AtomicU64; MAX_CORES] = [const { AtomicU64::new(0xcbf2_9ce4_8422_2325) }; MAX_CORES];
static ON: AtomicBool = AtomicBool::new(false);

/// Starts recording.
pub(crate) fn enable() {
    ON.store(true, Ordering::Relaxed);
}

/// Records an event. Preemption must be off.
#[inline(always)]
pub(crate) fn emit(kind: Kind, g: u64, arg: u64) {
    if ON.load(Ordering::Relaxed) {
        record(kind, g, arg);
    }
}

#[cold]
fn record(kind: Kind, g: u64, arg: u64) {
    let core = arch::core_index();
    let n = LEN[core].load(Ordering::Relaxed);
    let e = Event {
        at: clock::now_ns(),
        g,
        arg,
        kind,
    };
    // SAFETY: our own ring, preemption off.
    unsafe { (*RINGS.0[core].get())[n % RING] = e };
    LEN[core].store(n + 1, Ordering::Release);
    let mut h = HASH[core].load(Ordering::Relaxed);
    for w in [e.at, g, arg, kind as u64] {
        h = (h ^ w).wrapping_mul(0x100_0000_01b3).rotate_left(29);
    }
    HASH[core].store(h, Ordering::Relaxed);
}

/// Number of events so far and a hash over all of them, with their times, on all cores.
pub fn digest() -> (u64, u64) {
    let mut n = 0;
    let mut h = 0u64;
    for i in 0..arch::core_count() {
        n += LEN[i].load(Ordering::Acquire) as u64;
        h = h.rotate_left(7) ^ HASH[i].load(Ordering::Relaxed);
    }
    (n, h)
}

/// Calls `f(core, event)` for the last `n` events of every core, oldest first per core. Exact only when the
/// other cores stand still.
pub fn last(n: usize, mut f: impl FnMut(usize, &Event)) {
    for core in 0..arch::core_count() {
        let len = LEN[core].load(Ordering::Acquire);
        for i in len.saturating_sub(n.min(RING))..len {
            // SAFETY: a copy of an entry that its core may overwrite at worst: see above.
            let e = unsafe { (*RINGS.0[core].get())[i % RING] };
            f(core, &e);
        }
    }
}

/// Writes the last `n` events of every core in the order of time, if they are recorded. For reports of fatal
/// errors: the other cores stand still, nothing is allocated.
pub(crate) fn write_tail(w: &mut dyn core::fmt::Write, n: usize) -> core::fmt::Result {
    if !ON.load(Ordering::Relaxed) {
        return Ok(());
    }
    writeln!(w, "last scheduler events (ms, core, event, goroutine, argument):")?;
    // One pass for each line: the earliest event that comes after the one printed last.
    let mut after = (0, 0, 0);
    loop {
        let mut first: Option<((u64, usize, usize), Event)> = None;
        let (mut core, mut nth) = (usize::MAX, 0);
        last(n, |c, e| {
            nth = if c == core { nth + 1 } else { 1 };
            core = c;
            let key = (e.at, c, nth);
            if key > after && first.is_none_or(|f| key < f.0) {
                first = Some((key, *e));
            }
        });
        let Some((key, e)) = first else { return Ok(()) };
        after = key;
        let (ms, us) = (e.at / 1_000_000, e.at / 1000 % 1000);
        writeln!(w, "  {ms}.{us:03} core {} {:?} g{} {}", key.1, e.kind, e.g, e.arg)?;
    }
}

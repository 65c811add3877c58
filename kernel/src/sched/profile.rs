//! Where goroutines wait, and for how long: the block profile and the mutex profile, sampled.
//!
//! *Block*: each wait on a channel, a `select!`, a lock or another goroutine, seen from whoever waited. *Mutex*: each
//! wait for a `Mutex` or `RwLock`, seen from whoever unlocked it, for that is where time can be saved. Both are off until
//! a rate is set (`runtime::set_block_profile_rate`, `set_mutex_profile_fraction`, or `blockprofile=` and
//! `mutexprofile=` on the command line); off, a wait costs a load and a branch more, and a lock that is free nothing.
//!
//! A profile is a table of call stacks, each with a count and a time, both scaled to what sampling left out: waits
//! longer than the block rate count fully, a shorter one is taken with probability length / rate and counts rate /
//! length times; of contended unlocks one in `fraction` is taken and counts as many. A table that is full
//! counts what is new in one last row without a stack.
//!
//! A function that unlocks as its very last act has usually left its frame by then (the call is a jump): its caller
//! is named instead.
//!
//! Refused: a table per P. A sample walks its stack, which takes longer than the lock of the table is held.
#![forbid(unsafe_code)]

use alloc::vec::Vec;
use core::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use super::{WaitReason, now_ns, rand32};
use crate::{
    lock::{Rank, SpinLock},
    panic::{
        Backtrace,
        backtrace::{Pc, write_frames},
    },
};

const ROWS: usize = 128;
const DEPTH: usize = 16;

/// Nanoseconds; 0: off.
static BLOCK_RATE: AtomicU64 = AtomicU64::new(0);
/// One in so many; 0: off.
static MUTEX_FRACTION: AtomicU64 = AtomicU64::new(0);

#[derive(Clone, Copy)]
struct Row {
    stack: [usize; DEPTH],
    count: u64,
    ns: u64,
}

const EMPTY: Row = Row {
    stack: [0; DEPTH],
    count: 0,
    ns: 0,
};

type Table = SpinLock<[Row; ROWS]>;

static BLOCK: Table = SpinLock::new(Rank::Outer, [EMPTY; ROWS]);
static MUTEX: Table = SpinLock::new(Rank::Outer, [EMPTY; ROWS]);

/// Sets how long a wait must be to be sure to be in the block profile; returns what it was.
pub(crate) fn set_block_rate(ns: u64) -> u64 {
    BLOCK_RATE.swap(ns, Ordering::Relaxed)
}

/// Sets one in how many contended unlocks is in the mutex profile; returns what it was.
pub(crate) fn set_mutex_fraction(n: u64) -> u64 {
    MUTEX_FRACTION.swap(n, Ordering::Relaxed)
}

/// Is there a block profile?
#[inline(always)]
pub(crate) fn blocks_are_timed() -> bool {
    BLOCK_RATE.load(Ordering::Relaxed) != 0
}

/// A wait for the block profile.
#[cold]
#[inline(never)]
pub(crate) fn timed(reason: WaitReason, wait: impl FnOnce()) {
    let since = now_ns();
    wait();
    blocked(reason, since);
}

/// A wait for a mutex begins: the time, if somebody wants to know.
#[inline(always)]
pub(crate) fn contention_begins() -> u64 {
    if MUTEX_FRACTION.load(Ordering::Relaxed) == 0 {
        0
    } else {
        now_ns()
    }
}

fn counts_as_blocked(reason: WaitReason) -> bool {
    use WaitReason::*;
    matches!(
        reason,
        ChanRecv
            | ChanSend
            | Select
            | MutexLock
            | SemaAcquire
            | WaitGroupWait
            | RwLockRead
            | RwLockWrite
            | CondWait
            | OnceWait
            | Join
    )
}

#[cold]
#[inline(never)]
fn blocked(reason: WaitReason, since: u64) {
    let rate = BLOCK_RATE.load(Ordering::Relaxed);
    let ns = now_ns().saturating_sub(since).max(1);
    if rate == 0 || !counts_as_blocked(reason) || ns < rate && u64::from(rand32()) % rate > ns {
        return;
    }
    let times = (rate / ns).max(1);
    add(&BLOCK, times, ns.max(rate.min(ns * times)));
}

/// The caller unlocked what somebody had waited for since then.
#[cold]
#[inline(never)]
pub(crate) fn contention_ends(since: u64) {
    let fraction = MUTEX_FRACTION.load(Ordering::Relaxed);
    if fraction == 0 || u64::from(rand32()) % fraction != 0 {
        return;
    }
    let ns = now_ns().saturating_sub(since);
    add(&MUTEX, fraction, ns.saturating_mul(fraction));
}

#[inline(never)]
fn add(table: &Table, count: u64, ns: u64) {
    // From our caller on. (Its callers here may have left no frame: a call at the end is a jump.)
    let trace = Backtrace::capture(add as *const () as usize);
    let mut stack = [0; DEPTH];
    stack
        .iter_mut()
        .zip(trace.frames())
        .for_each(|(s, pc)| *s = pc.addr);
    let mut rows = table.lock();
    let i = rows[..ROWS - 1]
        .iter()
        .position(|r| r.count == 0 || r.stack == stack)
        .unwrap_or(ROWS - 1);
    let row = &mut rows[i];
    if i < ROWS - 1 {
        row.stack = stack;
    }
    row.count += count;
    row.ns = row.ns.saturating_add(ns);
}

/// One call stack of a [`Profile`].
///
/// ```
/// for row in burrow::runtime::block_profile().rows {
///     burrow::println!("{} waits, {} ns: {:x?}", row.count, row.ns, row.stack);
/// }
/// ```
#[derive(Clone, Debug)]
pub struct ProfileRow {
    /// Return addresses, innermost first; none for what the table had no room for.
    pub stack: Vec<usize>,
    /// How often.
    pub count: u64,
    /// For how long, all together (ns).
    pub ns: u64,
}

/// Where goroutines waited; the longest first. Prints as text that names functions.
///
/// The text: a line `--- NAME`, then for each stack a line `NS COUNT @ ADDRESS …` and, indented, its functions.
///
/// ```
/// use burrow::{runtime, time};
/// let before = runtime::set_block_profile_rate(1);
/// let ch = burrow::chan::<u32>(0);
/// let tx = ch.sender();
/// let sender = burrow::spawn(move || {
///     time::sleep(time::Duration::from_millis(2));
///     tx.send(1);
/// });
/// ch.recv();
/// sender.join().unwrap(); // whoever waited for the other is on record
/// runtime::set_block_profile_rate(before);
/// let profile = runtime::block_profile();
/// assert!(!profile.rows.is_empty());
/// burrow::println!("{profile}");
/// ```
#[derive(Clone, Debug)]
pub struct Profile {
    name: &'static str,
    /// The stacks.
    pub rows: Vec<ProfileRow>,
}

fn snapshot(name: &'static str, table: &Table) -> Profile {
    let mut copy: Vec<Row> = Vec::with_capacity(ROWS);
    copy.extend(table.lock().iter().filter(|r| r.count != 0)); // there is room: nothing is allocated here
    let mut rows: Vec<ProfileRow> = copy
        .iter()
        .map(|r| ProfileRow {
            stack: r.stack.iter().copied().take_while(|pc| *pc != 0).collect(),
            count: r.count,
            ns: r.ns,
        })
        .collect();
    rows.sort_by_key(|r| core::cmp::Reverse(r.ns));
    Profile { name, rows }
}

/// Where goroutines waited.
pub(crate) fn block() -> Profile {
    snapshot("block", &BLOCK)
}

/// Who made others wait for a lock.
pub(crate) fn mutex() -> Profile {
    snapshot("mutex", &MUTEX)
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "--- {}", self.name)?;
        for r in &self.rows {
            write!(f, "{} {} @", r.ns, r.count)?;
            for pc in &r.stack {
                write!(f, " {pc:#x}")?;
            }
            f.write_str("\n")?;
            write_frames(f, r.stack.iter().map(|&addr| Pc { addr, exact: false }))?;
        }
        Ok(())
    }
}

//! The heap profile: one allocation in 512 KiB is written down with its call stack.
//!
//! Each cache counts down bytes; the allocation that crosses zero is a *sample*. It goes into the bucket of its call stack, and
//! stands for 512 KiB (or for itself, if it is bigger). The object's address is remembered until it is freed, so the
//! profile tells both what was allocated since boot and what is still in use, like Go's `heap` profile.
//!
//! A sampled object marks its span (bit in the owner word), which sends every free in that span the slow way, past
//! `on_free`; the fast path never asks. With no sampled object left the mark goes.
//!
//! Fixed tables, made at the first sample: a profile must not allocate from what it measures. When one is full, samples are
//! counted as lost. `memprofile=off` turns it off.

use core::{
    fmt,
    ptr,
    sync::atomic::{AtomicI64, AtomicU32, Ordering::Relaxed},
};

use super::{
    backing,
    span::{self, Span},
};
use crate::lock::{Rank, SpinLock};

/// Bytes per sample.
pub(crate) const RATE: i64 = 512 * 1024;
/// Frames of a call stack.
const DEPTH: usize = 20;
const BUCKETS: usize = 512;
const LIVE: usize = 4096;

/// A call stack with what it allocated.
#[derive(Clone, Copy)]
struct Bucket {
    /// Offsets into the kernel image; 0 ends it.
    pcs: [u32; DEPTH],
    /// Samples and the bytes they stand for: allocated, freed.
    count: [u64; 2],
    bytes: [u64; 2],
    /// Objects they stand for.
    objects: [u64; 2],
}

/// A sampled object that is live. Address 0: free, 1: was in use.
#[derive(Clone, Copy)]
struct Live {
    at: usize,
    size: usize,
    bucket: usize,
}

struct Tables {
    buckets: &'static mut [Bucket],
    used: usize,
    live: &'static mut [Live],
    lost: u64,
}

static TABLES: SpinLock<Option<Tables>> = SpinLock::new(Rank::Profile, None);
/// Bytes of large allocations until the next sample.
static LARGE_LEFT: AtomicI64 = AtomicI64::new(RATE);
/// 0 not asked yet, 1 on, 2 off.
static STATE: AtomicU32 = AtomicU32::new(0);

fn is_on() -> bool {
    if STATE.load(Relaxed) == 0 {
        let off = crate::opts::get("memprofile") == Some("off");
        STATE.store(if off { 2 } else { 1 }, Relaxed);
    }
    STATE.load(Relaxed) == 1
}

/// Is a sample due? Then the countdown starts again.
pub(crate) fn take_turn(left: &mut i64) -> bool {
    let due = *left < 0;
    if due {
        *left = (*left % RATE) + RATE;
    }
    due
}

/// The same for a large allocation.
pub(crate) fn large_due(size: usize) -> bool {
    let size = i64::try_from(size).unwrap_or(i64::MAX);
    if LARGE_LEFT.fetch_sub(size, Relaxed) >= size {
        return false;
    }
    LARGE_LEFT.store(RATE, Relaxed);
    true
}

fn tables() -> Option<Tables> {
    let bytes = BUCKETS * size_of::<Bucket>() + LIVE * size_of::<Live>();
    let at = backing::permanent(bytes)?;
    // SAFETY: fresh memory of that size, ours for ever.
    unsafe { ptr::write_bytes(at, 0, bytes) };
    // SAFETY: as above; zero is a valid Bucket, and the memory is page-aligned.
    let buckets = unsafe { core::slice::from_raw_parts_mut(at.cast::<Bucket>(), BUCKETS) };
    // SAFETY: behind the buckets, whose size is a multiple of 8.
    let live = unsafe { core::slice::from_raw_parts_mut(at.cast::<Bucket>().wrapping_add(BUCKETS).cast::<Live>(), LIVE) };
    Some(Tables {
        buckets,
        used: 0,
        live,
        lost: 0,
    })
}

impl Tables {
    fn bucket(&mut self, pcs: &[u32; DEPTH]) -> Option<usize> {
        if let Some(i) = self.buckets[..self.used].iter().position(|b| b.pcs == *pcs) {
            return Some(i);
        }
        if self.used == BUCKETS {
            return None;
        }
        self.buckets[self.used].pcs = *pcs;
        self.used += 1;
        Some(self.used - 1)
    }

    /// Slots an address may be in, in order.
    fn probe(at: usize) -> impl Iterator<Item = usize> {
        let start = (at >> 3).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        (0..64).map(move |i| (start + i) % LIVE)
    }

    /// The slot of a live sample. A slot that was never used ends the search.
    fn find(&self, at: usize) -> Option<usize> {
        Self::probe(at)
            .take_while(|&i| self.live[i].at != 0)
            .find(|&i| self.live[i].at == at)
    }

    /// Frees a slot: as never used if nothing can lie behind it, and then also the ones before it.
    fn clear(&mut self, mut i: usize) {
        self.live[i].at = 1;
        while self.live[i].at == 1 && self.live[(i + 1) % LIVE].at == 0 {
            self.live[i].at = 0;
            i = (i + LIVE - 1) % LIVE;
        }
    }
}

/// What a sample of `size` bytes stands for: bytes, objects.
fn weight(size: usize) -> (u64, u64) {
    let bytes = (size as u64).max(RATE as u64);
    (bytes, bytes / (size as u64).max(1))
}

/// Writes down the allocation of `o`, which is live, and the running goroutine's call stack.
#[cold]
pub(crate) fn sample(o: *mut u8, size: usize) {
    if !is_on() {
        return;
    }
    let mut pcs = [0; DEPTH];
    callers(&mut pcs);
    let mut t = TABLES.lock();
    if t.is_none() {
        *t = tables();
    }
    let Some(t) = &mut *t else { return };
    let slot = Tables::probe(o.addr()).find(|&i| t.live[i].at <= 1);
    let (Some(slot), Some(b)) = (slot, t.bucket(&pcs)) else {
        t.lost += 1;
        return;
    };
    let (bytes, objects) = weight(size);
    t.buckets[b].count[0] += 1;
    t.buckets[b].bytes[0] += bytes;
    t.buckets[b].objects[0] += objects;
    t.live[slot] = Live {
        at: o.addr(),
        size,
        bucket: b,
    };
    // SAFETY: `o` is a live allocation.
    let s = unsafe { span::of(o) };
    let first = s.samples.fetch_add(1, Relaxed) == 0;
    s.sampled.store(if first { o.addr() } else { 0 }, Relaxed);
    s.owner.set_sampled(true);
}

/// An object of a span with samples is freed.
#[cold]
pub(crate) fn on_free(s: &Span, o: *mut u8) {
    // Most often there is one, and it is another.
    let only = s.sampled.load(Relaxed);
    if only != 0 && only != o.addr() {
        return;
    }
    let mut t = TABLES.lock();
    let Some(t) = &mut *t else { return };
    let Some(slot) = t.find(o.addr()) else { return };
    let Live { size, bucket, .. } = t.live[slot];
    t.clear(slot);
    let b = &mut t.buckets[bucket];
    let (bytes, objects) = weight(size);
    b.count[1] += 1;
    b.bytes[1] += bytes;
    b.objects[1] += objects;
    s.sampled.store(0, Relaxed); // which of the others is left is not worth finding out
    if s.samples.fetch_sub(1, Relaxed) == 1 {
        s.owner.set_sampled(false);
    }
}

/// One call stack of the heap profile. Estimates: each sample stands for 512 KiB or for itself, if that is more.
///
/// ```
/// for row in burrow::runtime::heap_profile().records.iter().take(3) {
///     burrow::println!("{} bytes in {} objects: {:x?}", row.inuse_bytes, row.inuse_objects, row.stack);
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Return addresses, innermost first.
    pub stack: alloc::vec::Vec<usize>,
    /// Samples taken here.
    pub samples: u64,
    /// Objects allocated since boot.
    pub alloc_objects: u64,
    /// Bytes allocated since boot.
    pub alloc_bytes: u64,
    /// Objects in use.
    pub inuse_objects: u64,
    /// Bytes in use.
    pub inuse_bytes: u64,
}

/// The heap profile: a record for each call stack that was sampled, most bytes in use first, with the number of
/// samples for which there was no room.
///
/// ```
/// let profile = burrow::runtime::heap_profile();
/// let bytes: u64 = profile.records.iter().map(|row| row.inuse_bytes).sum();
/// burrow::println!("about {bytes} bytes in use, {} samples lost", profile.lost);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeapProfile {
    /// By call stack.
    pub records: alloc::vec::Vec<Record>,
    /// Samples lost.
    pub lost: u64,
}

/// The heap profile now. Go's counterpart is `runtime.MemProfile`.
///
/// ```
/// burrow::println!("{}", burrow::runtime::heap_profile());
/// ```
pub fn heap_profile() -> HeapProfile {
    let mut out = HeapProfile::default();
    // Room first: nothing is allocated under the lock.
    let mut copy = alloc::vec::Vec::with_capacity(BUCKETS);
    if let Some(t) = &*TABLES.lock() {
        copy.extend_from_slice(&t.buckets[..t.used]);
        out.lost = t.lost;
    }
    out.records = copy
        .iter()
        .map(|b| Record {
            stack: b.pcs.iter().take_while(|pc| **pc != 0).map(|pc| address(*pc)).collect(),
            samples: b.count[0],
            alloc_objects: b.objects[0],
            alloc_bytes: b.bytes[0],
            inuse_objects: b.objects[0] - b.objects[1],
            inuse_bytes: b.bytes[0] - b.bytes[1],
        })
        .collect();
    out.records.sort_by_key(|r| core::cmp::Reverse((r.inuse_bytes, r.alloc_bytes)));
    out
}

impl fmt::Display for HeapProfile {
    /// `{inuse objects}: {inuse bytes} [{objects}: {bytes}] @` and the call stack, as Go's text profile has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum = |get: fn(&Record) -> u64| self.records.iter().map(get).sum::<u64>();
        writeln!(
            f,
            "heap profile: {}: {} [{}: {}] @ heap/{RATE}",
            sum(|r| r.inuse_objects),
            sum(|r| r.inuse_bytes),
            sum(|r| r.alloc_objects),
            sum(|r| r.alloc_bytes)
        )?;
        for r in &self.records {
            writeln!(
                f,
                "{}: {} [{}: {}] @",
                r.inuse_objects, r.inuse_bytes, r.alloc_objects, r.alloc_bytes
            )?;
            write_stack(f, &r.stack)?;
        }
        if self.lost > 0 {
            writeln!(f, "{} samples lost: the tables are full", self.lost)?;
        }
        Ok(())
    }
}

#[cfg(target_os = "none")]
use metal::{address, callers, write_stack};

#[cfg(target_os = "none")]
mod metal {
    use core::fmt;

    use crate::{
        arch::x86_64::KERNEL_BASE,
        panic::backtrace::{self, Pc},
    };

    pub(super) fn address(pc: u32) -> usize {
        KERNEL_BASE as usize + pc as usize
    }

    pub(super) fn callers(out: &mut [u32]) {
        for (slot, pc) in out.iter_mut().zip(backtrace::callers().skip(2)) {
            *slot = pc.addr.wrapping_sub(KERNEL_BASE as usize) as u32;
        }
    }

    pub(super) fn write_stack(f: &mut fmt::Formatter<'_>, stack: &[usize]) -> fmt::Result {
        backtrace::write_frames(f, stack.iter().map(|&addr| Pc { addr, exact: false }))
    }
}

#[cfg(not(target_os = "none"))]
use host::{address, callers, write_stack};

#[cfg(not(target_os = "none"))]
mod host {
    use core::fmt;

    pub(super) fn address(pc: u32) -> usize {
        pc as usize
    }
    pub(super) fn callers(out: &mut [u32]) {
        out[0] = 1;
    }
    pub(super) fn write_stack(f: &mut fmt::Formatter<'_>, stack: &[usize]) -> fmt::Result {
        writeln!(f, "\t{stack:x?}")
    }
}

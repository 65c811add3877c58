//! Helpers that several test images share.
//!
//! [`Parker`] is the smallest thing that sleeps and wakes: the tests of the scheduler use it instead of a channel, so
//! that a failure is the scheduler's. [`Rng`] gives every storm its own numbers from the boot seed. [`storm`] says how
//! long a test that could go on for ever does: a second or so, or its share of `soak_secs=`.
#![no_std]
extern crate alloc;

mod bounds;

use alloc::sync::Arc;
use core::{
    cell::UnsafeCell,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

pub use bounds::{MemoryLimit, Procs, used_memory};
use burrow::{
    JoinHandle,
    lock::{Rank, RawSpinLock},
    sched::{GPtr, WaitReason, current, park_unlock, ready},
    spawn,
    time::Instant,
};

/// Storms in `stress.rs` that share the time given by `soak_secs=`.
const STORMS: u32 = 12;

/// How long a storm lasts: `usual`, or its share of a soak if that is longer.
pub fn storm(usual: Duration) -> Duration {
    usual.max(Duration::from_secs(burrow::test::soak_secs().into()) / STORMS)
}

/// Is it time to stop?
#[derive(Clone, Copy, Debug)]
pub struct Until(Instant);

impl Until {
    /// A storm that begins now.
    pub fn storm(usual: Duration) -> Self {
        Until(Instant::now() + storm(usual))
    }

    /// Has its time come?
    pub fn over(self) -> bool {
        Instant::now() >= self.0
    }
}

/// xorshift64*, seeded from the boot seed and a number of the user's.
#[derive(Debug)]
pub struct Rng(u64);

impl Rng {
    /// The `stream`-th sequence of this boot.
    pub fn new(stream: u64) -> Self {
        let mixed = (burrow::sched::seed() ^ stream.wrapping_mul(0x9e37_79b9_7f4a_7c15))
            .wrapping_mul(0xd6e8_feb8_6659_fd93);
        Rng(mixed | 1)
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        (self.next_u64() >> 11) % n
    }
}

/// How many goroutines are parked for this reason.
pub fn parked(reason: WaitReason) -> usize {
    let mut quoted = alloc::string::String::from("(");
    quoted.push_str(reason.as_str());
    quoted.push(')');
    burrow::runtime::sched_detail().matches(&quoted).count()
}

/// Waits until so many goroutines are parked for this reason: a test that needs them asleep asks for that, not for a
/// delay that is usually enough.
pub fn until_parked(reason: WaitReason, n: usize) {
    while parked(reason) < n {
        burrow::yield_now();
    }
}

/// A counter that one goroutine waits on.
pub struct Parker {
    lock: RawSpinLock,
    /// Both guarded by `lock`.
    state: UnsafeCell<(u64, Option<GPtr>)>,
}

// SAFETY: `lock` orders all access to the cell.
unsafe impl Sync for Parker {}
// SAFETY: as above; a GPtr is Send.
unsafe impl Send for Parker {}

impl Parker {
    /// No permits.
    pub const fn new() -> Self {
        Parker {
            lock: RawSpinLock::new(Rank::Waiters),
            state: UnsafeCell::new((0, None)),
        }
    }

    /// Takes a permit, parks until there is one. One goroutine at a time.
    pub fn acquire(&self) {
        loop {
            self.lock.lock();
            // SAFETY: guarded by the lock we hold.
            let (permits, waiter) = unsafe { &mut *self.state.get() };
            if *permits > 0 {
                *permits -= 1;
                // SAFETY: 1. we hold it.
                unsafe { self.lock.unlock() };
                return;
            }
            assert!(waiter.is_none(), "two goroutines wait on one parker");
            *waiter = Some(current());
            park_unlock(WaitReason::SemaAcquire, &self.lock);
        }
    }

    /// Adds a permit; wakes the goroutine that waits.
    pub fn release(&self) {
        self.lock.lock();
        // SAFETY: guarded by the lock we hold.
        let (permits, waiter) = unsafe { &mut *self.state.get() };
        *permits += 1;
        let waiter = waiter.take();
        // SAFETY: 1. we hold it.
        unsafe { self.lock.unlock() };
        if let Some(g) = waiter {
            ready(g);
        }
    }
}

impl Default for Parker {
    fn default() -> Self {
        Self::new()
    }
}

/// Uses `kib` KiB of stack; returns `kib`.
#[inline(never)]
pub fn touch(kib: usize) -> usize {
    let mut page = [0u8; 1024];
    core::hint::black_box(&mut page);
    if kib == 0 { 0 } else { 1 + touch(kib - 1) }
}

/// Keeps the core busy for about `d` without calling into the runtime's slow paths.
pub fn spin_for(d: Duration) {
    let end = Instant::now() + d;
    while Instant::now() < end {
        core::hint::spin_loop();
    }
}

/// A goroutine that answers each ping with a pong, over two [`Parker`]s.
///
/// It ends only on the ping of [`Echo::finish`], never between a ping and its pong: one that watched a stop flag by
/// itself could leave its partner waiting for ever.
pub struct Echo {
    ping: Arc<Parker>,
    pong: Arc<Parker>,
    over: Arc<AtomicBool>,
    goroutine: JoinHandle<()>,
}

impl Echo {
    /// Starts it.
    pub fn start() -> Echo {
        let (ping, pong, over) = (
            Arc::new(Parker::new()),
            Arc::new(Parker::new()),
            Arc::new(AtomicBool::new(false)),
        );
        let (their_ping, their_pong, theirs) = (ping.clone(), pong.clone(), over.clone());
        let goroutine = spawn(move || {
            loop {
                their_ping.acquire();
                if theirs.load(Ordering::Acquire) {
                    return;
                }
                their_pong.release();
            }
        });
        Echo {
            ping,
            pong,
            over,
            goroutine,
        }
    }

    /// One ping and its pong.
    pub fn round_trip(&self) {
        self.ping.release();
        self.pong.acquire();
    }

    /// Round trips with an echo of its own until `stop` is not 0; counts them in `rounds`.
    pub fn round_trips_until(stop: &AtomicU64, rounds: &AtomicU64) {
        let echo = Echo::start();
        while stop.load(Ordering::Relaxed) == 0 {
            echo.round_trip();
            rounds.fetch_add(1, Ordering::Relaxed);
        }
        echo.finish();
    }

    /// Ends it.
    pub fn finish(self) {
        self.over.store(true, Ordering::Release);
        self.ping.release();
        self.goroutine.join().expect("no panic");
    }
}

/// Calls `f` deeper each time, until the stack ends somewhere in it. In steps of several KiB: with smaller ones it would always
/// end where `f` reaches deepest.
#[inline(never)]
fn deeper(f: &dyn Fn(), n: u64) -> u64 {
    let room = core::hint::black_box([n; 230]);
    f();
    match n {
        u64::MAX => 0,
        _ => deeper(f, core::hint::black_box(n + 1)) + room[3],
    }
}

/// Calls `f` until the stack ends somewhere in it: in what is left of the stack, some forty KiB, and a hundred bytes less for each of `shift`.
#[inline(never)]
pub fn at_the_end(shift: u64, f: &dyn Fn()) -> u64 {
    #[inline(never)]
    fn most(f: &dyn Fn()) -> u64 {
        let room = core::hint::black_box([1u64; 13_500]);
        deeper(f, 0) + room[3]
    }
    let room = core::hint::black_box([shift; 4]);
    match shift {
        0 => most(f),
        _ => at_the_end(shift - 1, f) + room[3],
    }
}

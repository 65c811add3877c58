//! The scheduler: G, M and P.
//!
//! A goroutine (G, `g`) runs on a core (M, `m`) that holds a processor (P, `p`). Read in this order:
//! `state` (what a G can be), `park` (how it leaves and comes back), `runq` and `global` (where it waits),
//! `find` (who runs next), `idle` (how cores sleep), `preempt`, `syscall`, `sysmon`, `world`.
//!
//! ```text
//!   go f() ──▶ spawn ──▶ runnext / run queue of this P ──▶ find::run (g0) ──▶ goroutine
//!                              ▲        │ steal, overflow                        │ park, preempt, exit
//!                              └────────┴──────────── ready ◀────────────────────┘
//! ```
//! After Vyukov's "Scalable Go Scheduler Design Doc" (2012) and Go's runtime as it grew from it.

mod api;
mod chaos;
pub(crate) mod dead;
pub(crate) mod deadlock;
pub(crate) mod dump;
pub mod events;
pub(crate) mod find;
pub(crate) mod g;
mod global;
pub(crate) mod grow;
pub(crate) mod idle;
mod irq_work;
mod join;
mod keeper;
mod m;
mod net_work;
mod opts;
mod osthread;
pub(crate) mod p;
mod park;
pub(crate) mod parked;
pub(crate) mod preempt;
pub(crate) mod profile;
mod reason;
pub(crate) mod reclaimer;
pub mod runq;
pub(crate) mod scavenger;
mod scope;
mod spawn;
pub(crate) mod start;
mod state;
mod stats;
mod syscall;
mod sysmon;
pub(crate) mod world;

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

pub use api::{Builder, go, spawn};
pub(crate) use api::{go_raw, go_system};
pub(crate) use chaos::{gap, on as chaos_is_on, sync_point};
pub use g::{G, GPtr};
pub(crate) use irq_work::set_irq_hook;
pub use join::JoinHandle;
pub(crate) use net_work::{net_interrupts, on_net_interrupt, poll_network_soon, set_netpoll_hook};
pub use osthread::{lock_os_thread, unlock_os_thread};
pub use park::{park, park_unlock, ready, yield_now};
pub(crate) use park::{park_for, park_unlock_for, ready_all, worth_spinning};
pub use profile::{Profile, ProfileRow};
pub use reason::WaitReason;
pub(crate) use reclaimer::ask as ask_for_memory;
pub use scope::{Scope, ScopedJoinHandle, scope};
pub use spawn::SpawnError;
pub(crate) use spawn::{for_each_g, ids_below};
pub use state::GState;
pub(crate) use stats::write_detail;
pub use stats::{SchedStats, sched_stats};
pub use syscall::blocking;

use crate::{arch::x86_64::percpu, mem::shrink};

static BOOTED: AtomicBool = AtomicBool::new(false);
static SEED: AtomicU64 = AtomicU64::new(0);
/// System goroutines alive.
static SYSTEM_GS: AtomicU64 = AtomicU64::new(0);
/// Exits that no P could count.
static ORPHAN_EXITS: AtomicU64 = AtomicU64::new(0);
/// Goroutines started on a core without a P.
static ORPHAN_STARTS: AtomicU64 = AtomicU64::new(0);

/// The running goroutine.
///
/// # Panics
/// On g0.
#[inline(always)]
pub fn current() -> GPtr {
    match GPtr::from_raw(percpu::current_g().cast()) {
        Some(g) => g,
        None => no_goroutine(),
    }
}

#[cold]
#[inline(never)]
fn no_goroutine() -> ! {
    panic!("no goroutine is running here");
}

/// The running goroutine, `None` on g0 and before the scheduler runs.
pub fn try_current() -> Option<GPtr> {
    GPtr::from_raw(percpu::current_g().cast())
}

/// Next pseudo-random number of this P.
#[inline]
pub fn rand32() -> u32 {
    let _here = crate::lock::PreemptGuard::new();
    match m::p_of(percpu::this()) {
        Some(p) => p.rand(),
        None => crate::arch::x86_64::clock::now_ns() as u32,
    }
}

/// The boot seed all randomness comes from.
///
/// ```
/// assert_eq!(burrow::runtime::seed(), burrow::runtime::seed());
/// ```
#[inline]
pub fn seed() -> u64 {
    SEED.load(Ordering::Relaxed)
}

/// Has the main goroutine been started?
pub(crate) fn booted() -> bool {
    BOOTED.load(Ordering::Relaxed)
}

/// Goroutines alive, the runtime's own included.
pub fn num_goroutine() -> usize {
    let (mut made, mut gone) = (0, ORPHAN_EXITS.load(Ordering::Relaxed));
    for p in p::first(crate::arch::MAX_CORES) {
        gone += p.count.exited.load(Ordering::Relaxed);
    }
    made += ORPHAN_STARTS.load(Ordering::Relaxed);
    for p in p::first(crate::arch::MAX_CORES) {
        made += p.count.created.load(Ordering::Relaxed);
    }
    made.saturating_sub(gone) as usize
}

/// Goroutines alive that count for deadlock detection.
pub(crate) fn user_goroutines() -> usize {
    num_goroutine().saturating_sub(SYSTEM_GS.load(Ordering::Relaxed) as usize)
}

/// The timers of the P this runs on (of P 0 inside `blocking`). Preemption must be off.
pub(crate) fn timer_heap() -> &'static crate::time::Timers {
    match m::p_of(percpu::this()) {
        Some(p) => &p.timers,
        None => &p::get(0).timers,
    }
}

/// The running goroutine is about to wait for a device: no deadlock meanwhile, unless it is the runtime's own.
pub(crate) fn io_wait_begin() {
    if !current().is_system() {
        deadlock::io_wait_begin();
    }
}

/// It is back.
pub(crate) fn io_wait_end() {
    if !current().is_system() {
        deadlock::io_wait_end();
    }
}

/// Timers in all heaps.
pub(crate) fn live_timers() -> usize {
    p::first(global::procs())
        .iter()
        .map(|p| p.timers.lock().len())
        .sum()
}

/// The clock (ns since boot).
#[inline(always)]
pub(crate) fn now_ns() -> u64 {
    crate::arch::x86_64::clock::now_ns()
}

/// A timer was added that fires at `when`, before all others of its heap: see [`preempt::timer_added`].
pub(crate) fn timer_armed(when: u64) {
    preempt::timer_added(when);
}

/// See [`world::set_procs`].
pub(crate) fn set_procs(n: usize) -> usize {
    world::set_procs(n)
}

/// Gives back the stack pages that nobody needs: those of dead goroutines, and those below the stack pointers
/// of parked ones. Returns how many. Others run meanwhile; with very many goroutines it takes long.
pub fn scavenge_stacks() -> usize {
    world::stopped(|| {
        for p in p::first(global::procs()) {
            spawn::flush_dead(p, 0);
        }
    });
    shrink::dead() + shrink::parked()
}

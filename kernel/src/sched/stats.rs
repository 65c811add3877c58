//! Figures about the scheduler: `runtime::sched_stats`, and the lines of `schedtrace`.
//!
//! Grammar of the lines (Go's): `SCHED {ms}ms: gomaxprocs={n} idleprocs={n} threads={n} spinningthreads={n}
//! idlethreads={n} runqueue={n} [{n} {n} …]`, one number per P in the brackets. With `scheddetail=1` there
//! follow a line per P, per M and per G:
//! `  P{id}: status={n} schedtick={n} syscalltick={n} m={core|nil} runqsize={n} gfreecnt={n} timerslen={0|1}`,
//! `  M{id}: p={P|nil} curg={G|nil} spinning={bool} lockedg={G|nil}`,
//! `  G{id}: status={n}({reason}) m={core|nil} lockedm={core|nil}`.
#![forbid(unsafe_code)]

use core::{
    fmt::{self, Write},
    sync::atomic::Ordering,
};

use super::{
    g::{G, GPtr},
    global::{self, IDLE_PS, LEN, SCHED, SPINNERS},
    m,
    p::{self, PStatus},
    state::GState,
};
use crate::arch::{
    self,
    x86_64::{clock, percpu},
};

/// A snapshot of the scheduler's figures; each is exact, together they are of about one moment.
///
/// ```
/// let before = burrow::runtime::sched_stats();
/// burrow::spawn(|| ()).join().unwrap();
/// let after = burrow::runtime::sched_stats();
/// assert!(after.created > before.created && after.at_ns > before.at_ns);
/// assert_eq!(after.threads, burrow::runtime::num_cpu());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchedStats {
    /// Nanoseconds since boot.
    pub at_ns: u64,
    /// Ps in use.
    pub gomaxprocs: usize,
    /// Ps on the idle list.
    pub idle_procs: usize,
    /// Cores.
    pub threads: usize,
    /// Cores looking for work.
    pub spinning_threads: usize,
    /// Cores asleep without a P.
    pub idle_threads: usize,
    /// Length of the global queue.
    pub run_queue: usize,
    /// Length of each P's queue, `runnext` included.
    pub local_queues: alloc::vec::Vec<usize>,
    /// Goroutines alive.
    pub goroutines: usize,
    /// Goroutines started since boot.
    pub created: u64,
    /// Goroutines put on a core since boot.
    pub switches: u64,
    /// Successful steals since boot.
    pub steals: u64,
    /// Goroutines taken off a core since boot (asynchronously or by request).
    pub preemptions: u64,
    /// Timer interrupts taken since boot, all cores. There is no periodic tick: an idle machine takes one per deadline.
    pub timer_interrupts: u64,
    /// Lower bound of sysmon's period as measured (ns).
    pub sysmon_min_period_ns: u64,
}

/// The scheduler's figures now.
///
/// ```
/// let s = burrow::runtime::sched_stats();
/// assert!(s.gomaxprocs >= 1);
/// burrow::println!("{s}");
/// ```
pub fn sched_stats() -> SchedStats {
    let n = global::procs();
    let idle_ms = SCHED.lock().idle_ms;
    let sum = |f: fn(&p::Counters) -> u64| p::first(arch::MAX_CORES).iter().map(|p| f(&p.count)).sum::<u64>();
    SchedStats {
        at_ns: clock::now_ns(),
        gomaxprocs: n,
        idle_procs: IDLE_PS.load(Ordering::Relaxed) as usize,
        threads: arch::core_count(),
        spinning_threads: SPINNERS.count() as usize,
        idle_threads: idle_ms.count_ones() as usize,
        run_queue: LEN.load(Ordering::Relaxed) as usize,
        local_queues: p::first(n)
            .iter()
            .map(|p| p.runq.len() + usize::from(p.runq.has_next()))
            .collect(),
        goroutines: super::num_goroutine(),
        created: super::ORPHAN_STARTS.load(Ordering::Relaxed) + sum(|c| c.created.load(Ordering::Relaxed)),
        switches: sum(|c| c.switches.load(Ordering::Relaxed)),
        steals: sum(|c| c.steals.load(Ordering::Relaxed)),
        preemptions: sum(|c| c.preempts.load(Ordering::Relaxed)),
        timer_interrupts: (0..arch::core_count())
            .map(|i| m::get(i).timer_irqs.load(Ordering::Relaxed))
            .sum(),
        sysmon_min_period_ns: super::sysmon::min_period(),
    }
}

impl fmt::Display for SchedStats {
    /// The `schedtrace` line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "SCHED {}ms: gomaxprocs={} idleprocs={} threads={} spinningthreads={} idlethreads={} runqueue={} [",
            self.at_ns / 1_000_000,
            self.gomaxprocs,
            self.idle_procs,
            self.threads,
            self.spinning_threads,
            self.idle_threads,
            self.run_queue
        )?;
        for (i, n) in self.local_queues.iter().enumerate() {
            write!(f, "{}{n}", if i == 0 { "" } else { " " })?;
        }
        f.write_char(']')
    }
}

struct OrNil<T>(Option<T>);
impl<T: fmt::Display> fmt::Display for OrNil<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(v) => v.fmt(f),
            None => f.write_str("nil"),
        }
    }
}

/// Writes the lines of `scheddetail=1`.
pub(crate) fn write_detail(w: &mut dyn Write) -> fmt::Result {
    for p in p::first(global::procs()) {
        let core = p.core.load(Ordering::Relaxed);
        writeln!(
            w,
            "  P{}: status={} schedtick={} syscalltick={} m={} runqsize={} gfreecnt={} timerslen={}",
            p.id(),
            p.status() as u32,
            p.schedtick.load(Ordering::Relaxed),
            p.syscalltick.load(Ordering::Relaxed),
            OrNil((core != 0).then_some(core.wrapping_sub(1))),
            p.runq.len() + usize::from(p.runq.has_next()),
            p.gfree_len.get(),
            u32::from(p.timer0.load(Ordering::Relaxed) != u64::MAX),
        )?;
    }
    for i in 0..arch::core_count() {
        let c = percpu::core(i);
        let p = p::first(global::procs())
            .iter()
            .find(|p| p.core.load(Ordering::Relaxed) == i as u32 + 1 && p.status() == PStatus::Running);
        // A look at another core's word: a snapshot, as every figure here.
        let g = GPtr::from_raw(c.g.get().cast::<G>());
        let locked = GPtr::from_raw(m::get(i).locked_g.load(Ordering::Relaxed));
        writeln!(
            w,
            "  M{i}: p={} curg={} spinning={} lockedg={}",
            OrNil(p.map(|p| p.id())),
            OrNil(g.map(|g| g.id())),
            m::get(i).spinning.get(),
            OrNil(locked.map(|g| g.id())),
        )?;
    }
    let mut r = Ok(());
    super::for_each_g(|g| {
        let s = g.state();
        if s == GState::Dead || r.is_err() {
            return;
        }
        let locked = g.locked_core.load(Ordering::Relaxed);
        let reason = if s == GState::Waiting {
            g.wait_reason().as_str()
        } else {
            ""
        };
        r = writeln!(
            w,
            "  G{}: status={}({reason}) m={} lockedm={}",
            g.id(),
            s as u32,
            OrNil(core_of(g)),
            OrNil((locked != 0).then_some(locked.wrapping_sub(1))),
        );
    });
    r
}

/// The core that runs `g` now, if any. A snapshot.
pub(crate) fn core_of(g: GPtr) -> Option<usize> {
    (0..arch::core_count()).find(|&i| percpu::core(i).g.get() == g.raw().cast())
}
